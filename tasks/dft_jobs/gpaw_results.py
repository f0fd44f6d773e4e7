"""Results of GPAW jobs: what collect keeps of a finished ground state, and the label it earns.

In: a job folder and its ticket. Out: a `Result` like a VASP job's. The geometry is the one that was
handed off: GPAW's recipe does not relax.
"""

from __future__ import annotations

from pathlib import Path

from dft_inputs.gpaw.jobs import (
    GpawResult,
    calculated_another,
    input_structure,
    question_changed,
    read_input,
    read_result,
)
from dft_inputs.job.plausible import implausible_energy, implausible_gap
from dft_inputs.job.ticket import Ticket
from dft_inputs.properties.corrections import band_gap
from dft_inputs.vasp.judgement import Finding, Judgement
from structure.errors import CalculationError, Rejection
from tasks.dft_jobs.results import Result, state_after


def gpaw_result_of(folder: Path, ticket: Ticket) -> Result:
    """Judge a GPAW job that says it is done, and put its result together.

    Codes: 200 result missing or damaged, 250 and 260 a gap or an energy that no crystal has, 300
    input changed, 320 answer to another question, 400 mesh and path disagree.
    """
    outcome = _answer(folder, ticket)
    findings: list[Finding] = []
    properties: dict[str, float] = {}
    potentials: dict[str, object] = {}
    if isinstance(outcome, Rejection):
        findings.append(Finding(outcome.code, outcome.sentence, ticket.steps[0].name))
    else:
        properties, flag = _properties(outcome, ticket)
        potentials = {"setups": list(outcome.setups), "gpaw_version": outcome.gpaw_version}
        if flag is not None:
            findings.append(Finding(flag.code, flag.sentence))
    structure = None
    if not isinstance(outcome, Rejection):
        document = read_input(folder / ticket.steps[0].name)
        structure = input_structure(document).as_dict(verbosity=0)
    result = Result(
        id=ticket.id,
        formula=ticket.formula,
        role=ticket.role,
        recipe_sha256=ticket.recipe_sha256,
        origin="dft-gpaw",
        state=state_after(Judgement(tuple(findings), {})),
        code=int(findings[0].code) if findings else None,
        findings=tuple({"code": f.code, "sentence": f.sentence, "step": f.step} for f in findings),
        properties=properties,
        cell=ticket.cell,
        structure=structure,
        potentials=potentials,
    )
    return result.with_gap_label()


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
    properties |= {"band_gap_eV": outcome.gap_eV, "band_gap_mesh_eV": outcome.gap_mesh_eV}
    if outcome.gap_path_eV is not None:
        properties["band_gap_path_eV"] = outcome.gap_path_eV
    if outcome.direct_gap_eV is not None:
        properties["direct_band_gap_eV"] = outcome.direct_gap_eV
    return properties, flag
