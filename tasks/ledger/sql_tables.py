"""The tables of a ledger, and the statements that SQLite and PostgreSQL word differently.

In: rows of plain values. Out: the same tables in either database. Where the database is and how it
is opened stands in `tasks.ledger.database`, what the rows mean in `tasks.ledger.ledger`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()

FACTS = sa.Table(
    "facts",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
STAGES = sa.Table(
    "stages",
    METADATA,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Text, nullable=False),
)
LABELS = sa.Table(
    "labels",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("formula", sa.Text, nullable=False, index=True),
    sa.Column("property", sa.Text, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("sigma", sa.Float),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("quality", sa.Text, nullable=False, default=""),
    sa.Column("iteration", sa.Integer, nullable=False),
    sa.Column("added_at", sa.Text, nullable=False),
    sa.UniqueConstraint("formula", "property", "origin", "source", name="one_label_a_question"),
)
QUESTION = ("formula", "property", "origin", "source")
CANDIDATES = sa.Table(
    "candidates",
    METADATA,
    sa.Column("formula", sa.Text, primary_key=True),
    sa.Column("rank", sa.Integer),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False, default=""),
    sa.Column("sentence", sa.Text, nullable=False, default=""),
    sa.Column("story", sa.Text, nullable=False, default="{}"),
)
JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("formula", sa.Text, nullable=False, index=True),
    sa.Column("batch", sa.Text, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("recipe", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("code", sa.Integer),
    sa.Column("story", sa.Text, nullable=False, default="{}"),
    sa.Column("changed_at", sa.Text, nullable=False),
)
MODELS = sa.Table(
    "models",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("trained_on", sa.Text, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
)
VERSIONS = sa.Table(
    "versions",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, nullable=False),
    sa.Column("since", sa.Text, nullable=False),
)
"""Which release made the ledger, or brought it to a later version, and when."""


def now(exactly: bool = False) -> str:
    """Return the time as rows keep it: UTC, to the second or the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds" if exactly else "seconds")


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
