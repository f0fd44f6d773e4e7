from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from structure.composition import (
    N_ELEMENTS,
    anonymous_formulas,
    counts_from,
    counts_of,
    first_of_each,
    formulas_of,
    fractions_of,
    keys_of,
    parse_formula,
    parse_formulas,
    reduce,
)
from structure.elements import ELEMENTS, INDEX
from structure.errors import DataError, Rejection

COUNTS = arrays(
    np.int16,
    st.tuples(st.integers(0, 6), st.just(N_ELEMENTS)),
    elements=st.sampled_from([0] * 30 + [1, 2, 3, 4, 6, 12, 40]),
)
# Pieces of formulas, good and bad, that hypothesis strings together.
PIECES = st.sampled_from(
    [*ELEMENTS[:40], *"DTq()[]·02 \né٣", *"Xx 12 1001 00 .5 (OH)2 (SO4)3 (IV) (V) (B) 204".split()]
)
TEXTS = st.lists(PIECES, max_size=7).map("".join)


def slowly(formulas: list[object]) -> tuple[list[tuple[int, dict[str, int]]], list[int]]:
    """Parse one by one, as (position, amounts), and list the rejected positions."""
    parsed = [parse_formula(f) for f in formulas]
    good = [(i, p) for i, p in enumerate(parsed) if not isinstance(p, Rejection)]
    return good, [i for i, p in enumerate(parsed) if isinstance(p, Rejection)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(TEXTS, st.none(), st.floats()), max_size=8))
def test_many_formulas_at_once_parse_as_they_do_one_by_one(formulas: list[object]) -> None:
    together = parse_formulas(formulas)
    good, bad = slowly(formulas)
    assert together.rows.tolist() == [i for i, _ in good]
    assert [i for i, _, _ in together.rejections] == bad
    assert (together.counts == counts_from([p for _, p in good])).all()
    assert together.cell_max.tolist() == [max(p.values()) for _, p in good]
    assert together.cell_atoms.tolist() == [sum(p.values()) for _, p in good]


@settings(deadline=None)
@given(COUNTS)
def test_writing_and_parsing_are_inverse(counts: np.ndarray) -> None:
    reduced = reduce(counts[counts.any(axis=1)])
    back = parse_formulas(formulas_of(reduced))
    assert not back.rejections
    assert (back.counts == reduced).all()


@settings(deadline=None)
@given(COUNTS, st.integers(1, 9))
def test_reducing_undoes_multiplication(counts: np.ndarray, factor: int) -> None:
    reduced = reduce(counts)
    assert (reduce(reduced * np.int16(factor)) == reduced).all()
    assert ((reduced > 0) == (counts > 0)).all()


@settings(deadline=None)
@given(COUNTS, st.randoms(use_true_random=False))
def test_anonymous_formulas_do_not_depend_on_the_elements(counts: np.ndarray, random) -> None:
    order = list(range(N_ELEMENTS))
    random.shuffle(order)
    assert anonymous_formulas(counts) == anonymous_formulas(counts[:, order])


@settings(deadline=None)
@given(COUNTS)
def test_keys_agree_exactly_where_compositions_do(counts: np.ndarray) -> None:
    keys = keys_of(counts)
    same = (counts[:, None] == counts[None]).all(axis=2)
    assert ((keys[:, None] == keys[None]) == same).all()


@settings(deadline=None)
@given(COUNTS)
def test_fractions_add_up_to_one_where_there_are_atoms(counts: np.ndarray) -> None:
    assert np.allclose(fractions_of(counts).sum(axis=1), counts.any(axis=1))


@pytest.mark.parametrize(
    ("formula", "amounts"),
    [
        ("Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}),
        ("K4Mn4O8", {"K": 4, "Mn": 4, "O": 8}),
        ("CuSO4·5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("K[Fe(CN)6]", {"K": 1, "Fe": 1, "C": 6, "N": 6}),
        ("D2O", {"H": 2, "O": 1}),
        (" Na Cl ", {"Na": 1, "Cl": 1}),
        ("CH3CH2OH", {"C": 2, "H": 6, "O": 1}),
        ("(Na2O)500", {"Na": 1000, "O": 500}),
    ],
)
def test_a_formula_parses_into_whole_atoms(formula: str, amounts: dict[str, int]) -> None:
    assert parse_formula(formula) == amounts
    assert (parse_formulas([formula]).counts == counts_from([amounts])).all()


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        ("", "empty"),
        ("Na0", "empty"),
        (None, "formula"),
        (float("nan"), "formula"),
        ("2-Feb", "formula"),
        ("naCl", "formula"),
        ("Na(Cl", "formula"),
        ("(Na]", "formula"),
        ("Xx2O", "element"),
        ("RfO2", "element"),
        ("Fe0.95O", "fractional"),
        ("Na1001Cl", "count"),
        ("(Na2O)501", "count"),
    ],
)
def test_a_formula_that_does_not_parse_keeps_its_reason(formula: object, code: str) -> None:
    (row, text, why) = parse_formulas(["NaCl", formula]).rejections[0]
    assert (row, text, why.code) == (1, str(formula), code)
    assert why.sentence


def test_fractions_become_ratios_only_when_asked() -> None:
    assert parse_formula("Fe0.95O", round_fractions=True) == {"Fe": 19, "O": 20}
    assert parse_formula("La0.5Sr0.5MnO3", round_fractions=True) == {
        "La": 1,
        "Sr": 1,
        "Mn": 2,
        "O": 6,
    }


def test_the_written_cell_is_remembered_after_reduction() -> None:
    parsed = parse_formulas(["K4Mn4O8", "NaCl"])
    assert parsed.cell_max.tolist() == [8, 1]
    assert parsed.cell_atoms.tolist() == [16, 2]
    assert formulas_of(parsed.counts) == ["KMnO2", "NaCl"]


def test_elements_are_written_by_rising_electronegativity() -> None:
    written = formulas_of(parse_formulas(["F5YSr", "ClNa", "O4Fe3", "O3TiSr"]).counts)
    assert written == ["SrYF5", "NaCl", "Fe3O4", "SrTiO3"]


def test_a_row_without_atoms_is_written_as_nothing() -> None:
    counts = np.zeros((3, N_ELEMENTS), dtype=np.int16)
    counts[1, INDEX["C"]] = 60
    assert formulas_of(counts) == ["", "C60", ""]
    assert anonymous_formulas(counts) == ["", "A60", ""]


def test_empty_input_gives_empty_output() -> None:
    parsed = parse_formulas([])
    assert parsed.counts.shape == (0, N_ELEMENTS)
    assert formulas_of(parsed.counts) == []
    assert anonymous_formulas(parsed.counts) == []


def test_a_single_bad_formula_raises_with_its_reason() -> None:
    with pytest.raises(DataError, match="unknown element 'Xx'"):
        counts_of("Xx2")


def test_the_first_of_equal_rows_is_kept_in_order() -> None:
    keys = np.array([7, 3, 7, 9, 3], dtype=np.uint64)
    assert first_of_each(keys).tolist() == [0, 1, 3]


@pytest.mark.data
def test_every_formula_of_the_materials_project_survives_a_round_trip(data_dir: Path) -> None:
    with gzip.open(data_dir / "mp_formulas_2024.csv.gz", "rt") as handle:
        formulas = [row["formula"] for row in csv.DictReader(handle)]
    parsed = parse_formulas(formulas)
    assert not parsed.rejections
    assert (parse_formulas(formulas_of(parsed.counts)).counts == parsed.counts).all()
    assert len(np.unique(keys_of(parsed.counts))) == len(np.unique(parsed.counts, axis=0))
