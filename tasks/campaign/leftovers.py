"""What a killed process left half-written in a campaign directory: serves resuming and collect.

In: a campaign directory. Out: the same without files and folders under temporary names, wherever
they lie, except those that another process may be writing at this moment.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

from dft_inputs.job.folder import reference_folders
from structure.errors import CampaignError
from structure.files import TEMPORARY_PREFIX
from tasks.campaign.job_lock import jobs_to_itself

logger = logging.getLogger(__name__)

OURS = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}[0-9a-f]{{8}}-")
"""Names that `structure.files.replacing` and a batch under way have; those of a runner at work in a
job folder carry a shorter number."""

COLLECTED = ("results", "quarantine", "handoff")
"""Folders, beside those of references, that a collect writes into while a run has the campaign."""


def clear_leftovers(root: Path) -> int:
    """Delete what killed runs and collects left; return how many files and folders.

    Where jobs and results lie nothing is touched while a collect goes on: the next one, or the next
    run, deletes it.

    Parameters
    ----------
    root : Path
        Campaign directory; its run must be this process.
    """
    jobs = [*(root / name for name in COLLECTED), *reference_folders(root)]
    removed = sum(map(_remove, _files_below(root, {p.name for p in jobs})))
    with suppress(CampaignError), jobs_to_itself(root, wait_s=0):
        removed += clear_collected(root, inside_jobs=True)
    if removed:
        logger.info("removed %d files that a killed process left half-written", removed)
    return removed


def clear_collected(root: Path, *, inside_jobs: bool = False) -> int:
    """Delete what is left where jobs and results lie; the jobs must be this process's.

    Parameters
    ----------
    root : Path
        Campaign directory.
    inside_jobs : bool
        Also look into every job folder, where a collect may leave half a marker.
    """
    places = [root / "handoff", *reference_folders(root)]
    folders = [p for place in places for p in _entries(place) if p.is_dir() and not p.is_symlink()]
    unfinished = [p for p in folders if p.name.startswith(TEMPORARY_PREFIX)]
    removed = sum(map(_remove, unfinished))
    for place in (*places, *(root / name for name in COLLECTED[:2])):
        removed += sum(map(_remove, _files_below(place, jobs=inside_jobs)))
    return removed


def _files_below(
    place: Path, leave_out: Container[str] = (), *, jobs: bool = True
) -> Iterator[Path]:
    """Yield files of ours below a folder; of a job folder at most those beside its steps."""
    for folder, folders, names in os.walk(place):
        here = Path(folder)
        if here == place:
            folders[:] = [name for name in folders if name not in leave_out]
        if "--" in here.name:
            folders.clear()
        elif not jobs:
            folders[:] = [name for name in folders if "--" not in name]
        yield from (here / name for name in names if OURS.match(name))


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except OSError:
        return []


def _remove(path: Path) -> bool:
    """Delete a regular file or a folder; a link is nothing of ours."""
    if path.is_symlink() or not path.exists():
        return False
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        logger.warning("%s cannot be removed: %s", path.name, error.strerror)
        return False
    return True
