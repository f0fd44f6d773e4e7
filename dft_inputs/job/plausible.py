"""Numbers no crystal has: serves collect.

In: gaps and energies as calculations gave them, by PBE. Out: nothing, or codes 250 to 270 with a
sentence. What lies outside these limits is a file that was damaged or misread, or a calculation
that went astray, whatever its settings say; no label is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from structure.errors import Rejection

NOBLE_GASES = frozenset("He Ne Ar Kr Xe Rn".split())

WIDEST_GAP_EV = 12.0
"""PBE gives CF4 10.3 eV, H2 9.7 and LiF 9.6, the widest of OQMD's and the Materials Project's
compounds (chosen above them)."""

WIDEST_GAP_OF_NOBLE_GASES_EV = 20.0
"""PBE gives solid helium up to 17.9 eV, neon 11.8 (Materials Project)."""

LOWEST_ENERGY_EV_PER_ATOM = -20.0
"""Energies count from free atoms without spin. Tungsten has -13 eV/atom, the 4f and 5f elements
with most spin -14 (chosen below them)."""

HIGHEST_ENERGY_EV_PER_ATOM = -0.1
"""Mercury, the least bound element but for noble gases, has -0.3 eV/atom (chosen above it)."""

HIGHEST_ENERGY_OF_NOBLE_GASES_EV_PER_ATOM = 0.1
"""They are bound by less than a calculation's noise (up to 0.02 eV/atom above zero, measured)."""

LOWEST_FORMATION_ENERGY_EV_PER_ATOM = -5.5
"""Thorium and rare-earth oxides and fluorides reach -4.6 eV/atom (Materials Project)."""

HIGHEST_FORMATION_ENERGY_EV_PER_ATOM = 2.0
"""3 in 1,000 of the Materials Project's calculated entries lie above (chosen): a crystal that much
above its elements is as good as atoms apart."""

STATIC_FROM_RELAXED_EV_PER_ATOM = 0.1
"""A static step differs from the last one of the relaxation by mesh and basis: some 0.01 eV/atom
(chosen ten times that)."""


def implausible_gap(gap_eV: float, elements: Iterable[str]) -> Rejection | None:
    """Return code 250 when a gap is wider than any solid's."""
    noble = not NOBLE_GASES.isdisjoint(elements)
    widest = WIDEST_GAP_OF_NOBLE_GASES_EV if noble else WIDEST_GAP_EV
    if 0 <= gap_eV <= widest:
        return None
    return Rejection("250", f"a gap of {gap_eV:.2f} eV, where solids have 0 to {widest:g}")


def implausible_energy(energy_eV_per_atom: float, elements: Iterable[str]) -> Rejection | None:
    """Return code 260 when an energy is none of bound atoms."""
    highest = HIGHEST_ENERGY_EV_PER_ATOM
    if NOBLE_GASES.issuperset(elements):
        highest = HIGHEST_ENERGY_OF_NOBLE_GASES_EV_PER_ATOM
    if LOWEST_ENERGY_EV_PER_ATOM <= energy_eV_per_atom <= highest:
        return None
    limits = f"{LOWEST_ENERGY_EV_PER_ATOM:g} to {highest:g}"
    return Rejection("260", f"{energy_eV_per_atom:.2f} eV/atom, where crystals have {limits}")


def implausible_formation_energy(formation_energy_eV_per_atom: float) -> Rejection | None:
    """Return code 260 when a formation energy is beyond any crystal's."""
    lowest, highest = LOWEST_FORMATION_ENERGY_EV_PER_ATOM, HIGHEST_FORMATION_ENERGY_EV_PER_ATOM
    if lowest <= formation_energy_eV_per_atom <= highest:
        return None
    value = f"a formation energy of {formation_energy_eV_per_atom:+.2f} eV/atom"
    return Rejection("260", f"{value}, where crystals have {lowest:g} to {highest:g}")


def implausible_change(relaxed_eV_per_atom: float, static_eV_per_atom: float) -> Rejection | None:
    """Return code 270 when a static energy is not that of the relaxed crystal."""
    change = static_eV_per_atom - relaxed_eV_per_atom
    if math.isfinite(change) and abs(change) <= STATIC_FROM_RELAXED_EV_PER_ATOM:
        return None
    return Rejection("270", f"the energy is {change:+.3f} eV/atom off that of the relaxation")
