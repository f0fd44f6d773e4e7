"""What a property model gives the pipeline: a mean and an uncertainty for each composition.

In: compositions. Out: `Prediction`. The boosting and forest models follow `PropertyModel`, so the
oracle and the screening step can use either.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


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
