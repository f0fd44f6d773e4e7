"""Reading other people's tables: serves ingest and the filter of known formulas.

In: a CSV, Parquet or JSON-lines file (also gzip-compressed), a folder of CIFs with a property
table, or an ASE database. Out: the wanted columns as the source spells them, one entry a record,
and a reason for each record that cannot be read. What makes the whole source useless raises.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from structure.errors import ConfigError, DataError
from structure.sources.source_table import SourceTable as SourceTable
from structure.sources.source_table import find_columns
from structure.sources.source_table import require_columns as require_columns
from structure.sources.text_tables import read_csv, read_jsonl

Format = Literal["auto", "csv", "parquet", "jsonl", "cif-folder", "ase-db"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".db": "ase-db",
}
_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def resolve_path(text: str) -> Path:
    """Return a configured path; see `with_variables` for what it may hold and what is raised."""
    return Path(with_variables(text)).expanduser()


def with_variables(text: str) -> str:
    """Replace each ``${NAME}`` of a setting by that environment variable.

    Raises
    ------
    ConfigError
        If a variable is not set or is empty.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match.group(1), "")
        if not found:
            raise ConfigError(
                f"the environment variable {match.group(1)} is not set",
                where=text,
                fix=f"Run `export {match.group(1)}=...`, or write the value in full.",
            )
        return found

    return _VARIABLE.sub(value, text)


def format_of(path: Path) -> Format:
    """Tell a source's format from its name, ``.gz`` set aside.

    Raises
    ------
    DataError
        If the name says nothing.
    """
    if path.is_dir():
        return "cif-folder"
    name = path.with_suffix("") if path.suffix == ".gz" else path
    if name.suffix.lower() not in _SUFFIXES:
        raise DataError(
            f"the name ending {path.suffix!r} tells no format",
            where=path,
            fix="Export the sheet as CSV."
            if name.suffix.lower() in _WORKBOOKS
            else "Set 'format' to csv, parquet, jsonl, cif-folder or ase-db.",
        )
    return _SUFFIXES[name.suffix.lower()]


def read_source(
    path: Path,
    columns: Mapping[str, str],
    *,
    format: Format = "auto",
    properties: str | None = None,
    with_structures: bool = False,
) -> SourceTable:
    """Read the wanted columns of a source.

    Parameters
    ----------
    path : Path
        A file, or a folder of CIFs.
    columns : mapping of str to str
        Purpose to column name. A CIF folder and an ASE database give ``formula`` and ``id``
        themselves.
    format : Format, default "auto"
        By the name's ending.
    properties : str, optional
        CIF folder only: a table inside it, whose ``id`` column holds file names, with or without
        ``.cif``.
    with_structures : bool, default False

    Returns
    -------
    SourceTable

    Raises
    ------
    DataError
        If the source is missing, damaged, empty, of another format, or lacks a column.
    """
    if not path.exists():
        raise DataError("the data source does not exist", where=path, fix="Check the path.")
    format = format_of(path) if format == "auto" else format
    if (format == "cif-folder") != path.is_dir():
        raise DataError(
            f"a source of format {format} must be a {'folder' if path.is_file() else 'file'}",
            where=path,
            fix="Correct 'path' or 'format'.",
        )
    if format == "csv":
        table = read_csv(path, columns)
    elif format == "jsonl":
        table = read_jsonl(path, columns)
    elif format == "parquet":
        table = _read_parquet(path, columns)
    else:
        from structure.sources.crystal_sources import read_ase_database, read_cif_folder

        if format == "cif-folder":
            table = read_cif_folder(path, columns, properties, with_structures, read_source)
        else:
            table = read_ase_database(path, columns, with_structures)
    if not table.records and not table.rejections:
        raise DataError("the source has no records", where=path, fix="Check that it is complete.")
    return table


def _read_parquet(path: Path, columns: Mapping[str, str]) -> SourceTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            places = find_columns(path, file.schema_arrow.names, columns)
            names = {p: file.schema_arrow.names[i] for p, i in places.items()}
            table = file.read(columns=sorted(set(names.values())))
            out = {purpose: table.column(name).to_pylist() for purpose, name in names.items()}
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the file is no readable Parquet: {error}",
            where=path,
            fix="Check 'format', or copy the file again.",
        ) from error
    return SourceTable(out, list(range(1, table.num_rows + 1)))
