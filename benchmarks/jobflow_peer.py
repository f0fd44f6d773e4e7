"""The same campaign under jobflow's `run_locally`; for handoff_peers.py.

Written as a user without a MongoDB writes it. A candidate is a Flow of five jobs. Each job writes
its inputs with pymatgen, runs VASP under custodian with the ten handlers and two validators of
atomate2, refuses a result that is not converged, and returns structure, energy and gap. The store
is a file: either maggma's JSONStore (the one in atomate2's installation guide) or its MontyStore on
SQLite. A job's document is in the store as soon as the job has ended, and outlives the process; a
MemoryStore, jobflow's default, would not. A Flow gets new uuids when it is made again, so
`run_locally` cannot go on in the middle of one: a candidate whose last job is in the store is
skipped, any other begins again. A JSONStore that was cut off while being written is read as empty.

    VASP=... POTCARS=... python jobflow_peer.py run ROOT --store json
    python jobflow_peer.py collect ROOT --store json --more FOLDER

In: ``ROOT/candidates.json``. Out: ``ROOT/jobs/``, ``ROOT/store...``, ``ROOT/results.csv``.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import warnings
from pathlib import Path

from custodian import Custodian
from custodian.vasp import handlers, validators
from custodian.vasp.jobs import VaspJob
from jobflow import Flow, JobStore, job, run_locally
from maggma.stores import JSONStore, MontyStore
from plain_peer import STEPS, candidates, good_run, write_inputs
from pymatgen.core import Structure

HANDLERS = (
    "VaspErrorHandler MeshSymmetryErrorHandler UnconvergedErrorHandler NonConvergingErrorHandler "
    "PotimErrorHandler PositiveEnergyErrorHandler FrozenJobErrorHandler StdErrHandler "
    "LargeSigmaHandler IncorrectSmearingHandler"
).split()
POLL_S = 0.05
"""Custodian looks every 10 s otherwise, longer than the stand-in runs."""


@job
def vasp_step(
    step: str,
    structure: Structure,
    density: str | None = None,
    known: dict[str, float] | None = None,
) -> dict[str, object]:
    """Run one VASP step in the job's own folder; `known` passes on what earlier steps found."""
    folder = Path(step).absolute()
    write_inputs(folder, step, structure, Path(density) if density else None)
    Custodian(
        [getattr(handlers, name)() for name in HANDLERS],
        [VaspJob(shlex.split(os.environ["VASP"]), auto_npar=False, auto_gamma=False)],
        [validators.VasprunXMLValidator(), validators.VaspFilesValidator()],
        max_errors=5,
        polling_time_step=POLL_S,
        directory=folder,
    ).run()
    run = good_run(folder, step in STEPS[3:])
    if run is None:
        raise RuntimeError(f"{step} is not converged")
    if run.final_structure.composition != structure.composition:
        raise RuntimeError(f"{step} has other atoms")
    found = dict(known or {})
    if step == "02-static":
        found["energy_eV_per_atom"] = float(run.final_energy) / len(structure)
    if step in STEPS[3:]:
        gap = float(run.eigenvalue_band_properties[0])
        found["gap_eV"] = min(gap, found.get("gap_eV", gap))
    return {"structure": run.final_structure, "folder": str(folder), "found": found}


def flow_of(formula: str, structure: Structure) -> Flow:
    """Return the five jobs of a candidate."""
    relax1 = vasp_step(STEPS[0], structure)
    relax2 = vasp_step(STEPS[1], relax1.output["structure"])
    static = vasp_step(STEPS[2], relax2.output["structure"])
    same = (relax2.output["structure"], static.output["folder"])
    uniform = vasp_step(STEPS[3], *same, known=static.output["found"])
    bands = vasp_step(STEPS[4], *same, known=uniform.output["found"])
    jobs = [relax1, relax2, static, uniform, bands]
    for step, one in zip(STEPS, jobs, strict=True):
        one.name = step
    flow = Flow(jobs, name=formula)
    flow.update_metadata({"formula": formula})
    return flow


def store_in(root: Path, kind: str) -> JobStore:
    """Open the campaign's store; both kinds need to be told that jobflow's key is the uuid."""
    if kind == "json":
        docs = JSONStore(str(root / "store.json"), read_only=False, key="uuid")
    else:
        docs = MontyStore("outputs", database_path=str(root / "store"), key="uuid")
    store = JobStore(docs)
    store.connect()
    return store


def last_jobs(store: JobStore) -> list[dict[str, object]]:
    """Return the documents of the candidates' last jobs."""
    return list(store.query({"name": STEPS[-1]}))


def collect(root: Path, kind: str, more: list[Path]) -> None:
    """Write a CSV of what the stores hold; a document that is in two of them counts once."""
    found = {}
    for place in (root, *more):
        for document in last_jobs(store_in(place, kind)):
            found[document["uuid"]] = document
    with (root / "results.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["formula", "energy_eV_per_atom", "gap_eV"])
        writer.writeheader()
        for document in found.values():
            row = {"formula": document["metadata"]["formula"], **document["output"]["found"]}
            writer.writerow(row)


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "collect"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--store", choices=("json", "monty"), default="json")
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    if options.what == "collect":
        collect(options.root, options.store, options.more)
        return
    store = store_in(options.root, options.store)
    done = {document["metadata"]["formula"] for document in last_jobs(store)}
    jobs = options.root / "jobs"
    jobs.mkdir(exist_ok=True)
    for formula, structure in candidates(options.root).items():
        if formula not in done:
            flow = flow_of(formula, structure)
            run_locally(flow, store=store, create_folders=True, root_dir=jobs)


if __name__ == "__main__":
    main()
