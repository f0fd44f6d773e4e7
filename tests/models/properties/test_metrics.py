from __future__ import annotations

import numpy as np
import pytest

from models.properties.metrics import coverage, regression_metrics, sign_metrics


def test_the_mean_has_no_skill_and_the_truth_has_all() -> None:
    truth = np.array([1.0, 2.0, 6.0])
    assert regression_metrics(truth, np.full(3, 3.0))["r2"] == pytest.approx(0.0)
    perfect = regression_metrics(truth, truth)
    assert (perfect["r2"], perfect["mae"], perfect["rmse"]) == (1.0, 0.0, 0.0)


def test_errors_are_measured_in_the_unit_of_the_values() -> None:
    metrics = regression_metrics(np.array([0.0, 0.0]), np.array([3.0, -4.0]))
    assert metrics["mae"] == 3.5
    assert metrics["rmse"] == pytest.approx(12.5**0.5)


def test_coverage_counts_errors_within_one_and_two_uncertainties() -> None:
    found = coverage(np.zeros(4), np.array([0.5, 1.5, 2.5, 0.1]), np.ones(4))
    assert (found["within_1_sigma"], found["within_2_sigma"]) == (0.5, 0.75)


def test_always_answering_negative_has_the_base_rate_and_catches_nothing() -> None:
    truth = np.array([-1.0, -2.0, -0.1, 0.3])
    always = sign_metrics(truth, np.full(4, -1.0))
    assert always == {"sign_accuracy": 0.75, "base_rate": 0.75, "positives_caught": 0.0}
    assert sign_metrics(truth, truth)["positives_caught"] == 1.0
