from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from structure.composition import formulas_of, parse_formula, parse_formulas
from structure.elements import ELEMENTS
from structure.errors import Rejection
from structure.formulas.formula import MAX_CHANGE, MAX_DENOMINATOR
from structure.formulas.spelling import plain_spelling

WHOLE = st.sampled_from(["", "2", "3", "4", "6", "12", "40", "100"])
FRACTIONS = st.sampled_from(["", "2", "0.5", "0.25", "1.5", "0.33", "0.05", "2.125"])
PAIRS = st.tuples(st.sampled_from(ELEMENTS[:94]), WHOLE).map("".join)
FRACTIONAL = st.tuples(st.sampled_from(ELEMENTS[:94]), FRACTIONS).map("".join)


def nested(pairs: st.SearchStrategy[str], amounts: st.SearchStrategy[str]) -> st.SearchStrategy:
    """Strategy for formulas with brackets in brackets."""
    return st.recursive(
        pairs,
        lambda inner: st.tuples(
            pairs,
            st.sampled_from(["()", "[]", "{}"]),
            st.lists(inner, min_size=2, max_size=3).map("".join),
            amounts,
        ).map(lambda t: f"{t[0]}{t[1][0]}{t[2]}{t[1][1]}{t[3]}"),
        max_leaves=6,
    )


def theirs(text: str) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {str(e): n for e, n in Composition(text).as_dict().items() if n}


@settings(max_examples=200, deadline=None)
@given(nested(PAIRS, WHOLE))
def test_whole_formulas_with_brackets_are_read_as_pymatgen_reads_them(text: str) -> None:
    read = parse_formula(text)
    assume(not isinstance(read, Rejection) or read.code not in ("count", "formula"))
    assert read == theirs(text)
    counts = parse_formulas([text]).counts
    assert (parse_formulas(formulas_of(counts)).counts == counts).all()


@settings(max_examples=200, deadline=None)
@given(nested(FRACTIONAL, FRACTIONS))
def test_fractional_formulas_keep_pymatgens_ratios_or_are_turned_down(text: str) -> None:
    read = parse_formula(text, round_fractions=True)
    if isinstance(read, Rejection):
        assert read.code in ("rounding", "count", "dot", "formula")
        return
    expected = theirs(text)
    assert set(read) == set(expected)
    scale = sum(read.values()) / sum(expected.values())
    for element, amount in expected.items():
        # The smallest amount here is 0.05; two decimals move it by less than 0.01.
        assert abs(read[element] / scale - amount) <= 0.03 * amount + 0.01


@given(st.text("ABCDHIOSVabcuyn()[]0123456789.", max_size=10))
@example("Dy2O3")
@example("La0.50Sr0.50MnO3")
def test_the_short_way_reads_what_the_careful_one_does(text: str) -> None:
    assume(text.strip(".") == text and text)
    plain = plain_spelling(text)
    quick = parse_formula(text, round_fractions=True)
    careful = plain if isinstance(plain, Rejection) else parse_formula(plain, round_fractions=True)
    if isinstance(careful, Rejection):
        assert isinstance(quick, Rejection)
    else:
        assert quick == careful


@given(
    st.lists(st.sampled_from(ELEMENTS[:90]), min_size=2, max_size=4, unique=True),
    st.lists(st.integers(1, 300), min_size=4, max_size=4),
)
def test_rounding_loses_no_element_and_moves_no_amount_beyond_its_limit(
    elements: list[str], hundredths: list[int]
) -> None:
    amounts = {e: Fraction(n, 100) for e, n in zip(elements, hundredths, strict=False)}
    read = parse_formula(
        "".join(f"{e}{float(a):.2f}" for e, a in amounts.items()), round_fractions=True
    )
    if isinstance(read, Rejection):
        assert read.code in ("rounding", "count", "dot")
        return
    assert set(read) == set(amounts)
    scales = [
        s for s in range(1, 1001) if all(abs(n / s - amounts[e]) < 0.02 for e, n in read.items())
    ]
    assert any(
        all(
            abs(Fraction(n, s) - amounts[e]) < Fraction(1, 100)
            or abs(Fraction(n, s) - amounts[e]) <= MAX_CHANGE * amounts[e]
            for e, n in read.items()
        )
        for s in scales
    )


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("Y0.99Er0.01F3", "0.99 of Y would become 1"),
        ("Er0.01Y0.99F3", "0.01 of Er would become nothing"),
        ("Al2O3Cr0.002", "0.002 of Cr would become nothing"),
        ("Fe0.99O", "0.99 of Fe would become 1"),
        ("Zn0.97Mn0.03O", "0.97 of Zn would become 0.9583"),
        ("(Y0.99Ce0.01)3Al5O12", "0.99 of Y would become 1"),
        ("(Na0.7K0.3)0.01TiO2", "0.01 would become nothing"),
    ],
)
def test_a_doped_compound_is_never_taken_for_its_host(text: str, lost: str) -> None:
    why = parse_formula(text, round_fractions=True)
    assert isinstance(why, Rejection)
    assert why.code == "rounding"
    assert lost in why.sentence
    assert "another compound" in why.sentence


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("Na0.67Ni0.33Mn0.67O2", {"Na": 2, "Ni": 1, "Mn": 2, "O": 6}),
        ("La0.66Sr0.33MnO3", {"La": 2, "Sr": 1, "Mn": 3, "O": 9}),
        ("CsPb(Br0.33I0.67)3", {"Cs": 1, "Pb": 1, "Br": 1, "I": 2}),
        ("(Y0.95Ce0.05)3Al5O12", {"Y": 57, "Ce": 3, "Al": 100, "O": 240}),
        ("La0.457Sr0.543MnO3", {"La": 11, "Sr": 13, "Mn": 24, "O": 72}),
        ("CaSO4·0.5H2O", {"Ca": 2, "S": 2, "O": 9, "H": 2}),
        ("CaSO4.½H2O", {"Ca": 2, "S": 2, "O": 9, "H": 2}),
        ("Na2.0S1.0O4.0", {"Na": 2, "S": 1, "O": 4}),
        ("La1.0Sr0.0MnO3", {"La": 1, "Mn": 1, "O": 3}),
    ],
)
def test_amounts_become_the_ratio_they_stand_for(text: str, amounts: dict[str, int]) -> None:
    assert parse_formula(text, round_fractions=True) == amounts


def test_the_guide_names_the_limits_of_rounding() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "data.md").read_text()
    assert f"denominators up to {MAX_DENOMINATOR}" in guide
    assert f"{float(MAX_CHANGE):.1%}".replace("%", " %") in guide
