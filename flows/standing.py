"""How far a campaign is: serves ``agd status`` and the last words of ``agd run``.

In: a campaign directory, also one that a run has open. Out: text.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tasks._ledger import Ledger
from tasks._story import opened_ledger

STAGES = ("ingest", "train", "explore", "screening", "sample", "screen", "template", "filter",
          "handoff", "report")  # fmt: skip


def standing(root: Path) -> str:
    """Describe a campaign.

    Raises
    ------
    CampaignError
        If the directory is no campaign.
    """
    with opened_ledger(root) as ledger:
        parts = ledger.stages()
        lines = [f"campaign    {root}", f"state       {_state(root, ledger)}"]
        for stage in sorted({p["stage"] for p in parts}, key=_place):
            own = [p["seconds"] for p in parts if p["stage"] == stage]
            lines.append(f"{stage:<11} {len(own)} done, {sum(own):.1f} s")
        lines += [
            f"labels      {_tally(one.origin for one in ledger.labels('band_gap_eV'))}",
            f"candidates  {_tally(c.status for c in ledger.candidates())}",
            f"jobs        {_tally(j['state'] for j in ledger.jobs())}",
        ]
        asked = [j["state"] for j in ledger.jobs() if j["story"].get("asked_by") == "search"]
        if asked:
            lines.append(f"of these    {_tally(asked)}, asked by the search")
    log = root / "campaign.log"
    if log.exists() and (last := log.read_text(errors="replace").splitlines()[-1:]):
        lines.append(f"last line   {last[0]}")
    return "\n".join(lines)


def closing_words(root: Path) -> str:
    """Say what a run left and where: funnel, candidates, job directories, report."""
    with opened_ledger(root) as ledger:
        lines = [f"  {s['count']:>12,}  {s['name']}" for s in _funnel(root, ledger)]
        candidates = ledger.candidates()
        jobs = ledger.jobs()
        finished = ledger.fact("finished") is not None
    lines.append(f"  {sum(c.rank is not None for c in candidates):>12,}  candidates")
    references = [job for job in jobs if job["folder"].startswith("references")]
    lines.append(f"  {len(jobs) - len(references):>12,}  DFT job directories")
    lines.append(f"  {len(references):>12,}  elemental reference jobs beside them")
    places = sorted({Path(job["folder"]).parent for job in jobs})
    lines += [f"jobs:    {root / place}" for place in places]
    if finished:
        lines.append(f"report:  {root / 'report' / 'index.html'}")
    else:
        lines.append(f"not finished yet; how far it is: agd status {root}")
    return "\n".join(lines)


def _state(root: Path, ledger: Ledger) -> str:
    lock = FileLock(root / "campaign.lock", timeout=0)
    try:
        with lock:
            pass
    except Timeout:
        return "a run is going on"
    if ledger.fact("finished") is not None:
        return "finished"
    if (root / "report" / "FAILED.md").exists():
        return f"stopped by an error: see {root / 'report' / 'FAILED.md'}"
    return "not running, not finished: the command that began it goes on with it"


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


def _tally(values: Any) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(Counter(values).items())) or "none"
