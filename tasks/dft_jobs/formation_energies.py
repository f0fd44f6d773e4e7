"""Energies that need several finished jobs: serve collect.

In: the campaign's jobs as the ledger has them. Out: results that have learnt something more: the
formation energy once all references are in, the distance to the hull once all competing phases are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dft_inputs.engines import code_of, engine_named
from dft_inputs.job.plausible import implausible_formation_energy
from dft_inputs.job.status import State
from structure.errors import Rejection
from tasks.dft_jobs.results import Result, read_result_file

FORMATION_ENERGY = "formation_energy_eV_per_atom"
HULL_DISTANCE = "energy_above_hull_eV_per_atom"

Jobs = Mapping[str, Mapping[str, Any]]


def formation_energies(root: Path, jobs: Jobs) -> Iterator[Result | Rejection]:
    """Yield the results that waited for references (code 410) and need not any more.

    A result that cannot be read again is a rejection with its sentence.

    Parameters
    ----------
    root : Path
        Campaign directory.
    jobs : mapping of str to job
        As `Ledger.jobs` gives them, by id.
    """
    elements: dict[str, dict[str, float]] = {}
    owners: dict[tuple[str, str], str] = {}
    for id, job in jobs.items():
        energy = _found(job).get("energy_eV_per_atom")
        if energy is not None and job["story"].get("role") == "reference":
            elements.setdefault(job["recipe"], {})[job["formula"]] = energy
            owners[job["recipe"], job["formula"]] = id
    kept = cache(lambda id: read_result_file(root, id))
    for id, job in jobs.items():
        found = _found(job)
        if job["story"].get("role") == "reference" or FORMATION_ENERGY in found:
            continue
        references = elements.get(job["recipe"], {})
        if "energy_eV" in found and set(found["cell"]) <= set(references):
            own = {e: kept(owners[job["recipe"], e]) for e in found["cell"]}
            complete = _with_formation_energy(read_result_file(root, id), references, own)
            if complete is not None:
                yield complete


def _with_formation_energy(
    kept: Result | Rejection,
    energies: Mapping[str, float],
    references: Mapping[str, Result | Rejection],
) -> Result | Rejection | None:
    """Return a result with its formation energy, if its references were calculated as it was."""
    if isinstance(kept, Rejection):
        return kept
    for element, reference in references.items():
        if isinstance(reference, Result) and (other := _otherwise(kept, reference, element)):
            return _without(kept, other)
    complete = kept.with_formation_energy(energies)
    if complete is None:
        return None
    beyond = implausible_formation_energy(complete.properties[FORMATION_ENERGY])
    return _without(kept, beyond) if beyond else complete


def _without(kept: Result, reason: Rejection) -> Rejection:
    sentence = f"{kept.formula}--{kept.id} gets no formation energy: {reason.sentence}"
    return Rejection(reason.code, sentence)


def _otherwise(kept: Result, reference: Result, element: str) -> Rejection | None:
    """Return code 410 when a reference's energy is of another scale: of another origin, or of
    another potential of the element.
    """
    if kept.origin != reference.origin:
        words = f"its energy is {kept.origin}, that of {element} {reference.origin}"
        return Rejection("410", f"{words}; calculate both with one program")
    code = code_of(kept.origin)
    if code is None:
        return None
    return engine_named(code).other_potential(kept.potentials, reference.potentials, element)


def hull_distances(root: Path, jobs: Jobs) -> Iterator[Result | Rejection]:
    """Yield the results of candidates whose competing phases are all calculated; see above."""
    known = {id: _found(job) for id, job in jobs.items() if FORMATION_ENERGY in _found(job)}
    for id, found in known.items():
        competing = jobs[id]["story"].get("competing")
        if competing is None or HULL_DISTANCE in found:
            continue
        if all(other in known and _origin(known[other]) == _origin(found) for other in competing):
            phases = [(known[o]["cell"], known[o][FORMATION_ENERGY]) for o in competing]
            kept = read_result_file(root, id)
            yield kept if isinstance(kept, Rejection) else kept.with_hull_distance(phases)


def _found(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an ingested job found; nothing for any other."""
    return job["story"].get("dft", {}) if job["state"] == State.INGESTED else {}


def _origin(found: Mapping[str, Any]) -> str | None:
    """Return where energies are from that no DFT code calculated; None for calculated ones."""
    return found.get("origin")
