from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fitting.checkpoints import WEIGHTS_NAME
from models.properties.boosting import BoostingConfig, BoostingModel, Calibration
from models.properties.metrics import coverage, regression_metrics
from structure.composition import parse_formulas
from structure.elements import INDEX
from structure.errors import ModelError

SMALL = BoostingConfig(
    trees=60, leaves=7, learning_rate=0.1, min_rows=3, error_trees=20, error_leaves=4
)
CATIONS = "Li Na K Rb Cs Mg Ca Sr Ba Sc Y La Ti Zr Hf V Nb Ta Zn Cd Al Ga In Si Ge Sn".split()
ANIONS = "F Cl Br I O S Se Te N P".split()


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    """Invented gaps: wide for light anions, and noisier the wider they are."""
    formulas = [f"{c}{n}{a}{m}" for c in CATIONS for a in ANIONS for n in (1, 2) for m in (1, 3)]
    counts = parse_formulas(formulas).counts
    share = counts / counts.sum(axis=1, keepdims=True)
    weight = np.linspace(4.0, 0.5, len(ANIONS))
    gap = share[:, [INDEX[a] for a in ANIONS]] @ weight * 2
    noise = np.random.default_rng(0).normal(size=len(gap)) * 0.1 * gap
    return counts, np.maximum(gap + noise, 0.0)


@pytest.fixture(scope="module")
def fitted(table: tuple[np.ndarray, np.ndarray]) -> BoostingModel:
    return BoostingModel.fit(*table, SMALL, seed=3)


def test_it_learns_and_says_so_from_rows_it_did_not_see(
    fitted: BoostingModel, table: tuple[np.ndarray, np.ndarray]
) -> None:
    assert fitted.metrics["r2"] > 0.8
    seen = regression_metrics(table[1], fitted.predict(table[0]).mean)
    assert seen["mae"] < fitted.metrics["mae"]


def test_uncertainties_are_calibrated_and_wider_where_errors_are(
    fitted: BoostingModel, table: tuple[np.ndarray, np.ndarray]
) -> None:
    assert 0.6 < fitted.metrics["within_1_sigma"] < 0.8
    sigma = fitted.predict(table[0]).sigma
    wide = table[1] > np.median(table[1])
    assert sigma[wide].mean() > 1.3 * sigma[~wide].mean()


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(
    table: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    counts, values = table
    written = {
        name: BoostingModel.fit(counts, values, SMALL, seed=seed)
        .save(tmp_path / name, trained_on="t", counts=counts, values=values, seed=0, card="c")
        .sha256
        for name, seed in (("one", 5), ("again", 5), ("other", 6))
    }
    assert written["one"] == written["again"] != written["other"]


def test_predictions_stop_at_the_physical_bound(
    table: tuple[np.ndarray, np.ndarray],
) -> None:
    counts, values = table
    free = SMALL.model_copy(update={"minimum": None})
    lowered = values - values.mean()
    assert BoostingModel.fit(counts, lowered, free, seed=0).predict(counts).mean.min() < 0
    assert BoostingModel.fit(counts, lowered, SMALL, seed=0).predict(counts).mean.min() == 0


def test_a_composition_without_descriptors_has_no_prediction_and_spoils_no_other(
    fitted: BoostingModel,
) -> None:
    mean, sigma = fitted.predict(parse_formulas(["NaCl", "Cf2O3"]).counts)
    assert np.isfinite([mean[0], sigma[0]]).all()
    assert np.isnan([mean[1], sigma[1]]).all()


def test_no_rows_give_no_predictions(fitted: BoostingModel) -> None:
    assert fitted.predict(np.zeros((0, 103), np.int16)).mean.shape == (0,)


def test_changed_weights_are_refused(
    fitted: BoostingModel, table: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    counts, values = table
    fitted.save(tmp_path, trained_on="t", counts=counts, values=values, seed=3, card="card")
    weights = tmp_path / WEIGHTS_NAME
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="not the ones that"):
        BoostingModel.load(tmp_path)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.2, 5.0))
def test_a_calibration_covers_as_many_errors_as_it_promises(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.uniform(0.1, 1.0, 2000)
    errors = np.abs(rng.normal(size=2000)) * factor * expected
    sigma = Calibration.fit(expected, errors).sigma(expected, 1e-6)
    assert abs(coverage(errors, np.zeros(2000), sigma)["within_1_sigma"] - 0.683) < 0.03
