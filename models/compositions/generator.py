"""What a composition generator is, and how one is loaded: serves the sample stage.

In: a folder of weights. Out: an object that draws compositions, checked as they are drawn. Which
kinds there are is known by `models.registry`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.registry import generator_class
from structure.composition import N_ELEMENTS
from structure.errors import ConfigError, ModelError


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


class LoadsGenerator(CompositionGenerator, Protocol):
    """A class of generators: what an entry point of ``agd.generators`` names."""

    @classmethod
    def load(cls, folder: Path) -> CompositionGenerator:
        """Load a folder that `models.fitting.checkpoints.save_model_folder` wrote.

        Raises
        ------
        ModelError
            If it is missing, damaged or changed, as `models.fitting.checkpoints.load_model_folder`
            does.
        """
        ...


def load_generator(folder: Path) -> CompositionGenerator:
    """Load whichever generator a folder holds, by ``kind`` in its ``config.json``.

    Raises
    ------
    ModelError
        If the folder holds no generator.
    PluginError
        If the package that brings this kind of generator is broken.
    """
    from models.fitting.checkpoints import read_config

    kind = read_config(folder).kind
    try:
        found = generator_class(kind)
    except ConfigError as error:
        raise ModelError(
            f"a model of kind {kind!r} draws no compositions", where=folder, fix=error.fix
        ) from error
    return found.load(folder)


def draw(generator: CompositionGenerator, n: int, seed: int) -> np.ndarray:
    """Draw compositions and check that they are compositions.

    Parameters
    ----------
    generator : CompositionGenerator
        Ours or that of another package.
    n : int
    seed : int

    Returns
    -------
    ndarray of int16, shape (n, 103)

    Raises
    ------
    ModelError
        If the generator returned anything else: another shape, broken or negative counts.
    """
    drawn: Any = generator.sample(n, seed)
    what = _fault(drawn, n)
    if what is not None:
        raise ModelError(
            f"generator {generator.name!r} {what}",
            where=f"{type(generator).__module__}.{type(generator).__qualname__}.sample",
            fix=f"Its sample(n, seed) must return whole counts of atoms, shape (n, {N_ELEMENTS}).",
        )
    return np.asarray(drawn).astype(np.int16, copy=False)


def _fault(drawn: Any, n: int) -> str | None:
    """Say what is wrong with drawn compositions."""
    if not isinstance(drawn, np.ndarray):
        return f"returned a {type(drawn).__name__}, no array"
    if drawn.shape != (n, N_ELEMENTS):
        return f"returned an array of shape {drawn.shape}, not {(n, N_ELEMENTS)}"
    if not np.issubdtype(drawn.dtype, np.integer):
        return f"returned counts of type {drawn.dtype}, not whole numbers"
    if drawn.size and drawn.min() < 0:
        return f"returned {drawn.min()} atoms of an element"
    if drawn.size and drawn.max() > np.iinfo(np.int16).max:
        return f"returned {drawn.max()} atoms of an element, more than a count can hold"
    return None
