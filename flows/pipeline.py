"""The whole campaign, stage after stage: what both the Prefect flow and ``agd run --local`` do.

In: a configuration, a campaign directory, and a way to run one stage (a plain call, or a Prefect
task). Out: a directory with candidates, job directories and a report. Nothing here needs Prefect.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from flows.config import CampaignConfig, as_begun
from flows.running.nights import take_in
from flows.running.plan import Plan
from flows.running.worker_kinds import workers_for
from flows.running.worker_process import LOGGERS
from flows.running.workers import Workers
from structure.errors import AgdError, CampaignError
from structure.files import write_text
from tasks.campaign.directory import BudgetUsed, Campaign, handles_in
from tasks.campaign.outputs import Reported, Upstream
from tasks.explore.stage import explore
from tasks.filter import filter_by_energy
from tasks.handoff import hand_off
from tasks.ingest.stage import ingest
from tasks.oracles.oracle import check_ready
from tasks.report.stage import write_report
from tasks.sample import sample_shard
from tasks.screen.stage import merge_screened, screen_shard
from tasks.template import assign_templates
from tasks.train import refit_screening, train

logger = logging.getLogger(__name__)
Output = TypeVar("Output", bound=BaseModel)

STAGES: tuple[Callable[..., BaseModel], ...] = (
    ingest,
    train,
    explore,
    refit_screening,
    sample_shard,
    screen_shard,
    merge_screened,
    assign_templates,
    filter_by_energy,
    hand_off,
    write_report,
)
"""Every function that `run_campaign` runs, in order."""


class Run(Protocol):
    """Runs stage functions on their inputs, which follow the place or campaign."""

    def expect(self, stage: Callable[..., BaseModel], rows: int) -> None:
        """Get ready for a stage that is soon to run on so many rows of inputs."""
        ...

    def __call__(self, stage: Callable[..., Output], *inputs: Any) -> Output:
        """Return what the stage returns."""
        ...

    def each(self, stage: Callable[..., Output], rows: Iterable[tuple[Any, ...]]) -> list[Output]:
        """Return what the stage returns for each row of inputs, in their order."""
        ...


def run_campaign(campaign: Campaign, config: CampaignConfig, run: Run) -> Reported:
    """Run a campaign from where it stands to its report.

    Parameters
    ----------
    campaign : Campaign
        Open; what its ledger has as finished is taken from there, not done again.
    config : CampaignConfig
    run : Run
    """
    c, targets = config, config.targets
    if campaign.ledger.fact("finished") is None:
        check_ready(c.explore.oracle, targets.first.sought)
    if campaign.ledger.finished("ingest", "all") is None:
        take_in(campaign.root)
    ingested = run(ingest, c.ingest, targets)
    trained = run(train, c.train, targets)
    explored = run(explore, c.explore, targets, ingested, trained)
    run.expect(sample_shard, c.sample.shards)
    screening = run(refit_screening, c.train, ingested, explored.visited, targets)

    drawn = run.each(sample_shard, [(c.sample, trained, i) for i in range(c.sample.shards)])
    shards = run.each(
        screen_shard,
        [(c.screen, targets, ingested, one, screening, i, trained) for i, one in enumerate(drawn)],
    )
    screened = run(
        merge_screened, c.screen, targets, shards, ingested, explored, screening, trained
    )

    templated = run(assign_templates, c.template, ingested, screened)
    filtered = run(filter_by_energy, c.filter, templated, trained)
    handed_off = run(hand_off, c.handoff, filtered, trained, ingested.templates, targets)
    upstream = (ingested, trained, explored, screened, templated, filtered, handed_off)
    reported = run(write_report, c.report, targets, *upstream, c.name)
    campaign.ledger.set_fact(UPSTREAM, Upstream.of(*upstream).model_dump_json())
    campaign.ledger.set_fact("finished", reported.page.sha256)
    return reported


UPSTREAM = "upstream"
"""Fact of the ledger from which the report can be written again."""


def report_again(campaign: Campaign, config: CampaignConfig, run: Run) -> Reported:
    """Write the report of a finished campaign again from what its stages left; run none of them.

    Raises
    ------
    CampaignError
        If the campaign has not reached its report, or what a stage left was changed.
    """
    recorded = campaign.ledger.fact(UPSTREAM)
    if campaign.ledger.fact("finished") is None or recorded is None:
        raise CampaignError(
            "the campaign has not reached its report, or did so with an earlier release",
            where=campaign.root,
            fix="Go on with it with the `agd run` command that began it.",
        )
    try:
        upstream = Upstream.model_validate_json(recorded)
    except ValueError as error:
        raise CampaignError(
            "what the ledger says of the finished stages was changed",
            where=campaign.root,
            fix="Run the `agd run` command that began the campaign again.",
        ) from error
    for handle in handles_in(upstream):
        handle.open_in(campaign.root)
    campaign.ledger.forget("report")
    return run(write_report, config.report, config.targets, *upstream.in_order(), config.name)


@contextmanager
def opened(plan: Plan, hours: float | None = None) -> Iterator[tuple[Campaign, Workers]]:
    """Open a campaign directory for a run, with its log and workers; say how to go on if it fails.

    Parameters
    ----------
    plan : Plan
        What to run, where, and the command that resumes it, which is written into
        ``report/FAILED.md`` if the run fails.
    hours : float, optional
        Wall time after which no further stage part is begun.

    Raises
    ------
    AgdError
        If the directory cannot be opened; see `Campaign`.
    """
    config = plan.config
    with Campaign(plan.root, as_begun(config, plan.root), config.seed) as campaign:
        if hours is not None:
            campaign.deadline = time.monotonic() + 3600.0 * hours
        failed = plan.root / "report" / "FAILED.md"
        with _logging_to(plan.root / "campaign.log"):
            logger.info("campaign %s in %s", config.name, plan.root)
            try:
                workers = workers_for(config.workers, plan.root)
                try:
                    yield campaign, workers
                finally:
                    workers.close()
            except BudgetUsed as stop:
                logger.info("%s", stop)
                raise
            except Exception as error:
                logger.error("the run failed: %s", error or type(error).__name__)
                write_text(failed, _failure(error, plan.again))
                raise
            except BaseException:
                logger.info("stopped; the same command goes on from here")
                raise
        failed.unlink(missing_ok=True)


def stage_runs(config: CampaignConfig) -> int:
    """Return how many stage functions `run_campaign` runs."""
    return 9 + 2 * config.sample.shards


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Append what our packages log to a file, one line an event."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.addHandler(handler)
        one.setLevel(logging.INFO)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)
        handler.close()


def _failure(error: BaseException, again: str) -> str:
    what = str(error) if isinstance(error, AgdError) else f"{type(error).__name__}: {error}"
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return (
        f"# The last run failed\n\n{when}\n\n```\n{what}\n```\n\n"
        "Finished work is kept. After correcting the cause, go on with\n\n"
        f"```\n{again}\n```\n"
    )
