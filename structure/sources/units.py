"""Units: serves ingest, training and oracles, where other people's tables are taken in.

In: a unit as a configuration spells it (``"meV"``, ``"kJ/mol/atom"``, ``"log10(GPa)"``), or a
column's name that may hold one. Out: the factor to the unit that the product calculates in, whether
the value counts per atom or per formula as written, and whether it is a logarithm.
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

IN_GPA: dict[str, float] = {
    "GPa": 1.0,
    "MPa": 1e-3,
    "kbar": 0.1,
    "Mbar": 100.0,
    "Pa": 1e-9,
    "eV/Å3": 160.2176634,
}
"""Units of pressure and elastic moduli by name, each in GPa; 1 eV is 1.602176634e-19 J exactly."""

# Spellings of the units in the names of columns; the letters of "Ha" and "K" are too common.
_IN_NAMES = {
    "eV": "eV",
    "meV": "meV",
    "kJ/mol": r"kJ[ _.·*]?(?:/|per|_)?[ _]?mol(?:e?(?:\^?-1|⁻¹|−1))?",
    "kcal/mol": r"kcal[ _.·*]?(?:/|per|_)?[ _]?mol(?:e?(?:\^?-1|⁻¹|−1))?",
    "Ry": "Ry|Rydbergs?",
    "Hartree": "Hartrees?|a\\.u\\.",
    "cm-1": r"cm\^?\{?[-−]1\}?|cm⁻¹|1/cm",
    "GPa": "GPa",
    "MPa": "MPa",
    "kbar": "kbar",
    "Mbar": "Mbar",
    "Pa": "Pa",
}
_NAMED = re.compile(
    r"(?<![^\W\d_])(?:"
    + "|".join(f"(?P<u{i}>{spelt})" for i, spelt in enumerate(_IN_NAMES.values()))
    + r")(?![^\W\d_])",
    re.IGNORECASE,
)
_BASIS = re.compile(r"(?:/|per)[ _]?(atom|f\.?u\b|formula|cell)", re.IGNORECASE)
_LOGARITHM = re.compile(r"(?<![^\W\d_])(?:log_?10|lg)(?![^\W\d_])", re.IGNORECASE)


class Unit(NamedTuple):
    """How a number in a table becomes one in the unit that the product calculates in.

    Attributes
    ----------
    factor : float
        Of that unit, in one of this.
    per : {"total", "atom", "formula"}
        What one value counts for; ``"formula"`` values are divided by the number of atoms in the
        formula as the table writes it.
    logarithm : bool
        Whether the table gives the decimal logarithm of the number.
    """

    factor: float
    per: Literal["total", "atom", "formula"] = "total"
    logarithm: bool = False


def unit_named(name: str, wanted: str) -> Unit:
    """Return how a number in one unit becomes one in another.

    Parameters
    ----------
    name : str
        Of a table's numbers. A unit of energy per atom must say ``/atom`` or ``/formula``.
    wanted : str
        That the product calculates in: ``"eV"``, ``"eV/atom"``, ``"GPa"``, or any other, of which
        no conversion is known and which a table must have itself or as ``log10(...)``.

    Raises
    ------
    ValueError
        If the unit is unknown, or measures something else; the message names the nearest known one.

    Examples
    --------
    >>> unit_named("meV/atom", "eV/atom")
    Unit(factor=0.001, per='atom', logarithm=False)
    >>> unit_named("log10(kbar)", "GPa")
    Unit(factor=0.1, per='total', logarithm=True)
    """
    if name in (known := units_of(wanted)):
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown unit {name!r}{hint} (known: {', '.join(known)})")


def units_of(wanted: str) -> dict[str, Unit]:
    """Return, by name, the units that can be converted to one."""
    if wanted == "eV":
        return {unit: Unit(factor) for unit, factor in IN_EV.items()}
    if wanted == "eV/atom":
        known = {}
        for unit, factor in IN_EV.items():
            known[f"{unit}/atom"] = Unit(factor, "atom")
            known[f"{unit}/formula"] = Unit(factor, "formula")
        return known
    plain = IN_GPA if wanted == "GPa" else {wanted: 1.0}
    logarithms = {f"log10({unit})": Unit(f, logarithm=True) for unit, f in plain.items() if unit}
    return {**{unit: Unit(factor) for unit, factor in plain.items()}, **logarithms}


def units_named_in(text: str) -> frozenset[str]:
    """Return the units of energy and pressure that a column's name or a line of units holds.

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


def is_logarithm_named(text: str) -> bool:
    """Tell whether a column's name says that its values are decimal logarithms.

    Examples
    --------
    >>> is_logarithm_named("log10(K_VRH)"), is_logarithm_named("catalogue")
    (True, False)
    """
    return _LOGARITHM.search(text) is not None
