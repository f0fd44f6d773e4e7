"""Gradient boosting from composition to a property: the machine-learning oracle of the pipeline.

In: reduced ``counts (n, 103)`` and values. Out: means with uncertainties. One LightGBM model gives
the mean; a second, fitted on the errors of a cross-validation of the first, says how large the
error of each prediction is likely to be. AGD's own oracle is Roost (sec. 2.1); why this one is not,
and what it is worth: ``docs/decisions/property-models.md``, ``docs/results/oracle.md``.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from models.fitting.checkpoints import load_model_folder
from models.properties.descriptor_model import (
    ONE_SIGMA,
    DescriptorModel,
    of_this_release,
    refuse_few,
)
from models.properties.descriptors import descriptors
from models.properties.metrics import coverage, regression_metrics
from models.properties.prediction import Prediction
from structure.records import Settings

if TYPE_CHECKING:
    import lightgbm

_DROPPED = (
    "split_gain=",
    "leaf_weight=",
    "leaf_count=",
    "internal_value=",
    "internal_weight=",
    "internal_count=",
    "tree_sizes=",
)
_BATCH = 50_000
_BINS = 10
Report = Callable[[float, str], None]


class BoostingConfig(Settings):
    """Size and rates of the two models; all chosen."""

    trees: int = Field(default=800, gt=0)
    """Trees of the mean model."""
    leaves: int = Field(default=191, gt=1)
    """Leaves of each tree of the mean model."""
    learning_rate: float = Field(default=0.04, gt=0, le=1)
    """What each tree's answer is shrunk by."""
    columns: float = Field(default=0.35, gt=0, le=1)
    """Share of the descriptors that a tree sees."""
    rows: float = Field(default=0.8, gt=0, le=1)
    """Share of the rows that a tree sees."""
    reg_lambda: float = Field(default=1.0, ge=0)
    """L2 penalty on the answers of leaves."""
    min_rows: int = Field(default=10, gt=0)
    """Fewest rows in a leaf."""
    error_trees: int = Field(default=150, gt=0)
    """Trees of the error model."""
    error_leaves: int = Field(default=31, gt=1)
    """Leaves of each tree of the error model."""
    folds: int = Field(default=4, gt=1)
    """Parts of the cross-validation whose errors the error model learns."""
    minimum: float | None = 0.0
    """Physical lower bound of the property: lower predictions are raised to it."""
    error_floor: float = Field(default=0.02, gt=0)
    """Smallest uncertainty, in the unit of the property."""
    threads: int = Field(default=1, gt=0)
    """Of LightGBM; one is fastest on a busy machine."""


class Calibration(NamedTuple):
    """How an expected absolute error becomes an uncertainty.

    Attributes
    ----------
    expected : list of float
        Expected errors at which a factor is known, rising.
    factors : list of float
        What to multiply them by; linear in between.
    """

    expected: list[float]
    factors: list[float]

    @classmethod
    def fit(cls, expected: np.ndarray, errors: np.ndarray) -> Calibration:
        """Choose factors so that, over each range of `expected`, `ONE_SIGMA` of errors lie within.

        Parameters
        ----------
        expected, errors : ndarray, shape (n,)
            What was expected of each absolute error, and the error.
        """
        parts = np.array_split(np.argsort(expected, kind="stable"), min(_BINS, len(errors) // 20))
        return cls(
            [float(np.median(expected[rows])) for rows in parts],
            [float(np.quantile(errors[rows] / expected[rows], ONE_SIGMA)) for rows in parts],
        )

    def sigma(self, expected: np.ndarray, floor: float) -> np.ndarray:
        """Return uncertainties, none below `floor`."""
        above = np.maximum(expected, floor)
        return np.maximum(above * np.interp(above, self.expected, self.factors), floor)


def fit_mean(
    inputs: np.ndarray, values: np.ndarray, config: BoostingConfig, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the mean alone, to judge it: return what predicts from descriptors ``(n, 256)``."""
    booster = _load(_train(inputs, values, config, seed))
    return lambda asked: _bounded(_predict(booster, asked, config), config)


class BoostingModel(DescriptorModel):
    """A fitted model; see `fit` and `load`.

    Attributes
    ----------
    property : str
        What is predicted, with its unit.
    metrics : dict of str to float
        From cross-validation: no row is judged by a model that saw its composition.
    """

    kind = "boosting"
    config: BoostingConfig

    def __init__(
        self,
        texts: tuple[str, str],
        config: BoostingConfig,
        property: str,
        calibration: Calibration,
        metrics: dict[str, float],
    ):
        import lightgbm

        self._texts, self._calibration = texts, calibration
        self._mean, self._error = (lightgbm.Booster(model_str=text) for text in texts)
        self.config, self.property, self.metrics = config, property, metrics

    @classmethod
    def fit(
        cls,
        counts: np.ndarray,
        values: np.ndarray,
        config: BoostingConfig | None = None,
        *,
        seed: int,
        property: str = "band_gap_eV",
        report: Report | None = None,
    ) -> BoostingModel:
        """Fit both models.

        Parameters
        ----------
        counts : ndarray of int, shape (n, 103)
            Reduced, each composition once: the cross-validation splits by row.
        values : ndarray, shape (n,)
        config : BoostingConfig, optional
        seed : int
        property : str
        report : callable, optional
            Told the share done and a line of text.

        Raises
        ------
        ModelError
            If there are fewer than 20 rows.
        """
        config = config or BoostingConfig()
        refuse_few(values)
        inputs = descriptors(counts)
        fold = np.random.default_rng(seed).permutation(len(values)) % config.folds
        held_out = np.empty(len(values))
        for k in range(config.folds):
            text = _train(inputs[fold != k], values[fold != k], config, seed + k)
            held_out[fold == k] = _bounded(_predict(_load(text), inputs[fold == k], config), config)
            if report is not None:
                report((k + 1) / (config.folds + 2), f"fold {k + 1} of {config.folds}")
        calibration, sigma, error_text = _error_model(inputs, values, held_out, fold, config, seed)
        metrics = regression_metrics(values, held_out) | coverage(values, held_out, sigma)
        mean_text = _train(inputs, values, config, seed)
        if report is not None:
            report(1.0, f"MAE {metrics['mae']:.3f}")
        return cls((mean_text, error_text), config, property, calibration, metrics)

    def predict(self, counts: np.ndarray) -> Prediction:
        """Predict for reduced compositions.

        Parameters
        ----------
        counts : ndarray of int, shape (n, 103)

        Returns
        -------
        Prediction
            NaN for a row without atoms or with an element after berkelium.
        """
        means, sigmas = [np.zeros(0)], [np.zeros(0)]
        for start in range(0, len(counts), _BATCH):
            inputs = descriptors(counts[start : start + _BATCH])
            mean = _bounded(_predict(self._mean, inputs, self.config), self.config)
            sigma = _sigma(self._error, inputs, mean, self._calibration, self.config)
            unknown = np.isnan(inputs).any(axis=1)
            mean[unknown] = sigma[unknown] = np.nan
            means.append(mean)
            sigmas.append(sigma)
        return Prediction(np.concatenate(means), np.concatenate(sigmas))

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        packed = (gzip.compress(t.encode(), 9, mtime=0) for t in self._texts)
        arrays = {
            name: np.frombuffer(content, dtype=np.uint8)
            for name, content in zip(("mean", "error"), packed, strict=True)
        }
        return arrays, {"calibration": self._calibration._asdict()}

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> BoostingModel:
        """Load a folder.

        Raises
        ------
        ModelError
            If it is missing, damaged, or made for other descriptors.
        """
        arrays, saved = load_model_folder(folder, cls.kind)
        settings = saved.settings
        with of_this_release(folder, saved):
            config = BoostingConfig.model_validate(settings["config"])
            if threads is not None:
                config = config.model_copy(update={"threads": threads})
            mean, error = (gzip.decompress(arrays[n].tobytes()).decode() for n in ("mean", "error"))
            return cls(
                (mean, error),
                config,
                settings["property"],
                Calibration(**settings["calibration"]),
                saved.metrics,
            )


def _load(text: str) -> lightgbm.Booster:
    import lightgbm

    return lightgbm.Booster(model_str=text)


def _train(
    inputs: np.ndarray,
    values: np.ndarray,
    config: BoostingConfig,
    seed: int,
    *,
    trees: int | None = None,
    leaves: int | None = None,
) -> str:
    """Fit one LightGBM model and return it as slim text, so that what is used is what is saved."""
    import lightgbm

    parameters: dict[str, Any] = {
        "objective": "regression",
        "num_leaves": leaves or config.leaves,
        "learning_rate": config.learning_rate,
        "feature_fraction": config.columns,
        "bagging_fraction": config.rows,
        "bagging_freq": 1,
        "lambda_l2": config.reg_lambda,
        "min_data_in_leaf": min(config.min_rows, max(1, len(values) // 20)),
        "num_threads": config.threads,
        "seed": seed % (2**31),
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(inputs, values, params={"verbosity": -1})
    return _slim(lightgbm.train(parameters, data, trees or config.trees).model_to_string())


def _slim(text: str) -> str:
    """Leave out what prediction does not need and write leaf values with six digits.

    It makes the compressed model about half as large. The tree sizes in bytes go too, as they no
    longer hold; LightGBM then finds the trees by their headings.
    """
    lines = []
    for line in text.split("\n"):
        if line.startswith(_DROPPED):
            continue
        if line.startswith("leaf_value="):
            numbers = line.removeprefix("leaf_value=").split()
            line = "leaf_value=" + " ".join(f"{float(x):.6g}" for x in numbers)
        lines.append(line)
    return "\n".join(lines)


def _predict(booster: lightgbm.Booster, inputs: np.ndarray, config: BoostingConfig) -> np.ndarray:
    return np.asarray(booster.predict(inputs, num_threads=config.threads), dtype=np.float64)


def _bounded(values: np.ndarray, config: BoostingConfig) -> np.ndarray:
    return values if config.minimum is None else np.maximum(values, config.minimum)


def _sigma(
    booster: lightgbm.Booster,
    inputs: np.ndarray,
    mean: np.ndarray,
    calibration: Calibration,
    config: BoostingConfig,
) -> np.ndarray:
    expected = _predict(booster, np.column_stack([inputs, mean.astype(np.float32)]), config)
    return calibration.sigma(expected, config.error_floor)


def _error_model(
    inputs: np.ndarray,
    values: np.ndarray,
    held_out: np.ndarray,
    fold: np.ndarray,
    config: BoostingConfig,
    seed: int,
) -> tuple[Calibration, np.ndarray, str]:
    """Learn the size of the held-out errors from the descriptors and the prediction.

    Returns
    -------
    calibration : Calibration
    sigma : ndarray, shape (n,)
        Uncertainty of each row by error models that did not see it.
    text : str
        The error model fitted on all rows.
    """
    seen = np.column_stack([inputs, held_out.astype(np.float32)])
    errors = np.abs(values - held_out)
    size = {"trees": config.error_trees, "leaves": config.error_leaves}
    expected = np.empty(len(values))
    for k in range(config.folds):
        text = _train(seen[fold != k], errors[fold != k], config, seed + k, **size)
        expected[fold == k] = _predict(_load(text), seen[fold == k], config)
    expected = np.maximum(expected, config.error_floor)
    calibration = Calibration.fit(expected, errors)
    sigma = calibration.sigma(expected, config.error_floor)
    return calibration, sigma, _train(seen, errors, config, seed, **size)
