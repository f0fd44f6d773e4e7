"""How a ledger is made, and how a lost one is told from one that never was: serves the ledger.

In: a campaign directory, an engine for its ledger. Out: the tables, or an error with a next step.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from structure.errors import CampaignError
from tasks.ledger.database import Place, is_settled
from tasks.ledger.database_errors import AGAIN
from tasks.ledger.migrations import MAKING, as_number, latest, note_version, tables_of
from tasks.ledger.sql_tables import FACTS, METADATA, insert_ignore

HEADER = 100
"""Bytes at the beginning of every SQLite file."""

TRACES = ("campaign.log", "ledger.turn", "ingest", "oracle", "train", "models", "explore", "sample",
          "screen", "template", "filter", "handoff", "references", "results", "report")  # fmt: skip
"""What a campaign leaves in its directory after its ledger was made."""


def has_begun(root: Path) -> bool:
    """Tell whether a campaign has made anything, so that it must have had a ledger.

    A run that is killed while it makes the ledger leaves nothing else, and the next makes it again.
    """
    return any((root / name).exists() for name in TRACES)


def refuse_lost(place: Place) -> None:
    """Refuse a ledger's file that is missing or cut short, of which SQLite would make another.

    SQLite takes a file shorter than its header for a new database, and reads zeros for what is
    missing of the last page.

    Raises
    ------
    CampaignError
    """
    if place.file is None:
        return
    if not place.file.exists() or place.file.stat().st_size < HEADER:
        raise lost(place)
    try:
        with place.file.open("rb") as handle:
            header = handle.read(HEADER)
    except OSError:
        return  # SQLite says why
    page, size = int.from_bytes(header[16:18], "big"), place.file.stat().st_size
    if not header.startswith(b"SQLite format 3") or page <= 1 or not size % page:
        return
    if is_settled(place.file):
        raise CampaignError(
            f"the ledger is damaged: {size} bytes are no whole number of its pages",
            where=str(place),
            fix=AGAIN,
        )


class LedgerLost(CampaignError):
    """There is no ledger where a campaign has its own, or an empty file."""


def lost(place: Place) -> LedgerLost:
    """Return what to say of a campaign whose ledger is not where it was."""
    if place.file is None:
        return LedgerLost(
            "the database has no ledger of this campaign",
            where=str(place),
            fix="Correct the variables in setting 'ledger' if it lies on another server. If it is "
            "lost, restore the schema from a dump; or take the job directories back in with "
            "`agd collect DIR --rebuild`, and repeat the campaign's `agd run` command, which does "
            "the rest again.",
        )
    if not place.file.exists():
        what, fix = "the ledger of the campaign is gone", AGAIN.replace(" delete it,", "")
    else:
        size = place.file.stat().st_size
        what, fix = f"the ledger is damaged: its {size} bytes hold no table", AGAIN
    return LedgerLost(
        what, where=str(place), fix=f"{fix} Or begin a new one with `--campaign DIR`."
    )


def schema_version(engine: sa.Engine, place: Place) -> int | None:
    """Return the version that a ledger was made with; None where it was not made to its end.

    Raises
    ------
    CampaignError
        If it was, and a table of it is gone, or by a later release.
    """
    with engine.connect() as connection:
        found = set(sa.inspect(connection).get_table_names(schema=place.schema))
        if FACTS.name not in found:
            return None
        noted = connection.scalar(sa.select(FACTS.c.value).where(FACTS.c.name == "schema"))
    if noted is None:
        return None
    version = as_number(noted, place)
    if gone := sorted(tables_of(version) - found):
        raise CampaignError(
            f"the ledger is damaged: it has no table '{gone[0]}'", where=str(place), fix=AGAIN
        )
    return version


def make_tables(engine: sa.Engine, place: Place) -> None:
    """Make a ledger's tables in one transaction, also while another process does.

    Raises
    ------
    CampaignError
        If the database's encoding cannot hold what a ledger says.
    """
    with engine.begin() as connection:
        if place.file is not None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            refuse_encoding(connection, place)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MAKING)))
            if place.schema and not sa.inspect(connection).has_schema(place.schema):
                connection.execute(sa.schema.CreateSchema(place.schema))
        METADATA.create_all(connection)
        insert_ignore(connection, FACTS, [{"name": "schema", "value": str(latest())}])
        note_version(connection, latest())


def refuse_encoding(connection: sa.Connection, place: Place) -> None:
    """Refuse a PostgreSQL database that cannot hold every character.

    Raises
    ------
    CampaignError
    """
    encoding = connection.scalar(sa.text("select current_setting('server_encoding')"))
    if encoding != "UTF8":
        raise CampaignError(
            f"the ledger's database has encoding {encoding}, which does not hold every character",
            where=str(place),
            fix="Make one with `createdb -E UTF8 -T template0 NAME`, and name it in 'ledger'.",
        )
