"""Nights: a series of campaigns, each starting from what came back of the ones before.

In: a series directory and a configuration. Out: the configuration and directory of tonight's
campaign: last night's while that is unfinished, otherwise a new one that takes the finished
calculations of all earlier nights as labels and proposes none of their compounds again.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from flows.config import CampaignConfig, validated
from structure.errors import AgdError, CampaignError, ConfigError
from tasks.campaign.series import campaigns_before
from tasks.collect import collect_campaign
from tasks.ledger.database import keeps_campaigns_apart
from tasks.ledger.reading import NotBegun, read_ledger

logger = logging.getLogger(__name__)


def tonight(series: Path, config: CampaignConfig) -> tuple[CampaignConfig, Path]:
    """Choose tonight's campaign.

    Parameters
    ----------
    series : Path
        Directory of the series; nights lie in it as ``night-0001``, ``night-0002``...
    config : CampaignConfig
        Of the next new night. An unfinished night keeps the one it began with.

    Returns
    -------
    config : CampaignConfig
        A new night's seed is the configured one plus the nights before it.
    root : Path
        Campaign directory. Two runs that choose at once choose the same, and its lock lets one in.

    Raises
    ------
    ConfigError
        If the configuration names an SQLite file, which serves one campaign only.
    CampaignError
        If the last night's campaign.json is damaged.
    """
    if config.ledger is not None and not keeps_campaigns_apart(config.ledger):
        raise ConfigError(
            "the nights of a series cannot share one file as their ledger",
            where="ledger",
            fix="Leave 'ledger' out: each night then keeps its ledger in its own directory. Or "
            "name a PostgreSQL database, in which each night has a schema of its own.",
        )
    nights = sorted(p for p in series.glob("night-[0-9][0-9][0-9][0-9]") if p.is_dir())
    begun = [night for night in nights if (night / "campaign.json").exists()]
    if begun and not _finished(begun[-1]):
        frozen = _frozen(begun[-1])
        return frozen.model_copy(update={"workers": config.workers}), begun[-1]
    earlier = tuple(f"../{night.name}" for night in begun)
    ingest = config.ingest.model_copy(update={"earlier": earlier})
    new = config.model_copy(update={"seed": config.seed + len(begun), "ingest": ingest})
    return new, series / f"night-{len(begun) + 1:04d}"


def take_in(root: Path) -> None:
    """Collect what earlier nights asked for, so that a new one starts from all that came back.

    A night that cannot be collected is left as it is, with a warning: tonight goes on without it.

    Parameters
    ----------
    root : Path
        Directory of tonight's campaign, which names the earlier ones.
    """
    for night in campaigns_before(root):
        try:
            found = collect_campaign(night)
        except AgdError as error:
            logger.warning("the jobs of %s are not collected: %s", night.name, error)
            continue
        if found.new_labels:
            logger.info("%s: %d new labels", night.name, found.new_labels)


def _finished(night: Path) -> bool:
    try:
        return read_ledger(night, lambda ledger: ledger.fact("finished")) is not None
    except NotBegun:
        return False


def _frozen(night: Path) -> CampaignConfig:
    path = night / "campaign.json"
    try:
        return validated(json.loads(path.read_text())["config"], str(path))
    except (ValueError, KeyError, TypeError) as error:
        raise CampaignError(
            "campaign.json is damaged", where=path, fix="Restore it, or move this night away."
        ) from error
