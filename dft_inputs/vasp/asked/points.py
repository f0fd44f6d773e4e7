"""Whether a step sampled the k-points it was asked to: serves hand-off and collect.

In: a KPOINTS as it was written, and the k-points VASP lists. Out: mesh and path as a ticket holds
them; nothing, or code 300 with a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from structure.errors import Rejection

if TYPE_CHECKING:
    from dft_inputs.job.ticket import TicketStep
    from dft_inputs.vasp.outputs import StepOutput

SAME_POINT = 1e-5
"""Largest difference of reciprocal coordinates of the same point (chosen: VASP writes eight
decimals)."""

BandPath = tuple[tuple[float, float, float, float], ...]
"""Number, and reciprocal coordinates, of each point of a path at which its direction may change."""


def mesh_of(kpoints: str) -> tuple[int, int, int] | None:
    """Return the divisions of a Gamma-centred KPOINTS text, None for anything else."""
    lines = kpoints.splitlines()
    if len(lines) < 4 or not lines[2].lower().startswith("gamma"):
        return None
    a, b, c = (int(n) for n in lines[3].split()[:3])
    return a, b, c


def path_of(kpoints: str) -> BandPath:
    """Return the band path of a KPOINTS text of listed points; empty for anything else.

    Returns
    -------
    tuple of (number, x, y, z)
        Of each labelled point, its number in the list, and reciprocal coordinates. Those between
        lie evenly on straight lines.
    """
    lines = kpoints.splitlines()
    if len(lines) < 4 or not lines[2].lower().startswith("reciprocal"):
        return ()
    rows = [line.split() for line in lines[3 : 3 + int(lines[1])]]
    return tuple(
        (number, float(row[0]), float(row[1]), float(row[2]))
        for number, row in enumerate(rows)
        if len(row) > 4 or number in (0, len(rows) - 1)
    )


def points_on(path: Sequence[Sequence[float]]) -> np.ndarray:
    """Return every point of a path, shape (n, 3)."""
    corners = np.array(path)
    numbers = np.arange(int(corners[-1, 0]) + 1)
    return np.stack([np.interp(numbers, corners[:, 0], corners[:, x]) for x in (1, 2, 3)], axis=1)


def listed_mesh(kpoints: Any) -> tuple[int, ...] | None:
    """Return the divisions of the mesh that VASP lists, if Gamma is one of its points.

    Parameters
    ----------
    kpoints : Kpoints
        Of a pymatgen ``Vasprun``.
    """
    style = kpoints.style.name
    if style not in ("Gamma", "Monkhorst") or len(kpoints.kpts) != 1:
        return None
    divisions = tuple(int(n) for n in kpoints.kpts[0])
    shift = [float(x) for x in kpoints.kpts_shift]
    if style == "Monkhorst":  # which moves even meshes by half a step
        shift = [x + 0.5 * (n % 2 == 0) for x, n in zip(shift, divisions, strict=True)]
    centred = all(abs(x - round(x)) < SAME_POINT for x in shift)
    return divisions if centred and len(divisions) == 3 and min(divisions) > 0 else None


def points_differ(step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 300 when mesh or path are not the ones asked for; a denser mesh is welcome."""
    if step.mesh is not None:
        if output.mesh is None:
            return Rejection("300", f"the k-points are no Gamma-centred mesh, wanted {step.mesh}")
        if any(a < b for a, b in zip(output.mesh, step.mesh, strict=True)):
            return Rejection("300", f"mesh {output.mesh} is coarser than {step.mesh}")
        return None
    if output.mesh is not None:
        return Rejection("300", f"the k-points are a mesh {output.mesh}, wanted the band path")
    if not step.path or output.points is None:
        return None
    wanted = points_on(step.path)
    if len(output.points) != len(wanted):
        return Rejection("300", f"{len(output.points)} k-points, on the band path {len(wanted)}")
    same = (np.abs(output.points - wanted) <= SAME_POINT).all(axis=1)
    if not same.all():
        first = int(np.argmin(same)) + 1
        return Rejection("300", f"k-point {first} is not that of the band path")
    return None
