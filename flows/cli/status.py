"""How far a campaign is: serves ``agd status`` and the last words of ``agd run``.

In: a campaign directory, also one that a run has open or that is read-only. Out: text.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tasks.campaign.sought import sought_in
from tasks.ledger.claim import is_held, is_locked
from tasks.ledger.ledger import Ledger
from tasks.ledger.reading import (
    candidates_by_status,
    jobs_by_state,
    labels_by_origin,
    read_ledger,
    stage_times,
)
from tasks.oracles.answer import ASKED_BY_SEARCH

STAGES = ("ingest", "train", "explore", "screening", "sample", "screen", "template", "filter",
          "handoff", "report")  # fmt: skip
TAIL_BYTES = 65_536
"""How much of a log is looked through for its last line (chosen)."""


def standing(root: Path) -> str:
    """Describe a campaign.

    Raises
    ------
    CampaignError
        If the directory is no campaign.
    """
    lines = [f"campaign    {root}", *read_ledger(root, lambda ledger: _stands(root, ledger))]
    if last := _last_line(root / "campaign.log"):
        lines.append(f"last line   {last}")
    return "\n".join(lines)


def _stands(root: Path, ledger: Ledger) -> list[str]:
    """Say what a ledger has, counted in the database."""
    lines = [f"state       {_state(root, ledger)}"]
    for stage, parts, seconds in sorted(stage_times(ledger), key=lambda found: _place(found[0])):
        lines.append(f"{stage:<11} {parts} done, {seconds:.1f} s")
    lines += [
        f"labels      {_told(labels_by_origin(ledger, sought_in(root).column))}",
        f"candidates  {_told(candidates_by_status(ledger))}",
        f"jobs        {_told(jobs_by_state(ledger))}",
    ]
    if asked := jobs_by_state(ledger, asked_by=ASKED_BY_SEARCH):
        lines.append(f"of these    {_told(asked)}, asked by the search")
    return lines


def closing_words(root: Path) -> str:
    """Say what a run left and where: funnel, candidates, job directories, report."""

    def look(ledger: Ledger) -> tuple[list[dict[str, Any]], int, list[str], bool]:
        ranked = sum(candidates_by_status(ledger, ranked=True).values())
        folders = [job["folder"] for job in ledger.jobs()]
        return _funnel(root, ledger), ranked, folders, ledger.fact("finished") is not None

    funnel, ranked, folders, finished = read_ledger(root, look)
    lines = [f"  {step['count']:>12,}  {step['name']}" for step in funnel]
    lines.append(f"  {ranked:>12,}  candidates")
    references = sum(folder.startswith("references") for folder in folders)
    lines.append(f"  {len(folders) - references:>12,}  DFT job directories")
    lines.append(f"  {references:>12,}  elemental reference jobs beside them")
    lines += [f"jobs:    {root / place}" for place in sorted({Path(f).parent for f in folders})]
    if finished:
        lines.append(f"report:  {root / 'report' / 'index.html'}")
    else:
        lines.append(f"not finished yet; how far it is: agd status {root}")
    return "\n".join(lines)


def _state(root: Path, ledger: Ledger) -> str:
    if is_locked(root / "campaign.lock") or is_held(ledger):
        return "a run is going on"
    if ledger.fact("finished") is not None:
        return "finished"
    if (root / "report" / "FAILED.md").exists():
        return f"stopped by an error: see {root / 'report' / 'FAILED.md'}"
    return "not running, not finished: the command that began it goes on with it"


def _last_line(log: Path) -> str:
    """Return the last line of a log, which may be long; empty where there is none."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, handle.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = handle.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _funnel(root: Path, ledger: Ledger) -> list[dict[str, Any]]:
    for part in ledger.stages():
        output = json.loads(part["output"])
        if part["stage"] == "screen" and "funnel" in output:
            steps = json.loads((root / output["funnel"]["path"]).read_text())["steps"]
            assert isinstance(steps, list)
            return steps
    return []


def _place(stage: str) -> tuple[int, str]:
    return (STAGES.index(stage) if stage in STAGES else len(STAGES), stage)


def _told(numbers: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(numbers.items())) or "none"
