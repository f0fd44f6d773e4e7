"""Explore stage: the active-learning loop (AGD sec. 2.3).

Candidates are made in the autoencoder's latent space and decoded; by default the surrogate that
chooses among them sees descriptors of their composition, not the latents.
In: initial labels, the autoencoder, an oracle. Out: every composition the search asked for with its
label, and a summary: the best label by oracle call, what became of the candidates by source. Each
iteration is one resumable part with its own table; the search is rebuilt from those tables. Where
answers come later, what an iteration asks is a part of its own, written before anybody is asked: a
run that is killed in between repeats the question, whatever has come back meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import isfinite

import numpy as np

from structure.composition import formulas_of
from structure.errors import ConfigError
from structure.properties.quantity import Property
from structure.properties.target import Targets
from tasks.campaign.combined import Combined
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, write_table
from tasks.campaign.outputs import Explored, Ingested, Trained
from tasks.campaign.stage import stage
from tasks.explore.config import ExploreConfig
from tasks.explore.iteration import Tally, arrivals, ask, choose
from tasks.explore.state import STAGE, LatentSpace, Rows, SearchState, Setting
from tasks.explore.summary import Iteration, write_summary
from tasks.ledger.ledger import Label
from tasks.oracles.answer import Oracle
from tasks.oracles.oracle import oracle_for

__all__ = ["ExploreConfig", "Progress", "explore"]

logger = logging.getLogger(__name__)

POLL_S = 15.0
"""Seconds between two looks for an answer while the search waits for one (chosen)."""


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes
    ----------
    iteration, calls, budget, in_flight : int
    best : float
        Value of the best label the search found so far; NaN before the first.
    sought : Property
    seconds : float
        Spent on the iteration.
    """

    iteration: int
    calls: int
    budget: int
    in_flight: int
    best: float
    sought: Property
    seconds: float

    def __str__(self) -> str:
        """Say it in words."""
        out = f", {self.in_flight} of them in flight" if self.in_flight else ""
        known, word = isfinite(self.best), self.sought.short
        best = f"best {word} {self.sought.amount(self.best)}" if known else f"no {word} yet"
        return f"{self.calls} of {self.budget} labels asked for{out}, {best}"


@stage(
    "explore",
    takes="labels, the autoencoder, an oracle",
    gives="visited compositions with labels",
    in_the_flow=True,
    keeps_own_record=True,
)
def explore(
    campaign: Campaign,
    config: ExploreConfig,
    targets: Targets,
    ingested: Ingested,
    trained: Trained,
    *,
    oracle: Oracle | None = None,
    space: LatentSpace | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Explored:
    """Search until the budget of oracle calls is used.

    Where the oracle answers later, the search goes on with what it has, never waiting for the
    slowest. When too many answers are outstanding or the oracle has no room, it waits for one as
    long as `config` lets it, and then rests; the same call goes on from there.

    Parameters
    ----------
    campaign : Campaign
    config : ExploreConfig
    targets : Targets
        What the search maximises: the utility of the only one, or the probability that all hold.
    ingested, trained
        Initial labels, and the weights by name: ``autoencoder`` and the oracle's.
    oracle : Oracle, optional
        Instead of the one `config` names.
    space : LatentSpace, optional
        Instead of the campaign's autoencoder.
    progress : callable, optional
        Called after each iteration.

    Raises
    ------
    ConfigError, DataError, ModelError
        If the oracle, the initial labels or the weights cannot be used.
    """
    setting = Setting(
        campaign,
        config,
        targets,
        Combined.load(campaign.root, targets, trained.models),
        space or _autoencoder(campaign, trained),
        oracle or oracle_for(campaign, config.oracle, trained.models, targets.first.sought),
    )
    state = SearchState.start(setting, ingested.initial)
    n_initial = len(state.values)
    done: list[Iteration] = []
    while _more_to_do(setting, state, done) or _answer_awaited(setting, state):
        build = partial(_iterate, setting, state, done)
        done.append(campaign.once(STAGE, _part(len(done) + 1), Iteration, build))
        _take(setting, state, done[-1])
        _tell(setting, state, done[-1], len(done), progress)
    finish = partial(write_summary, setting, state, done, n_initial)
    open_still = campaign.ledger.fact("finished") is None and state.calls < config.budget
    if open_still and setting.oracle.room() == 0:
        logger.info("explore: asks for no more: the night's core-hours are spoken for")
    if state.waiting:
        logger.warning("explore: %d labels are still in flight", len(state.waiting))
        return finish()
    return campaign.once(STAGE, "all", Explored, finish)


def _autoencoder(campaign: Campaign, trained: Trained) -> LatentSpace:
    from models.compositions.autoencoder import Autoencoder

    if "autoencoder" not in trained.models:
        raise ConfigError(
            "the campaign has no autoencoder",
            where=", ".join(sorted(trained.models)) or "no models",
            fix="Give the train stage a model named 'autoencoder'.",
        )
    return Autoencoder.load(trained.models["autoencoder"].folder(campaign.root))


def _part(number: int) -> str:
    return f"iteration-{number:04d}"


def _asked_part(number: int) -> str:
    return f"{_part(number)}-asked"


def _suggestions_due(setting: Setting, state: SearchState, done: Sequence[Iteration]) -> int:
    """Return how many compositions the next iteration may ask for.

    Iterations that took answers in do not count against the limit: they tell nothing of whether
    the space is used up.
    """
    config = setting.config
    if sum(not output.arrived for output in done) >= config.most_iterations:
        return 0
    limits = [config.batch, config.budget - state.calls]
    limits.append(config.in_flight_at_most - len(state.waiting))
    room = setting.oracle.room()
    return max(min(limits if room is None else [*limits, room]), 0)


def _more_to_do(setting: Setting, state: SearchState, done: Sequence[Iteration]) -> bool:
    """Whether another iteration was recorded or begun, can suggest, or has answers to take in."""
    ledger, number = setting.campaign.ledger, len(done) + 1
    if any(ledger.finished(STAGE, part) for part in (_part(number), _asked_part(number))):
        return True
    if ledger.finished(STAGE, "all") is not None:
        return False
    if _suggestions_due(setting, state, done):
        return True
    return arrivals(setting, state) is not None


def _answer_awaited(setting: Setting, state: SearchState) -> bool:
    """Wait for an answer if the configuration lets the search wait; whether there is one.

    A finished campaign does not wait, and no campaign beyond its wall time.
    """
    campaign, hours = setting.campaign, setting.config.oracle.wait_h
    if not state.waiting or not hours or campaign.ledger.fact("finished") is not None:
        return False
    logger.info("explore: waits for one of %d answers, at most %g h", len(state.waiting), hours)
    until = time.monotonic() + 3600.0 * hours
    if campaign.deadline is not None:
        until = min(until, campaign.deadline)
    while time.monotonic() < until:
        time.sleep(POLL_S)
        if arrivals(setting, state) is not None:
            return True
    return False


def _iterate(setting: Setting, state: SearchState, done: Sequence[Iteration]) -> Iteration:
    """Do one iteration: write its table, add its labels to the ledger; leave `state` as it was."""
    began = time.monotonic()
    campaign, number = setting.campaign, len(done) + 1
    if setting.oracle.later:
        build = partial(_choose_for_good, setting, state, done)
        plan = campaign.once(STAGE, _asked_part(number), Iteration, build)
        rows = setting.read(plan.table)
        n_arrived, tallies = plan.arrived, plan.tallies
    else:
        rows, n_arrived, tallies = _choose(setting, state, done)
    arrived, asked = _split(rows, n_arrived)
    if n_arrived:
        state = deepcopy(state)
        state.take(arrived)
    ask(setting, state, asked, number)
    rows = Rows.joined([arrived, asked])
    campaign.ledger.add_labels(_labels(rows, setting.oracle, number))
    return Iteration(
        table=_written(setting, rows, number, _part(number)),
        arrived=n_arrived,
        tallies=tallies,
        seconds=time.monotonic() - began,
    )


def _choose(
    setting: Setting, state: SearchState, done: Sequence[Iteration]
) -> tuple[Rows, int, dict[str, Tally]]:
    """Take in what has arrived and decide what to ask: rows of both, how many arrived, tallies."""
    arrived = arrivals(setting, state)
    if arrived is not None:
        state = deepcopy(state)
        state.take(arrived)
    due = _suggestions_due(setting, state, done)
    rng = setting.campaign.generator(STAGE, len(done) + 1)
    rows, tallies = choose(setting, state, rng, due)
    if arrived is None:
        return rows, 0, tallies
    return Rows.joined([arrived, rows]), len(arrived), tallies


def _choose_for_good(setting: Setting, state: SearchState, done: Sequence[Iteration]) -> Iteration:
    """Choose and write it down."""
    began = time.monotonic()
    number = len(done) + 1
    rows, n_arrived, tallies = _choose(setting, state, done)
    table = _written(setting, rows, number, _asked_part(number))
    seconds = time.monotonic() - began
    return Iteration(table=table, arrived=n_arrived, tallies=tallies, seconds=seconds)


def _written(setting: Setting, rows: Rows, number: int, name: str) -> Handle:
    campaign, sought = setting.campaign, setting.targets.first.sought
    path = campaign.folder(STAGE) / f"{name}.parquet"
    return write_table(
        campaign.root, path, rows.columns(number, sought), "visited", counts=rows.counts
    )


def _split(rows: Rows, arrived: int) -> tuple[Rows, Rows]:
    """Return the rows that arrived, which come first, and those that were chosen."""
    first = np.arange(len(rows)) < arrived
    return rows.where(first), rows.where(~first)


def _take(setting: Setting, state: SearchState, output: Iteration) -> None:
    """Take an iteration's rows in as it did: first what arrived, then what it suggested."""
    rows = setting.read(output.table)
    arrived, asked = _split(rows, output.arrived)
    if output.arrived:
        state.take(arrived)
    state.take(asked)


def _labels(rows: Rows, oracle: Oracle, iteration: int) -> list[Label]:
    formulas = formulas_of(rows.counts)
    return [
        Label(
            formula=formulas[i],
            property=oracle.property,
            value=float(rows.values[i]),
            sigma=float(rows.sigmas[i]) if np.isfinite(rows.sigmas[i]) else None,
            origin=oracle.origin,
            source=oracle.source,
            iteration=iteration,
        )
        for i, status in enumerate(rows.statuses)
        if status == "labelled"
    ]


def _tell(
    setting: Setting,
    state: SearchState,
    output: Iteration,
    number: int,
    progress: Callable[[Progress], None] | None,
) -> None:
    now = Progress(
        iteration=number,
        calls=state.calls,
        budget=setting.config.budget,
        in_flight=len(state.waiting),
        best=state.best[1],
        sought=setting.targets.first.sought,
        seconds=output.seconds,
    )
    logger.info("explore: iteration %d, %s", now.iteration, now)
    if progress is not None:
        progress(now)
