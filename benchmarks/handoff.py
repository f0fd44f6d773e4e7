"""Claim: hand-off and collect lose, duplicate and miscredit nothing when killed at random.

1,000 candidates of five steps go through hand_off, submit.sh, the runner with the stand-in for
VASP, and collect, while processes are killed with SIGKILL at random moments. Afterwards every
candidate has to have exactly one result, and that result has to be the one of its own formula.
Speeds are measured on clean runs: milliseconds to write and to collect a job, and the scan of
10,000 directories.

    python benchmarks/handoff.py --candidates 1000 --kills 500 --seed 0
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import itertools
import json
import multiprocessing
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dft_inputs.batch.cluster_settings import ClusterSettings  # noqa: E402
from dft_inputs.job.folder import batches, emitted_jobs, job_folders  # noqa: E402
from dft_inputs.job.status import scan  # noqa: E402
from dft_inputs.references.prototypes import build  # noqa: E402
from structure.composition import counts_from, formulas_of  # noqa: E402
from structure.crystals.crystal_text import structure_json  # noqa: E402
from tasks.campaign.directory import Campaign  # noqa: E402
from tasks.campaign.handles import write_table  # noqa: E402
from tasks.campaign.outputs import Filtered, Trained  # noqa: E402
from tasks.collect import collect_campaign  # noqa: E402
from tasks.handoff import HandoffConfig, hand_off  # noqa: E402
from tasks.ledger.ledger import Ledger  # noqa: E402

FAKE = ROOT / "tests" / "engines" / "fake_vasp"
WRITTEN_WHILE_KILLED = 60
"""Candidates of the campaign whose writing is killed; a batch appears whole or not at all."""

CATIONS = (
    "Li Na K Rb Cs Be Mg Ca Sr Ba Zn Cd Hg Sc Y La Ti Zr Hf V Nb Ta Cr Mo W Mn Fe Co Ni Cu Ag "
    "Al Ga In Tl Sn Pb Sb Bi"
).split()
ANIONS = "F Cl Br I O S Se Te".split()


def candidates(number: int) -> list[tuple[str, tuple[str, ...]]]:
    """Return prototypes and their elements, all of different formulas."""
    pairs = [(shape, (c, a)) for shape in ("rocksalt", "fluorite") for c in CATIONS for a in ANIONS]
    perovskites = [
        ("perovskite", (a, b, x)) for a, b in itertools.combinations(CATIONS, 2) for x in ANIONS
    ]
    return (pairs + perovskites)[:number]


def survivors(campaign: Campaign, number: int) -> Filtered:
    """Write the survivors table the filter stage would write."""
    cells = [build(shape, elements) for shape, elements in candidates(number)]
    counts = counts_from([{e: int(n) for e, n in c.composition.as_dict().items()} for c in cells])
    table = write_table(
        campaign.root,
        campaign.folder("filter") / "survivors.parquet",
        {
            "rank": np.arange(1, number + 1),
            "formula": formulas_of(counts),
            "generator": ["matgan"] * number,
            "band_gap_eV": [5.5] * number,
            "band_gap_sigma_eV": [0.5] * number,
            "structure_json": [structure_json(c) for c in cells],
            "status": ["selected"] * number,
        },
        "survivors",
        counts=counts,
    )
    return Filtered(survivors=table, rejected=table)


def emit(root: Path, number: int, potcars: Path) -> None:
    cluster = ClusterSettings(
        scheduler="shell", hours=0, vasp=str(FAKE), potcars=str(potcars), custodian=False
    )
    with Campaign(root, {}, 0) as campaign:
        filtered = survivors(campaign, number)
        campaign.run(hand_off, HandoffConfig(cluster=cluster), filtered, Trained(models={}))


def finished(root: Path) -> bool:
    """Return whether a campaign's hand-off is in its ledger."""
    if not (root / "ledger.sqlite").exists():
        return False
    ledger = Ledger.in_folder(root)
    try:
        return ledger.finished("handoff", "all") is not None
    finally:
        ledger.close()


def places(root: Path) -> list[Path]:
    return [*batches(root / "handoff"), root / "references"]


def killed(work: Callable[..., None], arguments: tuple[Any, ...], after_s: float) -> bool:
    """Run work in a child and kill it; return whether it was still at work."""
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    child.join(after_s)
    alive = child.is_alive()
    if alive and child.pid:
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    return alive


def seconds_a_job(root: Path, jobs: int = 4) -> float:
    """Run the first jobs undisturbed and return the wall time of one."""
    batch = batches(root / "handoff")[0]
    names = (batch / "jobs.txt").read_text().split()[:jobs]
    began = time.perf_counter()
    for name in names:
        subprocess.run(["sh", batch / name / "run.sh"], check=True, capture_output=True)
    return (time.perf_counter() - began) / len(names)


def run_with_kills(root: Path, kills: int, jobs: int, chance: random.Random) -> int:
    """Run every batch to its end, killing all that submit.sh started again and again."""
    mean_s = 0.7 * seconds_a_job(root) * jobs / max(1, kills)
    print(f"a kill every {mean_s:.1f} s on average", flush=True)
    done = 0
    for place in places(root):
        while True:
            child = subprocess.Popen(
                ["sh", "submit.sh", "--again"],
                cwd=place,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                child.wait(chance.expovariate(1 / mean_s) if done < kills else None)
                if all((job / "DONE").exists() for job in job_folders(place)):
                    break
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                done += 1
                if done % 50 == 0:
                    print(f"{done} kills while running", flush=True)
    return done


def differences(one: Path, other: Path) -> int:
    """Count the files of two hand-offs that are not the same, and those only one has."""
    contents = [
        {
            path.relative_to(root).as_posix(): path.read_bytes()
            for place in places(root)
            for path in place.rglob("*")
            if path.is_file()
        }
        for root in (one, other)
    ]
    return sum(
        contents[0].get(name) != contents[1].get(name) for name in {*contents[0], *contents[1]}
    )


def quietly_collect(root: Path) -> None:
    collect_campaign(root)


def toy() -> Any:
    """Load the stand-in as a module, to ask it for the right answers."""
    loader = importlib.machinery.SourceFileLoader("fake_vasp", str(FAKE))
    spec = importlib.util.spec_from_loader("fake_vasp", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def expected(module: Any, cell: dict[str, int]) -> tuple[float, float]:
    """Return the stand-in's gap and energy for a cell, computed apart from any run."""
    run = module.Run.__new__(module.Run)
    run.species, run.odd, run.style = list(cell), "", "Gamma"
    run.atoms = [e for e, n in cell.items() for _ in range(n)]
    run.equilibrium = 1.0
    return run.gap(), run.energy(1.0)


def audit(root: Path, number: int) -> dict[str, int]:
    """Count what was lost, duplicated or given to another candidate."""
    module = toy()
    ledger = Ledger.in_folder(root)
    jobs = {job["id"]: job for job in ledger.jobs()}
    gaps = ledger.labels("band_gap_eV")
    ledger.close()
    tickets = {id: ticket for id, (ticket, _) in emitted_jobs(*places(root)).items()}
    wanted = [t for t in tickets.values() if t.role == "candidate"]
    per_formula = Counter(label.formula for label in gaps)
    on_disk = Counter(p.parent.name for place in places(root) for p in place.glob("*/ticket.json"))
    wrong = 0
    for id, ticket in tickets.items():
        path = root / "results" / f"{id}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        gap, energy = expected(module, ticket.cell)
        same = result["formula"] == ticket.formula and result["cell"] == ticket.cell
        same = same and abs(result["properties"]["energy_eV"] - energy) < 1e-4 * ticket.n_sites
        if ticket.role == "candidate":
            label = next((x.value for x in gaps if x.formula == ticket.formula), np.nan)
            same = same and abs(label - gap) < 0.05
        wrong += not same
    return {
        "candidates": number,
        "jobs": len(tickets),
        "lost": number
        - len({t.formula for t in wanted})
        + sum(jobs.get(id, {}).get("state") != "INGESTED" for id in tickets),
        "duplicated": sum(n > 1 for n in per_formula.values())
        + sum(n > 1 for n in on_disk.values())
        + len(jobs)
        - len(tickets),
        "labels missing": number - len(per_formula),
        "miscredited": wrong,
    }


def scan_speed(folder: Path, sample: Path, number: int) -> float:
    """Return the seconds to look at that many job directories in all states."""
    states = ["EMITTED", "RUNNING", "RESTARTING", "DONE"]
    status = json.loads((sample / "STATUS.json").read_text())
    for i in range(number):
        job = folder / f"X{i}--{i:08x}"
        job.mkdir(parents=True)
        document = {**status, "state": states[i % 4]}
        (job / "STATUS.json").write_text(json.dumps(document, indent=1))
        if i % 4 == 3:
            (job / "DONE").touch()
    began = time.perf_counter()
    seen = list(scan(job_folders(folder), time.time(), 3600))
    seconds = time.perf_counter() - began
    assert len(seen) == number
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directories", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "handoff.md")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    place = Path(tempfile.mkdtemp(prefix="agd-handoff-"))
    potcars, root = place / "potcars", place / "killed"

    symbols = make_potcars(place, potcars)
    emit(place / "warm", 3, potcars)
    clean = place / "clean"
    kills = Counter[str]()
    few = min(WRITTEN_WHILE_KILLED, options.candidates)
    began = time.perf_counter()
    emit(clean, few, potcars)
    few_s = time.perf_counter() - began
    while kills["writing"] < options.kills // 20 and not finished(place / "few"):
        after = chance.uniform(0, few_s)
        kills["writing"] += killed(emit, (place / "few", few, potcars), after)
    emit(place / "few", few, potcars)
    differing = differences(clean, place / "few")
    print(f"{kills['writing']} kills while writing", flush=True)

    began = time.process_time()
    emit(root, options.candidates, potcars)
    write_s = time.process_time() - began
    print(f"written with {write_s:.1f} s of CPU, {symbols} potentials", flush=True)
    jobs = len(emitted_jobs(*places(root)))
    kills["running"] = run_with_kills(root, options.kills - kills["writing"], jobs, chance)
    for _ in range(options.kills // 10):
        after = chance.uniform(0, 0.001 * jobs)
        kills["collecting"] += killed(quietly_collect, (root,), after)
    collect_campaign(root)
    found = {**audit(root, options.candidates), "differing": differing}
    print(kills, found, flush=True)

    again = place / "again"
    shutil.copytree(root, again)
    for leftover in [*again.glob("ledger.sqlite*"), again / "results"]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    began = time.process_time()
    collected = collect_campaign(again, rebuild=True)
    collect_s = time.process_time() - began
    assert len(collected.ingested) == found["jobs"], collected.states
    began = time.process_time()
    collect_campaign(again)
    idle_s = time.process_time() - began
    sample = next(job_folders(places(root)[0]))
    scan_s = scan_speed(place / "scan", sample, options.directories)
    publish(options, kills, found, write_s, collect_s, idle_s, scan_s)
    shutil.rmtree(place)


def make_potcars(place: Path, potcars: Path) -> int:
    """Make stand-in POTCARs of every symbol any candidate or reference can need."""
    from dft_inputs.recipes.shipped import PAPER
    from dft_inputs.vasp.inputs import potcar_symbols
    from structure.errors import Rejection

    named = potcar_symbols(PAPER, [*CATIONS, *ANIONS])
    assert not isinstance(named, Rejection)
    subprocess.run([FAKE, "--make-potcars", potcars, *named], check=True)
    return len(named)


def publish(
    options: argparse.Namespace,
    kills: Counter[str],
    found: dict[str, int],
    write_s: float,
    collect_s: float,
    idle_s: float,
    scan_s: float,
) -> None:
    jobs = found["jobs"]
    collect_ms = 1000 * collect_s / jobs
    versions = ", ".join(f"{p} {version(p)}" for p in ("pymatgen", "sqlalchemy", "pydantic"))
    command = (
        f"OMP_NUM_THREADS=1 python benchmarks/handoff.py --candidates {options.candidates} "
        f"--kills {options.kills} --seed {options.seed} --directories {options.directories}"
    )
    lines = [
        "# Hand-off and collect: what survives being killed, and how fast they are",
        "",
        f"Command: `{command}`.",
        "",
        f"Machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; Python "
        f"{platform.python_version()}, {versions}. The machine was shared: times are CPU times of "
        "one process, except the last, which is wall-clock time.",
        "",
        f"{found['candidates']} candidates of five steps each and the references of their elements "
        f"({jobs} jobs in all) went through hand-off, `submit.sh`, the runner with the stand-in "
        "for VASP, and collect. Processes were killed with SIGKILL at random moments: "
        + ", ".join(f"{n} times while {what}" for what, n in sorted(kills.items()))
        + f", {sum(kills.values())} in all. The same commands were then run to their end. Writing "
        f"was killed on a campaign of {min(WRITTEN_WHILE_KILLED, options.candidates)} candidates, "
        "compared byte by byte with one that was left alone.",
        "",
        "| | found | wanted |",
        "|---|---:|---:|",
        f"| jobs lost | {found['lost']} | 0 |",
        f"| jobs or labels duplicated | {found['duplicated']} | 0 |",
        f"| results or labels of another candidate | {found['miscredited']} | 0 |",
        f"| candidates without a gap label | {found['labels missing']} | 0 |",
        f"| files that differ after killed writing | {found['differing']} | 0 |",
        f"| milliseconds to write a job (all steps, ticket, ledger) | {1000 * write_s / jobs:.1f} |"
        " |",
        f"| milliseconds to collect a job (parse, check, label) | {collect_ms:.1f} | |",
        f"| seconds to collect again when nothing is new, {jobs} jobs | {idle_s:.2f} | |",
        f"| seconds to read the states of {options.directories} directories | {scan_s:.2f} | 5 |",
        "",
        "A result is of another candidate when its energy or gap is not the one that the stand-in "
        "gives for the ticket's own cell, computed apart from any run.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)


if __name__ == "__main__":
    main()
