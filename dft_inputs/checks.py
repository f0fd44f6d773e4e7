"""Whether a finished job answers the question it was asked: serves collect.

In: a ticket and what its step folders hold. Out: a `Judgement`: findings with a code and a
sentence each, and what to do. Nothing here raises for bad results; bad results are the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dft_inputs.outputs import StepOutput, custodian_changes, read_step
from dft_inputs.recipe import LARGEST_VOLUME_CHANGE
from dft_inputs.runner import Verdict, electrons_verdict, ions_verdict
from dft_inputs.ticket import DECIDING_TAGS, Ticket, TicketStep
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

CLOSEST_RATIO = 0.5
"""Atoms closer than this times the sum of their covalent radii are flagged (chosen)."""

DETACHED_RATIO = 1.8
"""An atom whose nearest neighbour is farther than this times the radii has come off (chosen)."""

NEIGHBOURS_WITHIN_A = 9.0
"""How far a neighbour is looked for (chosen: 1.8 times the largest sum of radii, Cs-Cs)."""


class Action(StrEnum):
    """What a code leads to, mildest first."""

    LEAVE = "leave"
    KEEP = "keep"
    WAIT = "wait"
    STALE = "stale"
    REJECT = "reject"
    BREAK = "break"
    QUARANTINE = "quarantine"


CODES: dict[str, tuple[str, Action]] = {
    "20": ("POTCAR is missing or another one", Action.BREAK),
    "21": ("something around the calculation is broken", Action.BREAK),
    "100": ("the folder is incomplete and its heartbeat fresh", Action.LEAVE),
    "110": ("no marker and no heartbeat", Action.STALE),
    "200": ("a result is missing, cut off or damaged", Action.BREAK),
    "210": ("electrons of the ground state not converged", Action.REJECT),
    "220": ("ions not converged, or stopped before they were", Action.REJECT),
    "230": ("volume changed by more than 20 %, or atoms too close", Action.KEEP),
    "240": ("the crystal fell apart", Action.REJECT),
    "300": ("settings differ from the recipe", Action.QUARANTINE),
    "310": ("another potential was used", Action.QUARANTINE),
    "320": ("composition or number of sites differ from the ticket", Action.QUARANTINE),
    "400": ("gaps from mesh and path disagree", Action.KEEP),
    "410": ("formation energy without all references", Action.WAIT),
    "900": ("the same content was ingested before", Action.LEAVE),
}
"""Every reason code: its meaning, and what we do."""


@dataclass(frozen=True)
class Finding:
    """One reason code found in one step."""

    code: str
    sentence: str
    step: str = ""

    @property
    def action(self) -> Action:
        """What the code leads to."""
        return CODES[self.code][1]


@dataclass(frozen=True)
class Judgement:
    """What was found in a job.

    Attributes
    ----------
    findings : tuple of Finding
    outputs : dict of str to StepOutput
        Steps that could be read.
    corrections : tuple of dict
        What custodian or the runner changed.
    remarks : tuple of str
        Why an optional step was left out, or what is not known of one, one sentence each.
    """

    findings: tuple[Finding, ...]
    outputs: Mapping[str, StepOutput]
    corrections: tuple[dict[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def worst(self) -> Finding | None:
        """The finding with the gravest action; None if nothing was found."""
        order = list(Action)
        return max(self.findings, key=lambda f: order.index(f.action), default=None)

    @property
    def usable(self) -> bool:
        """Whether labels may be taken from the job."""
        kept = (Action.LEAVE, Action.KEEP, Action.WAIT)
        return all(finding.action in kept for finding in self.findings)


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
        if step.required:
            findings += found
        else:
            remarks += [f"{step.name} was left out: {finding.sentence}" for finding in found]
        if step.required or not found:
            outputs[step.name] = output
    if final := _final_structure(ticket, outputs):
        findings += _structure_findings(ticket, final)
    return Judgement(tuple(findings), outputs, tuple(corrections), tuple(remarks))


def _step_findings(ticket: Ticket, step: TicketStep, output: StepOutput) -> Iterator[Finding]:
    checks: tuple[Callable[..., Rejection | None], ...] = (
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


def composition_differs(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 320 when the cell, or its repetition, holds other atoms than the ticket's."""
    found = {e: int(n) for e, n in output.structure.composition.get_el_amt_dict().items()}
    times = math.prod(step.supercell or (1,))
    wanted = {element: times * number for element, number in ticket.cell.items()}
    if found == wanted:
        return None
    return Rejection("320", f"the cell holds {_words(found)}, the ticket {_words(wanted)}")


def potentials_differ(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 310 when a TITEL is not of the symbol in POTCAR.spec."""
    used = tuple([*title.split(), "", ""][1] for title in output.titles)
    if used == ticket.potcar_symbols:
        return None
    return Rejection(
        "310", f"potentials {' '.join(used)} were used, wanted {' '.join(ticket.potcar_symbols)}"
    )


def settings_differ(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 300 when a tag that decides the numbers, or the mesh, is another one.

    Corrections that only change how VASP gets there (ALGO, SYMPREC, POTIM ...) stay valid, and so
    do a tighter EDIFF and a denser mesh.
    """
    for tag in DECIDING_TAGS:
        wanted, used = step.settings.get(tag), output.settings.get(tag)
        if tag == "ENCUT":
            used = output.settings.get("ENMAX", used)
        if wanted is None and tag not in ("METAGGA", "LHFCALC", "LDAU"):
            continue
        if not _same(tag, wanted, used):
            return Rejection("300", f"{tag} was {used}, the recipe says {wanted or 'not set'}")
    if (
        step.mesh
        and output.mesh
        and any(a < b for a, b in zip(output.mesh, step.mesh, strict=True))
    ):
        return Rejection("300", f"mesh {output.mesh} is coarser than {step.mesh}")
    return None


def _same(tag: str, wanted: str | None, used: object) -> bool:
    if wanted is None:
        return used is None or str(used).strip().upper() in ("", "F", "FALSE", "NONE", "--")
    if used is None:
        return False
    words, others = wanted.split(), _listed(used)
    if len(words) != len(others):
        return False
    for a, b in zip(words, others, strict=True):
        try:
            x, y = float(a), float(b)
        except ValueError:
            if _logical(a) != _logical(b):
                return False
            continue
        tighter = (tag == "EDIFF" and y <= x) or (tag == "EDIFFG" and x <= y < 0)
        if not tighter and abs(x - y) > 1e-6 * max(1.0, abs(x)):
            return False
    return True


def _listed(used: object) -> list[str]:
    if isinstance(used, list | tuple):
        return [str(u) for u in used]
    return str(used).split()


def _logical(word: str) -> str:
    """Return a word in upper case, logicals by their first letter."""
    upper = word.strip(".").upper()
    return upper[0] if upper in ("T", "F", "TRUE", "FALSE") else upper


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
    from structure.substitution import covalent_radii

    radii = covalent_radii()[[INDEX[site.specie.symbol] for site in structure]]
    centres, others, _, lengths = structure.get_neighbor_list(NEIGHBOURS_WITHIN_A)
    ratios = [float("inf")] * len(structure)
    for centre, other, length in zip(centres, others, lengths, strict=True):
        ratio = float(length / (radii[centre] + radii[other]))
        ratios[centre] = min(ratios[centre], ratio)
    return ratios


def _words(cell: Mapping[str, int]) -> str:
    return " ".join(f"{element}{number}" for element, number in sorted(cell.items()))
