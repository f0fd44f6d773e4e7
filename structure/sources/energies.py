"""Values of other people's tables in eV: shared by ingest and the oracle that is a table.

In: the entries of a gap or energy column, its name and the unit that a configuration declares.
Out: numbers in eV or eV/atom, and a reason for each entry that is none. A column whose name or
numbers contradict the declared unit raises: nothing is converted on a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import field_validator

from structure.errors import DataError, Rejection
from structure.records import Settings
from structure.sources.numbers import to_numbers
from structure.sources.units import (
    IN_EV,
    LARGEST_TYPICAL_EV,
    basis_named_in,
    energy_unit,
    gap_unit,
    units_named_in,
)

LARGEST_GAP_EV = 30.0
"""Chosen: one gap above it is a misprint or in another unit (solid helium and neon: 20 to 22)."""

SMALLEST_MEDIAN_EV = 0.03
"""Chosen: a median of the non-zero gaps below it betrays eV declared as meV."""

_TYPICAL_GAPS_EV = (0.1, 15.0)
_FIRST = 3
_UNIT_LENGTH = 24


class UnitMap(Settings):
    """Units of a table's numbers.

    Attributes
    ----------
    band_gap : str
        eV, meV, kJ/mol, kcal/mol, Ry, Hartree or cm-1.
    formation_energy : str
        The same with ``/atom`` or ``/formula``.
    """

    band_gap: str = "eV"
    formation_energy: str = "eV/atom"

    @field_validator("band_gap")
    @classmethod
    def _gap_known(cls, name: str) -> str:
        gap_unit(name)
        return name

    @field_validator("formation_energy")
    @classmethod
    def _energy_known(cls, name: str) -> str:
        energy_unit(name)
        return name


@dataclass(frozen=True)
class Column:
    """A column of values.

    Attributes
    ----------
    path : Path
        The file, for messages.
    name : str
    unit : str
        As declared.
    setting : str
        Where it is declared, e.g. ``"'units.band_gap' of source 'mine'"``.
    """

    path: Path
    name: str
    unit: str
    setting: str

    def check_named(self, first: Sequence[object]) -> None:
        """Raise if the column's name, or a line of units below it, names another unit.

        Parameters
        ----------
        first : sequence of object
            Entries of the first rows.
        """
        cells = [c for c in first[:_FIRST] if isinstance(c, str) and len(c) <= _UNIT_LENGTH]
        for text in (self.name, *cells):
            named = units_named_in(text)
            basis = basis_named_in(text)
            wanted = self.unit.removesuffix("/atom").removesuffix("/formula")
            if named and wanted not in named:
                says = " or ".join(sorted(named))
            elif basis and "/" in self.unit and not self.unit.endswith(f"/{basis}"):
                says = "values per atom" if basis == "atom" else "values per formula or cell"
            else:
                continue
            raise DataError(
                f"column {self.name!r} says {says} ({text!r}), but {self.setting} is {self.unit}",
                where=self.path,
                fix=f"Set {self.setting} to the unit of the column, or rename the column.",
            )


def read_gaps(values: Sequence[object], column: Column) -> tuple[np.ndarray, dict[int, Rejection]]:
    """Turn entries of a gap column into eV.

    Returns
    -------
    gaps : ndarray of float64, shape (n,)
        NaN where there is none that can be used.
    bad : dict of int to Rejection
        Codes ``value`` (no number), ``negative-gap``, ``large-gap`` (above `LARGEST_GAP_EV`).

    Raises
    ------
    DataError
        If the gaps cannot be in the declared unit.
    """
    numbers, bad = to_numbers(values)
    gaps = numbers * gap_unit(column.unit).factor
    _check_median(gaps, numbers, column)
    for i in np.flatnonzero(gaps < 0).tolist():
        bad[i] = Rejection("negative-gap", f"the gap is {gaps[i]:g} eV, below zero")
    for i in np.flatnonzero(gaps > LARGEST_GAP_EV).tolist():
        bad[i] = Rejection(
            "large-gap",
            f"the gap would be {gaps[i]:g} eV; no solid has more than {LARGEST_GAP_EV:g}",
        )
    gaps[list(bad)] = np.nan
    return gaps, bad


def _check_median(gaps: np.ndarray, numbers: np.ndarray, column: Column) -> None:
    """Raise if the typical gap cannot be in the declared unit."""
    is_open = gaps > 0
    if not is_open.any():
        return
    median, written = float(np.median(gaps[is_open])), float(np.median(numbers[is_open]))
    too_small = median < SMALLEST_MEDIAN_EV and column.unit != "eV"
    if median <= LARGEST_TYPICAL_EV and not too_small:
        return
    low, high = _TYPICAL_GAPS_EV
    likely = [unit for unit, factor in IN_EV.items() if low <= written * factor <= high]
    hint = f"; they look like {' or '.join(likely)}" if likely else ""
    raise DataError(
        f"the gaps in column {column.name!r} cannot be in {column.unit}: the median of those above "
        f"zero would be {median:.4g} eV{hint}",
        where=column.path,
        fix=f"Set {column.setting} to the unit of the column.",
    )


def read_energies(
    values: Sequence[object], atoms: np.ndarray, column: Column
) -> tuple[np.ndarray, dict[int, Rejection]]:
    """Turn entries of a formation-energy column into eV/atom.

    Parameters
    ----------
    values : sequence of object, length n
    atoms : ndarray of int, shape (n,)
        Atoms of each formula as written.
    column : Column

    Returns
    -------
    energies : ndarray of float64, shape (n,)
    bad : dict of int to Rejection
        Code ``value``.

    Raises
    ------
    DataError
        If the values cannot be formation energies in the declared unit.
    """
    unit = energy_unit(column.unit)
    energies, bad = to_numbers(values)
    energies *= unit.factor
    if unit.per == "formula":
        energies /= atoms
    known = np.abs(energies[np.isfinite(energies)])
    if len(known) and float(np.median(known)) > LARGEST_TYPICAL_EV:
        raise DataError(
            f"the values in column {column.name!r} cannot be formation energies in {column.unit}: "
            f"their median magnitude would be {float(np.median(known)):.4g} eV/atom",
            where=column.path,
            fix=f"Set {column.setting}, e.g. to meV/atom or eV/formula; total energies are no "
            "formation energies.",
        )
    return energies, bad
