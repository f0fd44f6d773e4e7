"""Our own generators, property models and oracles keep the contracts that those of others must."""

from __future__ import annotations

import numpy as np
import pytest

from models.compositions.generator import load_generator
from models.pretrained import shipped
from models.properties.boosting import BoostingConfig, BoostingModel
from models.properties.forest import ForestConfig, ForestModel
from models.properties.prediction import PropertyModel, load_property_model
from models.registry import (
    OUR_GENERATORS,
    OUR_PROPERTY_MODELS,
    generator_class,
    property_model_class,
)
from structure.composition import parse_formulas
from tasks.oracles.ml import MLOracle
from tasks.oracles.table import TableOracle
from tests.contracts import generator, oracle, property_model

SALTS = parse_formulas([f"{a}{n}{b}" for a in ("Na", "Mg", "Al", "Ti", "Ga") for n in "12345"
                        for b in ("Cl", "O", "F")]).counts  # fmt: skip


@pytest.fixture(scope="module", params=sorted(OUR_PROPERTY_MODELS))
def model(request) -> PropertyModel:
    values = SALTS.sum(axis=1) % 7 / 2.0
    if request.param == "boosting":
        config = BoostingConfig(trees=5, leaves=4, error_trees=3, error_leaves=3, folds=2)
        return BoostingModel.fit(SALTS, values, config, seed=1)
    return ForestModel.fit(SALTS, values, ForestConfig(trees=10), seed=1)


@pytest.mark.parametrize("name", sorted(OUR_GENERATORS))
def test_a_shipped_generator_keeps_the_contract(name):
    made = load_generator(shipped(name))
    assert isinstance(made, generator_class(name))
    generator.keeps_the_contract(made)


def test_a_fitted_property_model_keeps_the_contract(model):
    property_model.keeps_the_contract(model)


def test_a_saved_property_model_comes_back_as_its_kind_and_serves_as_oracle(model, tmp_path):
    values = np.zeros(len(SALTS))
    model.save(tmp_path, trained_on="salts", counts=SALTS, values=values, seed=1, card="# Card")
    loaded = load_property_model(tmp_path)
    assert isinstance(loaded, property_model_class(model.kind))
    oracle.keeps_the_contract(MLOracle(loaded, "salts"))


def test_a_table_keeps_the_contract_of_oracles():
    known = parse_formulas(["NaCl", "MgO"])
    oracle.keeps_the_contract(TableOracle(known.counts, np.array([5.0, 4.5]), "two"))
