from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structure.composition import parse_formula
from structure.elements import ELEMENTS
from structure.errors import Rejection
from structure.formulas.spelling import plain_spelling

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
WIDE = {ord(c): ord(c) + 0xFEE0 for c in "()0123456789" + "".join(map(chr, range(65, 123)))}
AMOUNTS = st.dictionaries(
    st.sampled_from(ELEMENTS[:90]), st.integers(1, 99), min_size=1, max_size=5
)


def written(amounts: dict[str, int], style: str = "{}{}") -> str:
    return "".join(style.format(e, "" if n == 1 else n) for e, n in amounts.items())


@given(AMOUNTS)
def test_a_formula_reads_back_from_every_typography(amounts: dict[str, int]) -> None:
    plain = written(amounts)
    latex = "".join(f"{e}$_{{{n}}}$" for e, n in amounts.items())
    tagged = "".join(f"{e}<sub>{n}</sub>" for e, n in amounts.items())
    for text in (
        plain.translate(SUBSCRIPTS),
        plain.translate(WIDE),
        latex,
        tagged,
        f"$\\mathrm{{{latex.replace('$', '')}}}$",
        f"\u00a0{plain}\u200b. ",
        f'"{plain}",',
        f"Formula: {plain}",
        f"[{plain}]",
        " ".join(f"{e}{n}" for e, n in amounts.items()),
    ):
        assert parse_formula(text) == amounts, text


@pytest.mark.parametrize("dot", "·•⋅∙・‧*×")
@pytest.mark.parametrize("gap", ["", " ", "\u00a0"])
def test_every_middle_dot_parts_compounds(dot: str, gap: str) -> None:
    read = parse_formula(f"CuSO4{gap}{dot}{gap}5{gap}H2O")
    assert read == {"Cu": 1, "S": 1, "O": 9, "H": 10}


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("3CaO·Al2O3", {"Ca": 3, "O": 6, "Al": 2}),
        ("2H2O", {"H": 4, "O": 2}),
        ("CuSO₄.5H₂O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4,5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4 x 5 H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("NaCl 2H2O", {"Na": 1, "Cl": 1, "H": 4, "O": 2}),
        ("CuSO4&middot;5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("[NH4]2SO4", {"N": 2, "H": 8, "S": 1, "O": 4}),
        ("{K4}[Fe(CN)6]", {"K": 4, "Fe": 1, "C": 6, "N": 6}),
        ("Fe 2 O 3", {"Fe": 2, "O": 3}),
        ("Ca (OH)2", {"Ca": 1, "O": 2, "H": 2}),
        ("(La0.5,Sr0.5)2O4", {"La": 1, "Sr": 1, "O": 4}),
        ("(Fe0,5Mn0,5)2O3", {"Fe": 1, "Mn": 1, "O": 3}),
        ("NaCl*", {"Na": 1, "Cl": 1}),
        ("MgCl2.", {"Mg": 1, "Cl": 2}),
        ("Fe_2O_3", {"Fe": 2, "O": 3}),
    ],
)
def test_spellings_of_papers_and_spreadsheets_are_read(text: str, amounts: dict[str, int]) -> None:
    assert parse_formula(text, round_fractions=True) == amounts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Na+", "a charge"),
        ("SO4^2-", "a charge"),
        ("SO₄²⁻", "'²' is a charge"),
        ("[Fe(CN)6]4-", "a charge"),
        ("⁷Li2O", "an isotope"),
        ("Fe(III)2O3", "an oxidation state"),
        ("Ti(IV)O2", "an oxidation state"),
        ("TiO2(B)", "a phase's name"),
        ("TiO2 B", "a phase's name"),
        ("ZrO2 II", "a phase's name"),
        ("TiO2 (N-doped)", "write one formula"),
        ("Fe-doped TiO2", "without dopants"),
        ("TiO2:Fe", "without dopants"),
        ("LiFePO4/C", "write one formula"),
        ("CaO-SiO2", "write one formula"),
        ("Pb(Zr,Ti)O3", "share a site"),
        ("La1-xSrxMnO3", "is no number"),
        ("YBa2Cu3O7-δ", "is no number"),
        ("CuSO4·nH2O", "'n' in it is no number"),
        ("SiOx", "is no number"),
        ("Si02", "a zero seems to stand for the letter O"),
        ("MgAl204", "a zero seems to stand for the letter O"),
        ("2-Feb", "a spreadsheet made a date"),
        ("Mar-02", "a spreadsheet made a date"),
        ("SiC 4H", "the blank before '4H'"),
        ("CuSO4 5Na2SO4", "the blank before '5Na2SO4'"),
        ("SiC a", "write the formula alone"),
        ("NaCl (s)", "write the formula alone"),
        ("MgCl_2", "write one formula"),
        ("SiO(2)", "without an element"),
        ("CuSO4·", "misplaced dot"),
        ("1/0CaO", "write one formula"),
        ("x" * 5000, "5,000 characters"),
        ("Na" + "9" * 5000, "characters"),
        ("Na" + "1" * 250 + "x", "is no number"),
        ("(Na" * 90, "is never closed"),
    ],
)
def test_what_can_be_another_compound_is_refused_with_the_reason(text: str, sentence: str) -> None:
    why = parse_formula(text, round_fractions=True)
    assert isinstance(why, Rejection)
    assert sentence in why.sentence
    assert len(why.sentence) < 300


@given(st.text(max_size=12), AMOUNTS)
def test_spelling_never_fails_and_is_settled_after_once(text: str, amounts: dict[str, int]) -> None:
    for given_text in (text, written(amounts) + text, text + written(amounts)):
        plain = plain_spelling(given_text) if given_text.strip() else ""
        if isinstance(plain, str) and plain:
            assert plain_spelling(plain) == plain
