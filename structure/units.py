"""Units of energy: serves ingest, where tables of other people's making are taken in.

In: a unit as a configuration spells it (``"meV"``, ``"kJ/mol/atom"``). Out: the factor to eV and
whether the value counts per atom or per formula as written.
"""

from __future__ import annotations

import difflib
from typing import Literal, NamedTuple

# CODATA 2022: 1 eV = 96.48533212331 kJ/mol, 1 Hartree = 27.211386245981 eV.
_KJ_PER_MOL = 1.0 / 96.48533212331
IN_EV: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "kJ/mol": _KJ_PER_MOL,
    "kcal/mol": 4.184 * _KJ_PER_MOL,
    "Ry": 27.211386245981 / 2,
    "Hartree": 27.211386245981,
}
"""Energy units by name, each in eV."""


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


def _look_up(name: str, known: dict[str, EnergyUnit]) -> EnergyUnit:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown unit {name!r}{hint} (known: {', '.join(known)})")
