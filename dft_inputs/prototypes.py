"""Small prototype cells by role, for the compounds and elements calculated with GPAW.

In: a prototype's name and an element for each of its roles. Out: a pymatgen `Structure` with the
prototype's symmetry, at a given volume or one guessed from radii; whoever uses it relaxes it.
Coordinates are the ideal or typical ones of the named mineral, written down from the textbook.
"""

from __future__ import annotations

from dataclasses import dataclass
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

PROTOTYPES: dict[str, Prototype] = {
    "rocksalt": Prototype("F", (1, 1), ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    "zincblende": Prototype("F", (1, 1), ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)))),
    "cscl": Prototype("P", (1, 1), ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    "wurtzite": Prototype(
        "H",
        (1, 1.633),
        (
            (0, (_T, _S, 0.0)),
            (0, (_S, _T, 0.5)),
            (1, (_T, _S, 0.375)),
            (1, (_S, _T, 0.875)),
        ),
    ),
    "fluorite": Prototype(
        "F", (1, 1), ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)), (1, (0.75, 0.75, 0.75)))
    ),
    "halfheusler": Prototype(
        "F", (1, 1), ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)), (2, (0.25, 0.25, 0.25)))
    ),
    "heusler": Prototype(
        "F",
        (1, 1),
        (
            (0, (0.25, 0.25, 0.25)),
            (0, (0.75, 0.75, 0.75)),
            (1, (0, 0, 0)),
            (2, (0.5, 0.5, 0.5)),
        ),
    ),
    "li3bi": Prototype(
        "F",
        (1, 1),
        (
            (0, (0.25, 0.25, 0.25)),
            (0, (0.75, 0.75, 0.75)),
            (0, (0.5, 0.5, 0.5)),
            (1, (0, 0, 0)),
        ),
    ),
    "perovskite": Prototype(
        "P",
        (1, 1),
        (
            (0, (0, 0, 0)),
            (1, (0.5, 0.5, 0.5)),
            (2, (0.5, 0.5, 0)),
            (2, (0.5, 0, 0.5)),
            (2, (0, 0.5, 0.5)),
        ),
    ),
    "reo3": Prototype(
        "P",
        (1, 1),
        ((0, (0, 0, 0)), (1, (0.5, 0, 0)), (1, (0, 0.5, 0)), (1, (0, 0, 0.5))),
    ),
    "auricupride": Prototype(
        "P",
        (1, 1),
        ((0, (0, 0, 0)), (1, (0.5, 0.5, 0)), (1, (0.5, 0, 0.5)), (1, (0, 0.5, 0.5))),
    ),
    "cuprite": Prototype(
        "P",
        (1, 1),
        (
            (0, (0.25, 0.25, 0.25)),
            (0, (0.75, 0.75, 0.25)),
            (0, (0.75, 0.25, 0.75)),
            (0, (0.25, 0.75, 0.75)),
            (1, (0, 0, 0)),
            (1, (0.5, 0.5, 0.5)),
        ),
    ),
    "rutile": Prototype(
        "P",
        (1, 0.65),
        (
            (0, (0, 0, 0)),
            (0, (0.5, 0.5, 0.5)),
            (1, (0.305, 0.305, 0)),
            (1, (0.695, 0.695, 0)),
            (1, (0.195, 0.805, 0.5)),
            (1, (0.805, 0.195, 0.5)),
        ),
    ),
    "cacl2": Prototype(
        "P",
        (1.03, 0.67),
        (
            (0, (0, 0, 0)),
            (0, (0.5, 0.5, 0.5)),
            (1, (0.275, 0.325, 0)),
            (1, (0.725, 0.675, 0)),
            (1, (0.225, 0.825, 0.5)),
            (1, (0.775, 0.175, 0.5)),
        ),
    ),
    "anatase": Prototype(
        "I",
        (1, 2.51),
        (
            (0, (0, 0, 0)),
            (0, (0, 0.5, 0.25)),
            (1, (0, 0, 0.208)),
            (1, (0, 0, 0.792)),
            (1, (0, 0.5, 0.458)),
            (1, (0, 0.5, 0.042)),
        ),
    ),
    "cdi2": Prototype("H", (1, 1.6), ((0, (0, 0, 0)), (1, (_T, _S, 0.25)), (1, (_S, _T, 0.75)))),
    "cdcl2": Prototype("R", (1, 4.8), ((0, (0, 0, 0)), (1, (0, 0, 0.257)), (1, (0, 0, 0.743)))),
    "mos2": Prototype(
        "H",
        (1, 3.9),
        (
            (0, (_T, _S, 0.25)),
            (0, (_S, _T, 0.75)),
            (1, (_T, _S, 0.621)),
            (1, (_S, _T, 0.379)),
            (1, (_T, _S, 0.879)),
            (1, (_S, _T, 0.121)),
        ),
    ),
    "delafossite": Prototype(
        "R",
        (1, 6.0),
        ((0, (0, 0, 0)), (1, (0, 0, 0.5)), (2, (0, 0, 0.11)), (2, (0, 0, 0.89))),
    ),
    "nafeo2": Prototype(
        "R",
        (1, 5.2),
        ((0, (0, 0, 0.5)), (1, (0, 0, 0)), (2, (0, 0, 0.235)), (2, (0, 0, 0.765))),
    ),
    "matlockite": Prototype(
        "P",
        (1, 1.75),
        (
            (0, (0, 0.5, 0.2)),
            (0, (0.5, 0, 0.8)),
            (1, (0, 0, 0)),
            (1, (0.5, 0.5, 0)),
            (2, (0, 0.5, 0.65)),
            (2, (0.5, 0, 0.35)),
        ),
    ),
    "litharge": Prototype(
        "P",
        (1, 1.26),
        (
            (0, (0, 0.5, 0.24)),
            (0, (0.5, 0, 0.76)),
            (1, (0, 0, 0)),
            (1, (0.5, 0.5, 0)),
        ),
    ),
    "cooperite": Prototype(
        "P",
        (1, 1.75),
        (
            (0, (0, 0.5, 0)),
            (0, (0.5, 0, 0.5)),
            (1, (0, 0, 0.25)),
            (1, (0, 0, 0.75)),
        ),
    ),
    "nias": Prototype(
        "H",
        (1, 1.6),
        ((0, (0, 0, 0)), (0, (0, 0, 0.5)), (1, (_T, _S, 0.25)), (1, (_S, _T, 0.75))),
    ),
    "boronnitride": Prototype(
        "H",
        (1, 2.66),
        (
            (0, (_T, _S, 0.25)),
            (0, (_S, _T, 0.75)),
            (1, (_S, _T, 0.25)),
            (1, (_T, _S, 0.75)),
        ),
    ),
    "libc": Prototype(
        "H",
        (1, 2.4),
        (
            (0, (0, 0, 0)),
            (0, (0, 0, 0.5)),
            (1, (_T, _S, 0.25)),
            (1, (_S, _T, 0.75)),
            (2, (_S, _T, 0.25)),
            (2, (_T, _S, 0.75)),
        ),
    ),
    "thalliumiodide": Prototype(
        "C",
        (2.6, 1.12),
        (
            (0, (0, 0.39, 0.25)),
            (0, (0, 0.61, 0.75)),
            (1, (0, 0.13, 0.25)),
            (1, (0, 0.87, 0.75)),
        ),
    ),
    "calciumcarbide": Prototype(
        "I", (1, 1.65), ((0, (0, 0, 0)), (1, (0, 0, 0.4)), (1, (0, 0, 0.6)))
    ),
    "mosi2": Prototype("I", (1, 2.45), ((0, (0, 0, 0)), (1, (0, 0, 0.335)), (1, (0, 0, 0.665)))),
    "k2nif4": Prototype(
        "I",
        (1, 3.25),
        (
            (0, (0, 0, 0.355)),
            (0, (0, 0, 0.645)),
            (1, (0, 0, 0)),
            (2, (0.5, 0, 0)),
            (2, (0, 0.5, 0)),
            (2, (0, 0, 0.155)),
            (2, (0, 0, 0.845)),
        ),
    ),
    "gete": Prototype("R", (1, 2.55), ((0, (0, 0, 0)), (1, (0, 0, 0.475)))),
    "bi2te3": Prototype(
        "R",
        (1, 6.9),
        (
            (0, (0, 0, 0.4)),
            (0, (0, 0, 0.6)),
            (1, (0, 0, 0)),
            (1, (0, 0, 0.21)),
            (1, (0, 0, 0.79)),
        ),
    ),
    "la2o3": Prototype(
        "H",
        (1, 1.56),
        (
            (0, (_T, _S, 0.245)),
            (0, (_S, _T, 0.755)),
            (1, (0, 0, 0)),
            (1, (_T, _S, 0.647)),
            (1, (_S, _T, 0.353)),
        ),
    ),
    "caal2si2": Prototype(
        "H",
        (1, 1.72),
        (
            (0, (0, 0, 0)),
            (1, (_T, _S, 0.63)),
            (1, (_S, _T, 0.37)),
            (2, (_T, _S, 0.25)),
            (2, (_S, _T, 0.75)),
        ),
    ),
    "na3as": Prototype(
        "H",
        (1, 1.78),
        (
            (0, (0, 0, 0.25)),
            (0, (0, 0, 0.75)),
            (0, (_T, _S, 0.583)),
            (0, (_S, _T, 0.417)),
            (0, (_T, _S, 0.917)),
            (0, (_S, _T, 0.083)),
            (1, (_T, _S, 0.25)),
            (1, (_S, _T, 0.75)),
        ),
    ),
    "li3n": Prototype(
        "H", (1, 1.06), ((0, (0, 0, 0.5)), (0, (_T, _S, 0)), (0, (_S, _T, 0)), (1, (0, 0, 0)))
    ),
    "alb2": Prototype("H", (1, 1.08), ((0, (0, 0, 0)), (1, (_T, _S, 0.5)), (1, (_S, _T, 0.5)))),
    "tungstencarbide": Prototype("H", (1, 0.98), ((0, (0, 0, 0)), (1, (_T, _S, 0.5)))),
    "k2ptcl6": Prototype(
        "F",
        (1, 1),
        (
            (0, (0.25, 0.25, 0.25)),
            (0, (0.75, 0.75, 0.75)),
            (1, (0, 0, 0)),
            (2, (0.24, 0, 0)),
            (2, (0.76, 0, 0)),
            (2, (0, 0.24, 0)),
            (2, (0, 0.76, 0)),
            (2, (0, 0, 0.24)),
            (2, (0, 0, 0.76)),
        ),
    ),
    "chalcopyrite": Prototype(
        "I",
        (1, 1.97),
        (
            (0, (0, 0, 0)),
            (0, (0, 0.5, 0.25)),
            (1, (0, 0, 0.5)),
            (1, (0, 0.5, 0.75)),
            (2, (0.25, 0.25, 0.125)),
            (2, (0.75, 0.75, 0.125)),
            (2, (0.75, 0.25, 0.875)),
            (2, (0.25, 0.75, 0.875)),
        ),
    ),
    "elpasolite": Prototype(
        "F",
        (1, 1),
        (
            (0, (0.25, 0.25, 0.25)),
            (0, (0.75, 0.75, 0.75)),
            (1, (0.5, 0.5, 0.5)),
            (2, (0, 0, 0)),
            (3, (0.24, 0, 0)),
            (3, (0.76, 0, 0)),
            (3, (0, 0.24, 0)),
            (3, (0, 0.76, 0)),
            (3, (0, 0, 0.24)),
            (3, (0, 0, 0.76)),
        ),
    ),
    "fcc": Prototype("F", (1, 1), ((0, (0, 0, 0)),)),
    "bcc": Prototype("I", (1, 1), ((0, (0, 0, 0)),)),
    "hcp": Prototype("H", (1, 1.6), ((0, (_T, _S, 0.25)), (0, (_S, _T, 0.75)))),
    "dhcp": Prototype(
        "H",
        (1, 3.22),
        ((0, (0, 0, 0)), (0, (0, 0, 0.5)), (0, (_T, _S, 0.25)), (0, (_S, _T, 0.75))),
    ),
    "diamond": Prototype("F", (1, 1), ((0, (0, 0, 0)), (0, (0.25, 0.25, 0.25)))),
    "bct": Prototype("I", (1, 1.52), ((0, (0, 0, 0)),)),
    "arsenic": Prototype("R", (1, 2.6), ((0, (0, 0, 0.23)), (0, (0, 0, 0.77)))),
    "mercury": Prototype("R", (1, 1.93), ((0, (0, 0, 0)),)),
    "graphite": Prototype(
        "H",
        (1, 2.72),
        ((0, (0, 0, 0.25)), (0, (0, 0, 0.75)), (0, (_T, _S, 0.25)), (0, (_S, _T, 0.75))),
    ),
    "selenium": Prototype(
        "H",
        (1, 1.14),
        ((0, (0.225, 0, _T)), (0, (0, 0.225, _S)), (0, (0.775, 0.775, 0))),
    ),
    "blackphosphorus": Prototype(
        "C",
        (3.17, 1.32),
        (
            (0, (0, 0.1, 0.08)),
            (0, (0, 0.9, 0.92)),
            (0, (0, 0.4, 0.58)),
            (0, (0, 0.6, 0.42)),
        ),
    ),
    "gallium": Prototype(
        "C",
        (1.7, 1.0),
        (
            (0, (0, 0.155, 0.08)),
            (0, (0, 0.845, 0.92)),
            (0, (0, 0.345, 0.58)),
            (0, (0, 0.655, 0.42)),
        ),
    ),
    "uranium": Prototype("C", (2.06, 1.735), ((0, (0, 0.105, 0.25)), (0, (0, 0.895, 0.75)))),
    "iodine": Prototype(
        "C",
        (0.659, 1.348),
        (
            (0, (0, 0.15, 0.117)),
            (0, (0, 0.85, 0.883)),
            (0, (0, 0.35, 0.617)),
            (0, (0, 0.65, 0.383)),
        ),
    ),
}
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
