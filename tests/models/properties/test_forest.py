from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from models.properties.forest import ForestConfig, ForestModel
from structure.composition import parse_formulas

SMALL = ForestConfig(trees=25)


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    formulas = [
        f"{c}{n}{a}{m}"
        for c in "Li Na K Mg Ca Sr Sc Y Ti Zr Zn Al".split()
        for a in "F Cl Br O S N".split()
        for n in (1, 2)
        for m in (1, 3)
    ]
    counts = parse_formulas(formulas).counts
    rng = np.random.default_rng(0)
    return counts, 4.0 * (counts[:, 8] > 0) + counts[:, 7] + rng.uniform(0, 0.3, len(counts))


@pytest.fixture(scope="module")
def fitted(table: tuple[np.ndarray, np.ndarray]) -> ForestModel:
    return ForestModel.fit(*table, SMALL, seed=3)


def test_plain_arrays_predict_exactly_as_scikit_learn(
    fitted: ForestModel, table: tuple[np.ndarray, np.ndarray]
) -> None:
    inputs = SMALL.inputs(table[0])
    forest = RandomForestRegressor(25, max_features=1 / 3, random_state=3).fit(inputs, table[1])
    assert np.array_equal(fitted.predict(table[0]).mean, forest.predict(inputs))


def test_out_of_bag_errors_are_larger_than_those_on_rows_it_saw(
    fitted: ForestModel, table: tuple[np.ndarray, np.ndarray]
) -> None:
    seen = np.abs(fitted.predict(table[0]).mean - table[1]).mean()
    assert fitted.metrics["mae"] > seen
    assert fitted.metrics["within_1_sigma"] == pytest.approx(0.683, abs=0.05)


def test_the_trees_disagree_more_about_compounds_unlike_those_they_saw(
    fitted: ForestModel, table: tuple[np.ndarray, np.ndarray]
) -> None:
    strange = parse_formulas(["UFO", "BaFN", "CsPbO2F", "Th2FOS"]).counts
    assert fitted.predict(strange).sigma.mean() > fitted.predict(table[0]).sigma.mean()


def test_the_papers_forest_reads_the_magpie_features_alone(
    table: tuple[np.ndarray, np.ndarray],
) -> None:
    assert ForestConfig(magpie_only=True).inputs(table[0]).shape[1] == 132


def test_a_composition_without_descriptors_has_no_prediction(fitted: ForestModel) -> None:
    mean, sigma = fitted.predict(parse_formulas(["NaCl", "Es2O3"]).counts)
    assert np.isfinite([mean[0], sigma[0]]).all()
    assert np.isnan([mean[1], sigma[1]]).all()
