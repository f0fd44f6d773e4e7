"""Finished DFT job directories become labels: shared by the collect stage and DFT oracles.

In: the campaign's hand-off folders, or copies of them that came back elsewhere. Out: results under
``results/``, labels of origin ``dft-vasp`` or ``dft-gpaw``, and every job's state in the ledger. It
may run at any time, also while a campaign runs, as often as one likes, and be killed at any moment:
each job is one transaction, and what was taken in before changes nothing.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from dft_inputs.approval import DECLINED, decide
from dft_inputs.checks import judge
from dft_inputs.folder import batches, job_folders, reference_folders
from dft_inputs.status import Observation, State, may_become, observe
from dft_inputs.ticket import ID_DIGITS, Ticket, read_ticket
from structure.errors import CampaignError, Rejection
from structure.files import write_json
from tasks._energies import FORMATION_ENERGY, HULL_DISTANCE, formation_energies, hull_distances
from tasks._gpaw_results import gpaw_result_of
from tasks._ledger import Ledger
from tasks._results import Result, result_of

logger = logging.getLogger(__name__)

FRESH_S = 3600.0
"""A folder without a ticket that changed this recently is still being copied (chosen)."""


class CollectConfig(BaseModel):
    """How job directories are judged.

    Attributes
    ----------
    stale_after_h : float
        A running job without a sign of life for longer is called stale.
    wait_s : float
        How long to wait for another collect of the same campaign.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stale_after_h: float = Field(default=12.0, gt=0)
    wait_s: float = Field(default=600.0, ge=0)


class Collected(BaseModel):
    """What one collect found.

    Attributes
    ----------
    states : dict of str to int
        Jobs of the campaign by state, afterwards.
    ingested, turned_down : tuple of str
        ``formula--id`` of jobs newly taken in; of jobs newly failed, broken or quarantined, each
        with its code and sentence.
    remarks : tuple of str
        What the optional steps of jobs newly taken in say, with the job's folder in front.
    new_labels : int
    stale : tuple of str
        Jobs without a heartbeat, with a hint.
    quarantined : tuple of str
        Folders that are no jobs of this campaign, with the reason.
    approval : tuple of str
        What waits for a person's answer in ``approved.csv``, or could not be understood there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    states: dict[str, int]
    ingested: tuple[str, ...] = ()
    turned_down: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    new_labels: int = 0
    stale: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()
    approval: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say it in words, one line a fact; what was declined for the same reason is one."""
        tally = ", ".join(f"{n} {state.lower()}" for state, n in self.states.items())
        return [
            f"jobs         {tally or 'none'}",
            f"new labels   {self.new_labels}",
            *(f"taken in     {name}" for name in self.ingested),
            *(f"remark       {text}" for text in self.remarks),
            *(f"turned down  {text}" for text in _declined_together(self.turned_down)),
            *(f"stale        {text}" for text in self.stale),
            *(f"set aside    {text}" for text in self.quarantined),
            *(f"approval     {text}" for text in self.approval),
        ]


def _declined_together(turned_down: Sequence[str]) -> list[str]:
    """Join jobs that were declined for the same reason, so that failures stay in sight."""
    sentences = [text.partition(": ")[2] for text in turned_down]
    many = {s: n for s, n in Counter(sentences).items() if n > 1 and s.startswith(DECLINED)}
    single = [t for t, s in zip(turned_down, sentences, strict=True) if s not in many]
    return [*single, *(f"{number} jobs: {sentence}" for sentence, number in many.items())]


@dataclass
class _Round:
    """One collect under way."""

    root: Path
    ledger: Ledger
    jobs: dict[str, dict[str, Any]]
    ingested: list[str]
    turned_down: list[str]
    stale: list[str]
    quarantined: list[str]
    remarks: list[str]

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
        If another collect does not end, a source does not exist, or the ledger knows no jobs
        although there are job directories.
    """
    config = config or CollectConfig()
    lock = FileLock(root / "collect.lock", timeout=config.wait_s)
    try:
        with lock:
            return _collect(root, ledger, config, sources)
    except Timeout as error:
        raise CampaignError(
            "another collect of this campaign has been running for long",
            where=root,
            fix="Wait until it ends, or end it; nothing is lost either way.",
        ) from error


def _collect(
    root: Path, ledger: Ledger, config: CollectConfig, sources: Sequence[Path]
) -> Collected:
    labels_before = _count_labels(ledger)
    jobs = {job["id"]: job for job in ledger.jobs()}
    this = _Round(root, ledger, jobs, [], [], [], [], [])
    folders = list(_folders(root, sources))
    if folders and not jobs:
        raise CampaignError(
            "the ledger knows no jobs, but there are job directories",
            where=root,
            fix="If the ledger was lost, run `agd collect --rebuild` first.",
        )
    now = time.time()
    approval = decide((folder.parent for folder in folders), now)
    for folder in folders:
        _look_at(this, folder, now, config.stale_after_h * 3600)
    for step in (formation_energies, hull_distances):
        for result in step(root, jobs):
            this.complete(result)
    return Collected(
        states=dict(sorted(Counter(job["state"] for job in ledger.jobs()).items())),
        ingested=tuple(this.ingested),
        remarks=tuple(this.remarks),
        turned_down=tuple(this.turned_down),
        new_labels=_count_labels(ledger) - labels_before,
        stale=tuple(this.stale),
        quarantined=tuple(this.quarantined),
        approval=approval,
    )


def _count_labels(ledger: Ledger) -> int:
    names = ("band_gap_eV", FORMATION_ENERGY, HULL_DISTANCE)
    labels = (label for name in names for label in ledger.labels(name))
    return sum(label.origin in ("dft-vasp", "dft-gpaw") for label in labels)


def _folders(root: Path, sources: Iterable[Path]) -> Iterator[Path]:
    """Yield job directories: of other places first, then of the campaign's own batches."""
    for source in sources:
        if not source.is_dir():
            raise CampaignError(
                "there is no such folder", where=source, fix="Give the folder that came back."
            )
        if "--" in source.resolve().name:
            yield source
            continue
        yield from job_folders(source)
        for inner in sorted(p for p in source.iterdir() if p.is_dir() and "--" not in p.name):
            yield from job_folders(inner)
    for batch in [*batches(root / "handoff"), *reference_folders(root)]:
        yield from job_folders(batch)


def _look_at(this: _Round, folder: Path, now: float, stale_after_s: float) -> None:
    """Take one folder in, follow its state, or put it into quarantine."""
    id = folder.name.rpartition("--")[2][:ID_DIGITS]
    job = this.jobs.get(id)
    if job is not None and job["state"] == State.INGESTED:
        return
    seen = observe(folder, now, stale_after_s)
    if job is not None and not folder.name.endswith(id) and seen.state is not State.DONE:
        return  # somebody's copy, such as ...-old: only a result counts
    if job is not None and seen.state is State.DONE and job["story"].get("judged") == _mark(folder):
        return
    ticket = _trusted_ticket(this, folder, id)
    if isinstance(ticket, Rejection):
        if ticket.code != "100":
            _quarantine(this, folder, id, ticket)
    elif seen.state is State.DONE:
        _take_in(this, folder, ticket, seen)
    else:
        _follow(this, ticket, seen)


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
        return Rejection("foreign", f"{folder.name} is no job of this campaign")
    known = this.jobs[ticket.id]["story"].get("ticket_sha256")
    if known is not None and known != ticket.sha256:
        return Rejection("300", "the ticket was changed after it was handed off")
    return ticket


def _follow(this: _Round, ticket: Ticket, seen: Observation) -> None:
    """Follow a job that is not done."""
    job = this.jobs[ticket.id]
    before = job["state"]
    this.move(ticket.id, seen.state, seen.code, {"step": seen.step, "sentence": seen.sentence})
    if seen.state in (State.FAILED, State.BROKEN, State.CANCELLED) and job["state"] != before:
        why = seen.sentence or "cancelled by hand"
        code = f"{seen.code} " if seen.code is not None else ""
        this.turned_down.append(f"{ticket.folder}: {code}{why}")
    if job["state"] == State.STALE:
        this.stale.append(f"{ticket.folder}: {seen.sentence}")


def _mark(folder: Path) -> list[list[Any]]:
    """Return what tells one result from another without reading it."""
    names = ("*/vasprun.xml*", "*/gpaw-result.json")
    files = sorted(p for n in names for p in folder.glob(n) if not p.name.startswith("."))
    return [[p.parent.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]


def _take_in(this: _Round, folder: Path, ticket: Ticket, seen: Observation) -> None:
    """Judge a finished job; its result, state and labels become one transaction."""
    job = this.jobs[ticket.id]
    mark = _mark(folder)
    result = _result_of(folder, ticket)
    if not may_become(State(job["state"]), State.DONE) and job["state"] != State.DONE:
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
        _set_aside(this, folder, Rejection(str(result.code), sentence))


def _result_of(folder: Path, ticket: Ticket) -> Result:
    if ticket.engine == "gpaw":
        return gpaw_result_of(folder, ticket)
    status = _status_of(folder)
    judgement = judge(folder, ticket, status.get("corrections") or ())
    potentials = status.get("potcar")
    return result_of(folder, ticket, judgement, potentials if isinstance(potentials, dict) else {})


def _status_of(folder: Path) -> dict[str, Any]:
    try:
        status = json.loads((folder / "STATUS.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def _quarantine(this: _Round, folder: Path, id: str, why: Rejection) -> None:
    """Put a folder aside that is unreadable, changed or not ours."""
    this.quarantined.append(f"{folder.name}: {why.sentence}")
    if id in this.jobs and why.code != "foreign":
        this.move(id, State.QUARANTINED, 300, {"sentence": why.sentence})
    _set_aside(this, folder, why)


def _set_aside(this: _Round, folder: Path, why: Rejection) -> None:
    """Move a folder of the campaign to ``quarantine/``; of a folder elsewhere, keep the reason."""
    place = this.root / "quarantine"
    number, target = 1, place / f"{folder.name}--{why.code}"
    inside = folder.resolve().is_relative_to(this.root.resolve())
    while inside and target.exists():
        number, target = number + 1, place / f"{folder.name}--{why.code}-{number}"
    reason = {"folder": folder.name, "code": why.code, "sentence": why.sentence}
    write_json(target.with_name(f"{target.name}.json"), reason)
    if inside:
        folder.rename(target)
    logger.warning("quarantined %s: %s", folder.name, why.sentence)
