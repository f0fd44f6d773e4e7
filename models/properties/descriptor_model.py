"""What the boosting and the forest share: serves the train stage and everything that loads them.

In: a model fitted on `models.properties.descriptors`. Out: its folder of weights, and a refusal of
folders that were made for other descriptors and of tables too small to judge a model on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from models.fitting.checkpoints import ModelConfig, data_hash, save_model_folder
from models.properties.descriptors import NAMES
from structure.elements import ELEMENTS
from structure.errors import ModelError

_LEAST_ROWS = 20
ONE_SIGMA = 0.683
"""Share of errors that an uncertainty is to cover."""


class DescriptorModel(ABC):
    """A fitted model from composition to one property.

    Attributes
    ----------
    kind : str
        In ``config.json``, e.g. ``"forest"``.
    config : BaseModel
    property : str
        What is predicted, with its unit.
    metrics : dict of str to float
        On rows it did not see.
    """

    kind: ClassVar[str]
    config: BaseModel
    property: str
    metrics: dict[str, float]

    @abstractmethod
    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays to write, and the settings to write beside the configuration."""

    def save(
        self,
        folder: Path,
        *,
        trained_on: str,
        counts: np.ndarray,
        values: np.ndarray,
        seed: int,
        card: str,
    ) -> ModelConfig:
        """Write weights, configuration and card; see `save_model_folder`."""
        arrays, learnt = self._learnt()
        settings = {
            "config": self.config.model_dump(mode="json"),
            "property": self.property,
            "descriptors": len(NAMES),
            **learnt,
        }
        config = ModelConfig(
            kind=self.kind,
            settings=settings,
            elements=ELEMENTS,
            trained_on=trained_on,
            data_sha256=data_hash(counts, values),
            seed=seed,
            metrics=self.metrics,
        )
        return save_model_folder(folder, arrays, config, card)


def refuse_few(values: np.ndarray) -> None:
    """Refuse fewer than 20 labels.

    Raises
    ------
    ModelError
    """
    if len(values) < _LEAST_ROWS:
        raise ModelError(
            f"{len(values)} labelled compositions are too few to fit and to judge a model",
            fix=f"Bring at least {_LEAST_ROWS}.",
        )


@contextmanager
def of_this_release(folder: Path, saved: ModelConfig) -> Iterator[None]:
    """Read a folder's settings and arrays inside this block.

    Raises
    ------
    ModelError
        If they are not what this release writes, or were made for other descriptors.
    """
    try:
        found = saved.settings["descriptors"]
        if found != len(NAMES):
            raise ValueError(f"it reads {found} descriptors, not {len(NAMES)}")
        yield
    except (KeyError, TypeError, ValueError, OSError) as reason:
        raise ModelError(
            f"the model was made for another release: {reason}",
            where=folder,
            fix="Train it again with `agd train`.",
        ) from reason
