from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.report.contents import pareto_front


def test_only_what_nothing_beats_is_on_the_front() -> None:
    worth = np.array([[1.0, 5.0], [3.0, 3.0], [2.0, 2.0], [5.0, 1.0], [5.0, 1.0]])
    assert pareto_front(worth).tolist() == [True, True, False, True, True]


@given(arrays(np.float64, (12, 2), elements=st.floats(-5, 5)))
def test_every_other_candidate_is_beaten_by_one_on_the_front(worth: np.ndarray) -> None:
    front = pareto_front(worth)
    assert front.any()
    for row in worth[~front]:
        beats = (worth[front] >= row).all(axis=1) & (worth[front] > row).any(axis=1)
        assert beats.any()
