"""Physical quantities of other people's tables: what a number can be, and in which unit.

In: the entries of a column, its name and the unit that a configuration declares. Out: numbers in
the quantity's own unit, and a reason for each entry that is none. A column whose name or numbers
contradict the declared unit raises: nothing is converted on a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import field_validator

from structure.errors import DataError, Rejection
from structure.records import Settings
from structure.sources.numbers import to_numbers
from structure.sources.units import (
    basis_named_in,
    is_logarithm_named,
    unit_named,
    units_named_in,
    units_of,
)

_FIRST = 3
_UNIT_LENGTH = 24


@dataclass(frozen=True)
class Quantity:
    """A property of a compound, and what its values can be.

    Any property of a table can be read by its name and unit alone; with the bounds, mistakes are
    found as well.

    Attributes
    ----------
    name : str
        As settings spell it.
    unit : str
        That the product calculates in; empty for a pure number.
    words : str
        For a person, in a sentence; default: the name with blanks.
    short : str
        The same in one word, also in codes of rejections (``negative-gap``); default: `words`.
    plural : str
        Several of them; default: ``values of ...``.
    positive : bool
        Whether no value can lie below zero.
    largest : float or None
        No single value lies above it.
    median : tuple of float
        Below and above which the median magnitude of a table's values (those above zero, of a
        positive quantity) betrays another unit. The lower bound holds where another unit than
        `unit` is declared.
    typical : tuple of float or None
        Between which the median of most tables lies, to name the likely unit.
    hint : str
        What else to say where the median betrays another unit.
    """

    name: str
    unit: str
    words: str = ""
    short: str = ""
    plural: str = ""
    positive: bool = False
    largest: float | None = None
    median: tuple[float, float] = (0.0, np.inf)
    typical: tuple[float, float] | None = None
    hint: str = ""

    @property
    def noun(self) -> str:
        """What it is called in a sentence."""
        return self.words or self.name.replace("_", " ")

    @property
    def word(self) -> str:
        """What one value is called."""
        return self.short or self.noun


BAND_GAP = Quantity(
    name="band_gap",
    unit="eV",
    short="gap",
    plural="gaps",
    positive=True,
    # Chosen: above it, one gap is a misprint or in another unit (solid helium and neon: 20 to 22).
    largest=30.0,
    # Chosen: no table's median gap is as large (LiF: 14 eV); below, eV were declared as meV.
    median=(0.03, 20.0),
    typical=(0.1, 15.0),
)
FORMATION_ENERGY = Quantity(
    name="formation_energy",
    unit="eV/atom",
    plural="formation energies",
    # Chosen: no table's median formation energy comes near it; total energies do.
    median=(0.0, 20.0),
    hint=", e.g. to meV/atom or eV/formula; total energies are no formation energies",
)
QUANTITIES: Mapping[str, Quantity] = {q.name: q for q in (BAND_GAP, FORMATION_ENERGY)}
"""Quantities whose bounds are known, by name."""


def quantity(name: str, unit: str = "") -> Quantity:
    """Return the quantity of a name: a known one, or one of which nothing but the unit is known."""
    return QUANTITIES.get(name) or Quantity(name, unit)


class UnitMap(Settings):
    """Units of a table's numbers."""

    value: str | None = None
    """Unit of the property that is sought, where its column is the ``value``; None: its own."""
    band_gap: str = "eV"
    """eV, meV, kJ/mol, kcal/mol, Ry, Hartree or cm-1."""
    formation_energy: str = "eV/atom"
    """The same with ``/atom`` or ``/formula``."""

    @field_validator("band_gap")
    @classmethod
    def _gap_known(cls, name: str) -> str:
        unit_named(name, BAND_GAP.unit)
        return name

    @field_validator("formation_energy")
    @classmethod
    def _energy_known(cls, name: str) -> str:
        unit_named(name, FORMATION_ENERGY.unit)
        return name


@dataclass(frozen=True)
class ValueColumn:
    """A column of values that is wanted of a table.

    Attributes
    ----------
    quantity : Quantity
    column : str
        As the table names it.
    unit : str
        As declared.
    setting, unit_setting : str
        Where column and unit are declared, for messages: ``"'units.band_gap' of source 'mine'"``.
    required : bool
        A record without a value is turned down, and a bad entry beside it takes the value away.

    Raises
    ------
    ValueError
        If the unit is unknown, or measures something else.
    """

    quantity: Quantity
    column: str
    unit: str
    setting: str
    unit_setting: str
    required: bool = False

    def __post_init__(self) -> None:
        unit_named(self.unit, self.quantity.unit)

    def check_named(self, path: Path, first: Sequence[object]) -> None:
        """Raise if the column's name, or a line of units below it, names another unit.

        Parameters
        ----------
        path : Path
        first : sequence of object
            Entries of the first rows.
        """
        cells = [c for c in first[:_FIRST] if isinstance(c, str) and len(c) <= _UNIT_LENGTH]
        logarithm = unit_named(self.unit, self.quantity.unit).logarithm
        wanted = self.unit.removesuffix("/atom").removesuffix("/formula")
        wanted = wanted.removeprefix("log10(").removesuffix(")") if logarithm else wanted
        per_atom = self.quantity.unit.endswith("/atom")
        for text in (self.column, *cells):
            named = units_named_in(text)
            basis = basis_named_in(text) if per_atom else ""
            if named and wanted not in named:
                says = " or ".join(sorted(named))
            elif basis and not self.unit.endswith(f"/{basis}"):
                says = "values per atom" if basis == "atom" else "values per formula or cell"
            elif is_logarithm_named(text) and not logarithm:
                says = "decimal logarithms"
            else:
                continue
            raise DataError(
                f"column {self.column!r} says {says} ({text!r}), but {self.unit_setting} is "
                f"{self.unit}",
                where=path,
                fix=f"Set {self.unit_setting} to the unit of the column, or rename the column.",
            )


def read_values(
    entries: Sequence[object], atoms: np.ndarray, column: ValueColumn, path: Path
) -> tuple[np.ndarray, dict[int, Rejection]]:
    """Turn the entries of a column into numbers in its quantity's unit.

    Parameters
    ----------
    entries : sequence of object, length n
    atoms : ndarray of int, shape (n,)
        Atoms of each formula as written.
    column : ValueColumn
    path : Path
        The table, for messages.

    Returns
    -------
    values : ndarray of float64, shape (n,)
        NaN where there is none that can be used.
    bad : dict of int to Rejection
        Codes ``value`` (no number), ``negative-...`` and ``large-...`` with the quantity's word.

    Raises
    ------
    DataError
        If the numbers cannot be in the declared unit.
    """
    what = column.quantity
    unit = unit_named(column.unit, what.unit)
    numbers, bad = to_numbers(entries)
    with np.errstate(over="ignore"):
        values = 10.0**numbers * unit.factor if unit.logarithm else numbers * unit.factor
    if unit.per == "formula":
        values = values / atoms
    for i in np.flatnonzero(np.isinf(values)).tolist():
        bad[i] = Rejection("value", f"{entries[i]!r} is too large for {column.unit}")
        values[i] = np.nan
    _check_median(values, numbers, column, path)
    code = what.word.replace(" ", "-")
    if what.positive:
        for i in np.flatnonzero(values < 0).tolist():
            said = f"the {what.word} is {values[i]:g} {what.unit}, below zero"
            bad[i] = Rejection(f"negative-{code}", said)
    if what.largest is not None:
        for i in np.flatnonzero(values > what.largest).tolist():
            said = f"the {what.word} would be {values[i]:g} {what.unit}"
            none = f"no solid has more than {what.largest:g}"
            bad[i] = Rejection(f"large-{code}", f"{said}; {none}")
    values[list(bad)] = np.nan
    return values, bad


def _check_median(values: np.ndarray, numbers: np.ndarray, column: ValueColumn, path: Path) -> None:
    """Raise if the typical value cannot be in the declared unit."""
    what = column.quantity
    counted = values > 0 if what.positive else np.isfinite(values)
    if not counted.any():
        return
    lowest, highest = what.median
    median = float(np.median(np.abs(values[counted])))
    if median <= highest and (median >= lowest or column.unit == what.unit):
        return
    plural = what.plural or f"values of {what.noun}"
    if not what.positive:
        raise DataError(
            f"the values in column {column.column!r} cannot be {plural} in {column.unit}: their "
            f"median magnitude would be {median:.4g} {what.unit}",
            where=path,
            fix=f"Set {column.unit_setting}{what.hint or ' to the unit of the column'}.",
        )
    written = float(np.median(numbers[counted]))
    low, high = what.typical or (np.inf, np.inf)
    likely = [
        name
        for name, unit in units_of(what.unit).items()
        if not unit.logarithm and low <= written * unit.factor <= high
    ]
    hint = f"; they look like {' or '.join(likely)}" if likely else ""
    raise DataError(
        f"the {plural} in column {column.column!r} cannot be in {column.unit}: the median of those "
        f"above zero would be {median:.4g} {what.unit}{hint}",
        where=path,
        fix=f"Set {column.unit_setting} to the unit of the column.",
    )
