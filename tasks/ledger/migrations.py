"""How a ledger of an earlier release becomes one of this: serves the ledger when it is opened.

In: an engine of a ledger that an earlier release made. Out: the same ledger with the tables and
columns that came later, one transaction a version, so that a kill leaves it at one version or the
next; or, for those who only read, a copy in memory that was brought up to date. A migration only
adds, so that a run of the earlier release that has the ledger open goes on.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from structure.errors import CampaignError
from tasks.ledger.database import Place
from tasks.ledger.sql_tables import FACTS, METADATA, VERSIONS, insert_ignore, now
from tasks.ledger.version import PRODUCT_VERSION

if TYPE_CHECKING:
    from alembic.operations import Operations

logger = logging.getLogger(__name__)

MAKING = 4_197_604
"""Advisory lock of a database in which a ledger is made or migrated: any number, always the same"""
_AT_A_TIME = 10_000


@dataclass(frozen=True)
class Migration:
    """What one version added.

    Attributes
    ----------
    version : int
        That it leads to, from the one before.
    apply : callable
        Gets alembic's operations and the schema of the ledger's tables (None: the usual one).
        It may add tables, and columns that may be null or have a `server_default`.
    tables : tuple of str
        That it makes.
    """

    version: int
    apply: Callable[[Operations, str | None], None]
    tables: tuple[str, ...] = ()


def _note_versions(operations: Operations, schema: str | None) -> None:
    operations.create_table(
        "versions",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("product", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False),
        schema=schema,
    )


MIGRATIONS: tuple[Migration, ...] = (Migration(2, _note_versions, ("versions",)),)
"""In order. `tasks.ledger.sql_tables` has what they add up to; a test compares the two."""


def latest() -> int:
    """Return the version of a ledger that this release makes."""
    return MIGRATIONS[-1].version if MIGRATIONS else 1


def tables_of(version: int) -> set[str]:
    """Return the tables that a ledger of a version has."""
    later = {name for m in MIGRATIONS if m.version > version for name in m.tables}
    return set(METADATA.tables) - later


def as_number(version: str, place: Place) -> int:
    """Return the version of a ledger that this release can open.

    Raises
    ------
    CampaignError
        If a later release made it, or it is no number.
    """
    number = int(version) if version.isdecimal() else 0
    if number > latest():
        raise CampaignError(
            f"the ledger has schema version {number}, made by a later release; this one "
            f"({PRODUCT_VERSION}) knows versions up to {latest()}",
            where=str(place),
            fix="Update the product, or start a new campaign directory with `--campaign DIR`.",
        )
    if number < 1:
        raise CampaignError(
            f"the ledger is damaged: its schema version is {version!r}",
            where=str(place),
            fix="Restore it from a copy.",
        )
    return number


def migrate(engine: sa.Engine, place: Place) -> None:
    """Bring a ledger up to date, also while another process does.

    Raises
    ------
    CampaignError
        If the database refuses.
    """
    for migration in MIGRATIONS:
        with engine.begin() as connection:
            if place.file is not None:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MAKING)))
            query = sa.select(FACTS.c.value).where(FACTS.c.name == "schema")
            if as_number(str(connection.scalar(query)), place) < migration.version:
                _apply(connection, migration, place.schema)
                logger.info("ledger: brought to schema version %d", migration.version)


def _apply(connection: sa.Connection, migration: Migration, schema: str | None) -> None:
    """Apply one migration and note it, in the transaction of a connection."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    migration.apply(Operations(MigrationContext.configure(connection)), schema)
    connection.execute(
        sa.update(FACTS).where(FACTS.c.name == "schema").values(value=str(migration.version))
    )
    note_version(connection, migration.version)


def note_version(connection: sa.Connection, version: int) -> None:
    """Write down which release made a ledger, or brought it to a version, and when."""
    row = {"version": version, "product": PRODUCT_VERSION, "since": now()}
    insert_ignore(connection, VERSIONS, [row])


def copy_in_memory(engine: sa.Engine, place: Place) -> sa.Engine:
    """Copy an earlier ledger into memory and bring the copy up to date; the ledger stays as it is.

    Returns
    -------
    sqlalchemy.Engine
        Of an SQLite database in memory.
    """
    memory = sa.create_engine(
        "sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
    )
    with engine.connect() as source:
        if place.file is not None:
            _copy_file(source, memory)
        else:
            _copy_rows(source, place.schema, memory)
    with memory.begin() as target:
        query = sa.select(FACTS.c.value).where(FACTS.c.name == "schema")
        version = as_number(str(target.scalar(query)), place)
        for migration in MIGRATIONS:
            if migration.version > version:
                _apply(target, migration, None)
    return memory


def _copy_file(source: sa.Connection, memory: sa.Engine) -> None:
    """Copy an SQLite database page by page."""
    with memory.connect() as target:
        ours, theirs = target.connection.dbapi_connection, source.connection.dbapi_connection
        assert isinstance(ours, sqlite3.Connection)
        assert isinstance(theirs, sqlite3.Connection)
        theirs.backup(ours)


def _copy_rows(source: sa.Connection, schema: str | None, memory: sa.Engine) -> None:
    """Copy the tables of a schema row by row."""
    found, plain = sa.MetaData(), sa.MetaData()
    found.reflect(source, schema=schema, only=lambda name, _: name in METADATA.tables)
    with memory.begin() as target:
        for table in found.tables.values():
            columns = [
                sa.Column(c.name, c.type.as_generic(), primary_key=c.primary_key)
                for c in table.columns
            ]
            copied = sa.Table(table.name, plain, *columns)
            copied.create(target)
            for rows in source.execute(sa.select(table)).mappings().partitions(_AT_A_TIME):
                target.execute(sa.insert(copied), [dict(row) for row in rows])
