"""One lock over a campaign's job folders and their rows: serves hand-off and collect.

In: a campaign directory. Out: a block in which no other process puts jobs there, records, judges or
moves them. A batch is renamed into place and then recorded; whoever looks from outside sees both or
neither. The system gives the lock back when its holder is killed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from structure.errors import CampaignError

logger = logging.getLogger(__name__)

LOCK = "collect.lock"

LOOK_S = 0.005
"""How often a waiting process looks (chosen: far below what lies between two collects, so that
collects one after another do not keep it out)."""

TELL_S = 60.0
"""How often a waiting hand-off says that it waits (chosen)."""


class JobsBusy(CampaignError):
    """Another process has the jobs of the campaign, and for longer than one would wait."""


@contextmanager
def jobs_to_itself(root: Path, wait_s: float | None = None) -> Iterator[None]:
    """Keep a campaign's jobs to this process for the length of a block.

    Parameters
    ----------
    root : Path
        Campaign directory.
    wait_s : float, optional
        How long to wait for another process. None: until it ends, with a line in the log.

    Raises
    ------
    JobsBusy
        If another process has them for longer.
    CampaignError
        If the directory cannot be written.
    """
    lock = FileLock(root / LOCK)
    try:
        _acquire(lock, wait_s)
    except Timeout as error:
        raise JobsBusy(
            "another collect of this campaign, or a run that hands jobs off, takes long",
            where=root,
            fix="Wait until it ends, or end it; nothing is lost either way.",
        ) from error
    except OSError as error:
        raise CampaignError(
            f"the campaign directory cannot be written: {error.strerror}",
            where=root / LOCK,
            fix="Correct its permissions, then run the same command again.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, wait_s: float | None) -> None:
    if wait_s is not None:
        lock.acquire(timeout=wait_s, poll_interval=LOOK_S)
        return
    while True:
        try:
            lock.acquire(timeout=TELL_S, poll_interval=LOOK_S)
            return
        except Timeout:
            logger.info("waits for a collect of this campaign to end")
