"""Gamma-centred k-point meshes with the symmetry of the lattice: serves the hand-off step.

In: a structure, or a lattice, and how dense a mesh was asked for. Out: divisions along the three
reciprocal vectors. A mesh that the point group of the lattice does not carry into itself makes VASP
complain of a k-lattice of another class, and weighs equivalent directions unequally.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

from dft_inputs.job.symmetry import SYMMETRY_TOLERANCE_A

if TYPE_CHECKING:
    from pymatgen.core import Lattice, Structure

_ROUNDING = 1e-6
"""Excess over a whole number of divisions that is rounding."""

Divisions = tuple[int, int, int]


def mesh_divisions(structure: Structure, density: int) -> Divisions:
    """Return the divisions of a Gamma-centred mesh, for points per A^-3 of the reciprocal cell.

    They are those of pymatgen's ``Kpoints.automatic_density_by_vol`` wherever that mesh has the
    symmetry of the lattice. It shares the points out by the edges of the cell, which are unequal in
    a primitive cell of a face-centred orthorhombic lattice although the reciprocal vectors are
    equal by symmetry. There the points are shared out by the reciprocal vectors, rounded up.
    """
    points = density * structure.lattice.reciprocal_lattice.volume
    rotations = lattice_rotations(structure.lattice)
    usual = _by_edges(structure, points)
    if keeps_symmetry(usual, rotations):
        return usual
    lengths = np.array(structure.lattice.reciprocal_lattice.abc)
    shares = lengths * (points / lengths.prod()) ** (1 / 3)
    return symmetric_divisions([math.ceil(share - _ROUNDING) for share in shares], rotations)


def _by_edges(structure: Structure, points: float) -> Divisions:
    """Return pymatgen's divisions, which also looks for symmetry to choose a centre, fixed here."""
    sites = len(structure)
    points *= sites
    if abs(math.floor(points ** (1 / 3) + 0.5) ** 3 - points) < 1:
        points += points * 0.01
    a, b, c = structure.lattice.abc
    scale = (points / sites * a * b * c) ** (1 / 3)
    x, y, z = (math.floor(max(scale / edge, 1)) for edge in (a, b, c))
    return x, y, z


def lattice_rotations(lattice: Lattice) -> np.ndarray:
    """Return the point group of an empty lattice.

    Returns
    -------
    ndarray of int, shape (n, 3, 3)
        Column j holds the image of the j-th cell vector in cell vectors.
    """
    import spglib

    cell = (lattice.matrix.tolist(), [[0.0, 0.0, 0.0]], [1])
    found = spglib.get_symmetry(cell, symprec=SYMMETRY_TOLERANCE_A)
    return np.array([np.eye(3, dtype=int)] if found is None else found["rotations"])


def keeps_symmetry(divisions: Sequence[int], rotations: np.ndarray) -> bool:
    """Return whether rotations of the lattice carry a Gamma-centred mesh into itself.

    A rotation that sends b_j to the sum of W_ij b_i sends the step b_j / n_j to a point of the mesh
    only if every W_ij n_i / n_j is whole.
    """
    return all(factor * divisions[i] % divisions[j] == 0 for i, j, factor in _ties(rotations))


def _ties(rotations: np.ndarray) -> set[tuple[int, int, int]]:
    """Return (i, j, abs(W_ij)) of the reciprocal vectors that rotations mix.

    W is the transpose of the inverse of a rotation, and a group holds the inverses.
    """
    return {
        (i, j, int(factor))
        for i, j in permutations(range(3), 2)
        for factor in np.unique(np.abs(rotations[:, j, i]))
        if factor
    }


def symmetric_divisions(least: Sequence[int], rotations: np.ndarray) -> Divisions:
    """Return the smallest mesh with the symmetry of a lattice that is nowhere coarser than asked.

    Parameters
    ----------
    least : sequence of int, shape (3,)
        Divisions of each reciprocal vector.
    rotations : ndarray of int, shape (n, 3, 3)
        Of `lattice_rotations`.
    """
    ties = _ties(rotations)
    most = max(1, *least)
    choices = product(*(range(max(1, n), most + 1) for n in least))
    fitting = [
        (x, y, z)
        for x, y, z in choices
        if all(factor * (x, y, z)[i] % (x, y, z)[j] == 0 for i, j, factor in ties)
    ]
    return min(fitting, key=lambda n: (math.prod(n), n))
