from __future__ import annotations

import numpy as np
import pytest

from models.compositions.composition_model import validation_split
from structure.composition import counts_from
from structure.errors import ModelError


def test_a_validation_split_loses_no_composition_and_is_the_same_for_the_same_seed() -> None:
    counts = counts_from([{"Na": 1, "Cl": n} for n in range(1, 41)])
    training, validation = validation_split(counts, 0.1, seed=3)
    assert len(validation) == 4
    both = np.concatenate([training, validation])
    np.testing.assert_array_equal(np.unique(both, axis=0), np.unique(counts, axis=0))
    assert len(both) == len(counts)
    np.testing.assert_array_equal(validation, validation_split(counts, 0.1, seed=3)[1])
    assert (validation != validation_split(counts, 0.1, seed=4)[1]).any()


def test_at_least_one_composition_judges_and_one_teaches() -> None:
    pair = counts_from([{"Na": 1, "Cl": 1}, {"K": 1, "F": 1}])
    assert [len(part) for part in validation_split(pair, 0.01, seed=0)] == [1, 1]
    with pytest.raises(ModelError, match="nothing to train on"):
        validation_split(pair[:1], 0.01, seed=0)
