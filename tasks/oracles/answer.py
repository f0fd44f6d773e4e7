"""What an oracle is and what it answers: shared by all oracles and by the stages that ask them.

In: a batch of reduced compositions. Out: an `Answer`: for each a value, a job that will bring it,
or a reason why there will be none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from structure.errors import Rejection
from structure.properties.band_gap import BAND_GAP
from tasks.ledger.ledger import Origin

ASKED_BY_SEARCH = "search"
"""Who asked for a job, by ``asked_by`` of its story, where it was not the hand-off stage."""


@dataclass(frozen=True)
class Answer:
    """Labels of a batch of compositions, as far as they are known.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
        NaN where not known.
    sigmas : ndarray of float64, shape (n,)
        Standard uncertainty in the same unit; NaN where not known or not given.
    jobs : tuple of (str or None), length n
        Id of the calculation in flight; None where there is none.
    refusals : tuple of (Rejection or None), length n
        Why there will never be a label; None where there is or may be one.
    """

    values: np.ndarray
    sigmas: np.ndarray
    jobs: tuple[str | None, ...]
    refusals: tuple[Rejection | None, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.values), len(self.sigmas), len(self.jobs), len(self.refusals)}
        if len(lengths) != 1:
            raise ValueError("the parts of an answer differ in length")

    @property
    def known(self) -> np.ndarray:
        """Which compositions have a value, shape (n,), bool."""
        return np.isfinite(self.values)

    @property
    def pending(self) -> np.ndarray:
        """Which compositions have a calculation in flight, shape (n,), bool."""
        return ~self.known & np.array([job is not None for job in self.jobs], dtype=bool)


@dataclass(frozen=True)
class Asked:
    """What the search knows of the compositions it asks for; it becomes part of their jobs' story.

    Attributes
    ----------
    iteration : int
    quantity : str
        What was predicted: ``"gap"``, or ``"utility"`` where that is not a value itself.
    values, sigmas : ndarray of float64, shape (n,)
    ways : tuple of str, length n
        How each was proposed (`models.search.latent_pool.SOURCES`).
    unit : str
        Of both; empty for a probability.
    """

    iteration: int
    quantity: str
    values: np.ndarray
    sigmas: np.ndarray
    ways: tuple[str, ...]
    unit: str = BAND_GAP.unit

    def story(self, i: int) -> dict[str, Any]:
        """Return what is known of one composition, as JSON can hold it."""
        name = self.quantity.replace(" ", "_")
        unit = f"_{self.unit.replace('/', '_per_')}" if self.unit else ""
        return {
            "asked_by": ASKED_BY_SEARCH,
            "iteration": self.iteration,
            "generator": self.ways[i],
            f"predicted_{name}{unit}": round(float(self.values[i]), 6),
            f"predicted_{name}_sigma{unit}": round(float(self.sigmas[i]), 6),
        }

    def words(self, i: int) -> str:
        """Say the same in half a sentence."""
        return (
            f"asked by the search in iteration {self.iteration}, predicted {self.quantity} "
            f"{self.values[i]:.2f} +- {self.sigmas[i]:.2f} {self.unit}".rstrip()
        )


class Oracle(Protocol):
    """Gives labels, at once or later.

    Attributes
    ----------
    property : str
        What is labelled, with its unit, e.g. ``"band_gap_eV"``.
    origin : str
        See `tasks.ledger.ledger.Origin`.
    source : str
        Model or recipe hash, or the name of a table.
    later : bool
        Whether an answer may be a calculation that has yet to run.
    """

    property: str
    origin: Origin
    source: str
    later: bool

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Return which of ``counts (n, 103)`` it can be asked for, shape (n,), bool.

        Cheap, and never wrong about what it turns away: the search looks at thousands of
        compositions to choose a few, and must not spend its choice on what nobody can answer.
        """
        ...

    def room(self) -> int | None:
        """Return how many more calculations it may be asked for now; None where there is no limit.

        What it may not be asked for now it may be later.
        """
        ...

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Label reduced compositions ``counts (n, 103)``.

        Asking again is free: a composition in flight gives the same job until its answer is there,
        and nothing is computed twice.
        """
        ...
