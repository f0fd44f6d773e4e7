"""The oracle that predicts: stands in for DFT as in the paper's experiments (AGD sec. 2.1).

In: compositions and any property model of the campaign. Out: a value and an uncertainty for each,
at once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.properties.prediction import PropertyModel, load_property_model, predict
from structure.errors import ModelError
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property
from tasks.campaign.handles import ModelHandle
from tasks.ledger.ledger import Origin
from tasks.oracles.answer import Answer, Asked


class MLOracle:
    """Labels with a property model.

    Parameters
    ----------
    model : PropertyModel
    source : str
        Hash of the weights.
    """

    origin: Origin = "ml"
    later = False

    def __init__(self, model: PropertyModel, source: str):
        self.property = model.property
        self.source = source
        self._model = model

    @classmethod
    def load(cls, handle: ModelHandle, root: Path, sought: Property = BAND_GAP) -> MLOracle:
        """Load the model a handle names, given the campaign directory.

        Raises
        ------
        ModelError
            If the weights are missing or damaged, or predict something else.
        """
        folder = handle.folder(root)
        model = load_property_model(folder)
        if model.property != sought.column:
            raise ModelError(
                f"the oracle predicts {model.property}, the search needs {sought.column}",
                where=folder,
                fix=f"Name a model of the {sought.words}, or train one with `agd train`.",
            )
        return cls(model, handle.sha256)

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Predictions can be made of everything."""
        return np.ones(len(counts), dtype=bool)

    def room(self) -> None:
        """Predictions have no limit."""

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Label every composition at once. See `Oracle`."""
        mean, sigma = predict(self._model, counts)
        nothing = (None,) * len(counts)
        return Answer(mean, sigma, nothing, nothing)
