"""What calculations cost: serves the budget of DFT oracles.

In: the jobs of a campaign as the ledger has them, and their directories. Out: core-hours spent
within a night, and how many more calculations a budget allows. A job's time is what its
``STATUS.json`` tells: from each launch to what came next.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.job.status import State
from tasks.dft_jobs.emit import EMITTED_AT

NIGHT_S = 20 * 3600.0
"""Jobs emitted within this time belong to one night's budget (chosen: a schedule that fires every
evening finds a whole one, a run that was killed and repeated does not)."""

Jobs = Iterable[tuple[Path, Mapping[str, Any]]]
"""Jobs of the ledger, each with the directory of its campaign."""


def core_hours_of(folder: Path, cluster: ClusterSettings) -> float | None:
    """Return what a job has used, in core-hours; None where its directory does not tell.

    An interval longer than the job's wall time was a time in which nothing ran.
    """
    try:
        history = json.loads((folder / "STATUS.json").read_bytes())["history"]
        marks = [(str(entry["state"]), float(entry["at"])) for entry in history]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    most = cluster.hours * 3600.0 or math.inf
    runs = [
        min(max(after - at, 0.0), most)
        for (state, at), (_, after) in pairwise(marks)
        if state == State.RUNNING
    ]
    return sum(runs) / 3600.0 * _cores(cluster) if runs else None


def room_for(budget: float, jobs: Jobs, cluster: ClusterSettings, now: float) -> int:
    """Return how many more candidates may be calculated.

    Parameters
    ----------
    budget : float
        Core-hours of a night.
    jobs : iterable of (Path, job)
        All jobs of the recipe, references included.
    cluster : ClusterSettings
        Bounds what a job may cost until one has been measured.
    now : float
        Seconds since the epoch.
    """
    measured: dict[str, list[float]] = {}
    recent: list[tuple[str, float | None]] = []
    for root, job in jobs:
        role = str(job["story"].get("role"))
        ended = job["state"] in (State.INGESTED, State.FAILED)
        cost = core_hours_of(root / job["folder"], cluster) if ended else None
        if cost is not None:
            measured.setdefault(role, []).append(cost)
        if now - _emitted(job) < NIGHT_S:
            recent.append((role, cost))
    bound = float(cluster.hours * _cores(cluster))
    mean = {role: sum(costs) / len(costs) for role, costs in measured.items()}
    spent = sum(mean.get(role, bound) if cost is None else cost for role, cost in recent)
    each = max(mean.get("candidate", bound), 1e-6)
    return max(int((budget - spent) // each), 0)


def _cores(cluster: ClusterSettings) -> int:
    return cluster.nodes * cluster.tasks_per_node


def _emitted(job: Mapping[str, Any]) -> float:
    """Return when a job was emitted; of jobs from before this was recorded, when it changed."""
    return datetime.fromisoformat(job["story"].get(EMITTED_AT) or job["changed_at"]).timestamp()
