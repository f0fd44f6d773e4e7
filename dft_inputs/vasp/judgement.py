"""Whether a finished job answers the question it was asked: serves collect.

In: a ticket and what its step folders hold. Out: a `Judgement`: findings with a code and a
sentence each, and what to do. Nothing here raises for bad results; bad results are the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dft_inputs.cluster.runner import Verdict, electrons_verdict, ions_verdict
from dft_inputs.job.findings import Finding, Judgement
from dft_inputs.job.plausible import implausible_change, implausible_energy, implausible_gap
from dft_inputs.job.ticket import Ticket, TicketStep
from dft_inputs.recipes.recipe import LARGEST_VOLUME_CHANGE
from dft_inputs.vasp.asked.geometry import composition_differs, start_differs
from dft_inputs.vasp.asked.potentials import potentials_differ, releases_mixed
from dft_inputs.vasp.asked.settings import incar_differs, settings_differ
from dft_inputs.vasp.outputs import StepOutput, custodian_changes, read_step
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

CLOSEST_RATIO = 0.5
"""Atoms closer than this times the sum of their covalent radii are flagged (chosen)."""

DETACHED_RATIO = 1.8
"""An atom whose nearest neighbour is farther than this times the radii has come off (chosen)."""

NEIGHBOURS_WITHIN_A = 9.0
"""How far a neighbour is looked for (chosen: 1.8 times the largest sum of radii, Cs-Cs)."""


def judge(folder: Path, ticket: Ticket, runner_corrections: Sequence[Any] = ()) -> Judgement:
    """Judge a job whose runner says it is done.

    Parameters
    ----------
    folder : Path
    ticket : Ticket
    runner_corrections : sequence
        ``corrections`` of STATUS.json.
    """
    findings: list[Finding] = []
    outputs: dict[str, StepOutput] = {}
    remarks: list[str] = []
    corrections = [dict(c, by="runner") for c in runner_corrections if isinstance(c, dict)]
    for step in ticket.steps:
        output = read_step(folder / step.name)
        if isinstance(output, Rejection):
            if step.required:
                findings.append(Finding("200", output.sentence, step.name))
            else:
                remarks.append(f"{step.name} was left out: {output.sentence}")
            continue
        changes = custodian_changes(folder / step.name)
        if isinstance(changes, Rejection):
            remarks.append(f"{changes.sentence}: what custodian corrected is not known")
            changes = []
        corrections += [dict(change, by="custodian", step=step.name) for change in changes]
        found = list(_step_findings(ticket, step, output))
        found += _folder_findings(ticket, step, {**outputs, step.name: output}, folder / step.name)
        if step.required:
            findings += found
        else:
            remarks += [f"{step.name} was left out: {finding.sentence}" for finding in found]
        if step.required or not found:
            outputs[step.name] = output
    strangers = [finding for finding in findings if finding.code == "330"]
    if strangers:  # what else differs follows from it
        return Judgement(tuple(strangers), {}, tuple(corrections))
    findings += _implausible(ticket, outputs)
    if final := _final_structure(ticket, outputs):
        findings += _structure_findings(ticket, final)
    return Judgement(tuple(findings), outputs, tuple(corrections), tuple(remarks))


def _step_findings(ticket: Ticket, step: TicketStep, output: StepOutput) -> Iterator[Finding]:
    checks: tuple[Callable[..., Rejection | None], ...] = (
        another_program,
        composition_differs,
        potentials_differ,
        settings_differ,
        electrons_unconverged,
        ions_unconverged,
        gap_unknown,
    )
    for check in checks:
        if found := check(ticket, step, output):
            yield Finding(found.code, found.sentence, step.name)


def _folder_findings(
    ticket: Ticket, step: TicketStep, outputs: Mapping[str, StepOutput], folder: Path
) -> Iterator[Finding]:
    """Yield what a step's other files say, and the steps before it."""
    output = outputs[step.name]
    for found in (
        releases_mixed(step, outputs),
        incar_differs(ticket, step, output, folder),
        start_differs(ticket, step, outputs, folder),
    ):
        if found:
            yield Finding(found.code, found.sentence, step.name)


def _implausible(ticket: Ticket, outputs: Mapping[str, StepOutput]) -> Iterator[Finding]:
    """Yield the numbers that no crystal has, of the steps whose numbers become labels."""
    for step in ticket.steps:
        output, former = outputs.get(step.name), outputs.get(step.structure_from or "")
        if output is None or step.relaxes or not step.required:
            continue
        checks: list[Rejection | None] = []
        if ticket.role == "candidate" and math.isfinite(output.gap):
            checks.append(implausible_gap(output.gap, ticket.cell))
        if step.density_from is None:
            energy = output.energy / ticket.n_sites
            checks.append(implausible_energy(energy, ticket.cell))
            if former is not None:
                checks.append(implausible_change(former.energy / ticket.n_sites, energy))
        for found in checks:
            if found:
                yield Finding(found.code, found.sentence, step.name)


def another_program(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 330 when VASP did not write its vasprun.xml.

    Programs such as VPMDK answer VASP's inputs from a machine-learned potential. They say so there,
    and their energies, which have no electrons behind them, are no VASP's.
    """
    if output.program.lower() == "vasp":
        return None
    return Rejection("330", f"{output.program} gave this answer, not VASP: it is no calculation")


def electrons_unconverged(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 210 when the ground state used all its electronic cycles."""
    return _rejection(electrons_verdict(_convergence(output)))


def ions_unconverged(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 220 when a relaxation ended short of the criterion VASP had."""
    return _rejection(ions_verdict(_convergence(output))) if step.relaxes else None


def _convergence(output: StepOutput) -> dict[str, Any]:
    """Return what the runner on the cluster judges by, so that there is one judgement of a file."""
    return {
        "NELM": output.electronic_limit,
        "cycles": output.electronic_cycles,
        "NSW": output.ionic_limit,
        "calculations": output.ionic_steps,
        "EDIFFG": float(output.settings.get("EDIFFG", 0.0)),
        "force": output.largest_force,
        "reached": output.reached,
    }


def _rejection(verdict: Verdict) -> Rejection | None:
    return Rejection(str(verdict.code), verdict.sentence) if verdict.code else None


def gap_unknown(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 200 when a candidate's bands end below a gap, as without empty ones."""
    if ticket.role != "candidate" or step.relaxes or not step.required:
        return None
    if math.isfinite(output.gap):
        return None
    return Rejection("200", f"{step.name} has no empty bands, and so no band gap")


def _final_structure(ticket: Ticket, outputs: Mapping[str, StepOutput]) -> Structure | None:
    """Return the relaxed structure: of the last step that is not a perturbation."""
    names = [s.name for s in ticket.steps if s.required and s.name in outputs]
    return outputs[names[-1]].structure if names else None


def _structure_findings(ticket: Ticket, structure: Structure) -> Iterator[Finding]:
    """Compare the relaxed structure with the one that was handed off."""
    molecule = ticket.role == "reference"
    change = structure.volume / ticket.volume_A3 - 1
    if abs(change) > LARGEST_VOLUME_CHANGE and not molecule:
        yield Finding("230", f"relaxing changed the volume by {100 * change:+.0f} %")
    ratios = nearest_ratios(structure)
    if min(ratios) < CLOSEST_RATIO:
        yield Finding("230", f"two atoms are at {min(ratios):.2f} of the sum of their radii")
    if max(ratios) > DETACHED_RATIO and not molecule:
        yield Finding("240", f"an atom is {max(ratios):.1f} radii sums from its nearest neighbour")


def nearest_ratios(structure: Structure) -> list[float]:
    """Return each atom's smallest distance over the sum of covalent radii; infinity if alone."""
    from structure.elements import INDEX
    from structure.templates.substitution import covalent_radii

    radii = covalent_radii()[[INDEX[site.specie.symbol] for site in structure]]
    centres, others, _, lengths = structure.get_neighbor_list(NEIGHBOURS_WITHIN_A)
    ratios = [float("inf")] * len(structure)
    for centre, other, length in zip(centres, others, lengths, strict=True):
        ratio = float(length / (radii[centre] + radii[other]))
        ratios[centre] = min(ratios[centre], ratio)
    return ratios
