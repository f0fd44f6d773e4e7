"""What a composition generator is, and how one is loaded: serves the sample stage.

In: a folder of weights. Out: an object that draws compositions. MatGAN (all variants) and the
sequence model follow `CompositionGenerator`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import numpy as np

from structure.errors import ModelError


class CompositionGenerator(Protocol):
    """Draws compositions.

    Attributes
    ----------
    name : str
        Name in reports, e.g. ``"matgan"``.
    """

    name: str

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Draw `n` compositions.

        Returns
        -------
        ndarray of int16, shape (n, 103)
            As drawn: not reduced, duplicates kept, a row of zeros where nothing was drawn. A
            function of `n` and `seed` alone.
        """
        ...


def load_generator(folder: Path) -> CompositionGenerator:
    """Load whichever generator a folder holds, by ``kind`` in its ``config.json``.

    Raises
    ------
    ModelError
        If the folder holds no generator.
    """
    try:
        kind = json.loads((folder / "config.json").read_text())["kind"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            "the folder holds no readable model",
            where=folder / "config.json",
            fix="Restore the weights or train them with `agd train`.",
        ) from error
    if kind == "matgan":
        from models.compositions.matgan import MatGAN

        return MatGAN.load(folder)
    if kind == "sequence":
        from models.compositions.sequence import SequenceGenerator

        return SequenceGenerator.load(folder)
    raise ModelError(
        f"a model of kind {kind!r} draws no compositions",
        where=folder,
        fix="Name a 'matgan' or 'sequence' model.",
    )
