"""Crash-safe file writing, used wherever the pipeline leaves something on disk.

In: bytes, text or a writer. Out: a file that is either complete or absent: it is written under a
temporary name beside its target, synced and renamed. Writers of other packages say a full disk in
words of their own, or not at all; what is raised here says it plainly.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from structure.errors import DataError

TEMPORARY_PREFIX = ".tmp-"
"""Files with this prefix are unfinished; any stage may delete those of its own folder."""


_REMEDIES = {
    errno.ENOSPC: "Free disk space",
    errno.EDQUOT: "Free space within your quota, or have it raised",
    errno.EFBIG: "Raise the limit on the size of files (`ulimit -f`)",
    errno.EROFS: "Choose a place that can be written",
}
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PROBE_BYTES = 1 << 16


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path to write to, then move it onto `target` in one step.

    Parameters
    ----------
    target : Path
        Final path; its folder is made when missing.

    Yields
    ------
    Path
        A path in the same folder with the same suffix. Nothing is left of it on an exception.

    Raises
    ------
    DataError
        If the disk or a quota is full, or the folder cannot be written; whatever the writer
        in the block made of it.
    """
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        number = error.errno or _no_room(temporary)
        reason = os.strerror(number) if number else error.strerror or str(error)
        remedy = _REMEDIES.get(number or 0, "Free disk space or correct the permissions")
        raise _unwritten(target, reason, remedy) from error
    except Exception as error:  # some writers report a full disk as an error of their own
        number = _no_room(temporary)
        if number is None:
            raise
        raise _unwritten(target, os.strerror(number), _REMEDIES[number]) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _unwritten(target: Path, reason: str, remedy: str) -> DataError:
    return DataError(
        f"cannot write the file: {reason}",
        where=target,
        fix=f"{remedy}, then run the same command again; nothing half-written is left.",
    )


def _no_room(temporary: Path) -> int | None:
    """Return the number of the error if a file that was cut short cannot grow any more."""
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        return error.errno if error.errno in _FULL else None
    try:
        for _ in range(2):  # the first may be taken in part
            os.write(descriptor, bytes(_PROBE_BYTES))
        os.fsync(descriptor)
    except OSError as error:
        return error.errno if error.errno in _FULL else None
    finally:
        os.close(descriptor)
    return None


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system lets a folder be synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a whole file in one step. See `replacing` for what is raised."""
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write a whole UTF-8 text file in one step. See `replacing` for what is raised."""
    write_bytes(target, content.encode())


def write_json(target: Path, content: object) -> None:
    """Write a JSON document with sorted keys, so that equal content gives equal bytes."""
    write_text(target, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
