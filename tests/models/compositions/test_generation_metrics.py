from __future__ import annotations

import numpy as np
import pytest

from models.compositions.generation_metrics import element_histogram, generation_metrics, probe_of
from structure.composition import counts_from

TRAINING = counts_from([{"Na": 1, "Cl": 1}, {"Mg": 1, "Cl": 2}, {"K": 1, "Cl": 1}])
HELD_OUT = counts_from([{"Na": 1, "F": 1}, {"Li": 1, "F": 1}])


def drawn() -> np.ndarray:
    rows = counts_from(
        [
            {"Na": 1, "Cl": 1},
            {"Na": 1, "Cl": 1},
            {"Na": 1, "F": 1},
            {"Ca": 1, "F": 2},
            {"Ca": 1, "F": 5},
            {"Ca": 1},
            {},
            {"Mg": 1, "Cl": 2},
        ]
    )
    rows[1] *= 2
    return rows


def test_every_share_counts_what_it_says() -> None:
    m = generation_metrics(drawn(), TRAINING, HELD_OUT, np.random.default_rng(0))
    assert m["empty"] == 1 / 8
    assert m["strict"] == 5 / 8
    assert m["distinct"] == 5
    assert m["novel"] == pytest.approx(2 / 5)
    assert m["novel_strict"] == pytest.approx(1 / 2)
    assert m["recovered_training"] == pytest.approx(2 / 3)
    assert m["recovered_held_out"] == pytest.approx(1 / 2)
    assert m["elements_2"] == 6 / 8
    assert m["training_strict"] == 1.0
    assert "unique_20000" not in m


def test_a_probe_is_better_for_distinct_valid_draws_with_the_datas_number_of_elements() -> None:
    histogram = element_histogram(TRAINING)
    assert histogram[2] == 1.0
    good = probe_of(np.concatenate([TRAINING, HELD_OUT]), histogram)
    assert good == {"valid": 1.0, "distinct_valid": 1.0, "histogram_distance": 0.0, "score": 1.0}
    repeated = probe_of(np.repeat(TRAINING[:1], 10, axis=0), histogram)
    assert repeated["distinct_valid"] == pytest.approx(0.1)
    mixed = probe_of(drawn(), histogram)
    assert mixed["histogram_distance"] == pytest.approx(2 / 8)
    assert mixed["score"] == pytest.approx(4 / 8 - 2 / 8)
