from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition, Structure
from pymatgen.io.cif import CifWriter

from structure.crystals.cif import read_cif
from tests.structure.cifs import COLUMNS, ROCKSALT, cif, formula, lattice_of, only, refused

ELEMENTS = ["Na", "Cl", "Fe", "O", "Si", "H", "Ca", "C", "Co", "Ho"]


EDGES = st.lists(st.floats(7, 12), min_size=3, max_size=3)
ANGLES = st.lists(st.floats(75, 86), min_size=3, max_size=3)
PLACES = st.lists(
    st.tuples(
        st.sampled_from(ELEMENTS),
        *[st.sampled_from([0, 0.25, 0.5, 1 / 3, 0.125, 0.137, 0.3146])] * 3,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda site: site[1:],
)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 230), EDGES, ANGLES, PLACES)
def test_what_pymatgen_writes_with_its_symmetry_makes_the_formula_it_is_given(
    number, edges, angles, places
):
    lattice = lattice_of(number, edges, angles)
    structure = Structure.from_spacegroup(
        number, lattice, [p[0] for p in places], [p[1:] for p in places], tol=1e-3
    )
    assume(len(structure) == 1 or structure.is_valid(0.5))
    for symprec in (None, 0.01):
        text = str(CifWriter(structure, symprec=symprec))
        found = only(text)
        assert isinstance(found, Structure), found
        own = Composition(re.search(r"_chemical_formula_sum +'?([^'\n]*)", text)[1])
        assert found.composition == own
        assert own.reduced_formula == structure.composition.reduced_formula
        assert found.volume == pytest.approx(float(re.search(r"_cell_volume +(.*)", text)[1]))


@pytest.mark.parametrize(
    ("atoms", "own", "read"),
    [
        ([("Na1", "Na", 0, 0, 0), ("O1", "O", 0.5, 0.5, 0.5)], "H Na O", "NaO"),
        ([("Li1", "Li", 0, 0, 0), ("OH1", "OH", 0.5, 0.5, 0.5)], "H Li O", "LiO"),
        ([("Li1", "Li", 0, 0, 0), ("O1", "OH-", 0.5, 0.5, 0.5)], "H Li O", "LiO"),
        ([("Li1", "Li", 0, 0, 0), ("O1", "O-H", 0.5, 0.5, 0.5)], "H Li O", "LiO"),
        ([("Ca1", "Ca2+", 0, 0, 0), ("Wat1", "Wat", 0.5, 0.5, 0.5)], "Ca H2 O", "CaO"),
        ([("Ca1", "Ca2+", 0, 0, 0), ("W1", "H2O", 0.5, 0.5, 0.5)], "Ca H2 O", "CaO"),
        ([("N1", "NH4+", 0, 0, 0), ("Cl1", "Cl", 0.5, 0.5, 0.5)], "Cl H4 N", "NCl"),
        ([("Mg1", "Mg", 0, 0, 0)], "Mg O", "Mg"),
        (ROCKSALT, "Mg", "MgO"),
        (ROCKSALT, "Mg2 O3", "MgO"),
        (ROCKSALT, "Mg0.5 O", "MgO"),
        (ROCKSALT, "Ca O", "MgO"),
    ],
)
def test_atoms_that_are_not_the_compound_are_turned_down_with_both_formulas(atoms, own, read):
    why = refused(cif(atoms, group="P 1", formula=own))
    assert why.code == "cif-formula"
    assert own in why.sentence
    assert f"make {read}" in why.sentence


def test_hydrogens_attached_to_an_atom_have_no_place():
    columns = (*COLUMNS, "attached_hydrogens")
    atoms = [("Na1", "Na", 0, 0, 0, 0), ("O1", "O", 0.5, 0.5, 0.5, 1)]
    for own in ("H Na O", "Na O", ""):
        assert refused(cif(atoms, group="P 1", formula=own, columns=columns)).code == "cif-formula"
    without = [(*atom[:5], "." if atom[5] else 0) for atom in atoms]
    assert formula(cif(without, group="P 1", formula="Na O", columns=columns)) == "Na1O1"


@pytest.mark.parametrize("own", ["Mg O", "MgO", "MG O", "O1 Mg1", "Mg0.5 O0.5", "Mg4 O4"])
def test_a_formula_is_read_however_it_is_spaced_and_multiplied(own):
    assert formula(cif(group="F m -3 m", formula=own)) == "Mg4O4"


@pytest.mark.parametrize("own", ["Mg O x(H2 O)", "Mg O approx.", "M O", "(Mg O)n"])
def test_a_formula_that_is_not_understood_is_no_licence(own):
    why = refused(cif(group="F m -3 m", formula=own))
    assert why.code == "cif-formula"
    assert own in why.sentence


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("_chemical_formula_structural", "Na (O H)"),
        ("_chemical_formula_moiety", "Na 1+, O H 1-"),
        ("_chemical_formula_moiety", "2(Na +), 2(O H -)"),
        ("_chemical_formula_iupac", "NaOH"),
    ],
)
def test_without_a_sum_another_formula_of_the_file_tells_what_is_missing(name, own):
    atoms = [("Na1", "Na", 0, 0, 0), ("O1", "O", 0.5, 0.5, 0.5)]
    why = refused(cif(atoms, group="P 1", more={name: f"'{own}'"}))
    assert why.code == "cif-formula"
    assert own in why.sentence and "NaO" in why.sentence
    assert formula(cif(atoms, group="P 1", more={name: "'salt of the lab'"})) == "Na1O1"


def test_deuterium_is_hydrogen():
    atoms = [("D1", "D", 0.1, 0.1, 0.1), ("D2", "2H", 0.4, 0.4, 0.4), ("O1", "O", 0.25, 0.25, 0.3)]
    assert formula(cif(atoms, group="P 1", formula="D2 O")) == "H2O1"
    assert formula(cif(atoms, group="P 1", formula="H2 O")) == "H2O1"


@pytest.mark.parametrize(
    ("types", "elements"),
    [
        (("Fe3+", "O2-"), "FeO"),
        (("FE+3", "O-2"), "FeO"),
        (("fe", "o"), "FeO"),
        (("Siva", "Cval"), "SiC"),
        (("CO", "O"), "CoO"),
        (("Fe1", "O2"), "FeO"),
    ],
)
def test_types_are_read_with_charges_in_any_case(types, elements):
    atoms = [("A", types[0], 0, 0, 0), ("B", types[1], 0.5, 0.5, 0.5)]
    found = only(cif(atoms, group="P 1"))
    assert isinstance(found, Structure), found
    assert found.composition == Composition(elements)


LABELS = ("label", "fract_x", "fract_y", "fract_z")


@pytest.mark.parametrize(
    ("labels", "own", "read"),
    [
        (("CA1", "O1"), "Ca O", "Ca1O1"),
        (("CA1", "O1"), "C O", "C1O1"),
        (("Ca1", "O1"), "", "Ca1O1"),
        (("HO1", "N1"), "Ho N", "Ho1N1"),
        (("HO1", "N1"), "H N", "H1N1"),
        (("Na1", "Ow1"), "Na O", "Na1O1"),
        (("NaA", "ClB"), "", "Na1Cl1"),
        (("SIT", "OBM"), "O Si", "Si1O1"),
        (("H", "F"), "F H", "H1F1"),
        (("Va1", "O1"), "O V", "V1O1"),
        (("Va1", "O1"), "O", "O1"),
    ],
)
def test_labels_without_types_are_told_apart_by_the_formula(labels, own, read):
    atoms = [(labels[0], 0, 0, 0), (labels[1], 0.5, 0.5, 0.5)]
    assert formula(cif(atoms, group="P 1", formula=own, columns=LABELS)) == read


@pytest.mark.parametrize(
    "label", ["CA1", "HO1", "OH1", "Wat1", "Ow1", "Va1", "M1", "X", "na1", "Label"]
)
def test_a_label_that_can_be_read_in_two_ways_is_not_read_without_a_formula(label):
    atoms = [(label, 0, 0, 0), ("F1", 0.5, 0.5, 0.5)]
    assert refused(cif(atoms, group="P 1", columns=LABELS)).code in ("element", "cif-formula")


def test_a_vacancy_is_no_atom():
    atoms = [("Mg1", "Mg", 0, 0, 0), ("Va", "Va", 0.5, 0.5, 0.5)]
    assert formula(cif(atoms, group="P 1", formula="Mg")) == "Mg1"
    assert refused(cif(atoms, group="P 1")).code == "element"


OCCUPIED = (*COLUMNS, "occupancy")


@pytest.mark.parametrize("occupancy", [".", "?", "1.", "1.0(2)", "1", "0.9999"])
def test_an_occupancy_that_is_not_given_is_full(occupancy):
    atoms = [(*atom, occupancy) for atom in ROCKSALT]
    assert formula(cif(atoms, group="F m -3 m", formula="Mg O", columns=OCCUPIED)) == "Mg4O4"


def test_partial_occupancy_and_atoms_of_occupancy_zero():
    half = [(*ROCKSALT[0], 1), (*ROCKSALT[1], 0.5)]
    assert refused(cif(half, group="P 1", formula="Mg2 O", columns=OCCUPIED)).code == "disordered"
    none = [*((*atom, 1) for atom in ROCKSALT), ("N1", "N", 0.25, 0.25, 0.25, 0)]
    assert formula(cif(none, group="F m -3 m", formula="Mg O", columns=OCCUPIED)) == "Mg4O4"


@pytest.mark.parametrize("place", ["?", ".", "abc", "0,5", "nan"])
def test_an_atom_without_coordinates_is_no_atom_at_zero(place):
    atoms = [ROCKSALT[0], ("O1", "O", place, 0.5, 0.5)]
    why = refused(cif(atoms, group="P 1", formula="Mg O"))
    assert why.code == "cif"
    assert "O1" in why.sentence and "its own formula is Mg O" in why.sentence


def test_dummy_atoms_are_left_out():
    columns = (*COLUMNS, "calc_flag")
    atoms = [*((*atom, "d") for atom in ROCKSALT), ("Cg", "C", 0.3, 0.3, 0.3, "dum")]
    assert formula(cif(atoms, group="F m -3 m", formula="Mg O", columns=columns)) == "Mg4O4"


@pytest.mark.parametrize("third", ["0.333", "0.3333", "0.33333", "0.3333(2)", "1/3"])
def test_rounded_coordinates_of_special_positions_are_one_atom(third):
    atoms = [("Zn1", "Zn", third, "2/3" if "/" in third else "0.667", 0)]
    atoms += [("O1", "O", *atoms[0][2:4], 0.382)]
    text = cif(atoms, (3.25, 3.25, 5.2, 90, 90, 120), group="P 63 m c", formula="Zn O", units=2)
    found = only(text)
    assert isinstance(found, Structure) and len(found) == 4
    assert np.sort(found.frac_coords[:2, 0]) == pytest.approx([1 / 3, 2 / 3], abs=5e-4)


def test_atoms_on_top_of_each_other_are_refused():
    atoms = [*ROCKSALT, ("O2", "O", 0.5, 0.5, 0.52)]
    assert "0.08 A apart" in refused(cif(atoms, group="P 1", formula="Mg O2")).sentence


def test_magnetic_structures_are_read_by_their_operations():
    text = cif(formula="Mg O", units=4).replace(
        "loop_",
        "loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n-x,-y,-z,-1\nloop_\n"
        "_space_group_symop_magn_centering.xyz\nx,y,z,+1\nx+1/2,y+1/2,z,-1\nx+1/2,y,z+1/2,-1\n"
        "x,y+1/2,z+1/2,+1\nloop_",
        1,
    )
    assert formula(text) == "Mg4O4"


def test_a_modulated_structure_has_no_cell():
    why = refused(cif(formula="Mg O", more={"_space_group_ssg_name": "'Pmmm(00g)'"}))
    assert "modulated" in why.sentence


def test_every_block_with_atoms_is_read():
    second = [("Fe1", "Fe", 0, 0, 0), ("O1", "O", 0.5, 0.5, 0.5)]
    text = cif(group="F m -3 m", name="one") + "data_empty\n_publ_author_name 'A'\n"
    text += cif(second, group="F m -3 m", name="two", formula="Fe O")
    found = dict(read_cif(text))
    assert {n: s.composition.reduced_formula for n, s in found.items()} == {
        "one": "MgO",
        "two": "FeO",
    }


def test_dotted_names_of_newer_dictionaries_are_read():
    text = cif(group="F m -3 m", formula="Mg O")
    for old, new in {
        "_atom_site_": "_atom_site.",
        "_cell_": "_cell.",
        "_chemical_formula_sum": "_chemical_formula.sum",
    }.items():
        text = text.replace(old, new)
    assert formula(text) == "Mg4O4"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 230), EDGES, ANGLES, PLACES, st.data())
def test_lines_lost_from_a_file_never_make_another_compound(number, edges, angles, places, data):
    lattice = lattice_of(number, edges, angles)
    structure = Structure.from_spacegroup(
        number, lattice, [p[0] for p in places], [p[1:] for p in places], tol=1e-3
    )
    assume(len(structure) == 1 or structure.is_valid(0.5))
    lines = str(CifWriter(structure, symprec=0.01)).splitlines()
    kept = [i for i, line in enumerate(lines) if "_chemical_formula_sum" not in line]
    lost = data.draw(st.sets(st.sampled_from(kept), min_size=1, max_size=4))
    text = "\n".join(line for i, line in enumerate(lines) if i not in lost)
    for _, found in read_cif(text):
        if isinstance(found, Structure):
            assert found.composition.reduced_formula == structure.composition.reduced_formula


def test_an_element_too_is_held_to_the_number_of_its_atoms():
    atoms = [("C1", "C", 0, 0, 0)]
    assert refused(cif(atoms, group="P 1", formula="C", units=8)).code == "cif-formula"
    assert formula(cif(atoms, group="F d -3 m", formula="C", units=8)) == "C8"
    assert refused(cif(atoms, group="F d -3 m", formula="C")).code == "cif-symmetry"
