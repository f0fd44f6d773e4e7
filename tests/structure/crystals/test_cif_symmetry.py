from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from structure.crystals.cif_symmetry import (
    SETTINGS,
    choice_of,
    number_of,
    operations_of,
    settings_of,
)
from tests.structure.cifs import cif, formula, lattice_of, only, refused


def axes(setting: int) -> tuple[float, ...]:
    """Return a cell, so large that no atoms meet, with the symmetry of a setting and no more."""
    number, choice = number_of(setting), choice_of(setting)
    if 3 <= number <= 15:
        angles = {"b": (90, 103, 90), "c": (90, 90, 103), "a": (103, 90, 90)}
        return (41, 52, 63, *angles[choice.strip("-")[0]])
    if choice == "R":
        return (52, 52, 52, 77, 77, 77)
    lattice = lattice_of(number, [41, 52, 63], [81, 83, 79])
    return (*lattice.abc, *lattice.angles)


def xyz(setting: int, point: np.ndarray) -> np.ndarray:
    """Return the images of a point, each once, as the tables give them."""
    operations = operations_of(setting)
    images = (operations.rotations @ point + operations.translations) % 1
    apart = images[:, None] - images[None]
    apart -= np.round(apart)
    first = (np.abs(apart).max(axis=2) < 1e-6).argmax(axis=1)
    return images[np.unique(first)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_known_by_its_symbols(setting):
    """Atoms on a general and a special place, no operations listed: counted as in the tables."""
    import spglib

    kind = spglib.get_spacegroup_type(setting)
    general, special = np.array([0.137, 0.391, 0.218]), np.zeros(3)
    counts = [len(xyz(setting, p)) for p in (general, special)]
    atoms = [("O1", "O", *general), ("Mg1", "Mg", *special)]
    qualifier = f" :{kind.choice}" if kind.choice and not 3 <= kind.number <= 15 else ""
    for symbol in {kind.international_full, kind.international.split("=")[-1]}:
        text = cif(atoms, axes(setting), group=symbol.strip() + qualifier)
        found = only(text)
        assert isinstance(found, Structure), (symbol, found)
        assert [found.composition[e] for e in ("O", "Mg")] == counts
    if qualifier or 3 <= kind.number <= 15:
        assert setting in settings_of(kind.international_full + qualifier)


@pytest.mark.parametrize(
    ("symbol", "number", "choice"),
    [
        ("F d -3 m Z", 227, "2"),
        ("F d -3 m S", 227, "1"),
        ("Fd-3m:1", 227, "1"),
        ("F d 3 m (origin choice 2)", 227, "2"),
        ("I 41/a m d S", 141, "1"),
        ("R -3 m H", 166, "H"),
        ("R-3m:r", 166, "R"),
        ("P 1 21/n 1", 14, "b2"),
        ("P2(1)/c", 14, "b1"),
        ("P 1 21/c 1", 14, "b1"),
        ("P 1 1 21/b", 14, "c3"),
        ("B 1 1 2/b", 15, "-c1"),
        ("P b n m", 62, "cab"),
        ("P_6_3/m_m_c", 194, ""),
        ("F m 3 m", 225, ""),
        ("FM3-M", 225, ""),
        ("P a 3", 205, ""),
        ("C m c a", 64, ""),
        ("A b m 2", 39, ""),
        ("C m m b", 67, "ba-c"),
    ],
)
def test_symbols_are_read_as_databases_and_old_tables_write_them(symbol, number, choice):
    (setting, *_) = settings_of(symbol)
    assert (number_of(setting), choice_of(setting)) == (number, choice)


@pytest.mark.parametrize("symbol", ["Fm3m?", "F 4/m m m", "X", "P 21/q", "Fm-3m-3m", "P 1 21"])
def test_a_symbol_that_is_not_understood_is_not_taken_for_p1(symbol):
    why = refused(cif(group=symbol, formula="Mg O", units=4, more={"_space_group_IT_number": 225}))
    assert why.code == "cif-symmetry"
    assert symbol in why.sentence


def test_without_symmetry_the_atoms_must_be_known_to_be_the_whole_cell():
    assert refused(cif(formula="Mg O")).code == "cif-symmetry"
    assert "4" in refused(cif(formula="Mg O", units=4)).sentence
    whole = only(cif(formula="Mg O", units=1))
    assert isinstance(whole, Structure) and len(whole) == 2
    by_density = only(cif(formula="Mg O", more={"_exptl_crystal_density_diffrn": 0.903}))
    assert isinstance(by_density, Structure)
    assert refused(cif(formula="Mg2 O2", units=2)).code == "cif-formula"


def test_a_number_alone_is_enough_only_where_its_settings_agree():
    by_number = {"_space_group_IT_number": 225}
    assert formula(cif(formula="Mg O", more=by_number)) == "Mg4O4"
    atoms = [("Ga1", "Ga", 0, 0.15, 0.08)]
    text = cif(
        atoms, (4.5, 7.7, 4.6, 90, 90, 90), formula="Ga", more={"_space_group_IT_number": 64}
    )
    assert "axes open" in refused(text).sentence


def test_a_cell_that_the_file_calls_another_size_is_turned_down():
    why = refused(cif(group="P 1", operations=["x,y,z"], formula="Mg O", units=4))
    assert why.code == "cif-formula"
    assert "4 formula units" in why.sentence
    dense = {"_exptl_crystal_density_diffrn": 3.6}
    assert refused(cif(group="P 1", formula="Mg O", more=dense)).code == "cif-formula"
    assert formula(cif(group="F m -3 m", formula="Mg O", more=dense)) == "Mg4O4"


def test_one_operation_beside_the_symbol_of_a_larger_group_is_not_trusted():
    why = refused(cif(group="F m -3 m", operations=["x,y,z"], formula="Mg O"))
    assert why.code == "cif-symmetry"
    told = only(cif(group="F m -3 m", operations=["x,y,z"], formula="Mg O", units=4))
    assert isinstance(told, Structure) and len(told) == 8


def test_listed_operations_must_make_a_group():
    listed = ["x,y,z", "-x,-y,z", "x,-y,-z"]
    assert "group" in refused(cif(operations=listed, formula="Mg O")).sentence
    assert "not understood" in refused(cif(operations=["x,y,z", "x,y"], formula="Mg O")).sentence


def test_a_group_given_twice_differently_is_refused():
    why = refused(cif(group="P 1", formula="Mg O", more={"_space_group_IT_number": 225}))
    assert "not the same" in why.sentence


SPINEL = [
    ("Mg1", "Mg", 0.125, 0.125, 0.125),
    ("Al1", "Al", 0.5, 0.5, 0.5),
    ("O1", "O", 0.2624, 0.2624, 0.2624),
]


def test_the_formula_tells_which_origin_a_symbol_means():
    text = cif(SPINEL, (8.08, 8.08, 8.08, 90, 90, 90), group="F d -3 m", formula="Al2 Mg O4")
    found = only(text)
    assert isinstance(found, Structure) and len(found) == 56
    assert found.get_space_group_info()[1] == 227
    assert min(found.distance_matrix[found.distance_matrix > 0]) > 1.8


def test_an_origin_that_nothing_tells_is_refused():
    loose = [("Si1", "Si", 0.11, 0.21, 0.31), ("O1", "O", 0.31, 0.07, 0.61)]
    text = cif(loose, (60, 60, 60, 90, 90, 90), group="F d -3 m", formula="Si O")
    why = refused(text)
    assert why.code == "cif-symmetry"
    assert "origin" in why.sentence


def test_the_cell_tells_hexagonal_from_rhombohedral_axes():
    atoms = [("Bi1", "Bi", 0, 0, 0.4), ("Te1", "Te", 0, 0, 0), ("Te2", "Te", 0, 0, 0.2095)]
    for symbol in ("R -3 m", "R -3 m :H", "R -3 m H"):
        text = cif(atoms, (4.38, 4.38, 30.5, 90, 90, 120), group=symbol, formula="Bi2 Te3", units=3)
        assert formula(text) == "Bi6Te9"
    turned = [(*atom[:2], atom[4], atom[4], atom[4]) for atom in atoms]
    text = cif(turned, (10.47, 10.47, 10.47, 24.2, 24.2, 24.2), group="R -3 m", formula="Bi2 Te3")
    assert formula(text) == "Bi2Te3"
    wrong = cif(atoms, (4.38, 4.38, 30.5, 90, 90, 90), group="R -3 m H", formula="Bi2 Te3")
    assert refused(wrong).code == "cif-symmetry"


def test_operations_with_blanks_and_without_quotes_are_read():
    text = cif(formula="Mg O", operations=["x, y, z", "-x, -y, -z"]).replace("'", "")
    assert formula(text.replace("Mg O", "MgO")) == "Mg1O1"


def test_operations_listed_without_the_centring_are_not_taken_for_all():
    """Twelve are the whole of R -3 m in rhombohedral axes, and a third of it in hexagonal ones."""
    operations = operations_of(459)
    hexagonal = operations_of(458)
    listed = [r for r, t in zip(*hexagonal, strict=True) if not t.any()]
    assert len(listed) == len(operations.rotations) == 12
    words = [
        ",".join(
            "".join(
                f"{'+' if n > 0 else '-'}{axis}" for n, axis in zip(row, "xyz", strict=True) if n
            )
            for row in rotation
        )
        for rotation in listed
    ]
    atoms = [("Bi1", "Bi", 0, 0, 0.4), ("Te1", "Te", 0, 0, 0), ("Te2", "Te", 0, 0, 0.2095)]
    cell = (4.38, 4.38, 30.5, 90, 90, 120)
    text = cif(atoms, cell, group="R -3 m", operations=words, formula="Bi2 Te3")
    assert refused(text).code == "cif-symmetry"
    told = cif(atoms, cell, group="R -3 m", operations=words, formula="Bi2 Te3", units=3)
    assert formula(told) == "Bi6Te9"


def test_more_operations_than_the_symbol_has_are_taken():
    listed = ["x,y,z", "-x,-y,-z"]
    assert formula(cif(group="P 1", operations=listed, formula="Mg O")) == "Mg1O1"
