"""What differs between the databases a ledger may lie in: serves the ledger.

In: a campaign directory, an SQLAlchemy connection. Out: where the campaign's database is, and
statements that SQLite and PostgreSQL both understand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from structure.errors import CampaignError
from structure.tables import with_variables

_AGAIN = (
    "Restore it from a copy; or delete it, take the job directories back in with "
    "`agd collect DIR --rebuild`, and repeat the campaign's `agd run` command, which does the "
    "rest again."
)

_REMEDIES = {
    "malformed": _AGAIN,
    "not a database": _AGAIN,
    "is full": "Free disk space, then run the same command again.",
    "i/o error": "Check the disk and its free space, then run the same command again.",
    "readonly": "Correct the permissions of the file and its folder, then run it again.",
    "unable to open": "Correct the permissions of the file and its folder, then run it again.",
    "is locked": "Wait until the program that has it open ends, then run the same command again.",
}
"""What to do about a ledger, by a part of SQLite's message."""


def ledger_url(root: Path) -> str:
    """Return the SQLAlchemy URL of a campaign's ledger.

    It is setting ``ledger`` of the frozen configuration, in which ``${NAME}`` stands for an
    environment variable, so that no password is written down; ``ledger.sqlite`` in the directory
    where there is none.

    Raises
    ------
    ConfigError
        If a variable is not set.
    """
    try:
        named = json.loads((root / "campaign.json").read_text())["config"].get("ledger")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        named = None
    return with_variables(named) if named else f"sqlite:///{root / 'ledger.sqlite'}"


def durable_sqlite(connection: Any, _record: Any) -> None:
    """Use a write-ahead log that survives a power cut."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def refuse_unusable(context: sa.engine.ExceptionContext) -> None:
    """Turn what SQLite says of a damaged, full or forbidden file into an error with a next step.

    Raises
    ------
    CampaignError
        Instead of SQLAlchemy's own, so that it comes out the same wherever the ledger is used.
    """
    message = str(context.original_exception)
    for part, remedy in _REMEDIES.items():
        if part in message.lower():
            database = context.engine.url.database if context.engine is not None else None
            raise CampaignError(
                f"the ledger cannot be used: {message}", where=database, fix=remedy
            ) from context.original_exception


def insert_ignore(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> int:
    """Insert rows, leaving out those whose unique key exists; return how many were inserted."""
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as pg_insert

        statement: Any = pg_insert(table).on_conflict_do_nothing()
    else:
        statement = sa.insert(table).prefix_with("OR IGNORE")
    before = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    connection.execute(statement, rows)
    after = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    return after - before
