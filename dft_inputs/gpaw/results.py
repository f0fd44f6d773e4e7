"""What a GPAW job says, and whether it answers its question: serves collect.

In: a job folder and its ticket. Out: a judgement, and what the ground state gave. The geometry is
the one that was handed off: GPAW's recipe does not relax.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dft_inputs.engines import Calculated
from dft_inputs.gpaw.jobs import (
    GpawResult,
    calculated_another,
    input_structure,
    question_changed,
    read_input,
    read_result,
)
from dft_inputs.job.findings import Finding, Judgement
from dft_inputs.job.plausible import implausible_energy, implausible_gap
from dft_inputs.job.ticket import Ticket
from dft_inputs.job.untrusted import shown
from dft_inputs.properties.corrections import band_gap
from structure.errors import CalculationError, Rejection
from structure.properties.band_gap import DIRECT_GAP, MESH_GAP, PATH_GAP


def judge_gpaw(folder: Path, ticket: Ticket) -> Judgement:
    """Judge a GPAW job that says it is done.

    Codes: 200 result missing or damaged, 250 and 260 a gap or an energy that no crystal has, 300
    input changed, 320 answer to another question.
    """
    outcome, step = _answer(folder, ticket), ticket.steps[0].name
    if isinstance(outcome, Rejection):
        return Judgement((Finding(outcome.code, outcome.sentence, step),), {})
    return Judgement((), {step: outcome})


def gpaw_result(folder: Path, ticket: Ticket, judgement: Judgement) -> Calculated:
    """Read what a judged job says; code 400 where mesh and path disagree."""
    step = ticket.steps[0].name
    outcome = judgement.outputs.get(step)
    if outcome is None:
        return Calculated()
    properties, flag = _properties(outcome, ticket)
    return Calculated(
        properties=properties,
        structure=input_structure(read_input(folder / step)).as_dict(verbosity=0),
        potentials={"setups": list(outcome.setups), "gpaw_version": outcome.gpaw_version},
        findings=() if flag is None else (Finding(flag.code, flag.sentence),),
    )


def other_setup(
    own: Mapping[str, Any], reference: Mapping[str, Any], element: str
) -> Rejection | None:
    """Return code 410 when a compound's PAW setup of an element is not that of its reference."""
    ours, its = _setup_of(own, element), _setup_of(reference, element)
    if not ours or not its or ours == its:
        return None
    words = f"{element} was calculated with setup {ours}, its reference with setup {its}"
    return Rejection("410", shown(f"{words}; calculate both with one release"))


def _setup_of(potentials: Mapping[str, Any], element: str) -> str:
    """Return the fingerprint of an element's setup; empty where it is not known."""
    setups = potentials.get("setups")
    for setup in setups if isinstance(setups, list | tuple) else ():
        symbol, _, fingerprint = str(setup).partition(":")
        if symbol == element:
            return fingerprint
    return ""


def _answer(folder: Path, ticket: Ticket) -> GpawResult | Rejection:
    changed = question_changed(folder, ticket)
    if changed is not None:
        return changed
    try:
        outcome = read_result(folder)
    except CalculationError as error:
        return Rejection("200", error.what)
    if isinstance(outcome, Rejection):
        missing = outcome.code == "100"
        return Rejection("200", outcome.sentence) if missing else outcome
    if (another := calculated_another(folder, ticket, outcome)) is not None:
        return another
    if outcome.recipe_hash != ticket.recipe_sha256:
        return Rejection("300", "the result is of another recipe than the ticket's")
    if ticket.role == "candidate" and None in (outcome.gap_eV, outcome.gap_mesh_eV):
        return Rejection("200", "the result holds no band gap")
    implausible = implausible_energy(outcome.energy_eV / ticket.n_sites, ticket.cell)
    if implausible is None and outcome.gap_eV is not None:
        implausible = implausible_gap(outcome.gap_eV, ticket.cell)
    return implausible or outcome


def _properties(outcome: GpawResult, ticket: Ticket) -> tuple[dict[str, float], Rejection | None]:
    """Return the properties by name with unit, and what qualifies the gap."""
    properties = {
        "energy_eV": outcome.energy_eV,
        "energy_eV_per_atom": outcome.energy_eV / ticket.n_sites,
        "volume_A3": ticket.volume_A3,
    }
    if ticket.role != "candidate" or outcome.gap_eV is None or outcome.gap_mesh_eV is None:
        return properties, None
    flag = band_gap(outcome.gap_mesh_eV, outcome.gap_path_eV).finding
    properties |= {"band_gap_eV": outcome.gap_eV, MESH_GAP: outcome.gap_mesh_eV}
    if outcome.gap_path_eV is not None:
        properties[PATH_GAP] = outcome.gap_path_eV
    if outcome.direct_gap_eV is not None:
        properties[DIRECT_GAP] = outcome.direct_gap_eV
    return properties, flag
