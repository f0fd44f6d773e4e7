from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from structure.properties.target import Target, Targets


def test_an_open_window_wants_the_widest_gap() -> None:
    gaps = Target(property="band_gap", minimum=5.0)
    np.testing.assert_array_equal(gaps.contains(np.array([4.9, 5.0, 9.0])), [False, True, True])
    assert gaps.utility(np.array([9.0])) > gaps.utility(np.array([5.0]))
    assert gaps.words() == "5 eV and wider"


def test_below_a_maximum_the_smallest_comes_first() -> None:
    gaps = Target(property="band_gap", maximum=2.0)
    np.testing.assert_array_equal(gaps.contains(np.array([1.0, 2.0, 2.1])), [True, True, False])
    assert gaps.utility(np.array([0.5])) > gaps.utility(np.array([1.5]))


@given(st.floats(0, 12))
def test_a_closed_window_wants_its_centre(gap: float) -> None:
    gaps = Target(property="band_gap", minimum=2.0, maximum=4.0)
    assert gaps.utility(np.array([gap]))[0] <= gaps.utility(np.array([3.0]))[0]
    assert gaps.contains(np.array([gap]))[0] == (2.0 <= gap <= 4.0)


@given(st.floats(0, 30), st.floats(0, 30), st.sampled_from(["maximise", "minimise"]))
def test_a_direction_orders_all_values(one: float, other: float, way: str) -> None:
    target = Target(property="band_gap", direction=way)
    assert target.contains(np.array([one, other])).all()
    worth = target.utility(np.array([one, other]))
    assert (worth[0] > worth[1]) == (one > other if way == "maximise" else one < other)


def test_no_value_lies_in_no_window() -> None:
    assert not Target(property="band_gap", minimum=1.0).contains(np.array([np.nan]))[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"property": "band_gpa", "minimum": 1}, "did you mean 'band_gap'"),
        ({"property": "band_gap"}, "say what of band_gap"),
        ({"property": "band_gap", "minimum": -1}, "-1 is no band gap: it lies from 0 to 30 eV"),
        ({"property": "band_gap", "minimum": 5, "maximum": 3}, "maximum must lie above minimum"),
        ({"property": "band_gap", "minimum": 5, "unit": "meV"}, "band_gap is in eV here, not meV"),
        ({"property": "band_gap", "minimum": float("nan")}, "finite"),
    ],
)
def test_a_target_that_cannot_be_says_why(words: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Target.model_validate(words)


def test_targets_travel_to_a_worker() -> None:
    targets = Targets()
    assert targets.first.sought.column == "band_gap_eV"
    assert pickle.loads(pickle.dumps(targets)) == targets
