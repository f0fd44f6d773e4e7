"""Whose ledger it is: keeps two campaigns, two copies of one and two runs out of one database.

In: a campaign directory and its open ledger. Out: nothing, or the sentence that says why this
directory may not use it. A ledger inside the directory needs little of this: it moves and is copied
with it, and the directory's own lock lets one run in.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from filelock import FileLock, Timeout

from structure.errors import CampaignError
from structure.files import sha256_of, write_json
from tasks.ledger.database import IDLE_S, Place
from tasks.ledger.sql_tables import FACTS

if TYPE_CHECKING:
    from tasks.ledger.ledger import Ledger

TURNS = "ledger.turn"
"""File of a campaign whose ledger lies elsewhere: which runs of it this directory has seen."""
PATIENCE_S = 5.0
"""How long the hold of a run that was just killed is waited for (chosen)."""


def new_id() -> str:
    """Return an id for a campaign that begins; it names its schema on a server."""
    return secrets.token_hex(8)


def campaign_id(root: Path) -> str:
    """Return a campaign's id; that of one begun before there were ids is its configuration's."""
    path = root / "campaign.json"
    try:
        own = json.loads(path.read_bytes()).get("id")
    except (ValueError, AttributeError):
        own = None
    return str(own) if own else sha256_of(path)


def check_owner(root: Path, ledger: Ledger) -> None:
    """Refuse a ledger elsewhere that this directory has no part in.

    Raises
    ------
    CampaignError
        If another campaign began it, or another copy of this directory has gone on with it.
    """
    found = ledger.fact("campaign")
    if found is not None and found != campaign_id(root):
        raise CampaignError(
            "the ledger belongs to another campaign",
            where=str(ledger.place),
            fix="Restore the ledger.sqlite that was made with this campaign.json."
            if ledger.place.inside
            else "Give this campaign a database of its own in setting 'ledger'.",
        )
    last = ledger.fact("turn")
    if last is not None and last not in _turns(root):
        raise CampaignError(
            "another copy of this campaign directory has gone on with its ledger",
            where=root,
            fix="Use the directory that ran last, and begin a new campaign with `--campaign DIR` "
            "for other work. If this one was restored from a backup: drop its ledger "
            f"({ledger.place}), then `agd collect DIR --rebuild` and the `agd run` command.",
        )


def claim(root: Path, ledger: Ledger) -> Hold | None:
    """Make a ledger this directory's for the life of a run; return what keeps others out.

    Raises
    ------
    CampaignError
        As `check_owner`, or if another run uses the ledger now.
    """
    own = campaign_id(root)
    if ledger.place.inside:
        if ledger.fact("campaign") is None:
            ledger.set_fact("campaign", own)
        check_owner(root, ledger)
        return None
    hold = Hold(ledger)
    try:
        check_owner(root, ledger)
        if ledger.fact("campaign") is None:
            ledger.set_fact("campaign", own)
        hold.turn = secrets.token_hex(8)
        write_json(root / TURNS, {"before": ledger.fact("turn"), "now": hold.turn})
        ledger.set_fact("turn", hold.turn)
    except BaseException:
        hold.release()
        raise
    return hold


def _turns(root: Path) -> tuple[str, ...]:
    """Return the last two runs of this directory: one that was killed may not be in the ledger."""
    try:
        found = json.loads((root / TURNS).read_bytes())
        return found["before"], found["now"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()


class Hold:
    """Keeps every other run off a ledger that lies outside the campaign directory.

    On a server it is an advisory lock, which ends with the connection: a killed run holds nothing.

    Parameters
    ----------
    ledger : Ledger

    Attributes
    ----------
    turn : str
        This run's, once it is in the ledger.

    Raises
    ------
    CampaignError
        If another run holds it.
    """

    def __init__(self, ledger: Ledger):
        self.turn = ""
        self._engine, self._place = ledger.engine, ledger.place
        self._one_at_a_time = threading.Lock()
        self._connection: sa.Connection | None = None
        self._lock: FileLock | None = None
        deadline = time.monotonic() + PATIENCE_S
        while not self._taken():
            if time.monotonic() > deadline:
                raise CampaignError(
                    "another run uses the ledger of this campaign, from a copy of its directory",
                    where=str(self._place),
                    fix="Wait until it ends. The hold of a machine that lost power is given back "
                    "after two minutes.",
                )
            time.sleep(0.2)

    def keep(self) -> None:
        """Make sure that the hold lasts, before something is written; take it again if it is lost.

        Raises
        ------
        CampaignError
            If the server cannot be reached, or another run came in between.
        """
        if self._place.file is not None:
            return
        with self._one_at_a_time:
            if self._connection is not None:
                try:
                    self._connection.execute(sa.select(1))
                    return
                except CampaignError:
                    self.release()
            if self._taken():
                assert self._connection is not None
                query = sa.select(FACTS.c.value).where(FACTS.c.name == "turn")
                if self._connection.scalar(query) == self.turn:
                    return
                self.release()
        raise CampaignError(
            "another run took the ledger while the connection to its server was lost",
            where=str(self._place),
            fix="Let one run use the campaign at a time; `agd status` shows how far it is.",
        )

    def release(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.release()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
        self._connection = self._lock = None

    def _taken(self) -> bool:
        if self._place.file is not None:
            self._lock = FileLock(beside(self._place.file), timeout=0)
            try:
                self._lock.acquire()
            except Timeout:
                return False
            return True
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for name, value in _LASTING.items():
            connection.execute(_SET, {"name": name, "value": value})
        if connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_number(self._place)))):
            self._connection = connection
            return True
        connection.close()
        return False


_SET = sa.text(
    "select set_config(:name, :value, false) from pg_settings where name = :name"
)  # nothing where an older server does not know the setting
_LASTING = {
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": str(IDLE_S),
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
}
"""Settings of the connection that holds: idle for hours, given up soon after a power cut."""


def beside(file: Path) -> Path:
    """Return the lock file of an SQLite ledger that lies elsewhere."""
    return file.with_name(f"{file.name}.lock")


def _number(place: Place) -> int:
    """Return the advisory lock of a ledger: one of 2^64 of its database."""
    digest = hashlib.sha256(f"agd ledger {place.schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def is_held(ledger: Ledger) -> bool:
    """Tell whether a run has a ledger that lies elsewhere, from whatever directory."""
    if ledger.place.inside:
        return False
    if ledger.place.file is not None:
        return is_locked(beside(ledger.place.file))
    number = _number(ledger.place) % 2**64
    query = sa.text(
        "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 and granted "
        "and classid::bigint = :high and objid::bigint = :low and database = "
        "(select oid from pg_database where datname = current_database())"
    )
    with ledger.home.connect() as connection:
        held = connection.scalar(query, {"high": number >> 32, "low": number % 2**32})
    return bool(held)


def is_locked(lock: Path) -> bool:
    """Tell whether a process holds a lock file, without writing to it.

    The shared lock that this takes for a moment is waited for by whoever wants the whole.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
