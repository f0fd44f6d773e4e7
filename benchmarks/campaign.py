"""Time and memory of whole campaigns, through a real server, worker and deployment.

Runs ``agd run NAME`` on a fresh campaign directory, adds up the memory of every process it starts
(proportional set size, so that shared pages count once), and writes a table to docs/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {
    "agd-bandgap": {"minutes": 6.0, "gb": 4.0},
    "materials-project": {"minutes": 20.0, "gb": 6.0},
}


def tree_memory_gb(pid: int) -> float:
    """Return the memory of a process and all its descendants, in GB."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for member in family:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return total / 1e9


def measure(name: str, campaign: Path, extra: list[str]) -> dict[str, object]:
    """Run one campaign from nothing; return what it took and what it made."""
    shutil.rmtree(campaign, ignore_errors=True)
    agd = str(Path(sys.executable).with_name("agd"))
    command = [agd, "run", name, "--campaign", str(campaign), *extra]
    load = os.getloadavg()[0]
    began, peak = time.monotonic(), 0.0
    running = subprocess.Popen(command, cwd=ROOT)
    while running.poll() is None:
        peak = max(peak, tree_memory_gb(running.pid))
        time.sleep(0.5)
    seconds = time.monotonic() - began
    if running.returncode:
        raise SystemExit(f"the campaign failed with exit code {running.returncode}")
    funnel = json.loads(next(campaign.glob("**/funnel.json")).read_text())
    return {
        "name": name,
        "command": " ".join(["agd", "run", name, *extra]),
        "seconds": seconds,
        "gb": peak,
        "load": load,
        "steps": [(s["name"], s["count"]) for s in funnel["steps"]],
        "jobs": len(list(campaign.glob("handoff/batch-*/*/ticket.json"))),
    }


def report(results: list[dict[str, object]]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Whole campaigns",
        "",
        "Command: `python benchmarks/campaign.py`. Each campaign starts from an empty directory",
        "and goes through a Prefect server, a worker and a deployment of its own; the time has",
        "starting and stopping them in it. Memory is the largest sum over its processes",
        "(proportional set size).",
        "",
        f"Machine: {os.cpu_count()} cores, Python {platform.python_version()}.",
        "",
        "| campaign | time | limit | memory | limit | job directories | load when started |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        limit = LIMITS.get(str(r["name"]), {})
        lines.append(
            f"| `{r['command']}` | {float(str(r['seconds'])) / 60:.1f} min | "
            f"{limit.get('minutes', '-')} min | {float(str(r['gb'])):.2f} GB | "
            f"{limit.get('gb', '-')} GB | {r['jobs']} | {float(str(r['load'])):.1f} |"
        )
    for r in results:
        lines += ["", f"## Funnel of {r['name']}", "", "| step | compositions |", "|---|---:|"]
        lines += [f"| {name} | {count:,} |" for name, count in r["steps"]]  # type: ignore[attr-defined]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the campaigns named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["agd-bandgap"])
    parser.add_argument("--folder", type=Path, default=ROOT / "campaigns" / "benchmark")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/campaign.md")
    arguments = parser.parse_args()
    results = [measure(n, arguments.folder / n, []) for n in arguments.names]
    text = report(results)
    print(text)
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
