"""What a property model gives the pipeline: a mean and an uncertainty for each composition.

In: compositions. Out: `Prediction`. The boosting and forest models follow `PropertyModel`, so the
oracle and the screening step can use either.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from structure.errors import ModelError


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
        """Predict for reduced compositions ``counts (n, 103)``."""
        ...


def load_property_model(folder: Path) -> PropertyModel:
    """Load whichever property model a folder holds, by ``kind`` in its ``config.json``.

    Raises
    ------
    ModelError
        If the folder holds none, or its weights are missing or damaged.
    """
    from models.fitting.checkpoints import read_config

    kind = read_config(folder).kind
    if kind == "boosting":
        from models.properties.boosting import BoostingModel

        return BoostingModel.load(folder)
    if kind == "forest":
        from models.properties.forest import ForestModel

        return ForestModel.load(folder)
    raise ModelError(
        f"a model of kind {kind!r} predicts no property from a composition",
        where=folder,
        fix="Name a 'boosting' or 'forest' model.",
    )
