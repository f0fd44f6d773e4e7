"""Finished DFT job directories become labels: shared by the collect stage and DFT oracles.

In: the campaign's hand-off folders, or copies of them that came back elsewhere. Out: results under
``results/``, labels of origin ``dft-<code>``, and every job's state in the ledger. It
may run at any time, also while a campaign runs, as often as one likes, and be killed at any moment:
each job is one transaction, and what was taken in before changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from dft_inputs.batch.approval import decide
from dft_inputs.engines import engine_named, engines, is_dft
from dft_inputs.engines import names as engine_names
from dft_inputs.job.status import Observation, State, may_become, observe
from dft_inputs.job.ticket import Ticket, read_ticket
from dft_inputs.job.untrusted import shown, why
from structure.errors import CampaignError, Rejection
from structure.properties.registry import measured
from structure.records import Settings
from tasks.campaign.job_lock import jobs_to_itself
from tasks.campaign.leftovers import clear_collected
from tasks.dft_jobs.findings import Collected
from tasks.dft_jobs.formation_energies import (
    FORMATION_ENERGY,
    HULL_DISTANCE,
    formation_energies,
    hull_distances,
)
from tasks.dft_jobs.job_places import OwnLists, all_folders, id_of, not_recorded, without_folder
from tasks.dft_jobs.quarantine import set_aside
from tasks.dft_jobs.results import Result, broken_result, read_result_file, result_of
from tasks.ledger.ledger import Ledger

FRESH_S = 3600.0
"""A folder without a ticket that changed this recently is still being copied (chosen)."""


class CollectConfig(Settings):
    """How job directories are judged."""

    stale_after_h: float = Field(default=12.0, gt=0)
    """A running job without a sign of life for longer is called stale."""
    wait_s: float = Field(default=600.0, ge=0)
    """How long to wait for another collect of the same campaign, or for a run that is just handing
    jobs off."""


@dataclass
class _Round:
    """One collect under way."""

    root: Path
    ledger: Ledger
    jobs: dict[str, dict[str, Any]]
    lists: OwnLists
    ingested: list[str]
    turned_down: list[str]
    stale: list[str]
    quarantined: list[str]
    remarks: list[str]
    notes: list[str]
    unrecorded: list[Path] = field(default_factory=list)

    def move(self, id: str, state: State, code: int | None, story: Mapping[str, Any]) -> None:
        """Follow a job to the state its files show, if that is a legal move."""
        job = self.jobs[id]
        if (job["state"], job["code"]) == (state, code):
            return
        if not may_become(State(job["state"]), state):
            return
        self.ledger.set_job_state(id, state, code, story={**job["story"], **story})
        job.update(state=state, code=code, story={**job["story"], **story})

    def complete(self, result: Result) -> None:
        """Keep a result of before that has learnt something more."""
        job = self.jobs[result.id]
        result.write(self.root)
        story = {**job["story"], **result.facts()}
        self.ledger.set_job_state(result.id, State.INGESTED, job["code"], result.labels, story)
        job["story"] = story


def collect(
    root: Path,
    ledger: Ledger,
    config: CollectConfig | None = None,
    sources: Sequence[Path] = (),
) -> Collected:
    """Take in what the cluster has finished.

    Parameters
    ----------
    root : Path
        Campaign directory. Its lock is not needed: a campaign may be running.
    ledger : Ledger
    config : CollectConfig, optional
    sources : sequence of Path
        Folders elsewhere that hold job directories or batches of them.

    Returns
    -------
    Collected

    Raises
    ------
    CampaignError
        If another collect or hand-off does not end, a source does not exist, or the ledger knows no
        jobs although there are job directories.
    """
    config = config or CollectConfig()
    with jobs_to_itself(root, config.wait_s):
        clear_collected(root)
        return _collect(root, ledger, config, sources)


def _collect(
    root: Path, ledger: Ledger, config: CollectConfig, sources: Sequence[Path]
) -> Collected:
    labels_before = _count_labels(ledger)
    jobs = {job["id"]: job for job in ledger.jobs()}
    this = _Round(root, ledger, jobs, OwnLists(root, jobs), [], [], [], [], [], [])
    folders = list(all_folders(root, sources))
    if folders and not jobs:
        raise CampaignError(
            "the ledger knows no jobs, but there are job directories",
            where=root,
            fix="If the run that made them was killed, the same command goes on and records them; "
            "if the ledger was lost, run `agd collect --rebuild` first.",
        )
    now = time.time()
    approval = decide((folder.parent for folder in folders), now)
    for folder in folders:
        try:
            _look_at(this, folder, now, config.stale_after_h * 3600)
        except OSError as error:  # unreadable, or moved away while we looked
            this.notes.append(f"{shown(folder.name)}: {why(error)}; the next collect looks again")
    this.notes += without_folder(jobs, {id_of(folder) for folder in folders})
    this.notes += not_recorded(this.unrecorded)
    for step in (formation_energies, hull_distances):
        for result in step(root, jobs):
            if isinstance(result, Rejection):
                this.notes.append(result.sentence)
            else:
                this.complete(result)
    return Collected(
        states=dict(sorted(Counter(job["state"] for job in ledger.jobs()).items())),
        ingested=tuple(this.ingested),
        remarks=tuple(this.remarks),
        turned_down=tuple(this.turned_down),
        new_labels=_count_labels(ledger) - labels_before,
        stale=tuple(this.stale),
        quarantined=tuple(this.quarantined),
        notes=tuple(this.notes),
        approval=approval,
    )


def _count_labels(ledger: Ledger) -> int:
    names = dict.fromkeys((*measured(), FORMATION_ENERGY, HULL_DISTANCE))
    labels = (label for name in names for label in ledger.labels(name))
    return sum(is_dft(label.origin) for label in labels)


def _look_at(this: _Round, folder: Path, now: float, stale_after_s: float) -> None:
    """Take one folder in, follow its state, or put it into quarantine."""
    id = id_of(folder)
    job = this.jobs.get(id)
    if job is not None and job["state"] == State.INGESTED:
        _compare(this, folder, id)
        return
    seen = observe(folder, now, stale_after_s)
    if job is not None and not folder.name.endswith(id) and seen.state is not State.DONE:
        return  # somebody's copy, such as ...-old: only a result counts
    if job is not None and seen.state is State.DONE and job["story"].get("judged") == _mark(folder):
        return
    ticket = _trusted_ticket(this, folder, id)
    if isinstance(ticket, Rejection):
        if ticket.code == "100":
            this.notes.append(f"{shown(folder.name)}: {ticket.sentence}")
        elif id not in this.jobs and this.lists.name(folder):
            this.unrecorded.append(folder)
        else:
            _quarantine(this, folder, id, ticket)
    elif seen.state is State.DONE:
        _take_in(this, folder, ticket, seen)
    else:
        _follow(this, ticket, seen, now)


def _trusted_ticket(this: _Round, folder: Path, id: str) -> Ticket | Rejection:
    """Return the folder's ticket if it is one we wrote; code 100 for one that may still come."""
    ticket = read_ticket(folder / "ticket.json")
    if isinstance(ticket, Rejection):
        try:
            incomplete = not (folder / "ticket.json").exists()
            fresh = time.time() - folder.stat().st_mtime < FRESH_S
        except FileNotFoundError:
            return Rejection("100", "the folder was moved away")
        return Rejection("100", "the ticket is not there yet") if incomplete and fresh else ticket
    if ticket.id not in this.jobs or ticket.id != id:
        return Rejection("foreign", f"{shown(folder.name)} is no job of this campaign")
    job = this.jobs[ticket.id]
    known = job["story"].get("ticket_sha256")
    if known is not None and known != ticket.sha256:
        own = read_ticket(this.root / job["folder"] / "ticket.json")
        if (
            isinstance(own, Ticket)
            and own.sha256 == known
            and own.model_copy(update={"story": ticket.story}) == ticket
        ):
            same = f"{shown(folder.name)} was handed off by another campaign"
            return Rejection("foreign", f"{same}, which asked the same question")
        return Rejection("300", "the ticket was changed after it was handed off")
    return ticket


def _follow(this: _Round, ticket: Ticket, seen: Observation, now: float) -> None:
    """Follow a job that is not done."""
    job = this.jobs[ticket.id]
    before = job["state"]
    this.move(ticket.id, seen.state, seen.code, {"step": seen.step, "sentence": seen.sentence})
    if seen.state in (State.FAILED, State.BROKEN, State.CANCELLED) and job["state"] != before:
        by_hand = "cancelled by hand" if seen.state is State.CANCELLED else "no reason is given"
        code = f"{seen.code} " if seen.code is not None else ""
        this.turned_down.append(f"{ticket.folder}: {code}{seen.sentence or by_hand}")
    if job["state"] == State.STALE:
        this.stale.append(f"{ticket.folder}: {seen.sentence}")
    ahead_h = ((seen.heartbeat or now) - now) / 3600
    if seen.state is State.RUNNING and ahead_h > FRESH_S / 3600:
        words = f"its last sign of life lies {ahead_h:.0f} h ahead of this clock"
        this.notes.append(f"{ticket.folder}: {words}; one of the two clocks is wrong")


def _mark(folder: Path) -> list[list[Any]]:
    """Return what tells one result from another without reading it."""
    names = [pattern for engine in engines() for pattern in engine.outputs]
    mark = []
    for path in sorted(p for n in names for p in folder.glob(n) if not p.name.startswith(".")):
        with suppress(OSError):  # a link to nowhere
            found = path.stat()
            mark.append([path.parent.name, found.st_size, found.st_mtime_ns])
    return mark


def _compare(this: _Round, folder: Path, id: str) -> None:
    """Say, once, when another copy of a job taken in before holds another result.

    The one that was taken in first counts (code 900).
    """
    job, mark = this.jobs[id], _mark(folder)
    story = job["story"]
    if "judged" not in story or mark in (story["judged"], *story.get("copies", ())):
        return
    ticket = _trusted_ticket(this, folder, id)
    if isinstance(ticket, Rejection) or not (folder / "DONE").exists():
        return
    stored, other = read_result_file(this.root, id), _result_of(folder, ticket)
    job["story"] = {**story, "copies": [*story.get("copies", ()), mark]}
    difference = stored.difference(other) if isinstance(stored, Result) else ""
    if not difference or not isinstance(stored, Result):
        this.ledger.set_job_state(id, State.INGESTED, job["code"], story=job["story"])
        return
    remark = f"another copy, {shown(folder.name)}, says {difference}; the first one counts"
    this.complete(stored.model_copy(update={"remarks": (*stored.remarks, remark)}))
    this.notes.append(f"{ticket.folder}: {remark}")


def _take_in(this: _Round, folder: Path, ticket: Ticket, seen: Observation) -> None:
    """Judge a finished job; its result, state and labels become one transaction."""
    if ticket.engine not in engine_names():
        words = f"there is no DFT code {ticket.engine!r} here to judge it"
        this.notes.append(f"{ticket.folder}: {words}; install the package that brings it")
        return
    job = this.jobs[ticket.id]
    mark = _mark(folder)
    result = _result_of(folder, ticket)
    if not may_become(State(job["state"]), State.DONE) and job["state"] != State.DONE:
        return
    if result.state is not State.INGESTED and not (folder / "ticket.json").exists():
        this.notes.append(f"{shown(folder.name)}: the folder was moved away")
        return
    result.write(this.root)
    before = {k: v for k, v in job["story"].items() if k not in ("step", "sentence")}
    story = {**before, **result.facts(), "judged": mark}
    this.ledger.set_job_state(ticket.id, result.state, result.code, result.labels, story)
    job.update(state=result.state, code=result.code, story=story)
    if result.state is State.INGESTED:
        this.ingested.append(ticket.folder)
        this.remarks += (f"{ticket.folder}: {text}" for text in result.remarks)
        return
    sentence = next((f["sentence"] for f in result.findings if f["code"] == str(result.code)), "")
    this.turned_down.append(f"{ticket.folder}: {result.code} {sentence}")
    if result.state is State.QUARANTINED:
        set_aside(this.root, folder, Rejection(str(result.code), sentence))


def _result_of(folder: Path, ticket: Ticket) -> Result:
    """Judge a finished job; one that cannot be judged is broken and does not stop the others."""
    try:
        return result_of(folder, ticket, engine_named(ticket.engine))
    except Exception as error:  # what came back may be anything
        return broken_result(ticket, f"it cannot be judged: {type(error).__name__} {why(error)}")


def _quarantine(this: _Round, folder: Path, id: str, reason: Rejection) -> None:
    """Put a folder aside that is unreadable, changed or not ours."""
    this.quarantined.append(f"{shown(folder.name)}: {reason.sentence}")
    at_home = folder.resolve().is_relative_to(this.root.resolve())
    if id in this.jobs and (reason.code == "300" or (at_home and reason.code != "foreign")):
        this.move(id, State.QUARANTINED, 300, {"sentence": reason.sentence})
    set_aside(this.root, folder, reason)
