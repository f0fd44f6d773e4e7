"""Make the DFT set that ships with the product: PBE gaps and formation energies by GPAW.

In: the geometries of ``gpaw_geometries.py``. Out: one job directory each, run one after another,
then ``dft_inputs/data/gpaw_set.jsonl``. Cheap and varied first: cost is guessed from cell volume
and irreducible k-points, and each further member of a prototype, and each intermetallic, waits
longer. Stopped at any time, the same command goes on where it was.

    python benchmarks/gpaw_set.py run --geometries geometries.jsonl --jobs jobs --until 05:00
    python benchmarks/gpaw_set.py pack --geometries geometries.jsonl --jobs jobs
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
from pymatgen.core import Element, Structure

from dft_inputs.folder import Job
from dft_inputs.gpaw import Treatment, gpaw_job, read_result, run_job, write_job
from dft_inputs.recipes import GPAW
from dft_inputs.references import formation_energy, reference_job
from structure.errors import Rejection
from structure.files import write_text

SET = Path(__file__).parents[1] / "dft_inputs" / "data" / "gpaw_set.jsonl"
SCHEME = "elements-gpaw-pbe"
TIME_LIMIT_S = 300
METALLIC_PROTOTYPES = {"auricupride", "alb2", "tungstencarbide", "mosi2", "nias"}
OPEN_SHELL_CATIONS = {"Ti", "V", "Zr", "Nb", "Hf", "Ta"}
METALLIC_WEIGHT = 4.0
MEMBER_WEIGHT = 0.10
COMPOUNDS_PER_REFERENCE = 3


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


def run(args: argparse.Namespace) -> None:
    """Run what has no result yet, until the clock says stop."""
    for row in in_order(geometries(args.geometries)):
        if time.strftime("%H:%M") >= args.until:
            return
        job = job_of(row)
        if isinstance(job, Rejection):
            print(row["prototype"], row["elements"], job.sentence, flush=True)
            continue
        folder = args.jobs / job.ticket.folder
        if (folder / "DONE").exists() or (folder / "FAILED").exists():
            continue
        if not (folder / "ticket.json").exists():
            write_job(folder, job)
        outcome = run_job(folder)
        said = (
            f"{outcome.code} {outcome.sentence}"
            if isinstance(outcome, Rejection)
            else f"{outcome.energy_eV:.4f} eV gap {outcome.gap_eV} {outcome.seconds} s"
        )
        print(time.strftime("%H:%M:%S"), row["prototype"], folder.name, said, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("run", "pack"))
    parser.add_argument("--geometries", type=Path, required=True)
    parser.add_argument("--jobs", type=Path, required=True)
    parser.add_argument("--until", default="24:00", help="clock time after which no job starts")
    args = parser.parse_args()
    (run if args.action == "run" else pack)(args)


def pack(args: argparse.Namespace) -> None:
    """Write the shipped set from the finished jobs."""
    finished, energies, recipes = [], {}, set()
    for row in geometries(args.geometries):
        job = job_of(row)
        if isinstance(job, Rejection):
            continue
        result = (
            read_result(args.jobs / job.ticket.folder)
            if (args.jobs / job.ticket.folder).is_dir()
            else Rejection("100", "not started")
        )
        if isinstance(result, Rejection):
            continue
        recipes.add(result.recipe_hash)
        if row["prototype"] == "element":
            energies[row["elements"][0]] = result.energy_eV / len(row["species"])
        finished.append((row, job, result))
    lines = [
        json.dumps(line(row, job, result, energies), sort_keys=True, separators=(",", ":"))
        for row, job, result in finished
    ]
    write_text(SET, "".join(f"{text}\n" for text in sorted(lines)))
    print(len(lines), "lines,", len(energies), "references, recipes", recipes, "->", SET)


def line(row: dict, job: Job, result, energies: dict[str, float]) -> dict[str, object]:
    """Return the shipped line of a finished job."""
    element = row["prototype"] == "element"
    formation = formation_energy(result.energy_eV, job.ticket.cell, energies)
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
        "formation_energy_eV_per_atom": None
        if isinstance(formation, Rejection)
        else round(formation, 4),
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


if __name__ == "__main__":
    main()
