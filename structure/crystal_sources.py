"""Reading collections of crystal structures: serves ingest through `structure.tables`.

In: a folder of CIFs with an optional property table, or an ASE database. Out: formulas, ids,
wanted properties and, where asked for, the structures; broken entries keep their reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structure.errors import DataError, Rejection
from structure.tables import SourceTable, read_source, require_columns

if TYPE_CHECKING:
    from pymatgen.core import Structure

OWN_COLUMNS = ("formula", "id")
"""Purposes that a collection of structures answers itself."""

_SQLITE_MAGIC = b"SQLite format 3\x00"


def read_cif_folder(
    folder: Path, columns: Mapping[str, str], properties: str | None, with_structures: bool
) -> SourceTable:
    """Read every ``*.cif`` of a folder, and the rows of a property table by file name.

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

    Raises
    ------
    DataError
        If the folder has no CIF, or the property table is missing or lacks a column.
    """
    from structure.io import read_structure

    files = sorted(folder.glob("*.cif"))
    if not files:
        raise DataError("the folder has no .cif file", where=folder, fix="Check 'path'.")
    wanted = {p: c for p, c in columns.items() if p not in OWN_COLUMNS}
    values = _properties(folder, columns, wanted, properties)
    out: dict[str, list[Any]] = {purpose: [] for purpose in (*OWN_COLUMNS, *wanted)}
    records: list[int] = []
    rejections: list[tuple[int, str, Rejection]] = []
    structures: list[Structure] = []
    for record, path in enumerate(files, start=1):
        structure = read_structure(path)
        if isinstance(structure, Rejection):
            rejections.append((record, path.name, structure))
            continue
        records.append(record)
        out["formula"].append(structure.composition.formula)
        out["id"].append(path.stem)
        for purpose in wanted:
            out[purpose].append(values.get(path.stem, {}).get(purpose))
        if with_structures:
            structures.append(structure)
    return SourceTable(out, records, tuple(rejections), structures)


def _properties(
    folder: Path, columns: Mapping[str, str], wanted: Mapping[str, str], properties: str | None
) -> dict[str, dict[str, Any]]:
    """Return the wanted properties by the stem of the file that they describe."""
    if properties is None:
        if wanted:
            raise DataError(
                f"a folder of CIFs has no column {next(iter(wanted.values()))!r} by itself",
                where=folder,
                fix="Name its property table in 'properties'.",
            )
        return {}
    table = read_source(folder / properties, {"id": columns.get("id", "id"), **wanted})
    rows = zip(*(table.columns[p] for p in ("id", *wanted)), strict=True)
    return {
        str(row[0]).removesuffix(".cif"): dict(zip(wanted, row[1:], strict=True)) for row in rows
    }


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
        for row in connect(str(path), type="db", use_lock_file=False).select():
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
