"""Hold the gaps of the shipped GPAW set against Elk, which has no pseudopotentials.

In: eleven small cells of ``dft_inputs/data/gpaw_set.jsonl``. Out: a batch of Elk jobs that runs on
one core, one job after another, and goes on where it was killed; then
``docs/results/elk_check.md``.
Geometry, functional and mesh are the same; the codes share nothing else.

    python benchmarks/elk_check.py run --jobs FOLDER
    python benchmarks/elk_check.py report --jobs FOLDER
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dft_inputs.batch.cluster_settings import ClusterSettings  # noqa: E402
from dft_inputs.batch.scheduler import batch_files  # noqa: E402
from dft_inputs.elk.elk_runner import RESULT  # noqa: E402
from dft_inputs.elk.engine import ENGINE  # noqa: E402
from dft_inputs.elk.recipe import ELK, ElkSettings  # noqa: E402
from dft_inputs.elk.results import ElkResult, read_result  # noqa: E402
from dft_inputs.job.folder import Job, write_batch  # noqa: E402
from structure.errors import Rejection  # noqa: E402

SET = ROOT / "dft_inputs" / "data" / "gpaw_set.jsonl"
RESULTS = ROOT / "docs" / "results"

COMPOUNDS = "LiH LiF NaF NaCl KF LiCl MgO CaO BN AlP SiC".split()
"""Two-atom cells of s and p elements: the widest gaps of the set and some of the narrowest."""

FINER = "LiF CaO BN".split()
"""Calculated once more with a larger basis, to tell how far Elk's own numbers are converged."""

FINE = ElkSettings(rgkmax=8.5, gmaxvr_per_bohr=20.0, local_orbitals=3)


@dataclass(frozen=True)
class Question:
    """One job, and the line of the set it checks."""

    row: dict[str, Any]
    job: Job
    fine: bool


def questions() -> list[Question]:
    """Return the jobs: every compound, then those with the larger basis."""
    rows: dict[str, dict[str, Any]] = {}
    for line in SET.read_text().splitlines():
        row = json.loads(line)
        if len(row["species"]) == 2 and row["formula"] in COMPOUNDS:
            rows.setdefault(row["formula"], row)
    step = ELK.steps[0].model_copy(update={"settings": FINE.model_dump()})
    finer = ELK.model_copy(update={"name": "elk-pbe-finer", "steps": (step,)})
    asked = [(f, ELK) for f in COMPOUNDS] + [(f, finer) for f in FINER]
    found = []
    for formula, recipe in asked:
        row = rows[formula]
        cell = Structure(row["lattice"], row["species"], row["frac_coords"])
        job = ENGINE.prepare(cell, recipe, formula=formula)
        assert isinstance(job, Job)
        found.append(Question(row, job, recipe is finer))
    return found


def run(place: Path) -> None:
    """Write the batch unless it is there, and run what is not finished."""
    jobs = [question.job for question in questions()]
    if not place.exists():
        settings = ClusterSettings(scheduler="shell", hours=0, tasks_per_node=1)
        files = batch_files(settings, ELK, [job.ticket for job in jobs])
        write_batch(place, jobs, files, {"recipe": ELK.name})
    subprocess.run(["sh", "submit.sh"], cwd=place, check=False)


def answers(place: Path) -> Iterator[tuple[Question, ElkResult | Rejection, float]]:
    """Yield each question with what Elk says, judged, and its wall time in seconds."""
    for question in questions():
        ticket = question.job.ticket
        folder = place / ticket.folder
        step = ticket.steps[0].name
        judgement = ENGINE.judge(folder, ticket)
        if judgement.findings:
            yield question, Rejection("-", judgement.findings[0].sentence), 0.0
            continue
        status = json.loads((folder / "STATUS.json").read_text())
        times = [entry["at"] for entry in status["history"]]
        answer = read_result(folder / step / RESULT, folder)
        yield question, answer, float(times[-1] - times[0])


def report(place: Path) -> None:
    """Write the comparison."""
    lines, finer, missing, differences, version = [], [], [], [], ""
    gaps: dict[str, float] = {}
    for question, answer, seconds in answers(place):
        formula, row = question.row["formula"], question.row
        if isinstance(answer, Rejection):
            missing.append(f"{formula}{' (larger basis)' * question.fine}: {answer.sentence}")
            continue
        version = answer.elk_version
        gap = float(answer.gap_eV or 0.0)
        if question.fine:
            finer.append(
                f"| {formula} | {gaps[formula]:.3f} | {gap:.3f} | {gap - gaps[formula]:+.3f} |"
            )
            continue
        gaps[formula] = gap
        off, direct = gap - row["band_gap_eV"], answer.direct_gap_eV - row["direct_gap_eV"]
        differences.append(off)
        meshes = ["x".join(map(str, mesh)) for mesh in (row["mesh"], answer.mesh)]
        lines.append(
            f"| {formula} ({row['prototype']}) | {meshes[0]} | {meshes[1]} | "
            f"{row['band_gap_eV']:.3f} | {gap:.3f} | {off:+.3f} | {row['direct_gap_eV']:.3f} | "
            f"{answer.direct_gap_eV:.3f} | {direct:+.3f} | {seconds:.0f} |"
        )
    off = np.abs(differences)
    text = "\n".join(
        [
            "# The shipped GPAW set against Elk",
            "",
            f"Python {platform.python_version()}, Elk {version} (Debian's elk-lapw and its species "
            f"files), GPAW {questions()[0].row['gpaw_version']} (the set's own numbers). Made by "
            "`python benchmarks/elk_check.py run` and `report`.",
            "",
            "GPAW has projector augmented waves on 500 eV plane waves; Elk has all electrons and "
            "augmented plane waves. Geometry, functional (PBE) and spacing of the mesh (0.35 per "
            "A) are the same; the codes, bases, species and band paths are not. Gaps in eV, over "
            "mesh and band path together; the time is wall time on one core of a busy machine.",
            "",
            "| compound | GPAW mesh | Elk mesh | GPAW gap | Elk gap | difference | GPAW direct | "
            "Elk direct | difference | s |",
            "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
            *lines,
            "",
            f"{len(off)} compounds: mean absolute difference {off.mean():.3f} eV, largest "
            f"{off.max():.3f} eV, mean {np.mean(differences):+.3f} eV.",
            "",
            "How far Elk's gaps are converged: basis and density enlarged (rgkmax 8 to 8.5, "
            "gmaxvr 16 to 20 per Bohr, local orbitals to f).",
            "",
            "| compound | gap | larger basis | change |",
            "|---|---:|---:|---:|",
            *finer,
            "",
            *(f"Not there: {sentence}." for sentence in missing),
        ]
    )
    (RESULTS / "elk_check.md").write_text(text.rstrip() + "\n")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--jobs", type=Path, required=True, help="folder of the batch")
    options = parser.parse_args()
    {"run": run, "report": report}[options.what](options.jobs)
