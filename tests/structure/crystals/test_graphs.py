from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from structure.crystals.graphs import CUTOFF, GraphTable, crystal_graph, gaussian_expansion


def rock_salt(a: str = "Na", b: str = "Cl", length: float = 5.64) -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(length), [a, b], [[0, 0, 0], [0.5, 0, 0]]
    ).get_primitive_structure()


def perovskite() -> Structure:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(3.905), ["Sr", "Ti", "O", "O", "O"], places)


def test_an_atom_of_rock_salt_has_six_near_neighbours_of_the_other_kind() -> None:
    graph = crystal_graph(rock_salt())
    assert graph.distances.shape == (2, 12)
    assert np.allclose(graph.distances[:, :6], 2.82, atol=1e-4)
    for atom in range(2):
        assert set(graph.neighbours[atom, :6]) == {1 - atom}
    assert np.allclose(graph.distances[:, 6:], 5.64 / np.sqrt(2), atol=1e-4)


def test_distances_rise_and_stay_within_the_cutoff() -> None:
    graph = crystal_graph(perovskite())
    assert (np.diff(graph.distances, axis=1) >= -1e-3).all()
    assert graph.distances.max() <= CUTOFF


def described(structure: Structure) -> list[tuple[int, tuple[tuple[int, float], ...]]]:
    """The graph without atom numbers: each atom with the kinds and distances of its neighbours."""
    graph = crystal_graph(structure)
    atoms = []
    for number, near, lengths in zip(graph.numbers, graph.neighbours, graph.distances, strict=True):
        pairs = zip(graph.numbers[near].tolist(), np.round(lengths, 2).tolist(), strict=True)
        atoms.append((int(number), tuple(pairs)))
    return sorted(atoms)


def test_the_graph_does_not_depend_on_the_order_of_the_atoms() -> None:
    structure = perovskite()
    shuffled = Structure.from_sites([structure[i] for i in (3, 0, 4, 1, 2)])
    assert described(shuffled) == described(structure)


def test_the_graph_does_not_depend_on_the_origin() -> None:
    moved = perovskite().translate_sites(range(5), [0.13, 0.41, 0.77])
    assert described(moved) == described(perovskite())


def test_an_atom_without_enough_neighbours_keeps_empty_places() -> None:
    graph = crystal_graph(Structure(Lattice.cubic(7.9), ["He"], [[0, 0, 0]]))
    assert (graph.neighbours[0, :6] == 0).all()
    assert (graph.neighbours[0, 6:] == -1).all()
    assert (graph.distances[0, 6:] == 0).all()


def test_the_expansion_peaks_at_the_distance() -> None:
    expanded = gaussian_expansion(np.array([[2.0, 8.0]]))
    assert expanded.shape == (1, 2, 41)
    assert expanded[0].argmax(axis=1).tolist() == [10, 40]
    assert expanded[0, 0, 11] == pytest.approx(np.exp(-1), rel=1e-5)


def test_packed_graphs_are_taken_out_as_they_went_in() -> None:
    graphs = [crystal_graph(s) for s in (rock_salt(), perovskite(), rock_salt("Mg", "O", 4.21))]
    table = GraphTable.pack(graphs)
    picked = table.take(np.array([2, 1]))
    assert len(picked) == 2
    assert picked.owners().tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert np.array_equal(picked.distances[2:], graphs[1].distances)
    shifted = picked.absolute_neighbours()
    assert np.array_equal(shifted[2:], graphs[1].neighbours + 2)
    assert picked.counts().sum(axis=1).tolist() == [2, 5]
