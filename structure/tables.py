"""Reading other people's tables: serves ingest and the filter of known formulas.

In: a CSV, Parquet or JSON-lines file (also gzip-compressed), a folder of CIFs with a property
table, or an ASE database. Out: the wanted columns as the source spells them, one entry a record,
and a reason for each record that cannot be read. What makes the whole source useless raises.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from structure.errors import ConfigError, DataError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

Format = Literal["auto", "csv", "parquet", "jsonl", "cif-folder", "ase-db"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".db": "ase-db",
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class SourceTable:
    """The wanted columns of a source.

    Attributes
    ----------
    columns : dict of str to list, each of length n
        By purpose (``"formula"``, ``"band_gap"``), values as read: text, numbers or None.
    records : list of int, length n
        Where each row stands in the source, from 1.
    rejections : tuple of (int, str, Rejection)
        Record, text and reason of each record that could not be read.
    structures : list of Structure, length n, or empty
        Crystal structures, where they were asked for and the source has them.
    """

    columns: dict[str, list[Any]]
    records: list[int]
    rejections: tuple[tuple[int, str, Rejection], ...] = ()
    structures: list[Structure] = field(default_factory=list)


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
            fix="Set 'format' to csv, parquet, jsonl, cif-folder or ase-db.",
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
        table = _read_csv(path, columns)
    elif format == "jsonl":
        table = _read_jsonl(path, columns)
    elif format == "parquet":
        table = _read_parquet(path, columns)
    else:
        from structure.crystal_sources import read_ase_database, read_cif_folder

        if format == "cif-folder":
            table = read_cif_folder(path, columns, properties, with_structures)
        else:
            table = read_ase_database(path, columns, with_structures)
    if not table.records and not table.rejections:
        raise DataError("the source has no records", where=path, fix="Check that it is complete.")
    return table


def require_columns(path: Path, found: Sequence[str], columns: Mapping[str, str]) -> None:
    """Raise a `DataError` naming the nearest column unless all wanted ones are there."""
    for purpose, name in columns.items():
        if name in found:
            continue
        lower = {c.lower(): c for c in reversed(found)}
        near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.4)
        nearest = f"; the nearest is {lower[near[0]]!r}" if near else ""
        raise DataError(
            f"the source has no column {name!r} for {purpose}{nearest}",
            where=path,
            fix=f"Set 'columns.{purpose}' to one of: {', '.join(map(repr, found))}.",
        )


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOBase]:
    """Open text, through gzip by its name, and explain what can be wrong with it."""
    try:
        with (
            gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream,
        ):
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"the gzip file is damaged or cut short: {error}",
            where=path,
            fix="Copy or download it again.",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            "the file is not UTF-8 text",
            where=path,
            fix="Check 'format'; a compressed file must end in .gz.",
        ) from error
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror or error}", where=path, fix="Check it."
        ) from error


def _read_csv(path: Path, columns: Mapping[str, str]) -> SourceTable:
    name = path.name.removesuffix(".gz")
    out: dict[str, list[Any]] = {purpose: [] for purpose in columns}
    records: list[int] = []
    rejections: list[tuple[int, str, Rejection]] = []
    with _opened(path) as stream:
        reader = csv.reader(stream, delimiter="\t" if name.endswith(".tsv") else ",")
        try:
            header = next(reader, None)
            if not header:
                raise DataError("the table is empty", where=path, fix="Give a table with a header.")
            require_columns(path, header, columns)
            places = {purpose: header.index(column) for purpose, column in columns.items()}
            for record, row in enumerate((r for r in reader if r), start=1):
                if len(row) != len(header):
                    why = f"the row has {len(row)} fields, the header {len(header)}"
                    rejections.append((record, ",".join(row)[:80], Rejection("fields", why)))
                    continue
                records.append(record)
                for purpose, place in places.items():
                    out[purpose].append(row[place])
        except csv.Error as error:
            raise DataError(
                f"line {reader.line_num} is no CSV: {error}", where=path, fix="Check 'format'."
            ) from error
    return SourceTable(out, records, tuple(rejections))


def _read_jsonl(path: Path, columns: Mapping[str, str]) -> SourceTable:
    out: dict[str, list[Any]] = {purpose: [] for purpose in columns}
    records: list[int] = []
    rejections: list[tuple[int, str, Rejection]] = []
    names: dict[str, None] = {}
    with _opened(path) as stream:
        for record, line in enumerate((x for x in stream if x.strip()), start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                row, why = None, f"the line is no JSON: {error}"
            else:
                why = "the line is no JSON object"
            if not isinstance(row, dict):
                if not records:
                    raise DataError(
                        f"the file is not JSON lines: in its first line, {why}",
                        where=path,
                        fix="Write one JSON object a line, or check 'format'.",
                    )
                rejections.append((record, line.strip()[:80], Rejection("json", why)))
                continue
            names.update(dict.fromkeys(row))
            records.append(record)
            for purpose, column in columns.items():
                out[purpose].append(row.get(column))
    if records:
        require_columns(path, list(names), columns)
    return SourceTable(out, records, tuple(rejections))


def _read_parquet(path: Path, columns: Mapping[str, str]) -> SourceTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            require_columns(path, file.schema_arrow.names, columns)
            table = file.read(columns=sorted(set(columns.values())))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"the file is no readable Parquet: {error}",
            where=path,
            fix="Check 'format', or copy the file again.",
        ) from error
    out = {purpose: table.column(column).to_pylist() for purpose, column in columns.items()}
    return SourceTable(out, list(range(1, table.num_rows + 1)))
