"""Where a campaign's job directories lie, and which of them are its own: serves collect.

In: a campaign directory, folders that came back elsewhere, and the jobs that the ledger knows. Out:
job directories in the order in which they count, and sentences about jobs that lack a folder or a
row in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dft_inputs.batch.job_list import listed
from dft_inputs.job.folder import batches, job_folders, reference_folders
from dft_inputs.job.status import State
from dft_inputs.job.ticket import ID_DIGITS
from dft_inputs.job.untrusted import shown
from structure.errors import CampaignError

Jobs = Mapping[str, Mapping[str, Any]]


def all_folders(root: Path, sources: Iterable[Path]) -> Iterator[Path]:
    """Yield job directories: of other places first, then of the campaign's own batches."""
    for source in sources:
        if not source.is_dir():
            raise CampaignError(
                "there is no such folder", where=source, fix="Give the folder that came back."
            )
        below = [*_jobs_below(source)]
        for inner in sorted(p for p in source.iterdir() if p.is_dir() and "--" not in p.name):
            below += _jobs_below(inner)
        alone = "--" in source.resolve().name and not below
        yield from [source.resolve()] if alone else below
    for batch in [*batches(root / "handoff"), *reference_folders(root)]:
        yield from job_folders(batch)


def _jobs_below(place: Path) -> Iterator[Path]:
    """Yield job directories, also those of a batch that somebody gave a name like a job's."""
    for folder in job_folders(place):
        inside = () if (folder / "ticket.json").exists() else tuple(job_folders(folder))
        yield from inside or (folder,)


def id_of(folder: Path) -> str:
    """Return the job id that a folder's name ends with."""
    return folder.name.rpartition("--")[2][:ID_DIGITS]


def without_folder(jobs: Mapping[str, Mapping[str, Any]], seen: set[str]) -> list[str]:
    """Say which unfinished jobs have no folder any more, together where they lay together."""
    over = (State.INGESTED, State.FAILED, State.QUARANTINED, State.CANCELLED)
    lost: dict[str, list[str]] = {}
    for id, job in jobs.items():
        if id not in seen and job["state"] not in over:
            place, _, name = job["folder"].rpartition("/")
            lost.setdefault(place, []).append(name)
    return [
        f"{len(names)} unfinished jobs are not in {place} any more, such as {names[0]}; "
        "if they were moved, name their place with --from"
        for place, names in lost.items()
    ]


class OwnLists:
    """Which folders stand in the list of the batch, or references, that they lie in.

    A run that was killed after it put jobs into place has not recorded them yet, and a ledger may
    come from a copy: what the campaign itself listed is never taken for somebody else's.

    Parameters
    ----------
    root : Path
        Campaign directory.
    jobs : mapping of str to job
        As `Ledger.jobs` gives them, by id.
    """

    def __init__(self, root: Path, jobs: Jobs):
        self._root = root.resolve()
        self._known: dict[str, set[str]] = {}
        for job in jobs.values():
            place, _, name = job["folder"].rpartition("/")
            self._known.setdefault(place, set()).add(name)
        self._lists: dict[Path, frozenset[str]] = {}

    def name(self, folder: Path) -> bool:
        """Return whether the campaign listed this folder where it lies."""
        place = folder.parent
        if place not in self._lists:
            self._lists[place] = self._read(place)
        return folder.name in self._lists[place]

    def _read(self, place: Path) -> frozenset[str]:
        """Return the list of a place; one that names none of the jobs known there is not ours."""
        place = place.resolve()
        if place.parent != self._root / "handoff" and place not in reference_folders(self._root):
            return frozenset()
        names = listed(place)
        known = self._known.get(place.relative_to(self._root).as_posix(), set())
        return names if not known or known & names else frozenset()


def not_recorded(folders: Iterable[Path]) -> list[str]:
    """Say which of the campaign's own folders the ledger does not know, by the place they lie in.

    Parameters
    ----------
    folders : iterable of Path
        Job directories inside the campaign.
    """
    places: dict[Path, list[str]] = {}
    for folder in folders:
        places.setdefault(folder.parent, []).append(folder.name)
    return [
        f"{len(names)} jobs listed in {place.name} are not in the ledger, such as "
        f"{shown(names[0])}; the run that put them there records them when it goes on, and "
        "`agd collect --rebuild` does too"
        for place, names in places.items()
    ]
