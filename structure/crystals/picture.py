"""Crystal structures as small SVG pictures, for the report's candidate table.

In: a pymatgen Structure. Out: SVG text of a few kilobytes: atoms shaded by depth in the usual
colours, bonds between touching atoms, the edges of the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

BOND_TOLERANCE = 1.1
"""Chosen: atoms closer than this times the sum of their covalent radii are drawn bonded."""

POLAR = 0.5
"""Chosen: where some touching atoms differ this much in Pauling electronegativity, only those are
drawn bonded, so that large cations in a salt are not tied to each other."""

_FACE_TOLERANCE = 0.05
_MAX_BONDED_ATOMS = 250
_EDGES = [
    (a, b)
    for a in product((0, 1), repeat=3)
    for b in product((0, 1), repeat=3)
    if a < b and sum(x != y for x, y in zip(a, b, strict=True)) == 1
]


class _Atoms(NamedTuple):
    points: np.ndarray
    numbers: np.ndarray


def _view() -> np.ndarray:
    """Return the rotation of a gently tilted view along the second axis."""
    yaw, pitch = np.radians(24.0), np.radians(14.0)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    result: np.ndarray = tilt @ turn @ upright
    return result


def _with_boundary(structure: Structure) -> _Atoms:
    """Return Cartesian positions of the cell's atoms and of their copies on opposite faces."""
    fractional, numbers = [], []
    for site in structure:
        inside = np.mod(site.frac_coords + 1e-6, 1.0) - 1e-6
        shifts = [
            (0, 1) if x < _FACE_TOLERANCE else (0, -1) if x > 1 - _FACE_TOLERANCE else (0,)
            for x in inside
        ]
        for shift in product(*shifts):
            fractional.append(inside + shift)
            numbers.append(site.specie.Z)
    points = np.array(fractional) @ structure.lattice.matrix
    return _Atoms(points, np.array(numbers))


def _colour(number: int) -> tuple[str, str]:
    """Return the fill and a darker edge colour of an element."""
    from ase.data.colors import jmol_colors

    base = np.array(jmol_colors[number])
    fill = "#" + "".join(f"{round(255 * c):02x}" for c in base)
    edge = "#" + "".join(f"{round(150 * c):02x}" for c in base)
    return fill, edge


def picture(structure: Structure, size: int = 150) -> str:
    """Draw a crystal structure.

    Parameters
    ----------
    structure : pymatgen Structure
    size : int, default 150
        Width and height in pixels.

    Returns
    -------
    str
        One ``<svg>`` element without external references.
    """
    from ase.data import covalent_radii

    atoms = _with_boundary(structure)
    corners = np.array(list(product((0, 1), repeat=3)), dtype=float) @ structure.lattice.matrix
    centre = corners.mean(axis=0)
    view = _view()
    seen = (atoms.points - centre) @ view.T
    cell = {
        corner: (np.array(corner) @ structure.lattice.matrix - centre) @ view.T
        for corner in product((0, 1), repeat=3)
    }
    radii = covalent_radii[atoms.numbers]
    flat = np.vstack([seen[:, :2], np.array(list(cell.values()))[:, :2]])
    reach = float(np.abs(flat).max() + 0.5 * radii.max())
    scale = 0.5 * size / reach
    half = 0.5 * size

    def place(point: np.ndarray) -> tuple[float, float]:
        return half + scale * float(point[0]), half - scale * float(point[1])

    shapes: list[tuple[float, str]] = []
    for a, b in _EDGES:
        (x1, y1), (x2, y2) = place(cell[a]), place(cell[b])
        depth = float(min(cell[a][2], cell[b][2]))
        shapes.append(
            (
                depth,
                f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#9aa3ad" '
                'stroke-width=".8" fill="none"/>',
            )
        )
    shapes += _bonds(atoms, seen, radii, place)
    for point, number, radius in zip(seen, atoms.numbers, radii, strict=True):
        x, y = place(point)
        fill, edge = _colour(int(number))
        r = max(2.2, 0.48 * scale * float(radius))
        shapes.append(
            (
                float(point[2]),
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{fill}" stroke="{edge}" '
                f'stroke-width=".7"/><circle cx="{x - 0.3 * r:.1f}" cy="{y - 0.35 * r:.1f}" '
                f'r="{0.28 * r:.1f}" fill="#fff" opacity=".55"/>',
            )
        )
    shapes.sort(key=lambda shape: shape[0])
    body = "".join(text for _, text in shapes)
    label = structure.composition.reduced_formula
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
        f'viewBox="0 0 {size} {size}" role="img" aria-label="unit cell of {label}">{body}</svg>'
    )


def _electronegativity(number: int) -> float:
    from pymatgen.core import Element

    value = Element.from_Z(number).X
    return float(value) if np.isfinite(value) else 2.0


def _bonds(
    atoms: _Atoms,
    seen: np.ndarray,
    radii: np.ndarray,
    place: Callable[[np.ndarray], tuple[float, float]],
) -> list[tuple[float, str]]:
    """Return the bonds between drawn atoms, each with its depth."""
    if len(seen) > _MAX_BONDED_ATOMS:
        return []
    apart = np.linalg.norm(atoms.points[:, None] - atoms.points[None], axis=-1)
    touching = (apart > 0.3) & (apart < BOND_TOLERANCE * (radii[:, None] + radii[None]))
    pauling = np.array([_electronegativity(int(z)) for z in atoms.numbers])
    polar = touching & (np.abs(pauling[:, None] - pauling[None]) >= POLAR)
    out = []
    for i, j in zip(*np.nonzero(np.triu(polar if polar.any() else touching)), strict=True):
        (x1, y1), (x2, y2) = place(seen[i]), place(seen[j])
        depth = 0.5 * float(seen[i][2] + seen[j][2]) - 0.2
        out.append(
            (
                depth,
                f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#b9b2a7" '
                'stroke-width="2.2" stroke-linecap="round"/>',
            )
        )
    return out
