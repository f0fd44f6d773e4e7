"""What state a job directory is in, from its files alone: serves collect and ``agd status``.

In: job directories, on the cluster or copied back, complete or half-copied. Out: an `Observation`
for each. The cluster writes STATUS.json and the markers, we only read them; the ledger follows what
it sees, and only along the table of legal moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from dft_inputs.batch.answers import readable
from dft_inputs.job.untrusted import json_of, shown, small_file, why

LARGEST_STATUS_BYTES = 1_000_000
"""A larger STATUS.json is not one of ours (chosen)."""


class State(StrEnum):
    """Where a job is."""

    EMITTED = "EMITTED"
    SUBMITTED = "SUBMITTED"
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    DONE = "DONE"
    INGESTED = "INGESTED"
    FAILED = "FAILED"
    BROKEN = "BROKEN"
    QUARANTINED = "QUARANTINED"
    STALE = "STALE"
    CANCELLED = "CANCELLED"


_ALIVE = frozenset({State.SUBMITTED, State.RUNNING, State.RESTARTING})
_ENDED = frozenset(
    {State.DONE, State.FAILED, State.BROKEN, State.STALE, State.CANCELLED, State.QUARANTINED}
)

LEGAL_MOVES: dict[State, frozenset[State]] = {
    State.EMITTED: _ALIVE | _ENDED,
    State.SUBMITTED: frozenset({State.EMITTED}) | _ALIVE | _ENDED,
    State.RUNNING: _ALIVE | _ENDED,
    State.RESTARTING: _ALIVE | _ENDED,
    # A heartbeat that comes back, or the person who submits again, ends these three.
    State.STALE: _ALIVE | _ENDED,
    State.BROKEN: _ALIVE | _ENDED,
    State.FAILED: _ALIVE | _ENDED,
    State.CANCELLED: _ALIVE | _ENDED | frozenset({State.EMITTED}),
    # Only we judge a finished calculation.
    State.DONE: frozenset({State.INGESTED, State.FAILED, State.BROKEN, State.QUARANTINED}),
    # Somebody put a repaired folder back.
    State.QUARANTINED: frozenset({State.DONE}),
    State.INGESTED: frozenset(),
}
"""From each state, the states that may be seen or decided next."""


@cache
def may_become(old: State, new: State) -> bool:
    """Return whether `new` can be reached: we look from time to time and miss states between."""
    seen, front = {old}, [old]
    while front:
        for after in LEGAL_MOVES[front.pop()] - seen:
            seen.add(after)
            front.append(after)
    # What an old copy of the folder shows undoes nothing: these moves must be direct.
    if new is State.EMITTED or old in (State.INGESTED, State.QUARANTINED):
        return new in LEGAL_MOVES[old]
    return new in seen


@dataclass(frozen=True)
class Observation:
    """What the files of a job say.

    Attributes
    ----------
    folder : Path
    state : State
        EMITTED to CANCELLED; whether a result is good is for `dft_inputs.vasp.judgement`.
    code : int or None
        Reason code of a failed, broken or stale job.
    sentence : str
    step : str
        The step at work, if any.
    heartbeat : float or None
        Time of the last sign of life, seconds since the epoch.
    attempts : int
        Launches so far, over all steps.
    """

    folder: Path
    state: State
    code: int | None = None
    sentence: str = ""
    step: str = ""
    heartbeat: float | None = None
    attempts: int = 0

    @property
    def id(self) -> str:
        """The id in the folder's name."""
        return self.folder.name.rpartition("--")[2]


def observe(folder: Path, now: float, stale_after_s: float) -> Observation:
    """Look at one job directory.

    Parameters
    ----------
    folder : Path
    now : float
        Seconds since the epoch by our clock. A heartbeat in the future, from a clock that is ahead
        of ours, counts as fresh.
    stale_after_s : float
        A running job without a sign of life for longer is stale; it comes back with the next one.
    """
    try:
        if (folder / "DONE").exists():
            return Observation(folder, State.DONE)
        status = read_status(folder)
        if (folder / "FAILED").exists():
            sentence = str(status.get("sentence") or "the calculation failed")
            return _observed(folder, State.FAILED, status, None, sentence)
        if (folder / "CANCELLED").exists():
            return Observation(folder, State.CANCELLED, sentence=_first_line(folder / "CANCELLED"))
        heartbeat = (folder / "STATUS.json").stat().st_mtime
        state = State(status["state"])
    except OSError as error:
        return Observation(folder, State.BROKEN, 200, f"STATUS.json: {why(error)}")
    except (ValueError, KeyError, TypeError):
        return Observation(folder, State.BROKEN, 200, "STATUS.json is damaged")
    since = {State.EMITTED: float("-inf"), State.BROKEN: heartbeat, State.FAILED: heartbeat}
    if state in since and _submitted_since(folder, since[state]):
        return _observed(folder, State.SUBMITTED, status, heartbeat)
    if state in (State.DONE, State.FAILED):  # its marker is about to be written
        state = State.RUNNING
    if state is State.RUNNING and now - heartbeat > stale_after_s:
        hours = (now - heartbeat) / 3600
        sentence = f"no sign of life for {hours:.0f} h; submit.sh --lost sends it again"
        return _observed(folder, State.STALE, {**status, "code": 110}, heartbeat, sentence)
    return _observed(folder, state, status, heartbeat, str(status.get("sentence") or ""))


def _observed(
    folder: Path, state: State, status: dict[str, Any], heartbeat: float | None, sentence: str = ""
) -> Observation:
    attempts = status.get("attempts")
    numbers = attempts.values() if isinstance(attempts, dict) else ()
    launches = sum(number for number in numbers if isinstance(number, int))
    number, step = str(status.get("code")), shown(str(status.get("step") or ""))
    known = int(number) if number.isdecimal() and len(number) <= 3 else None
    return Observation(folder, state, known, shown(sentence), step, heartbeat, launches)


def read_status(folder: Path) -> dict[str, Any]:
    """Read the STATUS.json of a job folder.

    Raises
    ------
    OSError, ValueError
        If it is missing, no plain file, too large or damaged.
    """
    status = json_of(folder / "STATUS.json", folder, LARGEST_STATUS_BYTES)
    if not isinstance(status, dict):
        raise ValueError("not a status")
    return status


def _first_line(marker: Path) -> str:
    """Return what a marker says; one made by touch says nothing."""
    try:
        content = small_file(marker, marker.parent, LARGEST_STATUS_BYTES)
    except OSError:  # that it is there is enough
        return ""
    return shown(readable(content).strip().partition("\n")[0])


def _submitted_since(folder: Path, time: float) -> bool:
    """Return whether the job was sent to the scheduler at that time or later."""
    try:
        return (folder / "SUBMITTED").stat().st_mtime >= time
    except FileNotFoundError:
        return False


def scan(folders: Iterable[Path], now: float, stale_after_s: float) -> Iterator[Observation]:
    """Look at many job directories."""
    return (observe(folder, now, stale_after_s) for folder in folders)
