from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Kpoints
from pymatgen.symmetry.analyzer import SymmetryUndeterminedError

from dft_inputs.job.cell import job_structure
from dft_inputs.job.meshes import (
    keeps_symmetry,
    lattice_rotations,
    mesh_divisions,
    symmetric_divisions,
)
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import rocksalt

DENSITIES = st.sampled_from([8, 27, 64, 100, 128, 256, 1000])

CENTRED = {
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, 0.5], [0, -0.5, 0.5]]),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}
"""Primitive vectors in those of the conventional cell."""

BRAVAIS = [
    ("triclinic", "P"),
    ("monoclinic", "P"),
    ("monoclinic", "C"),
    ("monoclinic", "I"),
    ("orthorhombic", "P"),
    ("orthorhombic", "C"),
    ("orthorhombic", "A"),
    ("orthorhombic", "I"),
    ("orthorhombic", "F"),
    ("tetragonal", "P"),
    ("tetragonal", "I"),
    ("hexagonal", "R"),
    ("hexagonal", "P"),
    ("cubic", "P"),
    ("cubic", "I"),
    ("cubic", "F"),
]
"""The 14 Bravais lattices, two of them also in another setting."""

ORDERS = {
    "triclinic": 2,
    "monoclinic": 4,
    "orthorhombic": 8,
    "tetragonal": 16,
    "hexagonal": 24,
    "cubic": 48,
}
"""Rotations of each lattice; a rhombohedral one has 12."""


def conventional(system: str, edges: list[float], angles: list[float]) -> np.ndarray:
    a, b, c = edges
    alpha, beta, gamma = angles
    lattice = {
        "triclinic": Lattice.from_parameters(a, b, c, alpha, beta, gamma),
        "monoclinic": Lattice.monoclinic(a, b, c, beta),
        "orthorhombic": Lattice.orthorhombic(a, b, c),
        "tetragonal": Lattice.tetragonal(a, c),
        "hexagonal": Lattice.hexagonal(a, c),
        "cubic": Lattice.cubic(a),
    }
    return lattice[system].matrix


def shear(choice: int) -> np.ndarray:
    """Return a change to another primitive cell of the same lattice: six shears by 0 or 1."""
    changed = np.eye(3)
    pairs = [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)]
    for bit, (i, j) in enumerate(pairs):
        if choice >> bit & 1:
            changed[i] += changed[j]
    return changed


def usual_mesh(cell: Structure, density: int) -> tuple[int, int, int]:
    """Return pymatgen's mesh, where it can tell the symmetry of the cell, which it looks for."""
    try:
        return tuple(Kpoints.automatic_density_by_vol(cell, density, force_gamma=True).kpts[0])
    except SymmetryUndeterminedError:
        reject()


def points(divisions: tuple[int, int, int]) -> np.ndarray:
    x, y, z = divisions
    return np.array([(i / x, j / y, k / z) for i, j, k in product(range(x), range(y), range(z))])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(BRAVAIS),
    st.lists(st.floats(3, 25), min_size=3, max_size=3),
    st.lists(st.floats(72, 108), min_size=3, max_size=3),
    st.sampled_from([8, 27, 64, 128]),
    st.integers(0, 63),
)
def test_every_lattice_gets_a_mesh_of_its_own_symmetry_in_whatever_cell(
    bravais, edges, angles, density, choice
):
    """The test turns each k-point as a vector, and looks for it in the mesh."""
    system, centring = bravais
    matrix = shear(choice) @ CENTRED[centring] @ conventional(system, edges, angles)
    cell = Structure(Lattice(matrix), ["Si"], [[0, 0, 0]])
    divisions = mesh_divisions(cell, density)
    mesh = points(divisions)
    reciprocal = cell.lattice.reciprocal_lattice.matrix
    metric = matrix @ matrix.T
    rotations = [
        rotation  # and not one that is nearly a symmetry
        for rotation in lattice_rotations(cell.lattice)
        if np.abs(rotation.T @ metric @ rotation - metric).max() < 1e-6 * metric.max()
    ]
    assert len(rotations) >= (12 if centring == "R" else ORDERS[system])
    for rotation in rotations:
        turn = np.linalg.inv(matrix) @ rotation.T @ matrix
        turned = mesh @ reciprocal @ turn @ np.linalg.inv(reciprocal) * divisions
        assert np.abs(turned - np.round(turned)).max() < 1e-3


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(BRAVAIS),
    st.lists(st.floats(3, 25), min_size=3, max_size=3),
    st.lists(st.floats(72, 108), min_size=3, max_size=3),
    DENSITIES,
)
def test_a_mesh_is_nowhere_below_pymatgens_density_and_reaches_the_one_asked_where_it_differs(
    bravais, edges, angles, density
):
    system, centring = bravais
    cell = Structure(
        Lattice(CENTRED[centring] @ conventional(system, edges, angles)), ["Si"], [[0, 0, 0]]
    )
    usual = usual_mesh(cell, density)
    divisions = mesh_divisions(cell, density)
    if divisions != usual:
        assert not keeps_symmetry(usual, lattice_rotations(cell.lattice))
        reciprocal = cell.lattice.reciprocal_lattice
        assert np.prod(divisions) >= density * reciprocal.volume * (1 - 1e-5)
        steps = np.array(reciprocal.abc) / divisions
        evenly = (reciprocal.abc[0] * reciprocal.abc[1] * reciprocal.abc[2]) ** (1 / 3)
        assert steps.max() <= evenly / (density * reciprocal.volume) ** (1 / 3) * (1 + 1e-5)


@settings(max_examples=50, deadline=None)
@given(
    edges=st.lists(st.floats(2, 40), min_size=3, max_size=3),
    angles=st.lists(st.floats(70, 110), min_size=3, max_size=3),
    atoms=st.integers(1, 5),
    density=DENSITIES,
)
def test_the_divisions_are_those_of_pymatgen_where_they_have_the_symmetry_of_the_lattice(
    edges, angles, atoms, density
):
    places = [[i / 7, i / 11, i / 13] for i in range(atoms)]
    cell = Structure(Lattice.from_parameters(*edges, *angles), ["Si"] * atoms, places)
    usual = usual_mesh(cell, density)
    if keeps_symmetry(usual, lattice_rotations(cell.lattice)):
        assert mesh_divisions(cell, density) == usual


def face_centred(a: float = 7.0, b: float = 5.2, c: float = 9.6) -> Structure:
    matrix = CENTRED["F"] @ np.diag([a, b, c])
    return Structure(Lattice(matrix), ["Ti", "Si"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_equal_reciprocal_vectors_of_unequal_edges_are_divided_equally():
    job = vasp_job(face_centred(), PAPER.with_steps(["07-phonons"]), formula="TiSi")
    meshes = [step.mesh for step in job.ticket.steps if step.mesh and not step.supercell]
    assert meshes and all(len(set(mesh)) == 1 for mesh in meshes)
    cell = job_structure(face_centred())
    assert len(set(np.round(cell.lattice.abc, 3))) == 3
    phonons = job.ticket.steps[-1]
    repeated = Lattice(cell.lattice.matrix * np.array(phonons.supercell)[:, None])
    assert keeps_symmetry(phonons.mesh, lattice_rotations(repeated))


def test_a_mesh_that_is_one_step_off_is_seen_to_break_the_symmetry():
    rotations = lattice_rotations(rocksalt().get_primitive_structure().lattice)
    assert keeps_symmetry((4, 4, 4), rotations)
    assert not keeps_symmetry((4, 4, 5), rotations)
    assert symmetric_divisions((4, 4, 5), rotations) == (5, 5, 5)


def test_only_what_symmetry_ties_is_raised():
    rotations = lattice_rotations(Lattice.hexagonal(3.0, 9.0))
    assert symmetric_divisions((6, 7, 2), rotations) == (7, 7, 2)
    assert symmetric_divisions((3, 4, 5), lattice_rotations(Lattice.orthorhombic(3, 4, 5))) == (
        3,
        4,
        5,
    )


@pytest.mark.parametrize("density", [64, 128])
def test_the_usual_meshes_stay_as_they_are(density):
    cell = job_structure(rocksalt())
    assert mesh_divisions(cell, density) == usual_mesh(cell, density)
