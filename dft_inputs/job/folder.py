"""Job directories and batches: serves the hand-off step, and is the contract with the cluster.

In: structures with their stories, and a recipe. Out: one directory that can be copied, submitted
and copied back with `ls`, `rsync` and `tar` alone. It holds relative paths only. A batch is built
under a temporary name and renamed, so that it is there completely or not at all, and emitting the
same jobs again gives the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dft_inputs.batch.answers import APPROVED
from dft_inputs.batch.approval import approval_text
from dft_inputs.batch.job_list import index_files
from dft_inputs.job.ticket import Ticket, read_ticket
from structure.errors import CalculationError
from structure.files import TEMPORARY_PREFIX, write_text

COUNTING_TEXTS = ".txt"
"""Ending of files beside the jobs that speak of all of them, and change when jobs are added."""

STATUS_SCHEMA = 1
"""Version of ``STATUS.json``."""


@dataclass(frozen=True)
class Job:
    """One job ready to be written.

    Attributes
    ----------
    ticket : Ticket
    files : dict of str to str
        Path inside the job directory, with forward slashes, to text.
    """

    ticket: Ticket
    files: Mapping[str, str] = field(repr=False)


def first_status(ticket: Ticket) -> str:
    """Return the STATUS.json of a job that has not been submitted; only the cluster changes it."""
    document = {
        "schema_version": STATUS_SCHEMA,
        "id": ticket.id,
        "state": "EMITTED",
        "step": None,
        "code": None,
        "sentence": "",
        "attempts": {},
        "finished": [],
        "corrections": [],
        "history": [],
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def emitted_jobs(*places: Path) -> dict[str, tuple[Ticket, Path]]:
    """Return every job below batches and reference folders, by id; later places do not override.

    Parameters
    ----------
    *places : Path
        Folders that hold job directories.

    Returns
    -------
    dict of str to (Ticket, Path)
        The job's ticket and directory. Folders without a readable ticket are left out.
    """
    found: dict[str, tuple[Ticket, Path]] = {}
    for place in places:
        for folder in job_folders(place):
            ticket = read_ticket(folder / "ticket.json")
            if isinstance(ticket, Ticket):
                found.setdefault(ticket.id, (ticket, folder))
    return found


def job_folders(place: Path) -> Iterator[Path]:
    """Yield the folders below `place` that are named like a job, sorted by name."""
    if not place.is_dir():
        return
    with os.scandir(place) as entries:
        names = sorted(
            e.name
            for e in entries
            if "--" in e.name and not e.name.startswith(".") and e.is_dir(follow_symlinks=False)
        )
    for name in names:
        yield place / name


def batches(handoff: Path) -> list[Path]:
    """Return the batches of a campaign's hand-off folder, oldest first."""
    return sorted(p for p in handoff.glob("batch-[0-9]*") if (p / "batch.json").is_file())


def reference_folders(root: Path) -> list[Path]:
    """Return a campaign's folders of reference jobs: ``references`` and ``references-<recipe>``."""
    return sorted(p for p in root.glob("references*") if p.is_dir())


def next_batch_name(handoff: Path) -> str:
    """Return the name of the batch that comes after those present."""
    # Somebody's copy may be called "batch-0001-old".
    present = [int(n[0]) for p in batches(handoff) if (n := re.findall(r"\d+", p.name))]
    return f"batch-{max(present, default=0) + 1:04d}"


def clear_unfinished(place: Path) -> None:
    """Delete what a killed run left under temporary names."""
    for leftover in place.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_batch(
    target: Path, jobs: Sequence[Job], shared: Mapping[str, str], manifest: Mapping[str, Any]
) -> None:
    """Write a whole batch in one step, with an ``approved.csv`` for the person who decides.

    Parameters
    ----------
    target : Path
        Directory of the batch; must not exist yet.
    jobs : sequence of Job
        In order of priority.
    shared : mapping of str to str
        Files beside the job directories (submit.sh, runner.py ...), path to text. Scripts become
        executable.
    manifest : mapping
        What ``batch.json`` says besides the jobs.

    Raises
    ------
    CalculationError
        If the disk is full, the folder cannot be written, or two different questions share an id.
    """
    asked = {APPROVED: approval_text(job.ticket for job in jobs)}
    _write_whole(target, jobs, {**shared, **asked}, manifest)


def _write_whole(
    target: Path, jobs: Sequence[Job], shared: Mapping[str, str], manifest: Mapping[str, Any]
) -> None:
    _refuse_shared_ids(jobs)
    temporary = _temporary(target)
    try:
        temporary.mkdir(parents=True)
        for job in jobs:
            _write_job(temporary / job.ticket.folder, job)
        _write_files(temporary, shared)
        _write_files(temporary, index_files([j.ticket for j in jobs], manifest))
        _sync(temporary)
        temporary.rename(target)
    except OSError as error:
        raise CalculationError(
            f"the batch cannot be written: {error.strerror or error}",
            where=target,
            fix="Free disk space or correct the permissions, then run the same command again.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def extend_batch(
    target: Path,
    jobs: Sequence[Job],
    shared: Mapping[str, str],
    manifest: Mapping[str, Any],
    finished: Mapping[str, Path] | None = None,
) -> None:
    """Add jobs to a folder of jobs that grows, such as the references of a recipe.

    Nobody is asked to approve them: other jobs' results wait for these. Jobs already there, scripts
    and ``cluster.env`` are left untouched. Killed anywhere, the same call completes the folder.

    Parameters
    ----------
    target, jobs, shared, manifest
        As in `write_batch`; `target` may exist.
    finished : mapping of str to Path, optional
        Job id to the directory of the same question where it was answered before. It is taken over
        with its results instead of being asked again.

    Raises
    ------
    CalculationError
        As `write_batch`.
    """
    answered = finished or {}
    if not target.exists():
        asked = [job for job in jobs if job.ticket.id not in answered]
        _write_whole(target, asked, shared, manifest)
    clear_unfinished(target)
    present = emitted_jobs(target)
    new = {job.ticket.id: job for job in jobs if job.ticket.id not in present}
    known = [ticket for ticket, _ in present.values()]
    tickets = sorted([*known, *(j.ticket for j in new.values())], key=lambda t: t.folder)
    told = {name: text for name, text in shared.items() if name.endswith(COUNTING_TEXTS)}
    # The list comes first: whoever finds a folder of a run that was killed here sees whose it is.
    for name, text in {**told, **index_files(tickets, manifest)}.items():
        write_text(target / name, text)
    for job in new.values():
        temporary = _temporary(target / job.ticket.folder)
        before = answered.get(job.ticket.id)
        try:
            if before is not None and _asks_the_same(before, job):
                shutil.copytree(before, temporary, symlinks=True, copy_function=_link_or_copy)
            else:
                _write_job(temporary, job)
            temporary.rename(target / job.ticket.folder)
        except OSError as error:
            raise CalculationError(
                f"the job cannot be written: {error.strerror or error}",
                where=target / job.ticket.folder,
                fix="Free disk space, then run the same command again.",
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _temporary(target: Path) -> Path:
    return target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{target.name}")


def _refuse_shared_ids(jobs: Iterable[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        other = seen.get(job.ticket.id)
        seen[job.ticket.id] = job
        if other is not None:
            same = other.ticket.content_sha256 == job.ticket.content_sha256
            raise CalculationError(
                f"{other.ticket.formula} and {job.ticket.formula} have the same job id "
                f"{job.ticket.id}",
                fix="Ask each question once."
                if same
                else "Leave one of the two out: their hashes agree in the first digits by chance.",
            )


def _asks_the_same(folder: Path, job: Job) -> bool:
    ticket = read_ticket(folder / "ticket.json")
    return isinstance(ticket, Ticket) and ticket.content_sha256 == job.ticket.content_sha256


def _link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, for outputs are large and never written to; else copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _write_job(folder: Path, job: Job) -> None:
    folder.mkdir(parents=True)
    _write_files(folder, job.files)
    (folder / "ticket.json").write_text(job.ticket.text(), encoding="utf-8")
    (folder / "STATUS.json").write_text(first_status(job.ticket), encoding="utf-8")


def _write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        if path.suffix == ".sh":
            path.chmod(0o755)


def _sync(folder: Path) -> None:
    """Make a tree of new files durable before it is renamed; one call, not one a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.sync()
    finally:
        os.close(descriptor)
