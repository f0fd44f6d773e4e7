from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from structure.crystals.picture import picture

SVG = "{http://www.w3.org/2000/svg}"


def _rocksalt(a: str, b: str) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), [a, b], [[0, 0, 0], [0.5, 0, 0]])


def test_atoms_on_faces_are_repeated_on_the_opposite_face() -> None:
    cell = Structure(Lattice.cubic(4), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    circles = ElementTree.fromstring(picture(cell)).findall(f"{SVG}circle")
    assert len(circles) == 2 * (8 + 1)


def test_large_cations_are_not_bonded_to_each_other() -> None:
    root = ElementTree.fromstring(picture(_rocksalt("Cs", "F")))
    bonds = [p for p in root.findall(f"{SVG}path") if p.get("stroke-width") == "2.2"]
    assert len(bonds) == 54


def test_a_metal_still_has_bonds() -> None:
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
    assert 'stroke-width="2.2"' in picture(copper)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(40, 300))
def test_nothing_is_drawn_outside_the_picture(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(3, 12, 3), *rng.uniform(60, 120, 3))
    structure = Structure(lattice, ["Sr", "Y", "F", "O"], rng.random((4, 3)))
    for circle in ElementTree.fromstring(picture(structure, size)).iter(f"{SVG}circle"):
        assert -5 <= float(circle.get("cx", "nan")) <= size + 5
        assert -5 <= float(circle.get("cy", "nan")) <= size + 5


@pytest.mark.parametrize("size", [60, 200])
def test_the_same_structure_gives_the_same_picture(size: int) -> None:
    assert picture(_rocksalt("Na", "Cl"), size) == picture(_rocksalt("Na", "Cl"), size)
