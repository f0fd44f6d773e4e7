"""Where a ledger lies and how its database is opened: serves the ledger of every stage.

In: a campaign directory, or an SQLAlchemy URL. Out: a `Place`, and an engine for it that says in a
sentence what is wrong with the file or the server. SQLite in the campaign directory by default;
with setting ``ledger`` a file elsewhere, or a PostgreSQL server on which each campaign has a schema
of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from structure.errors import CampaignError, ConfigError
from structure.sources.tables import with_variables
from tasks.ledger.database_errors import refuse_unusable

DRIVERS = ("psycopg", "psycopg2")
CONNECT_S = 10
"""How long to wait for a server that does not answer (chosen)."""
IDLE_S = 60
"""Silence after which a connection is probed: no router drops one that a long stage does not use,
and a server gives back within two minutes what a machine without power held (chosen)."""


@dataclass(frozen=True)
class Place:
    """Where a ledger lies.

    Attributes
    ----------
    url : sqlalchemy.URL
    schema : str or None
        Of PostgreSQL: the campaign's own. None where the tables lie in the user's default schema,
        as those of campaigns begun before each had its own.
    inside : bool
        Whether it is the file in the campaign directory.
    """

    url: sa.URL
    schema: str | None = None
    inside: bool = False

    @property
    def file(self) -> Path | None:
        """The file of an SQLite ledger; None for one on a server."""
        return Path(str(self.url.database)) if self.url.get_backend_name() == "sqlite" else None

    def __str__(self) -> str:
        """Name it without any password."""
        if self.file is not None:
            return str(self.file)
        secret = [name for name in self.url.query if "password" in name]
        shown = self.url.difference_update_query(secret).render_as_string(hide_password=True)
        return f"{shown}, schema {self.schema}" if self.schema else shown


def place_of(root: Path) -> Place:
    """Return where a campaign's ledger lies.

    Raises
    ------
    CampaignError
        If campaign.json is damaged and there is no ledger beside it.
    ConfigError
        If setting ``ledger`` cannot be used.
    """
    path, beside = root / "campaign.json", root / "ledger.sqlite"
    named = own = None
    if path.exists():
        try:
            frozen = json.loads(path.read_bytes())
            named, own = frozen["config"].get("ledger"), frozen.get("id")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if not beside.exists():
                raise CampaignError(
                    "campaign.json is damaged", where=path, fix="Restore it from a copy."
                ) from error
    if not named:
        return Place(sa.URL.create("sqlite", database=str(beside)), inside=True)
    url = parsed(named)
    apart = own is not None and url.get_backend_name() == "postgresql"
    return Place(url, f"agd_{own}" if apart else None)


def parsed(named: str) -> sa.URL:
    """Read setting ``ledger``, in which ``${NAME}`` stands for an environment variable.

    Raises
    ------
    ConfigError
        If it is no URL, a variable is not set, or the database is of a kind that cannot be used.
    """
    try:
        url = sa.make_url(with_variables(named))
        backend, _, driver = url.drivername.partition("+")
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ConfigError(
            "the ledger's place is no database URL",
            where="ledger",
            fix="Write for example postgresql+psycopg://${AGD_DB_USER}@host/agd.",
        ) from error
    if backend in ("postgresql", "postgres") and driver in ("", *DRIVERS):
        return url.set(drivername=f"postgresql+{driver or DRIVERS[0]}")
    in_memory = not url.database or url.database == ":memory:" or url.database.startswith("file:")
    if backend == "sqlite" and driver in ("", "pysqlite") and not in_memory:
        return url
    raise ConfigError(
        f"a ledger cannot lie in {url.drivername} {url.database or ''}".rstrip(),
        where="ledger",
        fix="Name a file as sqlite:////path/of/ledger.sqlite, or a server as "
        "postgresql+psycopg://user@host/agd.",
    )


def keeps_campaigns_apart(named: str) -> bool:
    """Tell whether several campaigns may have the same setting ``ledger``."""
    return parsed(named).get_backend_name() == "postgresql"


def engine_for(place: Place, reading: bool = False) -> sa.Engine:
    """Return an engine of a ledger; with `reading`, one that changes nothing.

    Raises
    ------
    ConfigError
        If the driver is not installed.
    """
    if place.file is not None:
        engine = _sqlite_engine(place, place.file, reading)
    else:
        engine = _postgres_engine(place, reading)
    sa.event.listen(engine, "handle_error", refuse_unusable(str(place)))
    return engine


def _sqlite_engine(place: Place, file: Path, reading: bool) -> sa.Engine:
    if reading:
        return sa.create_engine(place.url, creator=lambda: _untouched(file))
    engine = sa.create_engine(place.url, connect_args={"timeout": 60})
    sa.event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: Any, _record: Any) -> None:
    """Use a write-ahead log that survives a power cut."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def is_settled(file: Path) -> bool:
    """Tell whether an SQLite file holds everything: no log beside it has more to say."""
    beside = (file.with_name(file.name + end) for end in ("-wal", "-journal"))
    return not any(log.exists() and log.stat().st_size for log in beside)


def _untouched(file: Path) -> sqlite3.Connection:
    """Open an SQLite file without a change to it or its folder, which may both be read-only.

    A write-ahead log needs an index beside it, which SQLite makes where it is missing. A settled
    file is therefore read as it is; one with a log whose index cannot be made is read from a copy.
    """
    name = f"file:{quote(str(file.absolute()))}"
    if is_settled(file):
        return sqlite3.connect(f"{name}?immutable=1", uri=True, check_same_thread=False)
    opened = sqlite3.connect(f"{name}?mode=ro", uri=True, timeout=60, check_same_thread=False)
    try:
        opened.execute("select 1 from sqlite_master").fetchall()
        return opened
    except sqlite3.OperationalError as error:
        opened.close()
        if "unable to open" not in str(error) or not os.access(file, os.R_OK):
            raise
    with tempfile.TemporaryDirectory(prefix="agd-ledger-") as folder:
        for end in ("", "-wal"):
            shutil.copyfile(file.with_name(file.name + end), Path(folder, f"copy{end}"))
        opened = sqlite3.connect(Path(folder, "copy"), check_same_thread=False)
        opened.execute("PRAGMA journal_mode=DELETE")  # one file, read on when its name is gone
        return opened


def _postgres_engine(place: Place, reading: bool) -> sa.Engine:
    given: dict[str, Any] = {
        "client_encoding": "utf8",
        "connect_timeout": CONNECT_S,
        "keepalives_idle": IDLE_S,
        "application_name": "agd",
    }
    options: dict[str, Any] = {"schema_translate_map": {None: place.schema}}
    if reading:
        options["postgresql_readonly"] = True
    try:
        return sa.create_engine(
            place.url,
            pool_pre_ping=True,
            connect_args={k: v for k, v in given.items() if k not in place.url.query},
            execution_options=options,
        )
    except ImportError as error:
        raise _without_driver(place.url.get_driver_name(), error) from error


def _without_driver(driver: str, error: ImportError) -> ConfigError:
    """Return what to say where PostgreSQL's driver does not load."""
    if "no pq wrapper" in str(error):
        what = f"the driver {driver} of the ledger's PostgreSQL server finds no library libpq"
        fix = "Install Debian's package libpq5, or run `pip install 'psycopg[binary]'`."
    else:
        what = f"the driver {driver} of the ledger's PostgreSQL server is not installed"
        fix = (
            "Run `pip install 'agd-pipeline[postgres]'`; in a checkout "
            "`pip install -e '.[postgres]' -c constraints.txt`."
        )
    return ConfigError(what, where="ledger", fix=fix)
