"""One iteration of the search: propose, decode, choose, label.

In: the state of the search and a random generator. Out: rows for the visited table and, for each
way of proposing, how many candidates decoded, were valid, new and chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.search.latent_pool import SOURCES, Pool, propose
from structure.composition import keys_of, reduce
from structure.records import Record
from tasks.campaign.combined import Combined
from tasks.explore.state import Rows, SearchState, Setting, Status
from tasks.oracles.answer import Answer, Asked


class Tally(Record):
    """What became of the candidates of one source.

    Attributes
    ----------
    decoded : int
        Candidates that were passed through the decoder.
    decodable : int
        Of those, with enough elements to be a compound.
    valid : int
        Of those, within the limits, possible for the oracle and, if asked for, chemically valid.
    new : int
        Of those, not labelled before and not twice among the candidates.
    suggested : int
        Chosen by the search.
    """

    decoded: int = 0
    decodable: int = 0
    valid: int = 0
    new: int = 0
    suggested: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{n: getattr(self, n) + getattr(other, n) for n in Tally.model_fields})


@dataclass(frozen=True)
class Decoded:
    """Compositions behind latents, and what can be done with them.

    Attributes
    ----------
    counts : ndarray of int16, shape (n, 103)
    keys : ndarray of uint64, shape (n,)
    decodable, valid, new : ndarray of bool, shape (n,)
        Each only where the one before holds.
    """

    counts: np.ndarray
    keys: np.ndarray
    decodable: np.ndarray
    valid: np.ndarray
    new: np.ndarray

    def statuses(self) -> list[Status]:
        """Return why each cannot be asked for, or ``"pending"`` where it can."""
        where: list[Status] = ["undecodable", "invalid", "merged", "pending"]
        steps = self.decodable.astype(int) + self.valid + self.new
        return [where[i] for i in steps]


def decode(latents: np.ndarray, setting: Setting, asked: set[int]) -> Decoded:
    """Decode latents and judge the compositions."""
    from structure.rules.validity import valid as chemically_valid

    config, space = setting.config, setting.space
    counts = reduce(space.decode(latents).astype(np.int16, copy=False))
    elements = (counts > 0).sum(axis=1)
    decodable = (elements >= config.minimum_elements) & space.accepts(counts)
    valid = decodable & (elements <= config.maximum_elements)
    valid &= counts.sum(axis=1, dtype=np.int64) <= config.maximum_atoms
    if config.chemistry == "strict":
        rows = np.flatnonzero(valid)
        valid[rows] = chemically_valid(counts[rows])
    rows = np.flatnonzero(valid)
    valid[rows] = setting.oracle.accepts(counts[rows])
    keys = keys_of(counts)
    new = np.zeros(len(keys), dtype=bool)
    seen = set(asked)
    for i in np.flatnonzero(valid).tolist():
        key = int(keys[i])
        new[i] = key not in seen
        seen.add(key)
    return Decoded(counts, keys, decodable, valid, new)


def choose(
    setting: Setting, state: SearchState, rng: np.random.Generator, most: int
) -> tuple[Rows, dict[str, Tally]]:
    """Choose up to `most` new compositions to ask the oracle for.

    Returns
    -------
    rows : Rows
        One row a suggestion; those to be asked for are pending.
    tallies : dict of str to Tally
        By source.
    """
    config, space = setting.config, setting.space
    pool = propose(config.pool_size, config.shares, space.box, state.latents, state.values, rng)
    if config.decode_first:
        looked_at = np.arange(len(pool.latents))
        decoded = decode(pool.latents, setting, state.asked)
        open_ = np.flatnonzero(decoded.new)
        latents = pool.latents[open_]
        if config.surrogate_inputs != "proposed" and len(open_):
            latents = space.encode(decoded.counts[open_]).astype(np.float32)
        picked = state.search.suggest(state.see(latents, decoded.counts[open_]), most)
        chosen, latents, within = open_[picked], latents[picked], open_[picked]
    else:
        looked_at = chosen = state.search.suggest(pool.latents, most)
        latents, within = pool.latents[chosen], np.arange(len(chosen))
        decoded = decode(latents, setting, state.asked)
    rows = _blank_rows(pool.sources[chosen], latents, decoded, within)
    return rows, _tallies(pool, looked_at, decoded, chosen)


def ask(setting: Setting, state: SearchState, rows: Rows, number: int) -> None:
    """Ask the oracle for the pending ones of an iteration's rows and write its answer into them."""
    pending = np.array([status == "pending" for status in rows.statuses], dtype=bool)
    if pending.any():
        known = _known_of(setting, state, rows.where(pending), number)
        answer = setting.oracle.label(rows.counts[pending], known)
        _write(rows, np.flatnonzero(pending), answer, setting.combined)
    _fill_merged(rows, state, setting.combined)


def _known_of(setting: Setting, state: SearchState, rows: Rows, number: int) -> Asked | None:
    """Return what the search predicts; nothing for an oracle that answers at once."""
    if not setting.oracle.later:
        return None
    mean, sigma = state.search.predict(state.see(rows.latents, rows.counts))
    first, ways = setting.targets.first, tuple(SOURCES[i] for i in rows.sources)
    if setting.targets.further:
        return Asked(number, "probability", mean, sigma, ways, "")
    quantity = first.sought.short if first.way == "up" else "utility"
    return Asked(number, quantity, mean, sigma, ways, first.sought.unit)


def arrivals(setting: Setting, state: SearchState) -> Rows | None:
    """Ask again for what is in flight; return rows for what has been answered, or None."""
    rows = state.in_flight()
    if rows is None:
        return None
    _write(rows, np.arange(len(rows)), setting.oracle.label(rows.counts), setting.combined)
    ready = np.array([status != "pending" for status in rows.statuses], dtype=bool)
    return rows.where(ready) if ready.any() else None


def _blank_rows(
    sources: np.ndarray, latents: np.ndarray, decoded: Decoded, within: np.ndarray
) -> Rows:
    """Make the rows of suggestions; those to be asked for are pending."""
    statuses = decoded.statuses()
    values, sigmas, utilities = np.full((3, len(within)), np.nan)
    own: list[Status] = [statuses[i] for i in within]
    reasons = [""] * len(within)
    return Rows(sources, own, reasons, latents, decoded.counts[within], values, sigmas, utilities)


def _write(rows: Rows, where: np.ndarray, answer: Answer, combined: Combined) -> None:
    """Write an oracle's answer into the rows it was asked for."""
    rows.values[where], rows.sigmas[where] = answer.values, answer.sigmas
    rows.utilities[where] = combined.utility(answer.values, answer.sigmas, rows.counts[where])
    for i, known, refusal in zip(where, answer.known, answer.refusals, strict=True):
        rows.statuses[i] = "labelled" if known else ("refused" if refusal else "pending")
        rows.reasons[i] = f"{refusal.code}: {refusal.sentence}" if refusal and not known else ""


def _fill_merged(rows: Rows, state: SearchState, combined: Combined) -> None:
    """Give a suggestion that decodes to a labelled composition that composition's label."""
    known = dict(state.value_of)
    for key, status, gap, sigma in zip(
        keys_of(rows.counts).tolist(), rows.statuses, rows.values, rows.sigmas, strict=True
    ):
        if status == "labelled":
            known[key] = (gap, sigma)
    for i, key in enumerate(keys_of(rows.counts).tolist()):
        if rows.statuses[i] == "merged" and key in known:
            rows.values[i], rows.sigmas[i] = known[key]
            one = slice(i, i + 1)
            worth = combined.utility(rows.values[one], rows.sigmas[one], rows.counts[one])
            rows.utilities[i] = worth[0]


def _tallies(
    pool: Pool, looked_at: np.ndarray, decoded: Decoded, chosen: np.ndarray
) -> dict[str, Tally]:
    out = {}
    for i, source in enumerate(SOURCES):
        own = pool.sources[looked_at] == i
        out[source] = Tally(
            decoded=int(own.sum()),
            decodable=int((decoded.decodable & own).sum()),
            valid=int((decoded.valid & own).sum()),
            new=int((decoded.new & own).sum()),
            suggested=int((pool.sources[chosen] == i).sum()),
        )
    return out
