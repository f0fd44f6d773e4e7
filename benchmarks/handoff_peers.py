"""Claim: under the same faults our hand-off loses and wastes no more than other ways do.

The same candidates, of five VASP steps each, are computed with the same stand-in for VASP by our
hand-off (handoff_ours.py), by a plain script (plain_peer.py) and by jobflow's `run_locally` with
two kinds of file store (jobflow_peer.py). One seed draws one schedule for all: when the k-th
process is killed, and which candidate's VASP misbehaves in which step and how.

    sh benchmarks/make_peers.sh
    OMP_NUM_THREADS=1 python benchmarks/handoff_peers.py --candidates 24 --kills 10 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from handoff import ROOT, make_potcars
from handoff_faults import ALWAYS, ONCE, OTHER, Schedule, audit, draw, launches, sizes

HERE = ROOT / "benchmarks"
PEER = ROOT / ".venv-peers" / "bin" / "python"
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Side:
    """One workflow: how it is called, and where below its root its calculations lie."""

    name: str
    program: tuple[str, ...]
    jobs: str
    copied: str
    own_ticket: bool = False


SIDES = (
    Side(
        "ours",
        (sys.executable, str(HERE / "handoff_ours.py")),
        "campaign/handoff/batch-0001",
        "campaign/handoff",
        own_ticket=True,
    ),
    Side("plain script", (str(PEER), str(HERE / "plain_peer.py")), "runs", "runs"),
    Side(
        "jobflow, JSONStore",
        (str(PEER), str(HERE / "jobflow_peer.py"), "--store=json"),
        "jobs",
        ".",
    ),
    Side(
        "jobflow, MontyStore",
        (str(PEER), str(HERE / "jobflow_peer.py"), "--store=monty"),
        "jobs",
        ".",
    ),
)

ROWS = {
    "kills": "SIGKILLs that found it at work",
    "lost": "**candidates lost** (0 wanted)",
    "duplicated": "**results duplicated** (0)",
    "wrong": "**results with another candidate's energy or gap** (0)",
    "unsound": "**results built on an unconverged or damaged step** (0)",
    "other": "**results of another potential or cutoff than asked for** (0)",
    "launches": "VASP launches",
    "wasted": "**of these, steps that had been finished before** (0)",
    "torn": "times a store was found cut off",
}
MEANS = {
    "bytes": "kB a candidate besides VASP's inputs and outputs",
    "all bytes": "kB a candidate on disk, all files",
    "cpu": "CPU seconds a candidate besides the stand-in's",
}


class Runner:
    """Calls one workflow's commands, and kills them when asked to."""

    def __init__(self, side: Side, place: Path, potcars: Path):
        python = str(Path(sys.executable).resolve())
        self.side, self.place, self.root = side, place, place / "root"
        self.log = (place / "log.txt").open("a")
        self.environment = {
            **os.environ,
            "COUNTED_VASP": str(place),
            "VASP": shlex.join([python, "-I", "-S", str(HERE / "counted_vasp.py")]),
            "PYTHON": python,
            "POTCARS": str(potcars),
            "OMP_NUM_THREADS": "1",
        }

    def call(
        self, what: str, kill: tuple[bool, float] | None = None, more: Sequence[str] = ()
    ) -> bool:
        """Run a command to its end or until it is killed; return whether it was."""
        log = self.place / "launches.jsonl"
        logged = log.stat().st_size if log.exists() else 0
        child = subprocess.Popen(
            [*self.side.program, what, str(self.root), *more],
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            cwd=self.place,
        )
        if kill is None:
            child.wait()
            return False
        from_launch, seconds = kill
        while from_launch and child.poll() is None:
            from_launch = not log.exists() or log.stat().st_size == logged
            time.sleep(0.01)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            end_all()
            child.wait()
            return True
        return False


def run_side(side: Side, schedule: Schedule, place: Path, potcars: Path) -> dict[str, float]:
    """Take one workflow through the schedule and count what came of it."""
    root = place / "root"
    root.mkdir(parents=True)
    cells = {name: cell.as_dict() for name, cell in schedule.cells.items()}
    (root / "candidates.json").write_text(json.dumps(cells))
    (place / "faults.json").write_text(json.dumps(schedule.faults))
    runner = Runner(side, place, potcars)
    before, began = cpu_of_children(), time.monotonic()
    kills = sum(runner.call("run", kill) for kill in schedule.kills)
    for _ in range(2):  # a person who sees that something failed starts it once more
        runner.call("run")
    folders = sorted(p for p in (root / side.jobs).iterdir() if (p / "ticket.json").exists())
    moved = folders[schedule.moved % len(folders)]
    moved.rename(moved.with_name(f"{moved.name}-old"))
    kills += sum(runner.call("collect", kill) for kill in schedule.collect_kills)
    runner.call("collect")
    size = sizes(root, len(cells), side.own_ticket)
    shutil.copytree(root, place / "copy", symlinks=True)
    runner.call("collect", more=["--more", str(place / "copy" / side.copied)])
    reap()
    log = launches(place)
    overhead = cpu_of_children() - before - sum(x.get("cpu_s", 0.0) for x in log)
    found = audit(root / "results.csv", schedule, log)
    wall = time.monotonic() - began
    torn = (place / "log.txt").read_text(errors="replace").count("Error reading")
    return {
        **found,
        **size,
        "torn": torn,
        "kills": kills,
        "cpu": overhead / len(cells),
        "wall": wall,
    }


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def end_all() -> None:
    """Kill everything the command has started, in whatever session, as a power cut would."""
    while living := psutil.Process().children(recursive=True):
        for process in living:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        reap()


def reap() -> None:
    """Take the exit of orphans, so that their CPU time is counted."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent was killed (Linux)."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("this needs Linux")


def peer_versions(*packages: str) -> str:
    words = "import sys; from importlib.metadata import version as v; "
    words += "print(', '.join(f'{p} {v(p)}' for p in sys.argv[1:]))"
    done = subprocess.run(
        [PEER, "-c", words, *packages], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def table(results: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Return counts of each seed and means of the rest, a column a workflow."""
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "---:|" * len(results)]
    for key, words in ROWS.items():
        cells = [" / ".join(str(int(run[key])) for run in runs) for runs in results.values()]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    for key, words in MEANS.items():
        unit = 1000 if "bytes" in key else 1
        cells = [f"{sum(r[key] for r in runs) / len(runs) / unit:.2f}" for runs in results.values()]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


def page(
    options: argparse.Namespace, results: Mapping[str, Sequence[Mapping[str, float]]], wall_s: float
) -> str:
    """Return the result page."""
    ours = ", ".join(f"{p} {version(p)}" for p in ("pymatgen", "sqlalchemy", "pydantic"))
    theirs = peer_versions("jobflow", "maggma", "montydb", "custodian", "pymatgen")
    seeds = " ".join(str(seed) for seed in options.seeds)
    bad = len(ONCE) * options.each
    lines = [
        "# The hand-off beside a plain script and jobflow, under the same faults",
        "",
        f"Command: `OMP_NUM_THREADS=1 python benchmarks/handoff_peers.py --candidates "
        f"{options.candidates} --kills {options.kills} --collect-kills {options.collect_kills} "
        f"--each {options.each} --seeds {seeds}`.",
        "",
        f"Machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; Python "
        f"{platform.python_version()}; ours: {ours}; peers: {theirs}. All took "
        f"{cpu_of_children() / 60:.0f} minutes of CPU time, {wall_s / 60:.0f} on the clock.",
        "",
        f"{options.candidates} candidates of five VASP steps (relax, relax, static, uniform, "
        "bands), computed by `tests/engines/fake_vasp`. One schedule a seed, the same for all: "
        f"the command that writes inputs and runs VASP is killed {options.kills} times with "
        "SIGKILL, with everything it started, by turns up to 5 s after its start and up to 4 s "
        "after its first launch of VASP, and started again; then it runs to its end, and once "
        "more, as a person would who sees failures. Of the candidates, "
        f"{bad} meet one bad launch ({', '.join(ONCE)}), {len(ALWAYS)} have a step that never "
        f"gives a sound output ({', '.join(odd for odd, _ in ALWAYS)}), and {len(OTHER)} come back "
        f"with another setting ({', '.join(odd for odd, _ in OTHER)}): no result is the right "
        f"answer for the last {len(ALWAYS) + len(OTHER)}. Then `-old` is added to the name of one "
        f"folder, collect is killed {options.collect_kills} times and run to its end, and run "
        "again with a copy of all folders as a second source. Counts are of each seed, the rest "
        "are means.",
        "",
        *table(results),
        "",
        *NOTES,
    ]
    return "\n".join(lines) + "\n"


NOTES = [
    "A result is another candidate's when energy or gap is not the one that the stand-in gives "
    "for the candidate's own cell, computed apart from any run. CPU seconds hold everything but "
    "the stand-in's launches that ended: starting the interpreters again after each kill, inputs, "
    "parsing, stores, collect. The stand-in's outputs are small, so the bytes of all files say "
    "little about real VASP.",
    "",
    "The plain script is a fair one: it asks each vasprun.xml whether it is complete and "
    "converged, tries a bad step once more, checks CONTCAR, and knows a folder by its POSCAR. It "
    "checks no potentials and no cutoff, submits to no queue, keeps no record, and parses "
    "everything again at each start.",
    "",
    "jobflow runs under custodian with atomate2's ten handlers, so it corrects what custodian "
    "corrects; ours runs without custodian here. `run_locally` is meant for trying flows on one "
    "machine, not for campaigns that are killed: FireWorks or jobflow-remote with a MongoDB keep "
    "the state of every job, go on in the middle of a flow and rerun failed jobs, and would not "
    "repeat finished steps. They need that database and a running daemon, which is what the "
    "hand-off does without. With a file store, what outlives a kill is the documents of the jobs "
    "that ended (jobflow's default MemoryStore would keep none); a flow that was cut off begins "
    "again, because a new flow has new uuids. JSONStore rewrites its one file after each job and "
    "reads a file that was cut off as an empty one, after which the results in it are gone and "
    "computed again; MontyStore on SQLite has no such moment.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--kills", type=int, default=10, help="of the command that runs VASP")
    parser.add_argument("--collect-kills", type=int, default=2)
    parser.add_argument("--each", type=int, default=1, help="candidates of each misbehaviour")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sides", type=int, nargs="+", default=list(range(len(SIDES))))
    parser.add_argument("--keep", type=Path, help="folder for all that is written; not deleted")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "handoff_peers.md")
    options = parser.parse_args()
    adopt_orphans()
    place = options.keep or Path(tempfile.mkdtemp(prefix="agd-peers-"))
    make_potcars(place, place / "potcars")
    results: dict[str, list[dict[str, float]]] = {SIDES[n].name: [] for n in options.sides}
    began = time.monotonic()
    for seed in options.seeds:
        schedule = draw(
            options.candidates, options.each, options.kills, options.collect_kills, seed
        )
        for number in options.sides:
            side = SIDES[number]
            found = run_side(side, schedule, place / f"{seed}-{number}", place / "potcars")
            results[side.name].append(found)
            print(seed, side.name, found, flush=True)
    text = page(options, results, time.monotonic() - began)
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    if not options.keep:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
