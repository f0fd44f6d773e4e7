from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.fitting.checkpoints import load_model_folder, save_model_folder
from models.properties.boosting import BoostingConfig, BoostingModel
from models.properties.descriptor_model import DescriptorModel
from models.properties.forest import ForestConfig, ForestModel
from models.properties.prediction import load_property_model
from structure.composition import counts_from
from structure.errors import ModelError

COUNTS = counts_from([{"Na": 1, "Cl": n, "O": m} for n in range(1, 6) for m in range(1, 6)])
VALUES = COUNTS.max(axis=1).astype(np.float64)


@pytest.fixture(scope="module", params=[BoostingModel, ForestModel])
def fitted(request: pytest.FixtureRequest) -> DescriptorModel:
    if request.param is BoostingModel:
        return BoostingModel.fit(
            COUNTS, VALUES, BoostingConfig(trees=3, error_trees=3, folds=2), seed=0
        )
    return ForestModel.fit(COUNTS, VALUES, ForestConfig(trees=5), seed=0)


def test_a_saved_model_gives_the_same_numbers_to_the_last_bit(fitted: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path, trained_on="t", counts=COUNTS, values=VALUES, seed=3, card="card")
    before, after = fitted.predict(COUNTS), load_property_model(tmp_path).predict(COUNTS)
    assert np.array_equal(before.mean, after.mean)
    assert np.array_equal(before.sigma, after.sigma)


def test_too_few_labels_are_refused_with_their_number(fitted: Any) -> None:
    with pytest.raises(ModelError, match="19 labelled compositions are too few"):
        type(fitted).fit(COUNTS[:19], VALUES[:19], seed=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"descriptors": 7}, "it reads 7 descriptors, not 256"),
        ({"config": {"nonsense": 1}}, "nonsense"),
    ],
)
def test_a_folder_of_another_release_is_refused_with_the_reason(
    fitted: Any, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    fitted.save(tmp_path, trained_on="t", counts=COUNTS, values=VALUES, seed=0, card="card")
    arrays, saved = load_model_folder(tmp_path, fitted.kind)
    settings = saved.settings | change
    save_model_folder(tmp_path, arrays, saved.model_copy(update={"settings": settings}), "card")
    with pytest.raises(ModelError, match="another release") as refused:
        type(fitted).load(tmp_path)
    assert reason in str(refused.value)
