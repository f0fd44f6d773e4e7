"""What MatGAN, the sequence model and the autoencoder share: serves train, sample and explore.

In: unique compositions, or a folder of weights. Out: the part that learns and the part that judges
it, or a model; and what a folder of weights says about one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
from pydantic import BaseModel
from torch import nn

from models.fitting.checkpoints import ModelConfig, arrays_of, load_into, load_model_folder
from structure.errors import ModelError

_VALIDATION_ROWS = 4_096  # rows of a probe at most

Config = TypeVar("Config", bound=BaseModel)


class CompositionModel(Generic[Config]):
    """A network that reads or draws compositions.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    name : str
        Name in reports and ``kind`` in ``config.json``, e.g. ``"matgan"``.
    config_type : type
    network : nn.Module
        What the weights belong to.
    """

    name: str
    config_type: type[Config]
    network: nn.Module

    def __init__(self, config: Config):
        self.config = config

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a folder of weights.

        Raises
        ------
        ModelError
            See `models.fitting.checkpoints.load_model_folder`.
        """
        arrays, about = load_model_folder(folder, cls.name)
        model = cls(cls.config_type.model_validate(about.settings))
        model._take(arrays, folder)
        return model

    def _take(self, arrays: dict[str, np.ndarray], folder: Path) -> None:
        """Put what `arrays` returned back."""
        load_into(self.network, arrays, folder)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights for `models.fitting.checkpoints.save_model_folder`, 16 bits."""
        return arrays_of(self.network.state_dict(), half=True)

    def about(
        self, trained_on: str, data_sha256: str, seed: int, metrics: dict[str, float]
    ) -> ModelConfig:
        """Return what ``config.json`` says about this model."""
        settings = self.config.model_dump(mode="json")
        return ModelConfig(
            kind=self.name,
            settings=settings,
            elements=settings["elements"],
            trained_on=trained_on,
            data_sha256=data_sha256,
            seed=seed,
            metrics=metrics,
        )


def validation_split(counts: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Take aside the share of usable compositions that decides which weights are kept.

    Parameters
    ----------
    counts : ndarray of int16, shape (n, 103)
    share : float
    seed : int

    Returns
    -------
    training, validation : ndarray of int16, shape (m, 103)

    Raises
    ------
    ModelError
        If there are fewer than two compositions.
    """
    if len(counts) < 2:
        raise ModelError("there is nothing to train on", fix="Check what the filters removed.")
    order = np.random.default_rng(seed).permutation(len(counts))
    cut = max(1, round(share * len(counts)))
    return counts[order[cut:]], counts[order[:cut]][:_VALIDATION_ROWS]
