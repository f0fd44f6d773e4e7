"""Where a stage works: the campaign directory and its seed, without lock or ledger.

In: a directory and a seed. Out: folders to write to and random generators, in whatever process a
stage runs. A place is a value: it can be pickled and sent to a worker.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Place:
    """A campaign as its stages see it.

    Attributes
    ----------
    root : Path
        The campaign directory.
    seed : int
        The campaign's one seed.
    """

    root: Path
    seed: int

    def folder(self, name: str) -> Path:
        """Return a folder of the campaign, made when missing."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return the random generator of a stage part: a function of seed and names alone."""
        return np.random.default_rng(self.seed_of(*names))

    def seed_of(self, *names: str | int) -> int:
        """Return a 63-bit seed for a stage part: a function of seed and names alone."""
        text = json.dumps([self.seed, *names])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
