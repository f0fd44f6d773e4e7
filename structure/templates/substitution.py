"""Structures by substitution, for the template step: a known crystal takes a candidate's elements.

In: a template structure and a composition of the same stoichiometry. Out: the template with its
elements replaced and its volume rescaled, or the reason why it cannot be (AGD, structure
prediction: nearest formula by earth mover's distance, then element substitution).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from structure.composition import N_ELEMENTS, formulas_of, reduce
from structure.elements import ELEMENTS, INDEX
from structure.errors import Rejection
from structure.templates.emd import POSITION

if TYPE_CHECKING:
    from pymatgen.core import Structure

MINIMUM_RATIO = 0.70
"""Chosen: least distance between two atoms over the sum of their covalent radii. 99.7 % of
Materials Project structures keep it (docs/results/substitution.md)."""

MAXIMUM_EMD = 5.0
"""Chosen: farthest template, in places on the modified Pettifor scale. Of known compounds predicted
from templates 4 to 5 away, volumes inside `VOLUME_SCALES`, three in four get a volume within 20 %
and 28 % the right structure; farther away two in three or fewer (docs/results/substitution.md)."""

FAR_EMD = 2.0
"""Chosen: beyond it little more than one known compound in three gets the right structure, so that
reports warn."""

VOLUME_SCALES = (0.75, 1.35)
"""Chosen: least and greatest volume over the template's. Outside, the rule of radii overshoots:
cells are compressed or blown up (docs/results/substitution.md)."""

ANY_VOLUME = (0.0, float("inf"))

_NEIGHBOUR_CUTOFF = 4.5  # Å; at MINIMUM_RATIO the two largest atoms (Fr, Cs) are 3.6 Å apart


@dataclass(frozen=True)
class Substituted:
    """A candidate's structure.

    Attributes
    ----------
    structure : pymatgen.core.Structure
    assignment : dict of str to str
        Template element to candidate element, by the template's order of elements.
    cost : int
        Total distance of the replaced elements on the modified Pettifor scale, each once.
    volume_scale : float
        New volume over the template's.
    closest_ratio : float
        Least distance between atoms over the sum of their covalent radii; infinity if no two
        atoms are within 4.5 Å.
    """

    structure: Structure
    assignment: dict[str, str]
    cost: int
    volume_scale: float
    closest_ratio: float


@lru_cache(maxsize=1)
def covalent_radii() -> np.ndarray:
    """Return covalent radii (Cordero et al., Dalton Trans. 2008, 2832), as shipped with ASE.

    Returns
    -------
    ndarray of float64, shape (103,)
        Å; NaN beyond Cm, where the table ends.
    """
    from ase.data import covalent_radii as radii

    table = np.full(N_ELEMENTS, np.nan)
    table[:96] = radii[1:97]
    return table


def assign(template_counts: np.ndarray, counts_row: np.ndarray) -> dict[int, int] | None:
    """Choose which element of a candidate replaces which of a template.

    Elements of equal amount are exchanged so that the total distance on the modified Pettifor
    scale is least; among equal totals the assignment that leaves most elements in place is taken,
    and then the one that keeps the order of the scale.

    Parameters
    ----------
    template_counts, counts_row : ndarray of int, shape (103,)

    Returns
    -------
    dict of int to int, or None
        Template column to candidate column; None if the stoichiometries differ.
    """
    from scipy.optimize import linear_sum_assignment

    old, new = reduce(template_counts[None])[0], reduce(counts_row[None])[0]
    if not np.array_equal(np.sort(old), np.sort(new)):
        return None
    chosen: dict[int, int] = {}
    for amount in np.unique(old[old > 0]):
        a, b = np.flatnonzero(old == amount), np.flatnonzero(new == amount)
        a, b = a[np.argsort(POSITION[a])], b[np.argsort(POSITION[b])]
        moves = np.abs(POSITION[a][:, None] - POSITION[b][None])
        cost = moves * (len(a) + 1) + (a[:, None] != b[None])
        rows, columns = linear_sum_assignment(cost)
        chosen.update(zip(a[rows].tolist(), b[columns].tolist(), strict=True))
    return chosen


def volume_scales(template_counts: np.ndarray, counts_row: np.ndarray) -> np.ndarray:
    """Return by what a composition changes the volume of templates of its stoichiometry.

    Parameters
    ----------
    template_counts : ndarray of int, shape (n, 103)
    counts_row : ndarray of int, shape (103,)

    Returns
    -------
    ndarray of float64, shape (n,)
        Cube of the ratio of mean covalent radii, as in `substitute`; NaN beyond Cm.
    """
    every = np.vstack([counts_row[None], template_counts]).astype(np.float64)
    radii = covalent_radii()
    unknown = np.isnan(radii)
    means = every @ np.where(unknown, 0.0, radii) / every.sum(axis=1)
    means[(every[:, unknown] > 0).any(axis=1)] = np.nan
    result: np.ndarray = (means[0] / means[1:]) ** 3
    return result


def substitute(
    template: Structure,
    counts_row: np.ndarray,
    *,
    minimum_ratio: float = MINIMUM_RATIO,
    volume_limits: tuple[float, float] = VOLUME_SCALES,
) -> Substituted | Rejection:
    """Give a template the elements of a candidate.

    The volume is multiplied by the cube of the ratio of the mean covalent radii (chosen): on known
    compounds this is off by 7 % on average, against 9 % for the template's own volume and 12 % for
    pymatgen's data-mined predictor (docs/results/substitution.md).

    Parameters
    ----------
    template : pymatgen.core.Structure
        Ordered.
    counts_row : ndarray of int, shape (103,)
    minimum_ratio : float, optional
        See `MINIMUM_RATIO`.
    volume_limits : (float, float), optional
        Least and greatest volume over the template's; see `VOLUME_SCALES`.

    Returns
    -------
    Substituted or Rejection
        Codes: ``stoichiometry`` (the template has another), ``radius`` (an element beyond Cm),
        ``volume-scale`` (the volume would change too much), ``too-close`` (two atoms nearer than
        the limit).
    """
    columns = np.array([INDEX[site.specie.symbol] for site in template], dtype=np.intp)
    counts = np.bincount(columns, minlength=N_ELEMENTS)
    chosen = assign(counts, counts_row)
    formula = formulas_of(reduce(counts_row[None]))[0]
    if chosen is None:
        return Rejection(
            "stoichiometry",
            f"{template.composition.reduced_formula} has another stoichiometry than {formula}",
        )
    radii = covalent_radii()
    for column in (*chosen, *chosen.values()):
        if np.isnan(radii[column]):
            return Rejection("radius", f"{formula}: {ELEMENTS[column]} has no covalent radius")
    replaced = np.array([chosen[c] for c in columns.tolist()], dtype=np.intp)
    scale = float((radii[replaced].mean() / radii[columns].mean()) ** 3)
    if not volume_limits[0] <= scale <= volume_limits[1]:
        return Rejection(
            "volume-scale",
            f"{formula} in the structure of {template.composition.reduced_formula} would have "
            f"{scale:.2f} of its volume; the limits are {volume_limits[0]:g} and "
            f"{volume_limits[1]:g}",
        )
    structure = _rebuilt(template, replaced, scale)
    ratio, pair = closest(structure)
    if ratio < minimum_ratio:
        return Rejection("too-close", _too_close(formula, structure, pair, minimum_ratio))
    return Substituted(
        structure=structure,
        assignment={ELEMENTS[a]: ELEMENTS[b] for a, b in chosen.items()},
        cost=int(sum(abs(POSITION[a] - POSITION[b]) for a, b in chosen.items())),
        volume_scale=scale,
        closest_ratio=ratio,
    )


def _rebuilt(template: Structure, columns: np.ndarray, volume_scale: float) -> Structure:
    """Build the template's geometry with other elements and volume."""
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(template.lattice.matrix * np.cbrt(volume_scale))
    symbols = [ELEMENTS[c] for c in columns.tolist()]
    return Structure(lattice, symbols, template.frac_coords)


def closest(structure: Structure) -> tuple[float, tuple[int, int, float]]:
    """Find the two atoms that are nearest in units of their covalent radii.

    Returns
    -------
    ratio : float
        Distance over the sum of the radii; infinity if no atoms are within 4.5 Å.
    pair : (int, int, float)
        Their sites and their distance in Å.
    """
    centres, neighbours, _, lengths = structure.get_neighbor_list(_NEIGHBOUR_CUTOFF)
    if not len(lengths):
        return float("inf"), (0, 0, float("inf"))
    radii = covalent_radii()[[INDEX[site.specie.symbol] for site in structure]]
    ratios = np.round(lengths / (radii[centres] + radii[neighbours]), 9)
    first = np.lexsort((neighbours, centres, ratios))[0]
    pair = (int(centres[first]), int(neighbours[first]), float(lengths[first]))
    return float(ratios[first]), pair


def _too_close(
    formula: str, structure: Structure, pair: tuple[int, int, float], minimum_ratio: float
) -> str:
    """Name the pair, the distance and the limit."""
    a, b = (structure[i].specie.symbol for i in pair[:2])
    limit = minimum_ratio * float(covalent_radii()[[INDEX[a], INDEX[b]]].sum())
    return (
        f"{formula}: {a} and {b} would be {pair[2]:.2f} Å apart; the limit is {limit:.2f} Å "
        f"({minimum_ratio:g} of their covalent radii)"
    )
