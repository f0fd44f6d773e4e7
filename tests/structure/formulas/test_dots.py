from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structure.composition import parse_formula
from structure.elements import ELEMENTS
from structure.errors import Rejection
from structure.formulas.dots import parted

SALTS = st.sampled_from(["CuSO4", "Na2CO3", "KF", "Zn(NO3)2", "K4[Fe(CN)6]", "LiCl", "Mg(BH4)2"])
WATERS = st.sampled_from(["H2O", "(H2O)", "D2O", "NH3"])


@given(SALTS, st.integers(1, 24), WATERS)
def test_a_hydrate_with_a_full_stop_is_the_one_with_a_dot(salt: str, n: int, water: str) -> None:
    read = parse_formula(f"{salt}.{n}{water}", round_fractions=True)
    assert not isinstance(read, Rejection)
    assert read == parse_formula(f"{salt}·{n}{water}")


@given(
    st.lists(st.sampled_from(ELEMENTS[:90]), min_size=2, max_size=5, unique=True),
    st.lists(st.integers(0, 99), min_size=5, max_size=5),
)
def test_a_stop_behind_a_zero_is_a_decimal_point(elements: list[str], parts: list[int]) -> None:
    text = "".join(f"{e}0.{n:02}" for e, n in zip(elements, parts, strict=False))
    assert parted(text) == text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("CaSO4.0.5H2O", "CaSO4·0.5H2O"),
        ("CaSO4.1/2H2O", "CaSO4·1/2H2O"),
        ("2CaSO4.H2O", "2CaSO4·H2O"),
        ("Zn5(CO3)2.(OH)6", "Zn5(CO3)2·(OH)6"),
        ("WO2.72.H2O", "WO2.72·H2O"),
        ("3CaO.2SiO2.3H2O", "3CaO·2SiO2·3H2O"),
        ("3Al2O3.2SiO2", "3Al2O3·2SiO2"),
        ("Al2O3.2SiO2.2H2O", "Al2O3·2SiO2·2H2O"),
        ("K2O.Al2O3.6SiO2", "K2O·Al2O3·6SiO2"),
        ("0.5CaO.0.5MgO", "0.5CaO·0.5MgO"),
    ],
)
def test_a_stop_between_compounds_becomes_a_dot(text: str, plain: str) -> None:
    assert parted(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "La2CuO4.13",
        "LiNi0.5Mn1.5O4",
        "Bi2.1Sr1.9CaCu2O8.2",
        "Li6.5La3Zr1.5Ta0.5O12",
        "Na3.4Zr2Si2.4P0.6O12",
        "Li9.54Si1.74P1.44S11.7Cl0.3",
        "YBa2Cu3O6.5F0.5",
        "Na3V2(PO4)2.5(OH)0.5",
        "La.5Sr.5MnO3",
        "Mg0.5Zn0.5H2O2",
        "2Li1.2Mn0.6O2",
        "2.5H2O",
    ],
)
def test_fractional_formulas_of_the_literature_keep_their_decimals(text: str) -> None:
    assert parted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "CaO.2Al2O3",
        "Na2CO3.2Na2SO4",
        "Na0.35CoO2.1.3H2O",
        "Na0.33V2O5.2H2O",
        "CaSO4.1.5H2O",
        "CaSO4.05H2O",
        "O4SZn.7H2O",
    ],
)
def test_a_stop_that_can_be_either_is_refused_with_what_to_write(text: str) -> None:
    why = parted(text)
    assert isinstance(why, Rejection)
    assert why.code == "dot"
    assert "write · between compounds" in why.sentence
    assert "decimal point" in why.sentence
