"""Explore stage: the active-learning loop in the latent space (AGD sec. 2.3).

In: initial labels, the autoencoder, an oracle. Out: every composition the search asked for with its
label, and a summary: the best label by oracle call, what became of the candidates by source. Each
iteration is one resumable part with its own table; the search is rebuilt from those tables.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np

from structure.composition import formulas_of
from structure.errors import ConfigError
from tasks._campaign import Campaign
from tasks._handles import Window, write_table
from tasks._ledger import Label
from tasks._oracles import PROPERTY, Oracle, oracle_for
from tasks._outputs import Explored, Ingested, Trained
from tasks.explore.config import ExploreConfig
from tasks.explore.iteration import arrivals, suggest
from tasks.explore.state import STAGE, LatentSpace, Rows, SearchState, Setting
from tasks.explore.summary import Iteration, write_summary

__all__ = ["ExploreConfig", "Progress", "explore"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes
    ----------
    iteration, calls, budget, in_flight : int
    best_gap_eV : float
        Gap of the best label the search found so far; NaN before the first.
    seconds : float
        Spent on the iteration.
    """

    iteration: int
    calls: int
    budget: int
    in_flight: int
    best_gap_eV: float
    seconds: float


def explore(
    campaign: Campaign,
    config: ExploreConfig,
    window: Window,
    ingested: Ingested,
    trained: Trained,
    *,
    oracle: Oracle | None = None,
    space: LatentSpace | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Explored:
    """Search until the budget of oracle calls is used.

    Where the oracle answers later, the search goes on with what it has, never waiting for the
    slowest, and rests when too many answers are outstanding; the same call goes on from there.

    Parameters
    ----------
    campaign : Campaign
    config : ExploreConfig
    window : Window
        Its utility is what the search maximises.
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
        window,
        space or _autoencoder(campaign, trained),
        oracle or oracle_for(campaign, config.oracle, trained.models),
    )
    state = SearchState.start(setting, ingested.initial)
    n_initial = len(state.values)
    done: list[Iteration] = []
    while _more_to_do(setting, state, len(done) + 1):
        build = partial(_iterate, setting, state, len(done) + 1)
        done.append(campaign.once(STAGE, _part(len(done) + 1), Iteration, build))
        _take(setting, state, done[-1])
        _tell(setting, state, done[-1], len(done), progress)
    finish = partial(write_summary, setting, state, done, n_initial)
    if state.waiting:
        logger.warning("explore: %d labels are still in flight", len(state.waiting))
        return finish()
    return campaign.once(STAGE, "all", Explored, finish)


def _autoencoder(campaign: Campaign, trained: Trained) -> LatentSpace:
    from models.autoencoder import Autoencoder

    if "autoencoder" not in trained.models:
        raise ConfigError(
            "the campaign has no autoencoder",
            where=", ".join(sorted(trained.models)) or "no models",
            fix="Give the train stage a model named 'autoencoder'.",
        )
    return Autoencoder.load(trained.models["autoencoder"].folder(campaign.root))


def _part(number: int) -> str:
    return f"iteration-{number:04d}"


def _suggestions_due(config: ExploreConfig, state: SearchState, number: int) -> int:
    if number > config.most_iterations:
        return 0
    room = config.in_flight_at_most - len(state.waiting)
    return max(min(config.batch, config.budget - state.calls, room), 0)


def _more_to_do(setting: Setting, state: SearchState, number: int) -> bool:
    """Whether another iteration was recorded, can suggest, or has answers to take in."""
    if setting.campaign.ledger.finished(STAGE, _part(number)) is not None:
        return True
    if _suggestions_due(setting.config, state, number):
        return True
    return arrivals(setting, state) is not None


def _iterate(setting: Setting, state: SearchState, number: int) -> Iteration:
    """Do one iteration: write its table, add its labels to the ledger; leave `state` as it was."""
    began = time.monotonic()
    campaign = setting.campaign
    arrived = arrivals(setting, state)
    if arrived is not None:
        state = deepcopy(state)
        state.take(arrived)
    due = _suggestions_due(setting.config, state, number)
    rows, tallies = suggest(setting, state, campaign.generator(STAGE, number), due)
    if arrived is not None:
        rows = Rows.joined([arrived, rows])
    path = campaign.folder(STAGE) / f"{_part(number)}.parquet"
    table = write_table(campaign.root, path, rows.columns(number), "visited", counts=rows.counts)
    campaign.ledger.add_labels(_labels(rows, setting.oracle, number))
    return Iteration(
        table=table,
        arrived=len(arrived) if arrived is not None else 0,
        tallies=tallies,
        seconds=time.monotonic() - began,
    )


def _take(setting: Setting, state: SearchState, output: Iteration) -> None:
    """Take an iteration's rows in as it did: first what arrived, then what it suggested."""
    rows = Rows.read(setting.campaign, output.table, setting.space.box.shape[1])
    order = np.arange(len(rows))
    if output.arrived:
        state.take(rows.where(order < output.arrived))
    state.take(rows.where(order >= output.arrived))


def _labels(rows: Rows, oracle: Oracle, iteration: int) -> list[Label]:
    formulas = formulas_of(rows.counts)
    return [
        Label(
            formula=formulas[i],
            property=PROPERTY,
            value=float(rows.gaps[i]),
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
        best_gap_eV=state.best[1],
        seconds=output.seconds,
    )
    logger.info(
        "explore: iteration %d, %d of %d labels, best gap %.2f eV",
        now.iteration,
        now.calls,
        now.budget,
        now.best_gap_eV,
    )
    if progress is not None:
        progress(now)
