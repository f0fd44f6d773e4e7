"""Folders that are no jobs of a campaign: serves collect.

In: a folder and the reason against it. Out: the reason as a file in ``quarantine/``, and the folder
beside it if it lay in the campaign. What lies elsewhere is not touched. A job of the campaign that
was set aside though its ticket is the one handed off is put back by ``agd collect --restore``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dft_inputs.batch.job_list import add_to_list, listed, manifest_of
from dft_inputs.job.folder import batches, emitted_jobs, reference_folders
from dft_inputs.job.status import State
from dft_inputs.job.ticket import ID_DIGITS, Ticket, read_ticket
from dft_inputs.job.untrusted import shown, why
from structure.errors import Rejection
from structure.files import write_json
from tasks.dft_jobs.emit import job_row
from tasks.ledger.ledger import Ledger

logger = logging.getLogger(__name__)

LONGEST_NAME = 200
"""Bytes of a folder's name that are kept: most file systems end at 255 (chosen)."""


def set_aside(root: Path, folder: Path, reason: Rejection) -> None:
    """Move a folder of the campaign to ``quarantine/``; of a folder elsewhere, keep the reason.

    Raises
    ------
    OSError
        If it cannot be moved; the reason is written then.
    """
    place = root / "quarantine"
    name = os.fsdecode(os.fsencode(folder.name)[:LONGEST_NAME])
    number, target = 1, place / f"{name}--{reason.code}"
    inside = folder.resolve().is_relative_to(root.resolve())
    while inside and target.exists():
        number, target = number + 1, place / f"{name}--{reason.code}-{number}"
    told = {"folder": shown(folder.name), "code": reason.code, "sentence": reason.sentence}
    write_json(_reason_file(target), told)
    if inside:
        folder.rename(target)
    logger.warning("quarantined %s: %s", shown(folder.name), reason.sentence)


def _reason_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def put_back(root: Path, ledger: Ledger) -> tuple[list[str], list[str]]:
    """Move jobs of the campaign from ``quarantine/`` to where they were handed off.

    Ours is what the ledger knows with this very ticket, or what stands in a batch's list, or what
    is a reference that jobs of ours need. What was judged and found wrong stays. Killed at any
    moment, the same call goes on: first the list and the ledger know a job, then its folder moves.

    Parameters
    ----------
    root : Path
        Campaign directory; its jobs must be this process's (`tasks.campaign.job_lock`).
    ledger : Ledger

    Returns
    -------
    moved : list of str
        Folders as they are named inside the campaign.
    notes : list of str
        What stays though it is ours, and how many others stay.
    """
    jobs = {job["id"]: job for job in ledger.jobs()}
    moved: list[str] = []
    notes: list[str] = []
    others = 0
    for folder in _set_aside(root):
        ticket = read_ticket(folder / "ticket.json")
        home = _home(root, ticket, jobs) if isinstance(ticket, Ticket) else None
        if home is None or not isinstance(ticket, Ticket):
            others += 1
            continue
        name = home.relative_to(root).as_posix()
        try:
            if home.exists():
                notes.append(f"quarantine/{shown(folder.name)} stays: {name} is there again")
                continue
            _open_again(root, ledger, jobs.get(ticket.id), ticket, folder, home)
            folder.rename(home)
        except OSError as error:
            notes.append(f"quarantine/{shown(folder.name)} cannot be put back: {why(error)}")
            continue
        with suppress(OSError):
            _reason_file(folder).unlink()
        moved.append(name)
    if others:
        notes.append(f"{others} folders stay in quarantine: judged, changed, or no jobs of ours")
    return moved, notes


def _set_aside(root: Path) -> Iterator[Path]:
    """Yield quarantined folders; of several copies of a job a finished one comes first."""
    place = root / "quarantine"
    found = place.iterdir() if place.is_dir() else ()
    folders = [p for p in found if p.is_dir() and not p.is_symlink()]
    yield from sorted(folders, key=lambda p: (not (p / "DONE").exists(), p.name))


def _home(root: Path, ticket: Ticket, jobs: Mapping[str, Mapping[str, Any]]) -> Path | None:
    """Return where a job of the campaign belongs; None for what is no job of it, or was judged."""
    job = jobs.get(ticket.id)
    if job is not None:
        same = job["story"].get("ticket_sha256") in (None, ticket.sha256)
        judged = job["state"] == State.QUARANTINED and "judged" in job["story"]
        return root / job["folder"] if same and not judged else None
    if ticket.id != ticket.content_sha256[:ID_DIGITS]:
        return None
    references = reference_folders(root)
    for place in [*batches(root / "handoff"), *references]:
        if ticket.folder in listed(place):
            return place / ticket.folder
    if not _needed(ticket, jobs):
        return None
    for place in references:
        if manifest_of(place).get("recipe_sha256") == ticket.recipe_sha256:
            return place / ticket.folder
    return None


def _needed(ticket: Ticket, jobs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a job of the campaign waits for this one: an element, or a competing phase."""
    if ticket.role == "candidate":
        return False
    own = [job for job in jobs.values() if job["recipe"] == ticket.recipe_sha256]
    if ticket.role == "competing":
        return any(ticket.id in job["story"].get("competing", ()) for job in own)
    names = {job["formula"] for job in own}
    return any(set(ticket.cell) <= _elements(name) for name in names)


def _elements(formula: str) -> set[str]:
    from structure.composition import parse_formulas
    from structure.elements import ELEMENTS

    counts = parse_formulas([formula]).counts
    return {ELEMENTS[i] for i in counts[0].nonzero()[0]} if len(counts) else set()


def _open_again(
    root: Path,
    ledger: Ledger,
    job: Mapping[str, Any] | None,
    ticket: Ticket,
    folder: Path,
    home: Path,
) -> None:
    """Let list and ledger know a job that comes back."""
    place = home.parent
    if job is None:
        if ticket.folder not in listed(place):
            add_to_list(place, [t for t, _ in emitted_jobs(place).values()], [ticket])
        ledger.add_jobs([job_row(root, ticket, folder, home.relative_to(root).as_posix())])
    elif job["state"] == State.QUARANTINED:  # for its ticket, which somebody mended
        story = {k: v for k, v in job["story"].items() if k not in ("step", "sentence")}
        ledger.set_job_state(ticket.id, State.EMITTED, None, story=story)
