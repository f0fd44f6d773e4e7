"""Claim: a campaign killed at any moment ends like one that was not, with nothing done twice.

Runs a small campaign undisturbed, then again and again in fresh directories while killing it with
SIGKILL at random moments and resuming it with the same command, and compares what is left.

    python benchmarks/kills.py --kills 20 --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

SMALL = {
    "explore.budget": 100,
    "explore.pool_size": 500,
    "sample.shards": 4,
    "sample.shard_size": 20_000,
    "template.limit": 60,
    "template.maximum_emd": 102,
    "template.minimum_volume_scale": 0.01,
    "template.maximum_volume_scale": 100,
}
"""A campaign of a minute that makes some sixty jobs: any template will do here."""


@dataclass
class Record:
    """What the kills did."""

    killed_in: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    campaigns: int = 0
    differing: list[str] = field(default_factory=list)
    labels_twice: int = 0
    jobs_twice: int = 0


def main() -> int:
    """Run the benchmark; return 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "kills.md")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    record = Record()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "undisturbed"
        began = time.monotonic()
        run_to_end(whole)
        seconds = time.monotonic() - began
        wanted = fingerprint(whole)
        print(f"undisturbed: {seconds:.0f} s, {wanted['jobs']} jobs", flush=True)
        while record.kills < options.kills:
            root = Path(folder) / f"killed-{record.campaigns}"
            survive(root, seconds, options.kills, rng, record)
            found = fingerprint(root)
            record.differing += [key for key in wanted if found[key] != wanted[key]]
            record.labels_twice += found["labels asked twice"]
            record.jobs_twice += found["jobs emitted twice"]
            record.campaigns += 1
            print(f"campaign {record.campaigns}: {record.kills} kills so far", flush=True)
    text = markdown(record, wanted, seconds, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(text)
    return 1 if record.differing else 0


def command(root: Path, overrides: dict[str, Any] | None = None) -> list[str]:
    """Return the command that begins and resumes a campaign."""
    words = [str(Path(sys.executable).parent / "agd"), "run", "agd-bandgap", "--local"]
    for key, value in (SMALL if overrides is None else overrides).items():
        words += ["--set", f"{key}={value}"]
    return [*words, "--campaign", str(root)]


def start(root: Path, overrides: dict[str, Any] | None = None) -> subprocess.Popen[str]:
    """Start or resume a campaign in a process group of its own."""
    return subprocess.Popen(
        command(root, overrides),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def run_to_end(root: Path, overrides: dict[str, Any] | None = None) -> None:
    """Run or resume a campaign until it ends; fail if it fails."""
    process = start(root, overrides)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the campaign failed with status {process.returncode}:\n{errors}")


def kill(process: subprocess.Popen[str]) -> None:
    """End a campaign as a power cut would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def survive(
    root: Path, seconds: float, kills: int, rng: np.random.Generator, record: Record
) -> None:
    """Kill and resume one campaign at random moments until it ends by itself."""
    while True:
        process = start(root)
        try:
            process.communicate(timeout=float(rng.uniform(0.0, seconds)))
        except subprocess.TimeoutExpired:
            if record.kills >= kills:
                process.communicate()
                return
            kill(process)
            record.kills += 1
            record.killed_in[where(root)] += 1
            continue
        if process.returncode:
            raise SystemExit(f"a resumed campaign failed with status {process.returncode}")
        return


def where(root: Path) -> str:
    """Return the stage that the last line of the campaign's log is about."""
    log = root / "campaign.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    if not lines:
        return "before the first stage"
    words = lines[-1].split()[1:]
    return words[0].rstrip(":") if words else "before the first stage"


def fingerprint(root: Path) -> dict[str, Any]:
    """Return everything of a finished campaign that must not depend on kills."""
    with sqlite3.connect(f"file:{root / 'ledger.sqlite'}?mode=ro", uri=True) as ledger:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return ledger.execute(query).fetchall()

        candidates = rows("select * from candidates order by formula")
        labels = rows(
            "select formula, property, value, origin, source, iteration from labels "
            "order by formula, property, origin, source"
        )
        jobs = rows("select id, formula, batch, folder from jobs order by id")
        asked = rows("select formula from labels where iteration > 0")
        outputs = {
            (stage, part): sorted(hashes(json.loads(output)))
            for stage, part, output in rows("select stage, part, output from stages")
            if stage != "report"
        }
    tickets = sorted((root / "handoff").rglob("ticket.json"))
    return {
        "candidates": digest(candidates),
        "labels": digest(labels),
        "jobs": len(jobs),
        "job rows": digest(jobs),
        "labels asked twice": len(asked) - len(set(asked)),
        "jobs emitted twice": len(tickets) - len({ticket_id(t) for t in tickets}),
        "job directories": digest([contents(t.parent) for t in tickets]),
        "tables": digest(sorted(outputs.items())),
        "candidates.csv": (root / "report" / "candidates.csv").read_text(),
        "leftovers": sorted(p.name for p in root.rglob(".tmp-*")),
    }


def hashes(output: Any) -> list[str]:
    """Return the hashes of all files that a stage output points to."""
    if isinstance(output, dict):
        steady = output.get("schema_name", "search-summary") != "search-summary"
        own = [output["sha256"]] if steady else []
        return own + [h for value in output.values() for h in hashes(value)]
    if isinstance(output, list):
        return [h for value in output for h in hashes(value)]
    return []


def ticket_id(path: Path) -> str:
    """Return the content id of a job."""
    return str(json.loads(path.read_text())["id"])


def contents(folder: Path) -> list[tuple[str, str]]:
    """Return the names and hashes of a job directory's input files."""
    return [
        (p.relative_to(folder).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest())
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "STATUS.json"
    ]


def digest(value: object) -> str:
    """Return a short hash of plain data."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def markdown(
    record: Record, wanted: dict[str, Any], seconds: float, options: argparse.Namespace
) -> str:
    """Return the result page."""
    places = "\n".join(f"| {name} | {n} |" for name, n in record.killed_in.most_common())
    verdict = (
        "everything compared is identical"
        if not record.differing
        else f"differences in {', '.join(sorted(set(record.differing)))}"
    )
    return f"""# Campaigns that are killed

Claim: a campaign killed with SIGKILL at any instant resumes with the same command and ends with the
same candidates; no label is asked for twice, no job emitted twice.

| measured | value | target |
| --- | --- | --- |
| kills | {record.kills} | 20 |
| campaigns they fell into, each compared with an undisturbed one | {record.campaigns} | |
| differences | {len(record.differing)} | 0 |
| compounds that the search labelled twice, in all campaigns | {record.labels_twice} | 0 |
| job directories with the id of another, in all campaigns | {record.jobs_twice} | 0 |

Verdict: {verdict}.

Compared are candidates with their stories, labels, jobs, every file of the job directories, the
hashes of all stage tables, `candidates.csv`, and that no temporary file is left; not the search's
summary and the page, which show seconds. Each campaign makes {wanted["jobs"]} jobs and takes
{seconds:.0f} s undisturbed.

What the campaign's log was about when the kill came:

| stage | kills |
| --- | --- |
{places}

Command: `python benchmarks/kills.py --kills {options.kills} --seed {options.seed}`,
on {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}, one thread;
settings `{json.dumps(SMALL)}`.
"""


if __name__ == "__main__":
    raise SystemExit(main())
