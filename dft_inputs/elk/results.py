"""What an Elk job says, and whether it answers its question: serves collect.

In: a job folder and its ticket. Out: a judgement, and what the ground state gave. The geometry is
the one that was handed off: Elk's recipe does not relax.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError

from dft_inputs.elk.elk_runner import HARTREE_EV, INPUT, RESULT
from dft_inputs.elk.inputs import input_structure
from dft_inputs.elk.jobs import HASH
from dft_inputs.engines import Calculated
from dft_inputs.job.findings import Finding, Judgement
from dft_inputs.job.plausible import implausible_gap
from dft_inputs.job.ticket import Ticket
from dft_inputs.job.untrusted import json_text, shown, small_file, why
from dft_inputs.properties.corrections import band_gap
from structure.elements import INDEX
from structure.errors import Rejection
from structure.properties.band_gap import DIRECT_GAP, MESH_GAP, PATH_GAP
from structure.records import Record

LARGEST_FILE_BYTES = 1_000_000
"""A larger input or result is not one of ours (chosen)."""

THOMAS_FERMI_HARTREE = 0.768745
"""Binding energy of a Thomas-Fermi atom of charge Z over Z^(7/3)."""

OF_THOMAS_FERMI = (0.5, 1.1)
"""All-electron energies of crystals over the sum of Thomas-Fermi atoms (chosen; hydrogen has 0.6,
uranium with relativity 0.95)."""

GAP_TOLERANCE_EV = 1e-6


class ElkResult(Record):
    """The content of ``elk-result.json`` of a run that came to its end. Energies in eV."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    status: Literal["done"]
    input_sha256: str
    species_sha256: dict[str, str]
    elk_version: str
    energy_eV: float
    mesh: tuple[int, int, int]
    gap_mesh_eV: float
    gap_path_eV: float | None = None
    gap_eV: float | None = None
    direct_gap_eV: float | None = None


def judge_elk(folder: Path, ticket: Ticket) -> Judgement:
    """Judge an Elk job that says it is done.

    Codes: 200 result missing or damaged, 210 not converged, 250 and 260 a gap or an energy that no
    crystal has, 300 input changed before or after it was calculated.
    """
    outcome, step = _answer(folder, ticket), ticket.steps[0].name
    if isinstance(outcome, Rejection):
        return Judgement((Finding(outcome.code, outcome.sentence, step),), {})
    return Judgement((), {step: outcome})


def elk_result(folder: Path, ticket: Ticket, judgement: Judgement) -> Calculated:
    """Read what a judged job says; code 400 where mesh and path disagree."""
    step = ticket.steps[0].name
    outcome = judgement.outputs.get(step)
    if outcome is None:
        return Calculated()
    properties = {
        "energy_eV": outcome.energy_eV,
        "energy_eV_per_atom": outcome.energy_eV / ticket.n_sites,
        "volume_A3": ticket.volume_A3,
    }
    findings: tuple[Finding, ...] = ()
    if ticket.role == "candidate":
        _, flag = band_gap(outcome.gap_mesh_eV, outcome.gap_path_eV)
        findings = () if flag is None else (Finding(flag.code, flag.sentence),)
        gaps = {
            "band_gap_eV": outcome.gap_eV,
            MESH_GAP: outcome.gap_mesh_eV,
            PATH_GAP: outcome.gap_path_eV,
            DIRECT_GAP: outcome.direct_gap_eV,
        }
        properties |= {name: gap for name, gap in gaps.items() if gap is not None}
    text = small_file(folder / step / INPUT, folder, LARGEST_FILE_BYTES).decode()
    return Calculated(
        properties=properties,
        structure=input_structure(text).as_dict(verbosity=0),
        potentials={"species": outcome.species_sha256, "elk_version": outcome.elk_version},
        findings=findings,
    )


def other_species(
    own: Mapping[str, Any], reference: Mapping[str, Any], element: str
) -> Rejection | None:
    """Return code 410 when a compound's species file of an element is not that of its reference."""
    files = [potentials.get("species") for potentials in (own, reference)]
    ours, its = (f.get(element) if isinstance(f, Mapping) else None for f in files)
    if ours is None or its is None or ours == its:
        return None
    words = f"{element} was calculated with species file {str(ours)[:12]}, its reference with"
    return Rejection("410", shown(f"{words} {str(its)[:12]}; calculate both with one Elk"))


def _answer(folder: Path, ticket: Ticket) -> ElkResult | Rejection:
    step = ticket.steps[0]
    place = folder / step.name
    try:
        text = small_file(place / INPUT, folder, LARGEST_FILE_BYTES)
    except OSError as error:
        return Rejection("300", f"{INPUT} cannot be read: {why(error)}")
    digest = hashlib.sha256(text).hexdigest()
    if digest != step.settings.get(HASH):
        return Rejection("300", f"{INPUT} was changed after it was handed off")
    outcome = read_result(place / RESULT, folder)
    if isinstance(outcome, Rejection):
        return outcome
    if outcome.input_sha256 != digest:
        return Rejection("300", f"the result is not that of {INPUT}, which was edited since")
    if ticket.role == "candidate" and outcome.gap_eV is None:
        return Rejection("200", "the result holds no band gap")
    return _implausible(outcome, ticket) or outcome


def read_result(path: Path, job: Path) -> ElkResult | Rejection:
    """Read ``elk-result.json``.

    Returns
    -------
    ElkResult or Rejection
        Code ``"200"`` when it is missing, damaged or contradicts itself, ``"210"`` as the runner
        says.
    """
    try:
        data = json_text(small_file(path, job, LARGEST_FILE_BYTES))
        if data["status"] == "failed" and data["code"] in ("200", "210"):
            return Rejection(data["code"], shown(str(data["sentence"])))
        return ElkResult.model_validate(data)
    except FileNotFoundError:
        return Rejection("200", f"there is no {path.name}")
    except ValidationError as error:
        first = error.errors()[0]
        words = shown(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        return Rejection("200", f"{path.name} cannot be read: {words}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Rejection("200", f"{path.name} cannot be read: {why(error)}")


def _implausible(outcome: ElkResult, ticket: Ticket) -> Rejection | None:
    """Return what no crystal has: all-electron energies are bounded by those of atoms."""
    atoms = sum(n * (INDEX[e] + 1) ** (7 / 3) for e, n in ticket.cell.items())
    ratio = -outcome.energy_eV / (HARTREE_EV * THOMAS_FERMI_HARTREE * atoms)
    if not OF_THOMAS_FERMI[0] <= ratio <= OF_THOMAS_FERMI[1]:
        words = f"{outcome.energy_eV / ticket.n_sites:.1f} eV/atom with all electrons"
        return Rejection("260", f"{words}, {ratio:.2f} of Thomas-Fermi atoms")
    gaps = [outcome.gap_mesh_eV, outcome.gap_path_eV, outcome.gap_eV, outcome.direct_gap_eV]
    known = [gap for gap in gaps if gap is not None]
    for gap in known:
        if (found := implausible_gap(gap, ticket.cell)) is not None:
            return found
    if outcome.gap_eV is not None and outcome.gap_eV > min(known) + GAP_TOLERANCE_EV:
        return Rejection("200", f"{RESULT}: the gap is larger than that of the mesh or the path")
    return None
