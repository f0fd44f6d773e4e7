"""Reading collections of crystal structures: serves ingest through `structure.sources.tables`.

In: a folder of CIFs with an optional property table, or an ASE database. Out: formulas, ids,
wanted properties and, where asked for, the structures; broken entries keep their reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from structure.errors import DataError, Rejection
from structure.sources.source_table import SourceTable, require_columns

if TYPE_CHECKING:
    from pymatgen.core import Structure

OWN_COLUMNS = ("formula", "id")
"""Purposes that a collection of structures answers itself."""

_SQLITE_MAGIC = b"SQLite format 3\x00"


ReadTable = Callable[[Path, Mapping[str, str]], SourceTable]
"""Reads the wanted columns, purpose to name, of a table in a file."""


def read_cif_folder(
    folder: Path,
    columns: Mapping[str, str],
    properties: str | None,
    with_structures: bool,
    read_table: ReadTable,
) -> SourceTable:
    """Read every ``*.cif`` and ``*.cif.gz`` of a folder, and the rows of a property table.

    Parameters
    ----------
    folder : Path
    columns : mapping of str to str
        Purpose to column of the property table; ``id`` names the column of file names.
        ``formula`` is taken from the structure.
    properties : str or None
        CSV, JSON lines or Parquet inside the folder. Without it, no other column can be had.
    with_structures : bool
        Keep the structures.
    read_table : callable
        Reads the property table (`structure.sources.tables.read_source`).

    Returns
    -------
    SourceTable
        One record a structure; of a file of several data blocks each has its own, with the id
        ``file.cif#block``. Rejections are files, blocks, and rows of the property table (codes
        ``no-file`` and ``repeated``) that were not used.

    Raises
    ------
    DataError
        If the folder has no CIF, or the property table is missing or lacks a column.
    """
    from structure.crystals.crystal_text import read_structures

    files = sorted(p for p in folder.iterdir() if _CIF_ENDING.search(p.name))
    if not files:
        raise DataError("the folder has no .cif file", where=folder, fix="Check 'path'.")
    wanted = {p: c for p, c in columns.items() if p not in OWN_COLUMNS}
    found = [entry for path in files for entry in read_structures(path)]
    names = [name for name, _ in found]
    values, rejections = _properties(folder, columns, wanted, properties, names, read_table)
    out: dict[str, list[Any]] = {purpose: [] for purpose in (*OWN_COLUMNS, *wanted)}
    records: list[int] = []
    structures: list[Structure] = []
    ids = _ids(names)
    for record, (name, structure) in enumerate(found, start=1):
        if isinstance(structure, Rejection):
            rejections.append((record, name, structure))
            continue
        records.append(record)
        out["formula"].append(structure.composition.formula)
        out["id"].append(ids[name])
        for purpose in wanted:
            out[purpose].append(values.get(name, {}).get(purpose))
        if with_structures:
            structures.append(structure)
    return SourceTable(out, records, tuple(rejections), structures)


_CIF_ENDING = re.compile(r"\.cif(\.gz)?(?=#|$)", re.IGNORECASE)


def _ids(names: Sequence[str]) -> dict[str, str]:
    """Return the id of each structure: its file's name, without the ending if that is enough."""
    short = {name: _CIF_ENDING.sub("", name, count=1) for name in names}
    times = Counter(short.values())
    return {n: n if "#" in n or times[stem] > 1 else stem for n, stem in short.items()}


def _properties(
    folder: Path,
    columns: Mapping[str, str],
    wanted: Mapping[str, str],
    properties: str | None,
    names: Sequence[str],
    read_table: ReadTable,
) -> tuple[dict[str, dict[str, Any]], list[tuple[int, str, Rejection]]]:
    """Return the wanted properties of each structure, and the rows that say nothing of any."""
    if properties is None:
        if wanted:
            raise DataError(
                f"a folder of CIFs has no column {next(iter(wanted.values()))!r} by itself",
                where=folder,
                fix="Name its property table in 'properties'.",
            )
        return {}, []
    table = read_table(folder / properties, {"id": columns.get("id", "id"), **wanted})
    refused = [(record, f"{properties}: {text}", why) for record, text, why in table.rejections]
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    meant = _meant(names)
    for place, record in enumerate(table.records):
        row = str(table.columns["id"][place] or "").strip()
        name = _named(row, meant)
        if isinstance(name, Rejection):
            refused.append((record, f"{properties}: {row}", name))
            continue
        value = {purpose: table.columns[purpose][place] for purpose in wanted}
        rows.setdefault(name, []).append((record, value))
    for name, given in rows.items():
        refused += _repeated(given, f"{properties}: {name}")
    agreed = {name: given[0][1] for name, given in rows.items() if _agree(given)}
    return agreed, refused


class _Meant(NamedTuple):
    """What a row of the property table can call a structure: each name to the structures it fits.

    Attributes
    ----------
    stems : dict of str to list of str
        Names without the ending.
    files : dict of str to list of str
        Names of files of several structures, without the ending.
    """

    stems: dict[str, list[str]]
    files: dict[str, list[str]]


def _meant(names: Sequence[str]) -> _Meant:
    stems: dict[str, list[str]] = {}
    files: dict[str, list[str]] = {}
    for name in names:
        stem = _CIF_ENDING.sub("", name, count=1)
        stems.setdefault(stem, []).append(name)
        if "#" in stem:
            files.setdefault(stem.partition("#")[0], []).append(name)
    return _Meant(stems, files)


def _named(row: str, meant: _Meant) -> str | Rejection:
    """Return the structure that a row of the property table names, with or without the ending."""
    stem = _CIF_ENDING.sub("", row, count=1)
    fitting = meant.stems.get(stem, [])
    fitting = [row] if row in fitting else fitting
    if len(fitting) == 1:
        return fitting[0]
    several = fitting or meant.files.get(stem, [])
    if several:
        return Rejection("no-file", f"{row} can be any of {', '.join(several)}")
    return Rejection("no-file", f"the folder has no CIF {row!r}")


def _repeated(
    given: Sequence[tuple[int, dict[str, Any]]], text: str
) -> list[tuple[int, str, Rejection]]:
    """Return why the rows of one structure after its first, or all, are not used."""
    first = given[0][0]
    if _agree(given):
        same = Rejection("repeated", f"the row says the same as row {first}")
        return [(record, text, same) for record, _ in given[1:]]
    rows = ", ".join(str(record) for record, _ in given)
    other = Rejection("repeated", f"rows {rows} give different values, and none of them is used")
    return [(record, text, other) for record, _ in given]


def _agree(given: Sequence[tuple[int, dict[str, Any]]]) -> bool:
    return all(_plain(value) == _plain(given[0][1]) for _, value in given[1:])


def _plain(row: dict[str, Any]) -> list[Any]:
    """Return the values of a row so that 1.0, "1.00" and " 1" are equal."""
    plain: list[Any] = []
    for value in row.values():
        try:
            plain.append(str(float(value)))
        except (TypeError, ValueError):
            plain.append(str(value or "").strip())
    return plain


def read_ase_database(path: Path, columns: Mapping[str, str], with_structures: bool) -> SourceTable:
    """Read an ASE database in SQLite form.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str
        Purpose to key of the rows' key-value pairs, or of a calculator's results (``energy``).
        ``formula`` is taken from the structure, ``id`` from the row number unless named.
    with_structures : bool
        Keep the structures.

    Raises
    ------
    DataError
        If the file is no such database, or lacks a key.
    """
    import sqlite3

    from ase.db import connect
    from pymatgen.io.ase import AseAtomsAdaptor

    with path.open("rb") as handle:
        if handle.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
            raise DataError("the file is no ASE database", where=path, fix="Check 'format'.")
    wanted = {p: c for p, c in columns.items() if p != "formula" and (p, c) != ("id", "id")}
    out: dict[str, list[Any]] = {purpose: [] for purpose in (*OWN_COLUMNS, *wanted)}
    records: list[int] = []
    rejections: list[tuple[int, str, Rejection]] = []
    structures: list[Structure] = []
    names: dict[str, None] = {}
    try:
        database: Any = connect(str(path), type="db", use_lock_file=False)  # type: ignore[no-untyped-call]
        for row in database.select():
            names.update(dict.fromkeys(row.key_value_pairs))
            if with_structures:
                try:
                    structures.append(AseAtomsAdaptor.get_structure(row.toatoms()))
                except (ValueError, TypeError, KeyError) as error:
                    why = Rejection("structure", f"row {row.id} holds no crystal: {error}")
                    rejections.append((row.id, row.formula, why))
                    continue
            records.append(row.id)
            out["formula"].append(row.formula)
            if "id" not in wanted:
                out["id"].append(str(row.id))
            for purpose, column in wanted.items():
                out[purpose].append(row.get(column))
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise DataError(
            f"the file is no readable ASE database: {error}",
            where=path,
            fix="Check it with `ase db FILE`.",
        ) from error
    if records:
        have = [c for c in wanted.values() if any(v is not None for v in out[_purpose(wanted, c)])]
        require_columns(path, [*names, *have], wanted)
    return SourceTable(out, records, tuple(rejections), structures)


def _purpose(wanted: Mapping[str, str], column: str) -> str:
    return next(p for p, c in wanted.items() if c == column)
