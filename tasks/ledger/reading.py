"""A campaign's ledger read without a trace: serves ``agd status``, ``agd why`` and the doctor.

In: a campaign directory, also one that is read-only or that a run has open. Out: what the ledger
has, counted in the database, so that a large campaign is answered at once and in little memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from structure.errors import CampaignError
from tasks.ledger.claim import check_owner
from tasks.ledger.database import Place, is_settled, place_of
from tasks.ledger.ledger import Ledger
from tasks.ledger.making import LedgerLost, has_begun
from tasks.ledger.sql_tables import CANDIDATES, JOBS, LABELS, STAGES

Found = TypeVar("Found")

TIMES = 5
"""How often a ledger is read again that was written to meanwhile (chosen)."""


class NotBegun(CampaignError):
    """A run was killed, or is, before it made the ledger."""


def read_ledger(root: Path, look: Callable[[Ledger], Found]) -> Found:
    """Look something up in the ledger of a campaign, also while a run has it open.

    Parameters
    ----------
    root : Path
        Campaign directory.
    look : callable
        Gets the open ledger; may be called again if the ledger was written to meanwhile.

    Raises
    ------
    CampaignError
        If the directory is no campaign, or its ledger is lost or cannot be read.
    """
    try:
        place = _existing(root)
        for _ in range(TIMES):
            before = _state(place)
            try:
                with closing(Ledger(place, make=False, reading=True)) as ledger:
                    if not place.inside:
                        check_owner(root, ledger)
                    found = look(ledger)
            except LedgerLost as error:
                if has_begun(root):
                    raise
                raise NotBegun(
                    "the campaign has no ledger yet: nothing of it was made",
                    where=root,
                    fix="Repeat the `agd run` command that began it.",
                ) from error
            except CampaignError:
                if _state(place) == before:
                    raise
                continue
            if before is None or _state(place) == before:
                return found
    except PermissionError as error:
        raise CampaignError(
            "the campaign cannot be read",
            where=error.filename or root,
            fix="Correct the permissions of the directory, or ask its owner.",
        ) from error
    raise CampaignError(
        "the ledger was written to each time it was read", where=str(place), fix="Try again."
    )


def _existing(root: Path) -> Place:
    """Return where the ledger of a directory lies, if that is a campaign."""
    if not (root / "campaign.json").exists():
        last = max(root.glob("*/campaign.json"), default=None)
        raise CampaignError(
            "this is no campaign directory",
            where=root,
            fix=f"It holds some: name one, e.g. {last.parent}."
            if last
            else "Name one that `agd run` made, e.g. campaigns/agd-bandgap.",
        )
    return place_of(root)


def _size(place: Place) -> int | None:
    """Return the bytes of a ledger's file, 0 where it is missing; None for one on a server."""
    if place.file is None:
        return None
    return place.file.stat().st_size if place.file.exists() else 0


def _state(place: Place) -> tuple[int, int] | None:
    """Return what changes when a file that is read as it is gets written; None for any other."""
    if place.file is None or not _size(place) or not is_settled(place.file):
        return None
    found = place.file.stat()
    return found.st_size, found.st_mtime_ns


def stage_times(ledger: Ledger) -> list[tuple[str, int, float]]:
    """Return of each stage its name, how many parts are done, and their seconds."""
    query = sa.select(STAGES.c.stage, sa.func.count(), sa.func.sum(STAGES.c.seconds))
    with ledger.engine.connect() as connection:
        return [(r[0], r[1], r[2]) for r in connection.execute(query.group_by(STAGES.c.stage))]


def labelled(ledger: Ledger) -> list[str]:
    """Return the properties that a ledger has labels of, with their units."""
    query = sa.select(LABELS.c.property).distinct().order_by(LABELS.c.property)
    with ledger.engine.connect() as connection:
        return [str(name) for (name,) in connection.execute(query)]


def labels_by_origin(ledger: Ledger, property: str) -> dict[str, int]:
    """Return how many labels of a property there are."""
    return _tally(ledger, LABELS.c.origin, LABELS.c.property == property)


def candidates_by_status(ledger: Ledger, ranked: bool = False) -> dict[str, int]:
    """Return how many candidates there are, or how many that have a rank."""
    return _tally(ledger, CANDIDATES.c.status, CANDIDATES.c.rank.is_not(None) if ranked else None)


def jobs_by_state(ledger: Ledger, asked_by: str | None = None) -> dict[str, int]:
    """Return how many jobs there are, or how many that somebody asked for."""
    named = JOBS.c.story.contains(f'"asked_by": "{asked_by}"') if asked_by else None
    return _tally(ledger, JOBS.c.state, named)


def _tally(
    ledger: Ledger, column: sa.Column[str], which: sa.ColumnElement[bool] | None
) -> dict[str, int]:
    query = sa.select(column, sa.func.count()).group_by(column)
    if which is not None:
        query = query.where(which)
    with ledger.engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}
