"""Candidates for the search to choose from, made in the latent space: serves the explore stage.

In: the latent box, labelled latent vectors and their worth. Out: a `Pool` of latent vectors, each
with the way it was made. Uniform draws from the box are the paper's way (AGD sec. 2.3); the other
ways stay near encoded compounds, where far more of the space decodes to a composition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from structure.records import Settings

SOURCES = ("box", "around", "between", "offspring")
"""Ways a candidate is made, in the order of `Pool.sources`."""

JITTER = 0.10
"""Chosen: half-width of the uniform step around a compound, in box widths."""

PARENTS = 50
"""Chosen: offspring descend from this many of the best labelled compounds."""


class PoolShares(Settings):
    """How much of the pool each way makes; the four add to one (defaults chosen)."""

    box: float = Field(default=0.1, ge=0, le=1)
    """Uniform in the per-dimension bounds of the encoded training set (AGD sec. 2.3)."""
    around: float = Field(default=0.1, ge=0, le=1)
    """A labelled compound and a uniform step of up to ± `JITTER` of the box width."""
    between: float = Field(default=0.3, ge=0, le=1)
    """A point on the line between two labelled compounds; half of them in the middle."""
    offspring: float = Field(default=0.5, ge=0, le=1)
    """From two of the `PARENTS` best compounds: each dimension from one of them, with a step of up
    to ± `JITTER`, the size of which is drawn for each child."""

    @model_validator(mode="after")
    def _whole(self) -> PoolShares:
        total = sum(getattr(self, source) for source in SOURCES)
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares of the pool add to {total:g}, not to 1")
        return self

    def numbers(self, size: int) -> list[int]:
        """Return how many of `size` candidates each way makes; they add to `size`."""
        edges = np.cumsum([0.0, *(getattr(self, source) for source in SOURCES)])
        return np.diff(np.rint(edges / edges[-1] * size).astype(int)).tolist()


@dataclass(frozen=True)
class Pool:
    """Candidates.

    Attributes
    ----------
    latents : ndarray of float32, shape (m, d)
    sources : ndarray of int8, shape (m,)
        Index into `SOURCES`.
    """

    latents: np.ndarray
    sources: np.ndarray


def propose(
    size: int,
    shares: PoolShares,
    box: np.ndarray,
    latents: np.ndarray,
    values: np.ndarray,
    rng: np.random.Generator,
) -> Pool:
    """Draw a pool of candidates, all of them inside the box.

    Parameters
    ----------
    size : int
    shares : PoolShares
    box : ndarray of float, shape (2, d)
    latents : ndarray of float, shape (n, d)
        Labelled points, n at least 1.
    values : ndarray of float, shape (n,)
        What the search maximises.
    rng : numpy.random.Generator
    """
    n_box, n_around, n_between, n_offspring = shares.numbers(size)
    low, width = box[0], box[1] - box[0]
    latents = np.asarray(latents, dtype=np.float64)
    parts = [
        low + width * rng.random((n_box, len(low))),
        _around(n_around, width, latents, rng),
        _between(n_between, latents, rng),
        _offspring(n_offspring, width, latents, values, rng),
    ]
    every = np.clip(np.vstack(parts), box[0], box[1]).astype(np.float32)
    return Pool(every, np.repeat(np.arange(len(SOURCES), dtype=np.int8), [len(p) for p in parts]))


def _around(n: int, width: np.ndarray, latents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    centres = latents[rng.integers(0, len(latents), n)]
    return centres + JITTER * width * rng.uniform(-1, 1, centres.shape)


def _pairs(n: int, latents: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw n pairs of different rows, of equal ones only where there is a single row."""
    first = rng.integers(0, len(latents), n)
    other = (first + rng.integers(1, max(len(latents), 2), n)) % len(latents)
    return latents[first], latents[other]


def _between(n: int, latents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    a, b = _pairs(n, latents, rng)
    weight = rng.random((n, 1))
    weight[: n // 2] = 0.5
    return weight * a + (1 - weight) * b


def _offspring(
    n: int, width: np.ndarray, latents: np.ndarray, values: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    best = latents[np.argsort(-values, kind="stable")[:PARENTS]]
    mother, father = _pairs(n, best, rng)
    child = np.where(rng.random(mother.shape) < rng.random((n, 1)), mother, father)
    return child + JITTER * rng.random((n, 1)) * width * rng.uniform(-1, 1, child.shape)
