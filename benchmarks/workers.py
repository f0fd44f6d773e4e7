"""Workers: time by kind and number, and what a busy machine costs.

In: a campaign's name and settings. Out: a table of seconds and ratios of one run, in which all
kinds take turns, with the hashes of what they found: these must be equal. With ``--busy N`` the
campaign also runs beside N processes that do nothing but compute, and CPU seconds are compared.

    python benchmarks/workers.py --out docs/results/workers.md
    python benchmarks/workers.py --small           # a minute or two, to see that it runs
    python benchmarks/workers.py --kinds processes:1,processes:2,dask:2 --kill --busy 14
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from tasks.campaign.surroundings import cores
from tasks.ledger.reading import read_ledger

STAGES = ("sample", "screen", "template", "filter", "handoff", "report")
SMALL = {
    "explore.budget": 20,
    "explore.pool_size": 100,
    "sample.shards": 4,
    "sample.shard_size": 5000,
    "screen.validity_sample": 200,
    "window.minimum_eV": 3.0,
    "template.limit": 200,
    "filter.limit": 20,
}


@dataclass(frozen=True)
class Run:
    """One campaign: seconds of the clock and of all its processes, by stage, and what it found."""

    wall: float
    cpu: float
    stages: dict[str, float]
    found: str


def campaign(name: str, root: Path, settings: Sequence[str], kill: bool = False) -> Run:
    """Run a campaign from its beginning.

    Parameters
    ----------
    name : str
    root : Path
    settings : sequence of str
        ``key=value``.
    kill : bool
        Kill one worker process in the middle of sampling.
    """
    words = [word for one in settings for word in ("--set", one)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli.app import main; main()", "run", name, "--local",
         "--campaign", str(root), *words],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if kill:
        threading.Thread(target=_kill_one, args=(process, root), daemon=True).start()
    if process.wait():
        sys.exit("the run failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(time.monotonic() - began, cpu, _seconds(root), _found(root))


def _kill_one(process: subprocess.Popen[bytes], root: Path) -> None:
    """Kill a worker as soon as the first sample shard is finished."""
    while process.poll() is None and not list((root / "sample").glob("*.parquet")):
        time.sleep(0.05)
    for child in _children(process.pid):
        if b"flows.running.worker_process" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
            return


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    every = [Path(path).read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for word in " ".join([text, *every]).split()]


def _seconds(root: Path) -> dict[str, float]:
    """Return the time each stage took, from its first part's beginning to its last one's end."""
    spans: dict[str, tuple[float, float]] = {}
    for row in read_ledger(root, lambda ledger: ledger.stages()):
        end = datetime.fromisoformat(row["finished_at"]).timestamp()
        begin = end - row["seconds"]
        low, high = spans.get(row["stage"], (begin, end))
        spans[row["stage"]] = min(low, begin), max(high, end)
    return {stage: high - low for stage, (low, high) in spans.items()}


def _found(root: Path) -> str:
    """Return the hash of the candidates with their stories, and of all job tickets."""
    digest = hashlib.sha256()
    for one in read_ledger(root, lambda ledger: ledger.candidates()):
        digest.update(one.model_dump_json().encode())
    for path in sorted(root.rglob("ticket.json")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def busy(n: int) -> Iterator[None]:
    """Have other processes compute meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaign", default="agd-bandgap")
    parser.add_argument("--kinds", default="processes:1,processes:2,threads:2,dask:2")
    parser.add_argument("--set", action="append", default=[], help="a setting of the campaign")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--kill", action="store_true", help="also kill a worker in the middle")
    parser.add_argument("--busy", type=int, default=0, help="also run beside so many processes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    small = [f"{key}={value}" for key, value in SMALL.items()] if given.small else []
    settings = [*small, *given.set]
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory(prefix="agd-workers-") as folder:
        place = Path(folder)
        for word in given.kinds.split(","):
            kind, _, n = word.partition(":")
            own = [f"workers.kind={kind}", f"workers.n={n}"]
            runs[f"{kind}, {n}"] = campaign(given.campaign, place / word, [*settings, *own])
        if given.kill:
            own = ["workers.kind=processes", "workers.n=2"]
            name = "processes, 2, one killed"
            runs[name] = campaign(given.campaign, place / "kill", [*settings, *own], kill=True)
        if given.busy:
            with busy(given.busy):
                name = f"processes, 2, beside {given.busy} busy ones"
                own = ["workers.kind=processes", "workers.n=2"]
                runs[name] = campaign(given.campaign, place / "busy", [*settings, *own])
    text = "\n".join(page(given.campaign, settings, runs))
    print(text)
    if given.out:
        given.out.write_text(text)
    if len({run.found for run in runs.values()}) > 1:
        sys.exit("what was found differs")


def page(name: str, settings: Sequence[str], runs: dict[str, Run]) -> list[str]:
    """Return the lines of the result page."""
    head = ["workers", "clock (s)", "CPU (s)", *STAGES, "stages together", "found"]
    lines = [
        "# Workers",
        "",
        f"Campaign `{name}`{', ' if settings else ''}{' '.join(f'`{one}`' for one in settings)}, "
        "from its beginning, without Prefect; all runs in one go. A stage's seconds are from the "
        "beginning of its first part to the end of its last. `found` is a hash of all candidates "
        "with their stories and of all job tickets.",
        "",
        f"Command: `python benchmarks/workers.py {' '.join(sys.argv[1:])}`. Machine: {cores()} "
        f"cores that may be used, load {os.getloadavg()[0]:.1f} at the end; Python "
        f"{platform.python_version()}, torch {version('torch')}, numpy {version('numpy')}.",
        "",
        "| " + " | ".join(head) + " |",
        "| --- " + "| ---: " * (len(head) - 1) + "|",
    ]
    for kind, run in runs.items():
        each = [run.stages.get(stage, 0.0) for stage in STAGES]
        numbers = [run.wall, run.cpu, *each, sum(each)]
        lines.append(f"| {kind} | " + " | ".join(f"{x:.1f}" for x in numbers) + f" | {run.found} |")
    first = next(iter(runs.values()))
    alone = sum(first.stages.get(stage, 0.0) for stage in STAGES)
    lines += ["", f"Ratios to the first line ({next(iter(runs))}):", ""]
    for kind, run in list(runs.items())[1:]:
        together = sum(run.stages.get(stage, 0.0) for stage in STAGES)
        lines.append(
            f"- {kind}: stages {alone / together:.2f} times as fast, "
            f"CPU seconds {run.cpu / first.cpu:.2f} times as many"
        )
    return [*lines, ""]


if __name__ == "__main__":
    main()
