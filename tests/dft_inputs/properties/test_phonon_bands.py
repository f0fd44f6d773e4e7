from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dft_inputs.job.cell import job_structure
from dft_inputs.properties.phonon_bands import (
    BAND,
    IMAGINARY,
    Segment,
    _draw,
    band_path,
    band_picture,
    bands,
)
from structure.figure import axes_of
from tests.dft_inputs.cells import rocksalt

LATTICES = {
    "cubic": Lattice.cubic(4.0),
    "tetragonal": Lattice.tetragonal(4.0, 5.5),
    "orthorhombic": Lattice.orthorhombic(3.6, 4.5, 5.6),
    "hexagonal": Lattice.hexagonal(3.5, 5.6),
    "rhombohedral": Lattice.rhombohedral(4.2, 71),
    "monoclinic": Lattice.monoclinic(4.1, 5.3, 6.2, 104),
    "triclinic": Lattice.from_parameters(4.1, 5.0, 6.3, 81, 97, 104),
}
TURNS = {
    "as it is": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "renamed": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "sheared": ((1, 0, 0), (1, 1, 0), (0, 0, 1)),
}


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_path_in_another_setting_has_corners_of_the_same_length(name, turn):
    standard = job_structure(Structure(LATTICES[name], ["Si"], [[0, 0, 0]]))
    other = Structure(np.array(turn) @ standard.lattice.matrix, ["Si"], [[0, 0, 0]])

    def lengths(cell: Structure) -> list[float]:
        matrix = cell.lattice.reciprocal_lattice.matrix
        return [float(np.linalg.norm((end - start) @ matrix)) for _, start, end in band_path(cell)]

    assert lengths(other) == pytest.approx(lengths(standard), rel=1e-6)
    assert [x for x, _, _ in band_path(other)] == [x for x, _, _ in band_path(standard)]


def branches(lowest: float) -> Callable[[np.ndarray], np.ndarray]:
    """Two branches in THz: one from zero at Gamma towards `lowest` far from it, one above."""

    def frequencies(qpoints: np.ndarray) -> np.ndarray:
        share = (3 - np.cos(2 * np.pi * qpoints).sum(axis=1)) / 6
        return np.stack([lowest * share, 10 + share], axis=1)

    return frequencies


def bands_of_rocksalt(lowest: float) -> list[Segment]:
    return list(bands(job_structure(rocksalt()), branches(lowest)))


def test_distances_run_on_from_segment_to_segment():
    cell = job_structure(rocksalt())
    found = list(bands(cell, branches(5.0)))
    assert [s.labels for s in found][:3] == [("Γ", "X"), ("X", "W"), ("W", "K")]
    assert found[0].distances[0] == 0
    for one, other in itertools.pairwise(found):
        assert other.distances[0] == one.distances[-1]
    edge = cell.lattice.a * np.sqrt(2)
    assert found[0].distances[-1] == pytest.approx(2 * np.pi / edge)


def test_frequencies_are_those_asked_for_at_each_wave_vector():
    for segment in bands_of_rocksalt(5.0):
        assert segment.frequencies == pytest.approx(branches(5.0)(segment.qpoints))
        assert len(segment.qpoints) == len(segment.distances)


def test_the_picture_names_the_corners_and_is_the_same_every_time():
    found = bands_of_rocksalt(-3.0)
    one, other = (band_picture(found, "MgO (9f31c2ab)") for _ in range(2))
    assert one == other
    assert one.startswith("<svg") and one.rstrip().endswith("</svg>")
    for word in ("Γ", ">X<", ">L<", "frequency / THz", "MgO (9f31c2ab)"):
        assert word in one


def test_only_imaginary_branches_are_drawn_in_red():
    assert IMAGINARY in band_picture(bands_of_rocksalt(-3.0), "unstable")
    assert IMAGINARY not in band_picture(bands_of_rocksalt(3.0), "stable")


def test_a_branch_turns_red_where_it_crosses_zero():
    _, axes = axes_of(4, 3)
    _draw(axes, np.array([0.0, 1.0, 2.0]), np.array([3.0, 1.0, -1.0]))
    above, below = ([xy for xy in line.get_xydata() if xy[1] == xy[1]] for line in axes.lines)
    assert np.array(above) == pytest.approx(np.array([[0, 3], [1, 1], [1.5, 0]]))
    assert np.array(below) == pytest.approx(np.array([[1.5, 0], [2, -1]]))
    assert [line.get_color() for line in axes.lines] == [BAND, IMAGINARY]
