"""One way to read compositions and values of other people's tables: ingest, training and oracles.

In: a source and a `TableSchema`: the columns that are wanted, their units, and where each is
declared. Out: `TableRows`: reduced compositions with values in the product's units, and a code and
a sentence for each record or value that cannot be used. What makes all of it useless raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from structure.composition import ParsedFormulas, parse_formulas
from structure.errors import DataError, Rejection
from structure.sources.quantities import ValueColumn, read_values
from structure.sources.tables import Format, SourceTable, read_source

if TYPE_CHECKING:
    from pymatgen.core import Structure

SHOWN = 200
"""Chosen: most characters of a record's text that are kept beside its rejection."""


@dataclass(frozen=True)
class TableSchema:
    """What is wanted of a table.

    Attributes
    ----------
    formula : str
        Column of formulas; a CIF folder or an ASE database answers it from the structures.
    id : str or None
        Column of names; for a CIF folder, the property table's column of file names.
    values : tuple of ValueColumn
        Each quantity at most once.
    formula_setting, id_setting : str
        Where those columns are declared, for messages.
    round_fractions : bool
        Take fractional formulas in as the nearest whole-number ratio.
    rounding : str
        How that is asked for, for messages; empty where it cannot be.
    """

    formula: str = "formula"
    id: str | None = None
    values: tuple[ValueColumn, ...] = ()
    formula_setting: str = "'columns.formula'"
    id_setting: str = "'columns.id'"
    round_fractions: bool = False
    rounding: str = ""

    def columns(self) -> dict[str, str]:
        """Return the columns to read, by purpose."""
        named = {"formula": self.formula, **{v.quantity.name: v.column for v in self.values}}
        return named if self.id is None else {**named, "id": self.id}

    def in_its_words(self, error: DataError) -> DataError:
        """Return an error of a reader with the settings that this schema was declared by."""
        settings = {"formula": self.formula_setting, "id": self.id_setting}
        settings |= {v.quantity.name: v.setting for v in self.values}
        fix = error.fix or ""
        for purpose, setting in settings.items():
            fix = fix.replace(f"'columns.{purpose}'", setting)
        return type(error)(error.what, where=error.where, fix=fix or None)


class Refused(NamedTuple):
    """One record, or one value, that was not taken in: where it stands, its text, and why."""

    record: int
    text: str
    why: Rejection


@dataclass(frozen=True)
class TableRows:
    """What a source gave.

    Attributes
    ----------
    path : Path
    counts : ndarray of int16, shape (n, 103)
        Reduced compositions of every record whose formula parses.
    cell_max, cell_atoms : ndarray of intp, shape (n,)
        Largest count of an element, and atoms, in the formula as written.
    values : dict of str to ndarray of float64, shape (n,)
        By the quantity's name, in its unit; NaN where there is none.
    record : ndarray of int64, shape (n,)
        Where each stands in the source, from 1.
    ids : list of str, length n
        As the source names the records.
    refused : tuple of Refused
    total : int
        TableRows in the source.
    structures : list of Structure
        Of every record that could be read, where asked for; empty otherwise.
    structure_ids : list of str
    notes : tuple of str
        What the reader found out by itself: encoding, separator, lines above the header.
    """

    path: Path
    counts: np.ndarray
    cell_max: np.ndarray
    cell_atoms: np.ndarray
    values: dict[str, np.ndarray]
    record: np.ndarray
    ids: list[str]
    refused: tuple[Refused, ...]
    total: int
    structures: list[Structure] = field(default_factory=list)
    structure_ids: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.counts)


def read_by_schema(
    path: Path,
    schema: TableSchema,
    *,
    format: Format = "auto",
    properties: str | None = None,
    with_structures: bool = False,
) -> TableRows:
    """Read a source.

    Parameters
    ----------
    path : Path
    schema : TableSchema
    format, properties, with_structures
        As in `structure.sources.tables.read_source`.

    Raises
    ------
    DataError
        If the source cannot be read, lacks a column, has no usable formula or none of a required
        value, or has numbers that cannot be in the unit that is declared.
    """
    try:
        table = read_source(
            path,
            schema.columns(),
            format=format,
            properties=properties,
            with_structures=with_structures,
        )
    except DataError as error:
        raise schema.in_its_words(error) from error
    formulas = table.columns["formula"]
    parsed = parse_formulas(formulas, round_fractions=schema.round_fractions)
    refused = [Refused(*r) for r in table.rejections]
    refused += [Refused(table.records[i], t[:SHOWN], why) for i, t, why in parsed.rejections]
    _check_capitals(formulas, parsed, path)
    if not len(parsed.rows):
        raise _without_formula(path, schema, parsed, refused)
    values, bad = _values(path, schema, table, parsed)
    ids = [str(i) for i in table.columns.get("id", table.records)]
    return TableRows(
        path=path,
        counts=parsed.counts,
        cell_max=parsed.cell_max,
        cell_atoms=parsed.cell_atoms,
        values=values,
        record=np.array(table.records, dtype=np.int64)[parsed.rows],
        ids=[ids[i] for i in parsed.rows.tolist()],
        refused=(*refused, *bad),
        total=len(table.records) + len(table.rejections),
        structures=table.structures,
        structure_ids=ids if table.structures else [],
        notes=table.notes,
    )


def _values(
    path: Path, schema: TableSchema, table: SourceTable, parsed: ParsedFormulas
) -> tuple[dict[str, np.ndarray], list[Refused]]:
    """Return the values of the parsed records by quantity, and the entries that are none."""
    values: dict[str, np.ndarray] = {}
    refused: list[Refused] = []
    spoilt: set[int] = set()
    for column in schema.values:
        what = column.quantity
        entries = table.columns[what.name]
        column.check_named(path, entries)
        entries = [entries[i] for i in parsed.rows]
        values[what.name], bad = read_values(entries, parsed.cell_atoms, column, path)
        spoilt.update(bad)
        if column.required:
            none = Rejection("no-label", f"there is no {what.noun}")
            missing = np.flatnonzero(np.isnan(values[what.name])).tolist()
            bad |= {i: none for i in missing if i not in bad}
        places = [int(parsed.rows[i]) for i in bad]
        texts = [str(table.columns["formula"][place])[:SHOWN] for place in places]
        here = [
            Refused(table.records[place], text, why)
            for place, text, why in zip(places, texts, bad.values(), strict=True)
        ]
        if column.required and len(here) == len(entries):
            raise DataError(
                f"none of the {len(entries)} records has a {what.noun} that can be used; the "
                f"first, {here[0].text}: {here[0].why.sentence}",
                where=path,
                fix=f"Check {column.setting} and that its entries are numbers like 1.25.",
            )
        refused += here
    for column in schema.values:
        if column.required:
            values[column.quantity.name][list(spoilt)] = np.nan
    return values, refused


def _without_formula(
    path: Path, schema: TableSchema, parsed: ParsedFormulas, refused: Sequence[Refused]
) -> DataError:
    """Return what to say of a source without a formula that can be used."""
    if not parsed.rejections:
        return DataError(
            f"no record of the source can be read: {refused[0].why.sentence}",
            where=path,
            fix="Check 'format', and open the source with the program that made it.",
        )
    fractional = any(why.code == "fractional" for _, _, why in parsed.rejections)
    or_round = f", or set {schema.rounding}" if fractional and schema.rounding else ""
    return DataError(
        f"no formula of the source can be used: {parsed.rejections[0][2].sentence}",
        where=path,
        fix=f"Check {schema.formula_setting}{or_round}.",
    )


def _check_capitals(formulas: Sequence[object], parsed: ParsedFormulas, path: Path) -> None:
    """Raise if all formulas are in capitals, which hides what the elements are (SIO2, NACL)."""
    unknown = [text for _, text, why in parsed.rejections if why.code == "element"]
    if not unknown or any(isinstance(f, str) and f.upper() != f for f in formulas):
        return
    raise DataError(
        f"all formulas are written in capitals, as {unknown[0][:SHOWN]!r}: which letters make up "
        "an element cannot be told",
        where=path,
        fix="Write element symbols as in 'SiO2'.",
    )
