"""Make the DFT set that ships with the product: PBE gaps and formation energies by GPAW.

In: the geometries of ``gpaw_geometries.py``. Out: a campaign directory with batch after batch
under ``handoff/``, run by its own submit.sh and taken in by collect, then
``dft_inputs/data/gpaw_set.jsonl``, to which each pack adds what is new. Cheap and varied first: the
cost is guessed from cell volume and irreducible k-points; each further member of a prototype and
each intermetallic wait longer. Stopped at any time, the same command goes on where it was.

    python benchmarks/gpaw_set.py run --geometries geometries.jsonl --campaign set --until 05:00
    python benchmarks/gpaw_set.py pack --geometries geometries.jsonl --campaign set
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pymatgen.core import Element, Structure

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dft_inputs.batch.cluster_settings import ClusterSettings  # noqa: E402
from dft_inputs.batch.scheduler import batch_files  # noqa: E402
from dft_inputs.gpaw.jobs import GpawResult, Treatment, gpaw_job, read_result  # noqa: E402
from dft_inputs.job.folder import Job, extend_batch, next_batch_name, write_batch  # noqa: E402
from dft_inputs.job.status import State  # noqa: E402
from dft_inputs.recipes.shipped import GPAW  # noqa: E402
from dft_inputs.references.reference_phases import formation_energy, reference_job  # noqa: E402
from structure.errors import Rejection  # noqa: E402
from structure.files import write_text  # noqa: E402
from tasks.campaign.directory import Campaign  # noqa: E402
from tasks.collect import collect  # noqa: E402
from tasks.ledger.ledger import Ledger  # noqa: E402

SET = ROOT / "dft_inputs" / "data" / "gpaw_set.jsonl"
SCHEME = "elements-gpaw-pbe"
TIME_LIMIT_S = 300
METALLIC_PROTOTYPES = {"auricupride", "alb2", "tungstencarbide", "mosi2", "nias"}
OPEN_SHELL_CATIONS = {"Ti", "V", "Zr", "Nb", "Hf", "Ta"}
METALLIC_WEIGHT = 4.0
MEMBER_WEIGHT = 0.10
COMPOUNDS_PER_REFERENCE = 3
HERE = ClusterSettings(scheduler="shell", hours=0)


def structure_of(row: dict) -> Structure:
    """Return the structure of a geometry line."""
    return Structure(row["lattice"], row["species"], row["frac_coords"])


def job_of(row: dict) -> Job | Rejection:
    """Return the GPAW job of a geometry line."""
    story = {key: row[key] for key in ("prototype", "elements", "spacegroup", "origin")}
    if row["prototype"] == "element":
        return reference_job(row["elements"][0], GPAW, structure_of(row))
    treatment = Treatment(time_limit_s=TIME_LIMIT_S)
    return gpaw_job(
        structure_of(row), GPAW, formula=row["formula"], story=story, treatment=treatment
    )


def cost(row: dict) -> float:
    """Return a guess of the work in arbitrary units."""
    import spglib

    lattice = np.array(row["lattice"])
    edges = 2 * np.pi * np.linalg.norm(np.linalg.inv(lattice).T, axis=1)
    points = np.prod(np.ceil(edges / GPAW.steps[0].gpaw.spacing_per_A))
    numbers = [Element(symbol).Z for symbol in row["species"]]
    operations = len(spglib.get_symmetry((lattice, row["frac_coords"], numbers))["rotations"])
    volume = abs(np.linalg.det(lattice))
    bands = sum(valence_electrons(symbol) for symbol in row["species"]) / 2 + 8
    return float((points / operations + 30) * volume * bands)


def valence_electrons(symbol: str) -> int:
    """Return about how many electrons a setup treats: semicore states with metals left of zinc."""
    element = Element(symbol)
    if element.block == "p":
        return element.group - 10 + (10 if element.is_post_transition_metal else 0)
    return element.group + (8 if element.Z > 10 and element.group < 9 else 2)


def is_metallic(row: dict) -> bool:
    """Guess whether a compound is an intermetallic, a carbide or the like: worth less here."""
    simple = row["prototype"] in ("cscl", "rocksalt")
    salt = bool({"H", "N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "I"} & set(row["elements"]))
    return row["prototype"] in METALLIC_PROTOTYPES or (
        simple and (not salt or bool(OPEN_SHELL_CATIONS & set(row["elements"])))
    )


def in_order(rows: list[dict]) -> list[dict]:
    """Return compounds cheap and varied first, with references of their elements among them."""
    members: Counter[str] = Counter()
    keyed = []
    elements = {row["elements"][0]: row for row in rows if row["prototype"] == "element"}
    for work, row in sorted(
        ((cost(row), row) for row in rows if row["prototype"] != "element"), key=lambda p: p[0]
    ):
        weight = METALLIC_WEIGHT if is_metallic(row) else 1.0
        keyed.append((work * (1 + MEMBER_WEIGHT * members[row["prototype"]]) * weight, row))
        members[row["prototype"]] += 1
    ordered: list[dict] = []
    waiting: list[str] = []
    for number, (_, row) in enumerate(sorted(keyed, key=lambda pair: pair[0]), start=1):
        ordered.append(row)
        waiting += [e for e in row["elements"] if e in elements and e not in waiting]
        if number % COMPOUNDS_PER_REFERENCE == 0:
            due = [e for e in waiting if e in elements]
            ordered += [elements.pop(due[0])] if due else []
    return ordered + list(elements.values())


def geometries(path: Path) -> list[dict]:
    """Return the geometry lines that have a structure."""
    rows = map(json.loads, path.read_text().splitlines())
    return [row for row in rows if "failed" not in row]


def shipped() -> dict[str, dict]:
    """Return the lines the set has already, by material id."""
    rows = map(json.loads, SET.read_text().splitlines()) if SET.exists() else ()
    return {row["material_id"]: row for row in rows if row["recipe_hash"] == GPAW.hash}


def asked(path: Path) -> Iterator[tuple[dict, Job]]:
    """Yield the geometry lines in order, each with its job; those GPAW cannot ask are left out."""
    for row in in_order(geometries(path)):
        job = job_of(row)
        if not isinstance(job, Rejection):
            yield row, job


def emit(campaign: Campaign, jobs: list[Job]) -> Path:
    """Write a batch of candidates, or add references to theirs, and record the jobs."""
    root, role = campaign.root, jobs[0].ticket.role
    files = batch_files(HERE, GPAW, [job.ticket for job in jobs])
    facts = {"recipe": GPAW.name, "recipe_sha256": GPAW.hash, "choices": list(GPAW.choices)}
    if role == "reference":
        place = root / "references"
        extend_batch(place, jobs, files, {**facts, "batch": place.name})
    else:
        (root / "handoff").mkdir(exist_ok=True)
        place = root / "handoff" / next_batch_name(root / "handoff")
        write_batch(place, jobs, files, {**facts, "batch": place.name})
    for job in jobs:
        campaign.ledger.add_job(
            job.ticket.id,
            formula=job.ticket.formula,
            batch=place.name,
            folder=(place / job.ticket.folder).relative_to(root).as_posix(),
            recipe=GPAW.hash,
            story={**job.ticket.story, "role": role, "ticket_sha256": job.ticket.sha256},
        )
    return place


def run(args: argparse.Namespace) -> None:
    """Emit, run and collect batch after batch, until the clock says stop."""
    waiting = [job for _, job in asked(args.geometries)]
    have = {material.removeprefix("gpaw-") for material in shipped()}
    with Campaign(args.campaign, {}, 0) as campaign:
        known = {job["id"] for job in campaign.ledger.jobs()} | have
        waiting = [job for job in waiting if job.ticket.id not in known]
        places = sorted({(campaign.root / job["folder"]).parent for job in campaign.ledger.jobs()})
        while time.strftime("%H:%M") < args.until:
            submit(places, args.workers)
            for line in collect(campaign.root, campaign.ledger).lines():
                print(time.strftime("%H:%M:%S"), line, flush=True)
            due, waiting = waiting[: args.batch], waiting[args.batch :]
            if not due:
                return
            elements = [job for job in due if job.ticket.role == "reference"]
            compounds = [job for job in due if job.ticket.role != "reference"]
            shares = [compounds[i :: args.workers] for i in range(args.workers)]
            places = [emit(campaign, jobs) for jobs in (*shares, elements) if jobs]


def submit(places: list[Path], workers: int) -> None:
    """Run what is due in these folders, so many at the same time."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda place: subprocess.run(["sh", "submit.sh"], cwd=place), places))


def pack(args: argparse.Namespace) -> None:
    """Add the finished jobs to the shipped set."""
    rows = shipped()
    ledger = Ledger.in_folder(args.campaign)
    folders = {job["id"]: job["folder"] for job in ledger.jobs(State.INGESTED)}
    ledger.close()
    for row, job in asked(args.geometries):
        if job.ticket.id not in folders:
            continue
        outcome = read_result(args.campaign / folders[job.ticket.id])
        if isinstance(outcome, GpawResult):
            rows[f"gpaw-{outcome.id}"] = line(row, job, outcome)
    energies = {
        row["species"][0]: row["energy_eV"] / len(row["species"])
        for row in rows.values()
        if row["role"] == "reference"
    }
    for row in rows.values():
        value = formation_energy(row["energy_eV"], Counter(row["species"]), energies)
        known = not isinstance(value, Rejection)
        row["formation_energy_eV_per_atom"] = round(value, 4) if known else None
    lines = sorted(json.dumps(r, sort_keys=True, separators=(",", ":")) for r in rows.values())
    write_text(SET, "".join(f"{text}\n" for text in lines))
    print(len(lines), "lines,", len(energies), "references ->", SET)


def line(row: dict, job: Job, result: GpawResult) -> dict[str, object]:
    """Return the shipped line of a finished job, without its formation energy."""
    element = row["prototype"] == "element"
    return {
        "material_id": f"gpaw-{result.id}",
        "formula": row["formula"],
        "role": job.ticket.role,
        "prototype": row["prototype"],
        "spacegroup": row["spacegroup"],
        "lattice": np.round(row["lattice"], 6).tolist(),
        "species": row["species"],
        "frac_coords": np.round(row["frac_coords"], 6).tolist(),
        "geometry_origin": row["origin"],
        "energy_eV": round(result.energy_eV, 5),
        "energy_scheme": f"{SCHEME}:{result.recipe_hash[:8]}",
        "band_gap_eV": None if element else round(result.gap_eV, 4),
        "direct_gap_eV": None if element else round(result.direct_gap_eV, 4),
        "gap_on_mesh_eV": None if element else round(result.gap_mesh_eV, 4),
        "gap_on_path_eV": None if result.gap_path_eV is None else round(result.gap_path_eV, 4),
        "mesh": result.mesh,
        "spacing_per_A": GPAW.steps[0].gpaw.spacing_per_A,
        "recipe_hash": result.recipe_hash,
        "origin": "dft-gpaw",
        "gpaw_version": result.gpaw_version,
        "seconds": result.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("run", "pack"))
    parser.add_argument("--geometries", type=Path, required=True)
    parser.add_argument("--campaign", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="batches run at the same time")
    parser.add_argument("--until", default="24:00", help="clock time after which no batch starts")
    args = parser.parse_args()
    (run if args.action == "run" else pack)(args)


if __name__ == "__main__":
    main()
