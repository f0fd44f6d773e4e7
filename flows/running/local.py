"""``agd run --local``: a whole campaign in this process, with no server and no Prefect.

In: a `Plan`. Out: the same campaign directory the flow makes.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.config import validated
from flows.pipeline import opened, report_again, run_campaign
from flows.running.parts import Parts
from flows.running.plan import Plan
from flows.running.worker_process import LOGGERS
from structure.errors import CampaignError
from tasks.campaign.directory import BudgetUsed


def run_here(plan: Plan, hours: float | None, say: Callable[[str], None]) -> int:
    """Run a campaign with plain calls; return the exit status."""
    try:
        with _logging_to_screen(), opened(plan, hours) as (campaign, workers):
            run_campaign(campaign, plan.config, Parts(campaign, workers))
    except BudgetUsed as stop:
        say(str(stop))
    return 0


def rewrite_report(root: Path) -> Path:
    """Write the report of a finished campaign again; return the page.

    Raises
    ------
    CampaignError
        If the directory is no campaign, or the campaign has not reached its report.
    """
    path = root / "campaign.json"
    try:
        frozen = json.loads(path.read_text())["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise CampaignError(
            "campaign.json is damaged", where=path, fix="Restore it from a copy."
        ) from error
    except OSError as error:
        raise CampaignError(
            "this is no campaign directory", where=path, fix="Name one, e.g. campaigns/agd-bandgap."
        ) from error
    plan = Plan(validated(frozen, str(path)), root, f"agd report {root}")
    with opened(plan) as (campaign, workers):
        reported = report_again(campaign, plan.config, Parts(campaign, workers))
    return root / reported.page.path


@contextmanager
def _logging_to_screen() -> Iterator[None]:
    """Show what our packages log on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for one in loggers:
        one.addHandler(handler)
    try:
        yield
    finally:
        for one in loggers:
            one.removeHandler(handler)
