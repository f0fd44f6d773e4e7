"""Small prototype cells by role, for the compounds and elements calculated with GPAW.

In: a prototype's name and an element for each of its roles. Out: a pymatgen `Structure` with the
prototype's symmetry, at a given volume or one guessed from radii; whoever uses it relaxes it.
Coordinates are the ideal or typical ones of the named mineral, written down from the textbook.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from structure.errors import ConfigError

if TYPE_CHECKING:
    from pymatgen.core import Structure

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    Attributes
    ----------
    centring : str
        Cell setting: P, F (primitive cubic face-centred), I (body-centred, any axes),
        H (hexagonal axes), R (primitive rhombohedral, points given on hexagonal axes as
        ``z`` along the threefold axis only), C (base-centred orthorhombic).
    ratios : tuple of float
        ``b/a`` and ``c/a`` of the conventional cell.
    sites : tuple of (role, point)
        Sites of the primitive cell in conventional fractional coordinates.
    """

    centring: str
    ratios: tuple[float, float]
    sites: tuple[tuple[int, Point], ...]


_T, _S = 1 / 3, 2 / 3


def _read() -> dict[str, Prototype]:
    lines = files("dft_inputs.references").joinpath("prototypes.jsonl").read_text().splitlines()
    found = {}
    for row in map(json.loads, lines):
        sites = tuple((role, tuple(point)) for role, point in row["sites"])
        found[row["name"]] = Prototype(row["centring"], tuple(row["ratios"]), sites)
    return found


PROTOTYPES: dict[str, Prototype] = _read()
"""Structure types by name. Roles follow the usual formula (``perovskite`` A, B, X)."""


def _axes(
    prototype: Prototype, ratios: tuple[float, float]
) -> tuple[list[list[float]], list[list[float]]]:
    """Return primitive and conventional lattice vectors (rows) for ``a = 1``."""
    b, c = ratios
    if prototype.centring in "HR":
        cell = [[0.5, -(3**0.5) / 2, 0.0], [0.5, 3**0.5 / 2, 0.0], [0.0, 0.0, c]]
    else:
        cell = [[1.0, 0.0, 0.0], [0.0, b, 0.0], [0.0, 0.0, c]]
    reductions: dict[str, list[list[float]]] = {
        "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "H": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
        "I": [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
        "C": [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
        "R": [[_S, _T, _T], [-_T, _T, _T], [-_T, -_S, _T]],
    }
    primitive = [
        [sum(row[k] * cell[k][axis] for k in range(3)) for axis in range(3)]
        for row in reductions[prototype.centring]
    ]
    return primitive, cell


def build(
    name: str,
    elements: tuple[str, ...],
    *,
    volume_A3: float | None = None,
    ratios: tuple[float, float] | None = None,
) -> Structure:
    """Return the primitive cell of a prototype with these elements on its roles.

    Parameters
    ----------
    name : str
    elements : tuple of str
        One for each role.
    volume_A3 : float, optional
        Volume per atom; guessed from atomic radii when not given.
    ratios : tuple of float, optional
        ``b/a`` and ``c/a`` in place of the prototype's own.

    Raises
    ------
    ConfigError
        If there is no such prototype or the number of elements is not its number of roles.
    """
    from pymatgen.core import Element, Lattice, Structure

    if name not in PROTOTYPES:
        raise ConfigError(f"there is no prototype {name!r}", fix=", ".join(sorted(PROTOTYPES)))
    prototype = PROTOTYPES[name]
    roles = 1 + max(role for role, _ in prototype.sites)
    if len(elements) != roles:
        raise ConfigError(f"prototype {name} has {roles} roles, not {len(elements)}", where=name)
    primitive, cell = _axes(prototype, ratios or prototype.ratios)
    conventional, lattice = Lattice(cell), Lattice(primitive)
    points = [
        lattice.get_fractional_coords(conventional.get_cartesian_coords(p))
        for _, p in prototype.sites
    ]
    species = [elements[role] for role, _ in prototype.sites]
    structure = Structure(lattice, species, points, to_unit_cell=True)
    if volume_A3 is None:
        radii = [float(Element(e).atomic_radius or 1.5) for e in species]
        volume_A3 = sum(9.0 * r**3 for r in radii) / len(radii) + 6.0
    structure.scale_lattice(volume_A3 * len(species))
    return structure
