"""What a database says when it cannot be used, as a sentence with a next step: serves the ledger.

In: errors of SQLite and PostgreSQL while a ledger is opened or used. Out: `CampaignError` in their
place, the same wherever the ledger is used.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from structure.errors import CampaignError

AGAIN = (
    "Restore it from a copy; or delete it, take the job directories back in with "
    "`agd collect DIR --rebuild`, and repeat the campaign's `agd run` command, which does the "
    "rest again."
)
"""What to do about a ledger that is lost."""

_SQLITE = {
    "malformed": AGAIN,
    "not a database": AGAIN,
    "no such table": AGAIN,
    "no such column": AGAIN,
    "could not decode": AGAIN,
    "is full": "Free disk space, then run the same command again.",
    "i/o error": "Check the disk and its free space, then run the same command again.",
    "readonly": "Correct the permissions of the file and its folder, then run it again.",
    "unable to open": "Make its folder, or correct its permissions, then run it again.",
    "is locked": "Wait until the program that has it open ends, then run the same command again.",
}
"""What to do, by a part of SQLite's message."""

_START = "Start the server, or correct host and port in setting 'ledger', then run it again."
_ACCESS = (
    "Correct the user and the password: in setting 'ledger' through a variable such as "
    "${AGD_DB_PASSWORD}, in the environment variable PGPASSWORD or in ~/.pgpass."
)
_RIGHTS = (
    "Each campaign makes a schema of its own: let the database's owner run "
    "`GRANT CREATE ON DATABASE ... TO ...`, or use the role that began the campaign."
)

_POSTGRES = {
    "password authentication failed": _ACCESS,
    "no password supplied": _ACCESS,
    "peer authentication failed": _ACCESS,
    "pg_hba.conf": "Let the server's administrator admit this user and machine in pg_hba.conf.",
    "permission denied": _RIGHTS,
    "must be owner": _RIGHTS,
    "the database system is": "Wait until the server has started, then run the same command again.",
    "read-only transaction": "Name the server that may be written to, not its standby.",
    "too many": "Wait until others end, or let the server admit more connections.",
    "no space left": "Free disk space on the server, then run the same command again.",
    "invalid ": "Correct what follows the question mark in setting 'ledger'.",
    'role "': _ACCESS,
    'database "': "Make it with `createdb -E UTF8 -T template0 NAME`, or correct its name in "
    "setting 'ledger'.",
    'relation "': "Restore the schema from a dump; or take the job directories back in with "
    "`agd collect DIR --rebuild`, and repeat the campaign's `agd run` command, which does the rest "
    "again.",
    "connection": _START,
    "could not translate": _START,
    "failed to resolve": _START,
    "timeout": _START,
}
"""What to do, by a part of PostgreSQL's message, the first that fits."""

_OURS = ("22", "23")
"""Classes of PostgreSQL's errors that a wrong statement causes, not the server's state."""


def refuse_unusable(place: str) -> Callable[[sa.engine.ExceptionContext], None]:
    """Return a listener that raises what a database of `place` says as a `CampaignError`."""

    def refuse(context: sa.engine.ExceptionContext) -> None:
        if context.is_pre_ping:
            return  # a connection that has ended is made anew
        error = context.original_exception
        if context.dialect.name == "sqlite":
            message = str(error)
            fix = _fitting(_SQLITE, message)
        else:
            told = getattr(getattr(error, "diag", None), "message_primary", None)
            message = " ".join((told or str(error)).split())
            fix = _of_postgres(error, message, context.is_disconnect)
        if fix is not None:
            raise CampaignError(
                f"the ledger cannot be used: {message}", where=place, fix=fix
            ) from error

    return refuse


def _fitting(remedies: dict[str, str], message: str) -> str | None:
    return next((fix for part, fix in remedies.items() if part in message.lower()), None)


def _of_postgres(error: BaseException, message: str, disconnected: bool) -> str | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
    if not isinstance(error, Exception) or state[:2] in _OURS:
        return None
    if disconnected:
        return "See that the server is up, then run the same command: it goes on from here."
    return _fitting(_POSTGRES, message) or "Ask the server's administrator, then run it again."
