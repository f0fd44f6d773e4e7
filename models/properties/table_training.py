"""Train a model of any property from a table: serves ``agd train --only PROPERTY``.

In: a data folder whose mapping names a table of the property. Out: a folder of weights, judged on
several splits of the formulas and of the chemical systems beside simple baselines, with a card.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.fitting.cards import ModelCard
from models.fitting.checkpoints import ModelConfig, data_hash
from models.fitting.data_mapping import DataMapping, mapping_of
from models.fitting.datasets import (
    Labelled,
    chemical_systems,
    labelled_by,
    split_by_formula,
)
from models.fitting.progress import Report
from models.properties.boosting import BoostingConfig, BoostingModel, fit_mean
from models.properties.descriptors import descriptors
from structure.composition import keys_of
from structure.properties.quantity import Property

SPLITS = 5
"""How often a fifth is held out to judge the model and its baselines (chosen)."""

HELD_OUT = 0.2
PER_ROW = 150
"""Rows for which a tree gets one more leaf (chosen), between 15 and 63 leaves: small tables need
small trees, and the weights of 400 trees of 63 leaves take 1 MB."""


def settings_for(rows: int, sought: Property) -> BoostingConfig:
    """Return the settings that suit the number of rows and the scale of a property."""
    leaves = int(np.clip(rows // PER_ROW, 15, 63))
    return BoostingConfig(
        trees=400,
        leaves=leaves,
        min_rows=5,
        error_leaves=15,
        minimum=sought.lowest if np.isfinite(sought.lowest) else None,
        error_floor=max(sought.tolerance / 10, 1e-3),
    )


def train_from_table(
    folder: Path,
    sought: Property,
    seed: int,
    out: Path,
    report: Report | None = None,
    mapping: DataMapping | None = None,
) -> ModelConfig:
    """Fit a model of a property and write its folder.

    Parameters
    ----------
    folder : Path
        Of the data; its mapping names a table under ``properties``.
    sought : Property
    seed : int
    out : Path
        Where the weights go.
    report : Report, optional
    mapping : DataMapping, optional
        Default: the folder's own.

    Raises
    ------
    ConfigError, DataError, ModelError
        If the mapping names no such table, it cannot be read, or has too few rows.
    """
    labels, source = labelled_by(folder, mapping or mapping_of(folder), sought)
    config = settings_for(len(labels), sought)
    model = BoostingModel.fit(
        labels.counts, labels.values, config, seed=seed, property=sought.column, report=report
    )
    by_formula = judged(labels, keys_of(labels.counts), config, seed)
    by_system = judged(labels, chemical_systems(labels.counts), config, seed)
    digest = data_hash(labels.counts, labels.values)
    measures = [
        ("compositions", f"{model.metrics['n']:,.0f}"),
        ("R²", f"{model.metrics['r2']:.3f}"),
        ("mean absolute error", sought.precisely(model.metrics["mae"])),
        ("errors within one uncertainty", f"{100 * model.metrics['within_1_sigma']:.1f} %"),
        ("errors within two uncertainties", f"{100 * model.metrics['within_2_sigma']:.1f} %"),
    ]
    card = ModelCard(
        title=f"Model of the {sought.words}",
        purpose=(
            f"Predicts the {sought.words} ({sought.unit or 'a pure number'}) of a reduced "
            "composition, with an uncertainty. The explore stage asks it for labels where no DFT "
            "is run; the screen asks it where the property is a further target."
        ),
        sources=[source],
        data_note=(
            f"{len(labels):,} distinct reduced compositions. Where a composition has several "
            "entries (polymorphs, repeats) its value is their median."
        ),
        data_sha256=digest,
        method=(
            "Two LightGBM models on the descriptors of the band-gap oracle: one of the mean, one "
            "of the size of its errors in cross-validation, calibrated so that 68 % of the errors "
            f"lie within one uncertainty. {config.trees} trees of {config.leaves} leaves."
        ),
        tables={
            "Cross-validation by composition (these weights are fitted on all rows):": (
                ("measure", "value"),
                measures,
            ),
            f"Mean absolute error on {100 * HELD_OUT:.0f} % held out, mean and standard deviation "
            f"of {SPLITS} splits:": (
                ("model", "formulas held out", "chemical systems held out"),
                [
                    (name, _spread(by_formula[name], sought), _spread(by_system[name], sought))
                    for name in by_formula
                ],
            ),
        },
        limits=(
            "It sees no structure: polymorphs of one composition get one number.",
            "Known compounds come in chemical families, so holding out formulas flatters; holding "
            "out chemical systems is nearer to what a search for new compounds needs.",
            "For chemistry unlike any of the table the uncertainty is itself a guess.",
            "Elements after berkelium have no descriptors; the answer is NaN.",
        ),
        command=f"agd train --data DIR --only {sought.name}",
    )
    return model.save(
        out,
        trained_on=f"{len(labels):,} compositions: {source.name}",
        counts=labels.counts,
        values=labels.values,
        seed=seed,
        card=card.text(),
    )


def judged(
    labels: Labelled, groups: np.ndarray, config: BoostingConfig, seed: int
) -> dict[str, list[float]]:
    """Return the mean absolute errors of the model and of baselines on several splits.

    Parameters
    ----------
    labels : Labelled
    groups : ndarray, shape (n,)
        What must not stand on both sides of a split.
    config : BoostingConfig
    seed : int

    Returns
    -------
    dict of str to list of float
        By name of the model; one error a split, in the property's unit.
    """
    full = descriptors(labels.counts)
    inputs = np.nan_to_num(full)
    errors: dict[str, list[float]] = {}
    for number in range(SPLITS):
        train, test = split_by_formula(groups, (HELD_OUT,), seed + number)
        guesses = {name: f(inputs[train], labels.values[train]) for name, f in _BASELINES.items()}
        told = {name: guess(inputs[test]) for name, guess in guesses.items()}
        guess = fit_mean(full[train], labels.values[train], config, seed)
        told["**this model**"] = guess(full[test])
        for name, values in told.items():
            errors.setdefault(name, []).append(
                float(np.nanmean(np.abs(values - labels.values[test])))
            )
    return errors


Guess = Callable[[np.ndarray], np.ndarray]


def _mean(_: np.ndarray, values: np.ndarray) -> Guess:
    middle = float(values.mean())
    return lambda inputs: np.full(len(inputs), middle)


def _ridge(inputs: np.ndarray, values: np.ndarray) -> Guess:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(inputs, values)
    return lambda asked: np.asarray(fitted.predict(asked))


def _forest(inputs: np.ndarray, values: np.ndarray) -> Guess:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(60, max_features=0.3, random_state=0, n_jobs=1)
    fitted = forest.fit(inputs, values)
    return lambda asked: np.asarray(fitted.predict(asked))


_BASELINES: dict[str, Callable[[np.ndarray, np.ndarray], Guess]] = {
    "mean of the training set": _mean,
    "ridge regression on the same descriptors": _ridge,
    "random forest on the same descriptors": _forest,
}


def _spread(errors: list[float], sought: Property) -> str:
    return f"{sought.precisely(float(np.mean(errors)))} ± {np.std(errors):.3g}"
