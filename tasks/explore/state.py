"""Where a search stands: rebuilt from the tables of its iterations, and from nothing else.

In: the initial labels and every row an iteration wrote. Out: the surrogate's points, which
compositions have been asked for, the budget used and the best label so far. A search that is killed
and one that is not pass their rows through the same calls in the same order.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from models.search.latent_pool import SOURCES
from models.search.latent_search import LatentSearch
from models.search.surrogate_inputs import StandardDescriptors
from structure.composition import N_ELEMENTS, formulas_of, keys_of
from structure.errors import DataError
from structure.properties.quantity import Property
from structure.properties.target import Targets
from tasks.campaign.combined import Combined
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, read_table
from tasks.explore.config import ExploreConfig
from tasks.oracles.answer import Oracle

logger = logging.getLogger(__name__)

STAGE = "explore"

Status = Literal["labelled", "merged", "undecodable", "invalid", "pending", "refused"]


class LatentSpace(Protocol):
    """What the search needs of an autoencoder (`models.compositions.autoencoder.Autoencoder`).

    Attributes
    ----------
    box : ndarray of float, shape (2, d)
        Least and greatest value of each latent dimension over the training set.
    """

    box: np.ndarray

    def encode(self, counts: np.ndarray) -> np.ndarray:
        """Return latents (n, d) of reduced compositions (n, 103)."""
        ...

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return compositions (n, 103); a row of zeros where nothing was decoded."""
        ...

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions can be encoded, shape (n,), bool."""
        ...


@dataclass(frozen=True)
class Setting:
    """What stays the same during a search."""

    campaign: Campaign
    config: ExploreConfig
    targets: Targets
    combined: Combined
    space: LatentSpace
    oracle: Oracle

    def read(self, table: Handle) -> Rows:
        """Read what an iteration wrote."""
        dimensions = self.space.box.shape[1]
        return Rows.read(self.campaign, table, dimensions, self.targets.first.sought)


@dataclass
class Rows:
    """Suggestions of one iteration, one row each.

    Attributes
    ----------
    sources : ndarray of int8, shape (n,)
        Index into `models.search.latent_pool.SOURCES`.
    statuses : list of Status, length n
    reasons : list of str, length n
        Code and sentence of what the oracle refused; empty otherwise.
    latents : ndarray of float32, shape (n, d)
        As proposed, or of the composition, by ``surrogate_inputs``.
    counts : ndarray of int16, shape (n, 103)
    values, sigmas, utilities : ndarray of float64, shape (n,)
        NaN where there is no label.
    """

    sources: np.ndarray
    statuses: list[Status]
    reasons: list[str]
    latents: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    sigmas: np.ndarray
    utilities: np.ndarray

    def __len__(self) -> int:
        return len(self.statuses)

    def columns(self, iteration: int, sought: Property) -> dict[str, object]:
        """Return the columns of the visited table, without the counts."""
        import pyarrow as pa

        flat = pa.array(np.ascontiguousarray(self.latents, dtype=np.float32).reshape(-1))
        return {
            "iteration": np.full(len(self), iteration, dtype=np.int64),
            "source": pa.array([SOURCES[i] for i in self.sources], pa.string()),
            "formula": pa.array(formulas_of(self.counts), pa.string()),
            "status": pa.array(self.statuses, pa.string()),
            sought.column: self.values,
            sought.sigma_column: self.sigmas,
            "utility": self.utilities,
            "reason": pa.array(self.reasons, pa.string()),
            "latent": pa.FixedSizeListArray.from_arrays(flat, self.latents.shape[1]),
        }

    @classmethod
    def read(cls, campaign: Campaign, table: Handle, dimensions: int, sought: Property) -> Rows:
        """Read what an iteration wrote."""
        columns, counts = read_table(campaign.root, table)
        if counts is None:
            raise DataError("a table of the search has no compositions", where=table.path)
        latents = np.array(columns["latent"].tolist(), dtype=np.float32)
        return cls(
            np.array([SOURCES.index(s) for s in columns["source"]], dtype=np.int8),
            columns["status"].tolist(),
            # Tables of releases without the column have no reasons.
            columns["reason"].tolist() if "reason" in columns else [""] * len(counts),
            latents.reshape(len(counts), dimensions),
            counts,
            columns[sought.column],
            columns[sought.sigma_column],
            columns["utility"],
        )

    @classmethod
    def none(cls, dimensions: int) -> Rows:
        """Return no rows: a search that had no room for a single question."""
        nothing = np.zeros(0)
        counts = np.zeros((0, N_ELEMENTS), dtype=np.int16)
        latents = np.zeros((0, dimensions), dtype=np.float32)
        return cls(np.zeros(0, np.int8), [], [], latents, counts, nothing, nothing, nothing)

    @classmethod
    def joined(cls, parts: list[Rows]) -> Rows:
        """Return the rows of several parts, in order."""
        return cls(
            np.concatenate([p.sources for p in parts]),
            [s for p in parts for s in p.statuses],
            [r for p in parts for r in p.reasons],
            *(
                np.concatenate([getattr(p, name) for p in parts])
                for name in ("latents", "counts", "values", "sigmas", "utilities")
            ),
        )

    def where(self, keep: np.ndarray) -> Rows:
        """Return the rows a mask (n,) keeps."""
        return Rows(
            self.sources[keep],
            [s for s, kept in zip(self.statuses, keep.tolist(), strict=True) if kept],
            [r for r, kept in zip(self.reasons, keep.tolist(), strict=True) if kept],
            *(
                getattr(self, name)[keep]
                for name in ("latents", "counts", "values", "sigmas", "utilities")
            ),
        )


class SearchState:
    """The search so far.

    Attributes
    ----------
    search : LatentSearch
    latents, values : ndarray, shapes (n, d) and (n,)
        Labelled points, from which candidates are proposed.
    value_of : dict of int to (float, float)
        Value and uncertainty of every labelled composition, by key.
    waiting : dict of int to (Rows, ndarray)
        Suggestions in flight, by key: one row each, and what the surrogate sees of it.
    calls : int
        Oracle calls so far, answered or in flight.
    trace : list of (float, float)
        Best utility and its value after each answered call.
    dropped : int
        Initial compositions that the autoencoder cannot encode.
    """

    def __init__(self, config: ExploreConfig, space: LatentSpace, reference: np.ndarray):
        self._standard = None
        if config.surrogate_inputs == "descriptors":
            self._standard = StandardDescriptors(reference)
        box = self._standard.box if self._standard else space.box
        self.search = LatentSearch(box, config.worth, config.backend, config.refit_every)
        self.latents = np.empty((0, space.box.shape[1]), dtype=np.float32)
        self.values = np.empty(0)
        self.value_of: dict[int, tuple[float, float]] = {}
        self.asked: set[int] = set()
        self.waiting: dict[int, tuple[Rows, np.ndarray]] = {}
        self.calls = 0
        self.trace: list[tuple[float, float]] = []
        self.best = (-np.inf, np.nan)
        self.dropped = 0

    @classmethod
    def start(cls, setting: Setting, initial: Handle) -> SearchState:
        """Start from the initial labels.

        Raises
        ------
        DataError
            If none of them can be encoded.
        """
        config, space = setting.config, setting.space
        columns, counts = read_table(setting.campaign.root, initial)
        column = setting.targets.first.sought.column
        values = columns.get(column)
        if counts is None or values is None:
            raise DataError(
                f"the initial labels have no compositions or no {column}", where=initial.path
            )
        labelled = np.isfinite(values)
        counts, values = counts[labelled], values[labelled]
        accepted = space.accepts(counts)
        if not accepted.any():
            raise DataError(
                "none of the initial labels can be encoded",
                where=initial.path,
                fix="Give labelled compounds of the autoencoder's elements, at most 20 of each.",
            )
        rng = setting.campaign.generator(STAGE, "initial")
        unknown = np.full(len(values), np.nan)
        worth = setting.combined.utility(values, unknown, counts)
        utilities = worth[accepted]
        chosen = np.flatnonzero(accepted)[_start_points(utilities, config.initial_at_most, rng)]
        state = cls(config, space, counts[chosen])
        state.dropped = int((~accepted).sum())
        keys = keys_of(counts).tolist()
        state.asked.update(keys)
        state.value_of.update(zip(keys, ((float(g), np.nan) for g in values), strict=True))
        latents = space.encode(counts[chosen]).astype(np.float32)
        inputs = state.see(latents, counts[chosen])
        state._add(latents, inputs, worth[chosen])
        logger.info("explore: starts from %d labels", len(chosen))
        return state

    def see(self, latents: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return what the surrogate sees of candidates, shape (n, k)."""
        return latents if self._standard is None else self._standard(counts)

    def _add(self, latents: np.ndarray, inputs: np.ndarray, values: np.ndarray) -> None:
        if len(latents):
            self.search.register(inputs, values)
            self.latents = np.concatenate([self.latents, latents])
            self.values = np.concatenate([self.values, values])

    def take(self, rows: Rows) -> None:
        """Take in what an iteration wrote: answers that arrived, or its own suggestions."""
        inputs = np.array(self.see(rows.latents, rows.counts))
        statuses = np.array(rows.statuses, dtype=object)
        for i, key in enumerate(keys_of(rows.counts).tolist()):
            if statuses[i] not in ("labelled", "pending", "refused"):
                continue
            self.asked.add(key)
            arrived = self.waiting.pop(key, None)
            if arrived is not None:
                inputs[i] = arrived[1]
            self._account(rows, i, key, arrived is None)
            if statuses[i] == "pending":
                self.waiting[key] = (rows.where(np.arange(len(rows)) == i), inputs[i].copy())
            if statuses[i] == "refused":
                self.search.withdraw(inputs[i : i + 1])
        told = np.isin(statuses, ("labelled", "merged")) & np.isfinite(rows.utilities)
        self._add(rows.latents[told], inputs[told], rows.utilities[told])
        self.search.register(inputs[statuses == "pending"], pending=True)

    def in_flight(self) -> Rows | None:
        """Return the suggestions in flight, or None if there are none."""
        return Rows.joined([row for row, _ in self.waiting.values()]) if self.waiting else None

    def _account(self, rows: Rows, i: int, key: int, first: bool) -> None:
        """Count a call when its suggestion is first seen, and a label when it is there."""
        status = rows.statuses[i]
        self.calls += first and status != "refused"
        if status == "labelled":
            self.value_of[key] = (float(rows.values[i]), float(rows.sigmas[i]))
            self.best = max(self.best, (float(rows.utilities[i]), float(rows.values[i])))
            self.trace.append(self.best)


def _start_points(utilities: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Choose at most `most` initial points: half the best, half of the others at random."""
    if len(utilities) <= most:
        return np.arange(len(utilities))
    order = np.argsort(-utilities, kind="stable")
    best = order[: most // 2]
    others = rng.choice(order[most // 2 :], most - len(best), replace=False)
    return np.sort(np.concatenate([best, others]))
