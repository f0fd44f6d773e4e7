"""The list of a folder of jobs: serves the hand-off step, the cluster and collect.

In: the tickets of a batch, or of a recipe's references. Out: ``batch.json`` and ``jobs.txt``, the
same list for programs and for shells; and, read back, the names that stand in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dft_inputs.job.ticket import Ticket
from structure.files import write_text

BATCH_SCHEMA = 1
"""Version of ``batch.json``."""

MANIFEST, NAMES = "batch.json", "jobs.txt"


def index_files(tickets: Sequence[Ticket], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return ``batch.json`` and ``jobs.txt``, the same list for shells, in order of priority."""
    document = {
        **manifest,
        "schema_version": BATCH_SCHEMA,
        "expected_files": ["ticket.json", "STATUS.json", "run.sh", "DONE or FAILED at the end"],
        "jobs": [
            {
                "priority": priority,
                "id": ticket.id,
                "folder": ticket.folder,
                "formula": ticket.formula,
                "role": ticket.role,
                "steps": [step.name for step in ticket.steps],
            }
            for priority, ticket in enumerate(tickets, start=1)
        ],
    }
    return {
        MANIFEST: json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
        NAMES: "".join(f"{ticket.folder}\n" for ticket in tickets),
    }


def manifest_of(place: Path) -> dict[str, Any]:
    """Return what ``batch.json`` says; nothing where it is gone or damaged."""
    try:
        document = json.loads((place / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def listed(place: Path) -> frozenset[str]:
    """Return the names of job folders that stand in the list of a folder of jobs.

    Either of its two files is enough: people edit ``jobs.txt``, and copies lose files.
    """
    try:
        names = {line.strip() for line in (place / NAMES).read_text("utf-8").splitlines()}
    except (OSError, ValueError):
        names = set()
    jobs = manifest_of(place).get("jobs")
    for job in jobs if isinstance(jobs, list) else ():
        if isinstance(job, dict) and isinstance(job.get("folder"), str):
            names.add(job["folder"])
    return frozenset(names - {""})


def add_to_list(place: Path, present: Iterable[Ticket], new: Iterable[Ticket]) -> None:
    """Write the list of a folder of jobs again, with jobs that are about to be put there.

    Parameters
    ----------
    place : Path
        A folder of reference jobs; what its ``batch.json`` says besides the jobs is kept.
    present, new : iterable of Ticket
    """
    every = {ticket.folder: ticket for ticket in [*new, *present]}
    tickets = [every[name] for name in sorted(every)]
    for name, text in index_files(tickets, manifest_of(place)).items():
        write_text(place / name, text)
