"""Units of energy: serves ingest and oracles, where other people's tables are taken in.

In: a unit as a configuration spells it (``"meV"``, ``"kJ/mol/atom"``), or a column's name that may
hold one. Out: the factor to eV and whether the value counts per atom or per formula as written.
"""

from __future__ import annotations

import difflib
import re
from typing import Literal, NamedTuple

# CODATA 2022: 1 eV = 96.48533212331 kJ/mol = 8065.543937349212 cm-1; 1 Hartree = 27.211386245981
# eV.
_KJ_PER_MOL = 1.0 / 96.48533212331
IN_EV: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "kJ/mol": _KJ_PER_MOL,
    "kcal/mol": 4.184 * _KJ_PER_MOL,
    "Ry": 27.211386245981 / 2,
    "Hartree": 27.211386245981,
    "cm-1": 1.0 / 8065.543937349212,
}
"""Energy units by name, each in eV."""

# Spellings of the units in the names of columns; the letters of "Ha" and "K" are too common.
_IN_NAMES = {
    "eV": "eV",
    "meV": "meV",
    "kJ/mol": r"kJ[ _.·*]?(?:/|per|_)?[ _]?mol(?:e?(?:\^?-1|⁻¹|−1))?",
    "kcal/mol": r"kcal[ _.·*]?(?:/|per|_)?[ _]?mol(?:e?(?:\^?-1|⁻¹|−1))?",
    "Ry": "Ry|Rydbergs?",
    "Hartree": "Hartrees?|a\\.u\\.",
    "cm-1": r"cm\^?\{?[-−]1\}?|cm⁻¹|1/cm",
}
_NAMED = re.compile(
    r"(?<![^\W\d_])(?:"
    + "|".join(f"(?P<u{i}>{spelt})" for i, spelt in enumerate(_IN_NAMES.values()))
    + r")(?![^\W\d_])",
    re.IGNORECASE,
)
_BASIS = re.compile(r"(?:/|per)[ _]?(atom|f\.?u\b|formula|cell)", re.IGNORECASE)

LARGEST_TYPICAL_EV = 20.0
"""Chosen: no table's median gap (LiF: 14 eV) or formation energy per atom comes near it, so a
median above it betrays another unit, or total energies."""


class EnergyUnit(NamedTuple):
    """How a number in a table becomes eV.

    Attributes
    ----------
    factor : float
        eV per unit.
    per : {"total", "atom", "formula"}
        What one value counts for; ``"formula"`` values are divided by the number of atoms in the
        formula as the table writes it.
    """

    factor: float
    per: Literal["total", "atom", "formula"]


def gap_unit(name: str) -> EnergyUnit:
    """Return the unit of a band gap.

    Raises
    ------
    ValueError
        If the name is unknown; the message names the nearest known one.
    """
    return _look_up(name, {unit: EnergyUnit(factor, "total") for unit, factor in IN_EV.items()})


def energy_unit(name: str) -> EnergyUnit:
    """Return the unit of a formation energy, which must say ``/atom`` or ``/formula``.

    Raises
    ------
    ValueError
        If the name is unknown; the message names the nearest known one.

    Examples
    --------
    >>> energy_unit("meV/atom")
    EnergyUnit(factor=0.001, per='atom')
    """
    known: dict[str, EnergyUnit] = {}
    for unit, factor in IN_EV.items():
        known[f"{unit}/atom"] = EnergyUnit(factor, "atom")
        known[f"{unit}/formula"] = EnergyUnit(factor, "formula")
    return _look_up(name, known)


def units_named_in(text: str) -> frozenset[str]:
    """Return the units of energy that a column's name or a line of units holds.

    Examples
    --------
    >>> sorted(units_named_in("Eg (meV)")), sorted(units_named_in("band_gap"))
    (['meV'], [])
    """
    units = list(_IN_NAMES)
    return frozenset(units[(m.lastindex or 1) - 1] for m in _NAMED.finditer(text))


def basis_named_in(text: str) -> Literal["atom", "formula", ""]:
    """Return what a column's name says that one value counts for; empty where it says nothing.

    Examples
    --------
    >>> basis_named_in("E_form (eV/atom)"), basis_named_in("e_form_per_cell")
    ('atom', 'formula')
    """
    found = _BASIS.search(text)
    if found is None:
        return ""
    return "atom" if found.group(1).lower() == "atom" else "formula"


def _look_up(name: str, known: dict[str, EnergyUnit]) -> EnergyUnit:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown unit {name!r}{hint} (known: {', '.join(known)})")
