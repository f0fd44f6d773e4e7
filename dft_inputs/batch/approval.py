"""Who decides which jobs run: serves the hand-off step and collect.

In: ``approved.csv`` of a batch, as a person left it, and the lines of ``cluster.env`` that say what
an empty answer counts as. Out: a verdict for each job, and the ``CANCELLED`` markers that follow.
``submit.sh`` goes by the same rules on the cluster, so that both agree. What is unclear waits: no
job is submitted that a person declined.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dft_inputs.batch.answers import APPROVED, COLUMNS, Verdict, read_answers, readable
from dft_inputs.job.ticket import Ticket
from structure.errors import DataError
from structure.files import write_bytes

DECLINED = "approved.csv declined this job"
"""How a ``CANCELLED`` begins that follows from the file; any other one is a person's own."""

_NOT_WAITING = ("SUBMITTED", "CANCELLED", "FAILED")


@dataclass(frozen=True)
class Approval:
    """What ``approved.csv`` says.

    Attributes
    ----------
    verdicts : dict of str to Verdict
        By job folder. Empty for a batch without the file, whose jobs all may run.
    notes : tuple of str
        What could not be understood, each with its line.
    understood : bool
        Whether any line was; if not, ``submit.sh`` stops with status 1.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    understood: bool = True


def approval_text(tickets: Iterable[Ticket]) -> str:
    """Return ``approved.csv`` as it is handed off: one line a job, no answers yet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "formula", "rank", "why"])
    for place, ticket in enumerate(tickets, start=1):
        rank, why = ticket.story.get("rank"), ticket.story.get("why")
        cells = (ticket.formula, place if rank is None else rank, why or "")
        # A semicolon outside quotes would pass for a separator when the file comes back.
        plain = (" ".join(str(cell).replace(";", ",").split()) for cell in cells)
        writer.writerow([ticket.folder, "", "", *plain])
    return text.getvalue()


def read_approval(batch: Path, now: float) -> Approval:
    """Read what a person decided about the jobs of a batch.

    Parameters
    ----------
    batch : Path
        Folder with ``jobs.txt``; without ``approved.csv`` nothing was asked.
    now : float
        Seconds since the epoch.

    Returns
    -------
    Approval
    """
    path = batch / APPROVED
    if not path.exists() and not path.is_symlink():
        return Approval()
    try:
        jobs = [job for job in (batch / "jobs.txt").read_text("latin-1").split("\n") if job]
    except OSError:  # only part of the batch is here
        return Approval()
    answers = read_answers(path, jobs)
    unanswered, wrong = _unanswered(batch, now)
    verdicts = {job: verdict or unanswered for job, verdict in answers.found.items()}
    notes = tuple(readable(note.encode("latin-1")) for note in (*wrong, *answers.notes))
    return Approval(verdicts, notes, answers.understood)


def decide(batches: Iterable[Path], now: float) -> tuple[str, ...]:
    """Apply the approval of several folders of jobs, and return what there is to say about it.

    Parameters
    ----------
    batches : iterable of Path
        Where two are copies of one batch, the answers in the first count for both: it came back
        from the cluster.
    now : float
    """
    verdicts: dict[str, Verdict] = {}
    notes: list[str] = []
    for batch in dict.fromkeys(batches):
        found = apply_approval(batch, now, verdicts)
        verdicts = {**found.verdicts, **verdicts}
        notes += [f"{batch.name}: {note}" for note in found.notes]
    return tuple(notes)


def apply_approval(
    batch: Path, now: float, decided: Mapping[str, Verdict] | None = None
) -> Approval:
    """Write the markers of declined jobs, and remove those of jobs that were approved after all.

    Waiting jobs, jobs that run or have ended, and markers that a person made stay as they are.
    Two writers at once do no harm: a marker is replaced or removed in one step.

    Parameters
    ----------
    batch, now
        As `read_approval`.
    decided : mapping of str to Verdict, optional
        What counts instead, from another copy of the batch.

    Returns
    -------
    Approval
        As read here. Its notes also name what was declined too late, and how many jobs wait.
    """
    found = read_approval(batch, now)
    notes, waiting = list(found.notes), 0
    for name, own in found.verdicts.items():
        job, verdict = batch / name, (decided or {}).get(name, own)
        if not (job / "ticket.json").is_file() or (job / "DONE").exists():
            continue
        try:
            if verdict.answer == "yes":
                _withdraw(job)
            elif verdict.answer == "waiting":
                waiting += not any((job / name).exists() for name in _NOT_WAITING)
            elif not _begun(job):
                _decline(job, verdict.sentence)
            elif not (job / "FAILED").exists():
                notes.append(f"{name} was declined when it was already running; it goes on")
        except (OSError, DataError) as error:
            notes.append(f"{name}: its marker cannot be changed: {error}")
    if waiting:
        notes.append(f"{waiting} jobs wait for an answer in {APPROVED}")
    return Approval(found.verdicts, tuple(notes), found.understood)


def _decline(job: Path, reason: str) -> None:
    marker = job / "CANCELLED"
    text = (f"{DECLINED}: {reason}" if reason else DECLINED) + "\n"
    present = marker.read_bytes() if marker.exists() else None
    if present is None or (_ours(present) and present != text.encode("latin-1")):
        write_bytes(marker, text.encode("latin-1"))


def _withdraw(job: Path) -> None:
    marker = job / "CANCELLED"
    with suppress(FileNotFoundError):
        if _ours(marker.read_bytes()):
            marker.unlink()


def _ours(marker: bytes) -> bool:
    return marker.startswith(DECLINED.encode())


def _begun(job: Path) -> bool:
    """Return whether it is too late to decline; while a job waits in a queue it is not."""
    if any((job / name).exists() for name in ("DONE", "FAILED")):
        return True
    try:
        return bool(json.loads((job / "STATUS.json").read_bytes())["state"] == "RUNNING")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _unanswered(batch: Path, now: float) -> tuple[Verdict, tuple[str, ...]]:
    """Return what an empty line counts as now, and what is wrong with ``cluster.env``."""
    try:
        text = (batch / "cluster.env").read_text("latin-1")
    except OSError:
        text = ""
    answer, hours = _setting(text, "AGD_APPROVAL", "yes"), _setting(text, "AGD_APPROVAL_HOURS", "0")
    for name, value, legal in (
        ("AGD_APPROVAL", answer, "yes|no"),
        ("AGD_APPROVAL_HOURS", hours, "0|[1-9][0-9]{0,5}"),
    ):
        if not re.fullmatch(legal, value):
            kind = "yes or no" if name == "AGD_APPROVAL" else "a whole number"
            note = f"{name} in cluster.env must be {kind}"
            return Verdict("waiting", note), (note,)
    try:
        age_h = (now - (batch / "batch.json").stat().st_mtime) / 3600
    except OSError:
        age_h = float("-inf")
    within = f" within {hours} hours" if int(hours) else ""
    if int(hours) and not age_h > int(hours):
        return Verdict("waiting", f"an empty line counts as {answer} after {hours} hours"), ()
    if answer == "no":
        return Verdict("no", f"nobody approved it{within}"), ()
    return Verdict("yes"), ()


def _setting(text: str, name: str, default: str) -> str:
    """Return a variable of ``cluster.env`` as its last line gives it; nothing is executed."""
    lines = re.findall(rf"^[ \t]*(?:export[ \t]+)?{name}=(.*)$", text, re.MULTILINE)
    if not lines:
        return default
    try:
        words = shlex.split(lines[-1], comments=True)
    except ValueError:
        return ""
    return words[0] if words else ""
