"""Parts of a fit that remember where they are: serves the fit loop of the train stage.

In: a seed, a module. Out: shuffled batches that can go on from any place, a moving average of
weights, and a block in which torch draws from a given seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from structure.errors import ModelError


class Stateful(Protocol):
    """Anything a fit changes: a module, an optimiser, a scheduler, `Batches`, `Average`."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on."""
        ...

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take such a state back."""
        ...


class Batches:
    """Endless batches of row indices, shuffled anew each epoch by seed and epoch number alone.

    Parameters
    ----------
    n : int
        Rows of the training set.
    size : int
        Rows a batch; the incomplete last batch of an epoch is left out. A set smaller than one
        batch is one batch.
    seed : int
    """

    def __init__(self, n: int, size: int, seed: int):
        if n < 1:
            raise ModelError("there is nothing to train on", fix="Check what the filters removed.")
        self.n, self.size, self.seed = n, min(size, n), seed
        self.epoch, self._position = 0, 0
        self._order = self._shuffled()

    def _shuffled(self) -> np.ndarray:
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.n)

    def next(self) -> np.ndarray:
        """Return the next batch, shape (size,), int64."""
        if self._position + self.size > self.n:
            self.epoch, self._position = self.epoch + 1, 0
            self._order = self._shuffled()
        batch = self._order[self._position : self._position + self.size]
        self._position += self.size
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the data."""
        return {"epoch": self.epoch, "position": self._position, "n": self.n, "size": self.size}

    def load_state_dict(self, state_dict: Any) -> None:
        """Go to a place in the data."""
        if (state_dict["n"], state_dict["size"]) != (self.n, self.size):
            raise ModelError("the checkpoint was written for another training set")
        self.epoch, self._position = state_dict["epoch"], state_dict["position"]
        self._order = self._shuffled()


def average_of(module: torch.nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of a module's parameters; buffers are copied.

    Parameters
    ----------
    module : nn.Module
        Given again to ``update_parameters`` after each step.
    decay : float
        Weight of the past, a step; 0.999 averages over about a thousand steps.

    Returns
    -------
    AveragedModel
        Its ``module`` carries the average; use it to sample. It begins with the module's
        parameters after the first step.
    """
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))
    return average.eval().requires_grad_(False)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give torch's own random numbers a seed inside the block, and its old state back after it.

    Layers that draw from torch's default generator (initialisation, dropout) are thus functions
    of a seed that is passed in.
    """
    cuda = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield
