"""What a CIF says of its own composition: serves the reading of crystal structures.

In: a data block, and the atoms read from it. Out: whether they make its chemical formula, as many
times as the cell holds it. A file whose atoms are not its compound would label another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from structure.composition import counts_from, formulas_of
from structure.crystals.cif_blocks import Block
from structure.crystals.cif_sites import Site, number
from structure.elements import INDEX
from structure.errors import Rejection
from structure.formulas.formula import parse_formula

if TYPE_CHECKING:
    from pymatgen.core import Structure

SAME_DENSITY = 0.10
"""Relative difference to the density a file states (chosen: missing hydrogens make a smaller one,
a missing formula unit a larger one)."""

SAME_RATIO = 0.01
"""Relative difference of amounts to those of a formula with decimals (chosen: they are rounded)."""

_FORMULAS = tuple(f"_chemical_formula_{kind}" for kind in ("sum", "structural", "iupac", "moiety"))
_CHARGE = re.compile(r"\s\d*[+-](?=[\s,)]|$)")
_AMOUNT = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+)?(?:\(\d+\))?")


@dataclass(frozen=True)
class Stated:
    """What a block says of its contents.

    Attributes
    ----------
    formula : str
        As written; empty where it says nothing.
    amounts : dict of str to float
        Of each element in the formula.
    units : float or None
        Formula units in the cell (Z).
    density : float or None
        g/cm3.
    """

    formula: str
    amounts: dict[str, float]
    units: float | None
    density: float | None


def stated_contents(block: Block) -> Stated | Rejection:
    """Read what a block says of its composition.

    Returns
    -------
    Stated or Rejection
        Code ``cif-formula`` where the sum formula cannot be read.
    """
    units, density = (
        _positive(block.first(name))
        for name in ("_cell_formula_units_z", "_exptl_crystal_density_diffrn")
    )
    for name in _FORMULAS:
        if (formula := block.first(name)) is None:
            continue
        amounts = amounts_of(formula) or _amounts_in_groups(formula)
        if amounts:
            return Stated(formula, amounts, units, density)
        if name == _FORMULAS[0]:
            return Rejection("cif-formula", f"its formula {formula!r} is not understood")
    return Stated("", {}, units, density)


def _positive(text: str | None) -> float | None:
    try:
        value = number(text or "")
    except ValueError:
        return None
    return value if value > 0 else None


def amounts_of(formula: str) -> dict[str, float] | None:
    """Read a sum formula, with or without blanks: ``Al2 Mg O4``, ``AL2 MG O4``, ``C1.5(2) D3``.

    Returns
    -------
    dict of str to float, or None
        Deuterium and tritium count as hydrogen; None where it is no sum formula.
    """
    amounts: dict[str, float] = {}
    words = re.sub(r"[,'\"]", " ", formula).split()
    if len(words) > 1 and formula == formula.upper():
        words = [word[:2].title() + word[2:] for word in words]  # AL2 MG O4
    for word in words:
        parts = list(_AMOUNT.finditer(word))
        if "".join(part.group() for part in parts) != word:
            return None
        for part in parts:
            element = {"D": "H", "T": "H"}.get(part[1], part[1])
            if element not in INDEX:
                return None
            amounts[element] = amounts.get(element, 0.0) + float(part[2] or 1)
    return {element: n for element, n in amounts.items() if n > 0}


def _amounts_in_groups(formula: str) -> dict[str, float] | None:
    """Read a formula of groups or ions: ``Mg (O H)2``, ``Na 1+, O H 1-``, ``Cu 2+, 2(H2 O)``."""
    amounts: dict[str, float] = {}
    for part in _CHARGE.sub("", formula).split(","):
        group = part.strip().lstrip("0123456789")
        times = part.strip().removesuffix(group)
        parsed = parse_formula(group)
        if isinstance(parsed, Rejection):
            return None
        for element, atoms in parsed.items():
            amounts[element] = amounts.get(element, 0.0) + atoms * int(times or 1)
    return amounts


def formula_differs(
    sites: Sequence[Site], multiplicities: Sequence[int], stated: Stated
) -> Rejection | None:
    """Return code ``cif-formula`` where the atoms of a cell are not a block's own formula."""
    cell = _counted(sites, multiplicities)
    made, own = _written(cell), f"its own formula is {stated.formula}"
    if any(site.hydrogens > 0 for site in sites):
        said = own if stated.formula else "it has no formula"
        why = f"its atoms make {made} and hydrogens that have no place; {said}"
        return Rejection("cif-formula", why)
    if not stated.formula or _same_amounts(cell, stated.amounts):
        return None
    return Rejection("cif-formula", f"its atoms make {made}; {own}")


def _same_amounts(cell: dict[str, int], amounts: dict[str, float]) -> bool:
    """Return whether a cell is a multiple of a formula; one of whole numbers exactly."""
    if set(cell) != set(amounts):
        return False
    ratios = np.array([cell[element] / amount for element, amount in amounts.items()])
    exact = all(float(amount).is_integer() for amount in amounts.values())
    allowed = 1e-9 if exact else SAME_RATIO
    return bool(np.ptp(ratios) <= allowed * ratios.mean())


def _written(cell: dict[str, int]) -> str:
    return formulas_of(counts_from([cell]))[0]


def confirmed(structure: Structure, stated: Stated) -> bool | None:
    """Return whether a file's formula units and density say that a cell is complete.

    None where it has neither, or they disagree.
    """
    said = {_units_agree(structure, stated), _density_agrees(structure, stated)} - {None}
    return said.pop() if len(said) == 1 else None


def _units_agree(structure: Structure, stated: Stated) -> bool | None:
    """Return whether the cell holds Z formulas; None where the formula may be that of the cell.

    pymatgen writes it so, and counts half as many units of an element whose molecule has two atoms.
    """
    if not stated.formula or stated.units is None:
        return None
    times = len(structure) / sum(stated.amounts.values())
    if abs(times / stated.units - 1) < SAME_RATIO:
        return True
    divisor = reduce(gcd, map(round, structure.composition.get_el_amt_dict().values()))
    halved = len(stated.amounts) == 1 and stated.units == divisor // 2
    may_be_cells = halved or divisor % stated.units == 0
    return None if abs(times - 1) < SAME_RATIO and may_be_cells else False


def _density_agrees(structure: Structure, stated: Stated) -> bool | None:
    if stated.density is None:
        return None
    return abs(float(structure.density) / stated.density - 1) < SAME_DENSITY


def contradiction(structure: Structure, stated: Stated) -> str:
    """Return how the numbers of a file differ from a cell that `confirmed` denies."""
    cell = {e: round(n) for e, n in structure.composition.get_el_amt_dict().items()}
    times = len(structure) / (sum(stated.amounts.values()) or len(structure))
    said = []
    if stated.formula and stated.units:
        said.append(f"{stated.units:g} formula units")
    if stated.density:
        said.append(f"{stated.density:g} g/cm3")
    return (
        f"its cell holds {_written(cell)}, {times:g} times its own formula "
        f"{stated.formula or _written(cell)}, and {float(structure.density):.3g} g/cm3; "
        f"it says {' and '.join(said)}"
    )


def _counted(sites: Sequence[Site], multiplicities: Sequence[int]) -> dict[str, int]:
    """Return how many atoms of each element the cell holds."""
    cell: dict[str, int] = {}
    for site, times in zip(sites, multiplicities, strict=True):
        cell[site.element] = cell.get(site.element, 0) + times
    return cell
