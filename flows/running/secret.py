"""The secret of this project's Prefect server: serves ``agd run``, ``agd serve`` and the plugin.

In: the project's folder ``.prefect``. Out: the words that server, worker, command line and pages
show each other. Whoever may post to a Prefect server runs commands as the owner of its worker, and
every user of a machine reaches 127.0.0.1; these words lie in a file that only its owner can read.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from structure.errors import CampaignError

FILE = "secret"
HOST = "127.0.0.1"
"""The only address a server of this project listens at. Not ``localhost``: that name may lead to
another address, where somebody else listens."""

USER = "agd"
FORM = re.compile(rf"{USER}:[\w-]{{43}}")
"""Name and password, as HTTP's basic authentication wants them: 32 random bytes (chosen)."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private(home: Path) -> Path:
    """Make the folder where missing, and close it to everybody but its owner.

    It holds the secret, the server's database and the logs.

    Raises
    ------
    CampaignError
        If it belongs to another user, or the file system keeps no permissions.
    """
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        if not ours(home):
            raise PermissionError("it belongs to another user")
        if home.stat().st_mode & OTHERS:
            home.chmod(0o700)
            if home.stat().st_mode & OTHERS:
                raise PermissionError("the file system keeps no permissions")
    except OSError as error:
        raise CampaignError(
            f"the folder of the Prefect server cannot be closed to others: "
            f"{error.strerror or error}",
            where=home,
            fix="Work in a clone of your own, on a disk that keeps permissions, or add `--local`.",
        ) from error
    return home


def made(home: Path) -> str:
    """Return the secret for a server that starts: the one that is there, or a new one.

    A file that others could have read or written, or that is damaged, is replaced. The caller holds
    the server's lock.
    """
    with contextlib.suppress(CampaignError):
        return known(home)
    key = f"{USER}:{secrets.token_urlsafe(32)}"
    temporary = home / f".tmp-{secrets.token_hex(4)}-{FILE}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(f"{key}\n")
            handle.flush()
            os.fsync(descriptor)
        temporary.replace(home / FILE)
    except OSError as error:
        raise CampaignError(
            f"the secret of the Prefect server cannot be written: {error.strerror or error}",
            where=home / FILE,
            fix="Free disk space or correct the permissions, or add `--local`.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return known(home)


def known(home: Path) -> str:
    """Return the secret of the server that is up.

    Raises
    ------
    CampaignError
        If the file is gone, damaged, not ours, or open to others.
    """
    path = home / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor) as handle:
            found = os.fstat(descriptor)
            text = handle.read(1000).strip() if stat.S_ISREG(found.st_mode) else ""
    except (OSError, ValueError) as error:
        raise unusable(path, f"cannot be read: {getattr(error, 'strerror', error)}") from error
    if found.st_uid != os.geteuid():
        raise unusable(path, "belongs to another user")
    if found.st_mode & OTHERS:
        raise unusable(path, "can be read or written by others")
    if not FORM.fullmatch(text):
        raise unusable(path, "is damaged")
    return text


def unusable(path: Path, why: str) -> CampaignError:
    """Return the error of a secret that cannot be shown to the server that is up."""
    return CampaignError(
        f"the secret of this project's Prefect server {why}",
        where=path,
        fix="Stop `agd serve` and start it again: it makes a new one where needed. "
        "`agd run --local` needs no server.",
    )


def foreign(url: str) -> bool:
    """Return whether it is another user who listens at the address of a server.

    Nobody else is shown the secret. Linux tells whose a socket is; elsewhere the lock that the
    owner of the server holds has to do.
    """
    port = urlsplit(url).port or 0
    octets = bytes(map(int, HOST.split(".")))
    address = f"{int.from_bytes(octets, sys.byteorder):08X}:{port:04X}"
    listening = "0A"  # TCP_LISTEN in net/tcp_states.h
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    sockets = [line.split() for line in lines]
    owners = {int(one[7]) for one in sockets if one[1] == address and one[3] == listening}
    return bool(owners) and os.geteuid() not in owners


def without_proxy(env: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment needs so that no proxy is asked for, and told of, our server."""
    names = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if HOST in names.split(","):
        return {}
    text = ",".join(filter(None, (names, HOST)))
    return {"no_proxy": text, "NO_PROXY": text}


def ours(home: Path) -> bool:
    """Return whether the folder is there and belongs to us."""
    try:
        return home.stat().st_uid == os.geteuid()
    except OSError:
        return False
