from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structure.sources.numbers import to_numbers

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(FINITE))
def test_what_was_written_as_a_number_reads_back(values: list[float]) -> None:
    for written in (
        [repr(v) for v in values],
        [f" {v!r}\u00a0" for v in values],
        [repr(v).replace("-", "−") for v in values],
        values,
        [np.float64(v) for v in values],
    ):
        numbers, bad = to_numbers(written)
        assert numbers.tolist() == values
        assert not bad


@given(st.lists(st.floats(0, 1e4).map(lambda v: f"{v:.2f}"), min_size=1))
def test_a_column_of_decimal_commas_reads_as_one_of_points(values: list[str]) -> None:
    numbers, bad = to_numbers([v.replace(".", ",") for v in values])
    assert numbers.tolist() == [float(v) for v in values]
    assert not bad


@given(st.one_of(st.text(max_size=8), st.text("0123456789.,-−_eE ", max_size=8)))
def test_whatever_is_read_as_a_number_is_written_as_one(text: str) -> None:
    numbers, bad = to_numbers([text])
    if np.isfinite(numbers[0]):
        plain = text.strip().replace(",", ".").translate(str.maketrans("−–—‒‐", "-----"))
        assert numbers[0] == float(plain)
        assert "_" not in text
        assert not bad


@pytest.mark.parametrize(
    "mark", ["", " ", "-", "–", "—", "…", "n.a.", "N/A", "#N/A", "NaN", "?", None]
)
def test_marks_for_a_missing_number_are_no_mistake(mark: str | None) -> None:
    numbers, bad = to_numbers([mark, float("nan")])
    assert np.isnan(numbers).all()
    assert not bad


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("1_2", "not a number"),
        (True, "not a number"),
        (np.True_, "not a number"),
        (b"5.0", "not a number"),
        ([5.0], "not a number"),
        ("0x10", "not a number"),
        ("１２", "not a number"),
        ("5.0 eV", "without unit"),
        ("1.25(3)", "without unit, uncertainty"),
        ("1.2 ± 0.1", "uncertainty"),
        ("<0.1", "not a number"),
        ("1 234", "thousands separator"),
        ("1,234", "can be 1.234 or 1234"),
        ("1,234.5", "not a number"),
        ("metal", "not a number"),
        ("inf", "not finite"),
        ("1e400", "not finite"),
        (10**400, "not finite"),
        (Decimal("Infinity"), "not finite"),
    ],
)
def test_what_is_no_number_keeps_its_reason(value: object, why: str) -> None:
    numbers, bad = to_numbers(["1.5", value])
    assert numbers[0] == 1.5
    assert np.isnan(numbers[1])
    assert bad[1].code == "value"
    assert why in bad[1].sentence


def test_a_comma_before_three_digits_is_read_only_where_others_show_what_it_means() -> None:
    assert to_numbers(["0,5", "1,234"])[0].tolist() == [0.5, 1.234]
    for column in (["1,234", "5,010"], ["1.5", "1,234"], ["5.0", "5,1", "1,234"]):
        numbers, bad = to_numbers(column)
        assert np.isnan(numbers[-1])
        assert len(column) - 1 in bad


def test_a_point_before_three_digits_is_not_read_where_commas_are_decimal() -> None:
    numbers, bad = to_numbers(["0,5", "1.234"])
    assert numbers[0] == 0.5
    assert "can be 1.234 or 1234" in bad[1].sentence
