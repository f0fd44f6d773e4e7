"""What a judged VASP job says: serves collect.

In: a job folder, its ticket and the judgement on it. Out: energies, gaps, what the optional steps
give, the relaxed structure and the potentials. See `dft_inputs.vasp.judgement` for what is no good.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dft_inputs.engines import Calculated
from dft_inputs.job.findings import Finding, Judgement
from dft_inputs.job.status import read_status
from dft_inputs.job.ticket import Ticket
from dft_inputs.properties.corrections import band_gap
from dft_inputs.vasp.extra_steps import Perturbed, perturbed
from structure.errors import Rejection
from structure.properties.band_gap import MESH_GAP, PATH_GAP

ENERGY_STEP = "static"
"""The step whose total energy counts: the only one at a fixed, dense mesh."""


def vasp_result(folder: Path, ticket: Ticket, judgement: Judgement) -> Calculated:
    """Read what a judged job says.

    Parameters
    ----------
    folder : Path
    ticket : Ticket
    judgement : Judgement
        Of this folder; its outputs are `dft_inputs.vasp.outputs.StepOutput`.
    """
    properties, extra = _properties(ticket, judgement) if judgement.usable else ({}, None)
    more = perturbed(folder, ticket, judgement) if judgement.usable else Perturbed()
    required = [s.name for s in ticket.steps if s.required and s.name in judgement.outputs]
    final = judgement.outputs[required[-1]] if required else None
    relaxed = final.structure if final is not None else None
    titles = [" ".join(t.split()) for t in final.titles] if final is not None else []
    known = status_of(folder).get("potcar")
    return Calculated(
        properties={**properties, **more.properties},
        structure=relaxed.as_dict(verbosity=0) if relaxed is not None else None,
        potentials={
            **(known if isinstance(known, dict) else {}),
            **({"titel": titles} if titles else {}),
        },
        findings=() if extra is None else (Finding(extra.code, extra.sentence),),
        remarks=tuple(more.remarks),
        pictures=more.pictures,
    )


def status_of(folder: Path) -> dict[str, Any]:
    """Return STATUS.json; nothing where it is gone or damaged."""
    try:
        return read_status(folder)
    except (OSError, ValueError):
        return {}


def _properties(ticket: Ticket, judgement: Judgement) -> tuple[dict[str, float], Rejection | None]:
    by_kind = {name.partition("-")[2]: out for name, out in judgement.outputs.items()}
    properties: dict[str, float] = {}
    static = by_kind.get(ENERGY_STEP)
    if static is not None:
        properties["energy_eV"] = static.energy
        properties["energy_eV_per_atom"] = static.energy / ticket.n_sites
        properties["volume_A3"] = float(static.structure.volume)
    finding = None
    if ticket.role == "candidate" and (mesh := by_kind.get("uniform", static)) is not None:
        path = by_kind.get("bands")
        gap = band_gap(mesh.gap, path.gap if path else None)
        properties["band_gap_eV"], finding = gap
        properties[MESH_GAP] = mesh.gap
        if path is not None:
            properties[PATH_GAP] = path.gap
    return properties, finding
