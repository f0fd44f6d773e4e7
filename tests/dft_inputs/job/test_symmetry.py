from __future__ import annotations

import warnings

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry import kpath
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.bandstructure import HighSymmKpath

from dft_inputs.job.symmetry import SYMMETRY_TOLERANCE_A, standard_path, standard_primitive

CRYSTALS = {
    "cubic P, perovskite": (221, Lattice.cubic(3.9), ["K", "Mg", "F"],
                            [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]),
    "cubic F, rock salt": (225, Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "cubic I": (229, Lattice.cubic(3.2), ["W"], [[0, 0, 0]]),
    "cubic lattice, lower crystal": (16, Lattice.cubic(5.0), ["K", "F"],
                                     [[0.1, 0.2, 0.33], [0, 0, 0]]),
    "tetragonal P, rutile": (136, Lattice.tetragonal(4.6, 2.96), ["Ti", "O"],
                             [[0, 0, 0], [0.305, 0.305, 0]]),
    "tetragonal I": (139, Lattice.tetragonal(3.9, 13.2), ["Sr", "Ti", "O", "O", "O"],
                     [[0, 0, 0.355], [0, 0, 0], [0, 0.5, 0], [0, 0, 0.16], [0.0, 0.0, 0.42]]),
    "orthorhombic F": (69, Lattice.orthorhombic(5, 6, 7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
    "orthorhombic C": (63, Lattice.orthorhombic(3, 9, 4), ["Ca", "S"],
                       [[0, 0.1, 0.25], [0, 0.4, 0.25]]),
    "orthorhombic A": (38, Lattice.orthorhombic(4.0, 5.7, 5.72), ["Ba", "Ti", "O"],
                       [[0, 0, 0], [0.5, 0, 0.51], [0, 0, 0.49]]),
    "hexagonal, wurtzite": (186, Lattice.hexagonal(3.8, 6.2), ["Zn", "S"],
                            [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]]),
    "trigonal P": (164, Lattice.hexagonal(4.2, 6.8), ["Cd", "I"],
                   [[0, 0, 0], [1 / 3, 2 / 3, 0.25]]),
    "rhombohedral": (166, Lattice.hexagonal(4.4, 30.5), ["Bi", "Te", "Te"],
                     [[0, 0, 0.4], [0, 0, 0], [0, 0, 0.21]]),
    "monoclinic C": (12, Lattice.monoclinic(9.0, 4.0, 5.5, 105), ["Al", "Cl"],
                     [[0.1, 0, 0.3], [0.3, 0, 0.8]]),
    "monoclinic P": (14, Lattice.monoclinic(5.1, 5.2, 5.3, 99), ["Zr", "O"],
                     [[0.27, 0.04, 0.21], [0.07, 0.33, 0.34]]),
    "triclinic": (2, Lattice.from_parameters(4.1, 5.2, 6.3, 83, 95, 101), ["K", "N"],
                  [[0.1, 0.2, 0.3], [0.6, 0.4, 0.8]]),
}  # fmt: skip


@pytest.fixture(params=CRYSTALS, ids=lambda name: name.replace(" ", "-"))
def crystal(request) -> Structure:
    group, lattice, species, sites = CRYSTALS[request.param]
    return Structure.from_spacegroup(group, lattice, species, sites)


def test_the_standard_primitive_cell_is_pymatgens(crystal):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SpacegroupAnalyzer(
            crystal, symprec=SYMMETRY_TOLERANCE_A
        ).get_primitive_standard_structure(international_monoclinic=False)
    assert standard_primitive(crystal) == theirs


def test_the_path_is_pymatgens_corner_by_corner(crystal):
    cell = standard_primitive(crystal)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = HighSymmKpath(cell, symprec=SYMMETRY_TOLERANCE_A)
    ours = standard_path(cell)
    assert ours.kpath["path"] == theirs.kpath["path"]
    for name, corner in theirs.kpath["kpoints"].items():
        np.testing.assert_allclose(ours.kpath["kpoints"][name], corner, atol=1e-12)
    points, labels = ours.get_kpoints(20, coords_are_cartesian=False)
    their_points, their_labels = theirs.get_kpoints(20, coords_are_cartesian=False)
    assert labels == their_labels
    np.testing.assert_allclose(points, their_points, atol=1e-12)


def test_pymatgens_own_module_keeps_its_analyzer(crystal):
    standard_path(standard_primitive(crystal))
    assert kpath.SpacegroupAnalyzer is SpacegroupAnalyzer
