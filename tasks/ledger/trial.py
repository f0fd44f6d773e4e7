"""A ledger tried before a campaign needs it: serves ``agd doctor``.

In: a campaign directory, or setting ``ledger`` of a configuration. Out: a sentence on what was
found, or the error a run would end with. Nothing is changed.
"""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from structure.errors import CampaignError
from tasks.ledger.database import Place, engine_for, parsed
from tasks.ledger.database_errors import AGAIN
from tasks.ledger.ledger import Ledger
from tasks.ledger.making import refuse_encoding
from tasks.ledger.reading import jobs_by_state, labelled, labels_by_origin, read_ledger


def try_campaign(root: Path) -> str:
    """Open the ledger of a campaign and look through it.

    Raises
    ------
    CampaignError
        If it is lost, damaged or cannot be read.
    """

    def look(ledger: Ledger) -> str:
        labels = sum(sum(labels_by_origin(ledger, name).values()) for name in labelled(ledger))
        jobs = sum(jobs_by_state(ledger).values())
        found = f"{ledger.place}: {labels:,} labels, {jobs:,} jobs"
        file = ledger.place.file
        if file is None:
            return f"{found}; {_server(ledger.home)}"
        with ledger.home.connect() as connection:
            told = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if told != "ok":
            raise CampaignError(f"the ledger is damaged: {told}", where=file, fix=AGAIN)
        may_write = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
        return f"{found}, no page damaged{'' if may_write else '; read-only: no run can go on'}"

    return read_ledger(root, look)


def try_setting(named: str) -> str:
    """Try setting ``ledger`` of a campaign that is to begin.

    Raises
    ------
    CampaignError, ConfigError
        If a campaign could not begin with it.
    """
    place = Place(parsed(named))
    if place.file is not None:
        return _try_file(place, place.file)
    engine = engine_for(place, reading=True)
    try:
        with engine.connect() as connection:
            refuse_encoding(connection, place)
            may = connection.scalar(
                sa.text("select has_database_privilege(current_database(), 'CREATE')")
            )
        if not may:
            raise CampaignError(
                "the ledger's user may not make a schema, and each campaign has one of its own",
                where=str(place),
                fix="Let the database's owner run `GRANT CREATE ON DATABASE ... TO ...`.",
            )
        return f"{place}: {_server(engine)}; a campaign can make its schema"
    finally:
        engine.dispose()


def _try_file(place: Place, file: Path) -> str:
    if file.exists():
        ledger = Ledger(place, make=False, reading=True)
        try:
            owner = ledger.fact("campaign")
        finally:
            ledger.close()
        return f"{file}: " + ("belongs to a campaign, and serves no other" if owner else "free")
    if not os.access(file.parent, os.W_OK):
        raise CampaignError(
            "the ledger's file cannot be made",
            where=file,
            fix="Make its folder, or correct its permissions.",
        )
    return f"{file}: can be made"


def _server(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return f"PostgreSQL {connection.scalar(sa.text('show server_version'))}"
