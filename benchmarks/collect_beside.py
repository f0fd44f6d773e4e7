"""Claim: collecting beside a running DFT search moves no folder and loses no job.

Runs campaigns whose search asks for calculations, which run here by the stand-in for GPAW, while
other processes collect from the same directory in a loop. After every collect each job of the
ledger must have its folder, and none may have been set aside; in the end every folder must have its
row and every compound with a gap its formation energy.

    python benchmarks/collect_beside.py --collects 1000 --seeds 3

With ``--before CHECKOUT`` the same is done once, with the first seed, by the code in that checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FAKE_GPAW = ROOT / "tests" / "engines" / "fake_gpaw"

COLLECTORS = 2

SMALL = {
    "explore.budget": 60,
    "explore.batch": 3,
    "explore.pool_size": 300,
    "explore.in_flight_at_most": 30,
    "explore.oracle.dft.cluster.gpaw_python": str(FAKE_GPAW),
    "explore.oracle.dft.wait_h": 0.05,
    "ingest.initial.count": 150,
    "sample.shard_size": 2000,
    "screen.validity_sample": 200,
    "template.limit": 20,
    "filter.limit": 10,
}

RUN = "from flows.cli.app import main; main()"

COLLECT = """
import json, sys
from pathlib import Path
from tasks.ledger.ledger import Ledger
from tasks.collect import collect_campaign
root, log, stop = (Path(word) for word in sys.argv[1:])
while not (root / "handoff").is_dir() and not stop.exists():
    pass
with log.open("a") as told:
    while not stop.exists():
        try:
            found = collect_campaign(root)
        except Exception as error:
            told.write(json.dumps({"error": str(error)}) + chr(10))
            continue
        ledger = Ledger.in_folder(root)
        jobs = ledger.jobs()
        ledger.close()
        lost = [job["folder"] for job in jobs if not (root / job["folder"]).is_dir()]
        line = {"jobs": len(jobs), "moved": found.quarantined, "lost": lost}
        told.write(json.dumps(line) + chr(10))
        told.flush()
"""


@dataclass
class Record:
    """What collects beside campaigns of one seed found."""

    seed: int
    collects: int = 0
    errors: list[str] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    campaigns: int = 0
    batches: int = 0
    jobs: int = 0
    unrecorded: int = 0
    without_energy: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> int:
        """Everything that must be zero."""
        counted = (self.errors, self.moved, self.lost)
        return sum(map(len, counted)) + self.unrecorded + self.without_energy


def main() -> int:
    """Run the benchmark; return 1 if a folder was moved or a job lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collects", type=int, default=1000, help="beside the runs of each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="checkout to do the same with, for comparison")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "collect_beside.md")
    options = parser.parse_args()
    records = [beside(seed, options.collects, ROOT) for seed in range(1, options.seeds + 1)]
    before = beside(1, options.collects, options.before.resolve()) if options.before else None
    text = markdown(records, before, options)
    options.out.write_text(text)
    print(text)
    return 1 if any(record.faults for record in records) else 0


def beside(seed: int, collects: int, code: Path) -> Record:
    """Collect beside campaigns, one after another, until there were enough collects."""
    record = Record(seed)
    while record.collects < collects:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "c"
            began = time.monotonic()
            with collectors(root, Path(folder), code):
                run(root, 100 * seed + record.campaigns, code)
            record.seconds += time.monotonic() - began
            record.campaigns += 1
            for log in Path(folder).glob("log-*"):
                add(record, [json.loads(line) for line in log.read_text().splitlines()])
            audit(record, root)
        print(f"seed {seed}: {record.collects} collects, {record.faults} faults", flush=True)
    return record


def run(root: Path, seed: int, code: Path) -> None:
    """Run one campaign to its end."""
    words = [sys.executable, "-c", RUN, "run", "agd-bandgap-gpaw", "--local"]
    for key, value in {**SMALL, "seed": seed}.items():
        words += ["--set", f"{key}={value}"]
    words += ["--campaign", str(root)]
    done = subprocess.run(words, env=environment(code), cwd=code, capture_output=True, text=True)
    if done.returncode:
        print(f"a campaign ended with status {done.returncode}:\n{done.stderr[-2000:]}", flush=True)


@contextmanager
def collectors(root: Path, folder: Path, code: Path) -> Iterator[None]:
    """Collect in a loop, in processes of their own, for the length of a block."""
    stop = folder / "stop"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", COLLECT, str(root), str(folder / f"log-{i}"), str(stop)],
            env=environment(code),
            cwd=code,
        )
        for i in range(COLLECTORS)
    ]
    try:
        yield
    finally:
        stop.touch()
        for process in running:
            process.wait()


def environment(code: Path) -> dict[str, str]:
    """Return an environment in which the packages of a checkout are the ones imported."""
    return {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}


def add(record: Record, lines: list[dict[str, Any]]) -> None:
    """Count what one process collected."""
    for line in lines:
        if "error" in line:
            record.errors.append(line["error"])
            continue
        record.collects += 1
        record.moved.update(line["moved"])
        record.lost.update(line["lost"])


def audit(record: Record, root: Path) -> None:
    """Hold the directory of a campaign that has ended against its ledger."""
    from tasks.collect import collect_campaign
    from tasks.ledger.ledger import Ledger

    wait_for_jobs(root)
    found = collect_campaign(root)
    record.moved.update(found.quarantined)
    quarantine = root / "quarantine"
    if quarantine.is_dir():
        record.moved.update(p.name for p in quarantine.iterdir() if p.is_dir())
    ledger = Ledger.in_folder(root)
    known = {job["id"]: job for job in ledger.jobs()}
    gaps = {label.formula for label in ledger.labels("band_gap_eV") if label.origin == "dft-gpaw"}
    energies = {label.formula for label in ledger.labels("formation_energy_eV_per_atom")}
    ledger.close()
    asked = {job["formula"] for job in known.values() if job["state"] == "INGESTED"}
    record.without_energy += len((gaps & asked) - energies)
    tickets = list(root.glob("handoff/*/*/ticket.json")) + list(
        root.glob("references*/*/ticket.json")
    )
    record.unrecorded += sum(json.loads(t.read_text())["id"] not in known for t in tickets)
    record.jobs += len(tickets)
    record.batches += len(list(root.glob("handoff/batch-*")))


def wait_for_jobs(root: Path) -> None:
    """Wait until the calculations that the search started have ended."""
    from tasks.oracles.run_here import busy

    while busy(root):
        time.sleep(0.2)


def markdown(records: list[Record], before: Record | None, options: argparse.Namespace) -> str:
    """Return the result page."""
    columns = [(f"seed {record.seed}", record) for record in records]
    columns += [("seed 1, release before", before)] if before else []
    rows = [
        ("collects beside the runs", lambda r: f"{r.collects:,}", f"{options.collects:,}"),
        ("of them ended by an error", lambda r: len(r.errors), "0"),
        ("campaigns they fell into", lambda r: r.campaigns, ""),
        ("batches", lambda r: r.batches, ""),
        ("job folders, with the elements' references", lambda r: r.jobs, ""),
        ("folders moved to quarantine", lambda r: len(r.moved), "0"),
        ("jobs of the ledger without a folder, after any collect", lambda r: len(r.lost), "0"),
        ("folders without a row in the ledger at the end", lambda r: r.unrecorded, "0"),
        ("compounds with a gap, but no formation energy", lambda r: r.without_energy, "0"),
        ("seconds", lambda r: f"{r.seconds:.0f}", ""),
    ]
    heads = " | ".join(name for name, _ in columns)
    lines = [
        f"| {name} | {' | '.join(str(value(r)) for _, r in columns)} | {target} |"
        for name, value, target in rows
    ]
    table = "\n".join(lines)
    settings = {key: value for key, value in SMALL.items() if "python" not in key}
    return f"""# Collecting beside a running search

Claim: collecting beside a running DFT search, as often as one likes, moves no folder and loses no
job.

| | {heads} | target |
| --- |{" --- |" * len(columns)} --- |
{table}

The campaigns are `agd-bandgap-gpaw` with the stand-in for GPAW, which answers in the worker's form
at once: three compounds an iteration, each batch with the references of its elements, run here,
taken in by the search itself and by {COLLECTORS} other processes that collect in a loop. A hand-off
and a collect hold one lock, from a batch's rename to its rows in the ledger; the release before had
a lock among collects only.

Command: `python benchmarks/collect_beside.py --collects {options.collects}
--seeds {options.seeds}`, on {os.cpu_count()} cores that other work shared,
Python {platform.python_version()}, {platform.system()}; settings `{json.dumps(settings)}`.
"""


if __name__ == "__main__":
    raise SystemExit(main())
