"""What a property model gives the pipeline: a mean and an uncertainty for each composition.

In: compositions. Out: `Prediction`, checked. The oracle and the screening step can use whatever
follows `PropertyModel`; which kinds there are is known by `models.registry`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from models.registry import property_model_class
from structure.errors import ConfigError, ModelError


class Prediction(NamedTuple):
    """Predicted values of one property.

    Attributes
    ----------
    mean : ndarray of float64, shape (n,)
    sigma : ndarray of float64, shape (n,)
        Standard uncertainty, in the unit of the mean.
    """

    mean: np.ndarray
    sigma: np.ndarray


class PropertyModel(Protocol):
    """A model from composition to one property."""

    property: str
    """What is predicted, with its unit, e.g. ``"band_gap_eV"``."""

    def predict(self, counts: np.ndarray) -> Prediction:
        """Predict for reduced compositions ``counts (n, 103)``.

        Where nothing can be said, as of a row without atoms, both numbers are NaN.
        """
        ...


class LoadsPropertyModel(PropertyModel, Protocol):
    """A class of property models: what an entry point of ``agd.property_models`` names."""

    @classmethod
    def load(cls, folder: Path) -> PropertyModel:
        """Load a folder that `models.fitting.checkpoints.save_model_folder` wrote.

        Raises
        ------
        ModelError
            If it is missing, damaged or changed, as `models.fitting.checkpoints.load_model_folder`
            does.
        """
        ...


def load_property_model(folder: Path) -> PropertyModel:
    """Load whichever property model a folder holds, by ``kind`` in its ``config.json``.

    Raises
    ------
    ModelError
        If the folder holds none, or its weights are missing or damaged.
    PluginError
        If the package that brings this kind of model is broken.
    """
    from models.fitting.checkpoints import read_config

    kind = read_config(folder).kind
    try:
        found = property_model_class(kind)
    except ConfigError as error:
        raise ModelError(
            f"a model of kind {kind!r} predicts no property from a composition",
            where=folder,
            fix=error.fix,
        ) from error
    return found.load(folder)


def predict(model: PropertyModel, counts: np.ndarray) -> Prediction:
    """Predict, and check that there is one number and one uncertainty for each composition.

    Parameters
    ----------
    model : PropertyModel
        Ours or that of another package.
    counts : ndarray of int, shape (n, 103)
        Reduced.

    Raises
    ------
    ModelError
        If the model returned anything else: another length, infinite numbers, no uncertainty
        beside a mean, or nothing but NaN for compositions that have atoms.
    """
    given: Any = model.predict(counts)
    try:
        mean, sigma = (np.asarray(part, dtype=np.float64) for part in given)
    except (TypeError, ValueError) as error:
        raise _wrong(model, f"returned no two arrays of numbers: {error}") from error
    for name, part in (("mean", mean), ("sigma", sigma)):
        if part.shape != (len(counts),):
            raise _wrong(model, f"returned a {name} of shape {part.shape}, not {(len(counts),)}")
        if np.isinf(part).any():
            raise _wrong(model, f"returned an infinite {name}")
    if (np.isnan(mean) & ~np.isnan(sigma)).any() or (np.isnan(sigma) & ~np.isnan(mean)).any():
        raise _wrong(model, "returned NaN as one of a mean and its sigma, not as both")
    if (sigma < 0).any():
        raise _wrong(model, "returned a sigma below zero")
    asked = counts.any(axis=1)
    if asked.any() and np.isnan(mean[asked]).all():
        raise _wrong(model, f"returned nothing but NaN for {asked.sum()} compositions")
    return Prediction(mean, sigma)


def _wrong(model: PropertyModel, what: str) -> ModelError:
    kind = type(model)
    return ModelError(
        f"the model of {model.property!r} {what}",
        where=f"{kind.__module__}.{kind.__qualname__}.predict",
        fix="Its predict(counts) must return a mean and a standard uncertainty a row.",
    )
