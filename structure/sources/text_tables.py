"""Tables as text: serves `structure.sources.tables` with CSV and JSON-lines files as they come.

In: a file, perhaps gzip-compressed, in UTF-8, UTF-16 or a Windows code page; of a CSV, with any of
the usual separators and lines above its header. Out: the wanted columns as spelt, a reason for each
record that cannot be read, and notes on what was found out. No limit is set to a cell's length.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from structure.errors import DataError, Rejection
from structure.sources.source_table import (
    SourceTable,
    find_columns,
    likeness,
    places_of,
    require_columns,
)

HEADER_WITHIN = 50
"""Chosen: a header is looked for in as many rows; titles and remarks may stand above it."""

SHOWN = 80
"""Chosen: most characters of a record that a rejection keeps."""

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LONGEST_CELL = 2**31 - 1
_HEAD = 4096
_GZIP = b"\x1f\x8b"
_OTHER_KINDS = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "Unpack it, or export the sheet as CSV."),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "Export the sheet as CSV."),
    b"PAR1": ("a Parquet file", "Set 'format: parquet'."),
    b"SQLite format 3\x00": ("a SQLite database", "Set 'format: ase-db' if ASE wrote it."),
    b"%PDF": ("a PDF", "Export its table as CSV."),
}
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
Notes = tuple[str, ...]
_NAMES = {"cp1252": "Windows-1252"}


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open bytes, through gzip where they are compressed, and explain what can be wrong."""
    try:
        with path.open("rb") as raw:
            compressed = path.suffix == ".gz" or raw.read(2) == _GZIP
            raw.seek(0)
            if not compressed:
                yield raw
                return
            with gzip.open(raw, "rb") as unpacked:
                yield cast(BinaryIO, unpacked)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"the gzip file is damaged or cut short: {error}",
            where=path,
            fix="Copy or download it again.",
        ) from error
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror or error}", where=path, fix="Check it."
        ) from error


def _encodings(path: Path) -> tuple[str, ...]:
    """Return the encodings to try, in order."""
    with _opened(path) as stream:
        head = stream.read(_HEAD)
    for magic, (kind, fix) in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise DataError(f"the file is {kind}, not text", where=path, fix=fix)
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return (encoding,)
    zeros = head[::2].count(0), head[1::2].count(0)
    if max(zeros) > len(head) // 5 and min(zeros) == 0:
        return ("utf-16-le" if zeros[1] else "utf-16-be",)
    return ("utf-8-sig",) if 0 in head else ("utf-8-sig", "cp1252")


def _parsed(path: Path, parse: Callable[[io.TextIOBase], SourceTable]) -> SourceTable:
    """Parse a file in the first encoding that fits all of it."""
    for encoding in _encodings(path):
        try:
            with (
                _opened(path) as raw,
                io.TextIOWrapper(raw, encoding=encoding, newline="") as stream,
            ):
                table = parse(stream)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8-sig":
            return table
        note = "the file is not UTF-8; it was read as " + encoding.upper().replace("CP", "Windows-")
        return SourceTable(
            table.columns, table.records, table.rejections, notes=(note, *table.notes)
        )
    raise DataError(
        "the file is not UTF-8 text, nor in another encoding that is known",
        where=path,
        fix="Save it as UTF-8, or check 'format'.",
    )


def read_csv(path: Path, columns: Mapping[str, str]) -> SourceTable:
    """Read the wanted columns of a CSV file.

    The header is the first row that has all wanted columns; the separator is the one with which
    there is such a row, tabs first in a ``.tsv`` and commas otherwise.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or lacks a column or has it twice.
    """
    csv.field_size_limit(_LONGEST_CELL)  # for the process: 131,072 would stop at a long cell
    tabs = path.name.removesuffix(".gz").lower().endswith(".tsv")
    separators = sorted(_SEPARATORS, key=lambda s: s != "\t") if tabs else list(_SEPARATORS)

    def parse(stream: io.TextIOBase) -> SourceTable:
        likeliest: list[str] = []
        for separator in separators:
            stream.seek(0)
            lines = _Lines(stream, separator)
            for above, row, _ in lines.rows(HEADER_WITHIN):
                cells = [_unmarked(row[0]), *row[1:]]
                if all(places_of(cells, name) for name in columns.values()):
                    notes = [f"columns are parted by {_SEPARATORS[separator]}"]
                    notes = notes if separator != separators[0] else []
                    notes += [f"the header is line {above}"] if above > 1 else []
                    return _rows(path, lines, cells, columns, tuple(notes))
                if likeness(cells, columns) > likeness(likeliest, columns):
                    likeliest = cells
            lines.check_end(path)
        if not likeliest:
            raise DataError("the table is empty", where=path, fix="Give a table with a header.")
        require_columns(path, likeliest, columns)
        raise AssertionError("a wanted column is missing")

    return _parsed(path, parse)


def _unmarked(cell: str) -> str:
    """Return a cell of a header without the mark of a remark before it (``# formula``)."""
    bare = cell.lstrip()
    return bare.lstrip("#% ") if bare[:1] in ("#", "%") else cell


class _Lines:
    """Rows of a CSV; one that breaks the rules of quotes does not end the others."""

    def __init__(self, stream: io.TextIOBase, separator: str):
        self._reader = csv.reader(
            stream, delimiter=separator, skipinitialspace=separator != "\t", strict=True
        )
        self.separator = separator
        self.unclosed = 0

    def rows(self, limit: int | None = None) -> Iterator[tuple[int, list[str], str]]:
        """Yield the line that each filled row begins at, its cells, and why there are none."""
        while limit is None or limit > 0:
            begins, broken = self._reader.line_num + 1, ""
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                if "end of data" in str(error):
                    self.unclosed = begins
                    return
                row, broken = [""], f"line {begins} is no CSV: {error}"
            if row is None:
                return
            if row:
                yield begins, row, broken
            limit = None if limit is None else limit - 1

    def check_end(self, path: Path) -> None:
        """Raise if the file ended inside a quote."""
        if self.unclosed:
            raise DataError(
                f"a quote in line {self.unclosed} is never closed",
                where=path,
                fix='Close it; a " inside a quoted cell is written "".',
            )


def _rows(
    path: Path, lines: _Lines, header: Sequence[str], columns: Mapping[str, str], notes: Notes
) -> SourceTable:
    """Read the rows below the header."""
    places = find_columns(path, header, columns)
    out: dict[str, list[Any]] = {purpose: [] for purpose in columns}
    records: list[int] = []
    rejections: list[tuple[int, str, Rejection]] = []
    for record, (_, row, broken) in enumerate(lines.rows(), start=1):
        if broken:
            rejections.append((record, "", Rejection("csv", broken)))
            continue
        if len(row) < len(header) or any(row[len(header) :]):
            why = f"the row has {len(row)} fields, the header {len(header)}"
            if len(row) > len(header) and lines.separator == ",":
                why += "; a number or text with a comma needs quotes"
            text = lines.separator.join(row)[:SHOWN]
            rejections.append((record, text, Rejection("fields", why)))
            continue
        records.append(record)
        for purpose, place in places.items():
            out[purpose].append(row[place])
    lines.check_end(path)
    return SourceTable(out, records, tuple(rejections), notes=notes)


def read_jsonl(path: Path, columns: Mapping[str, str]) -> SourceTable:
    """Read the wanted fields of a file of one JSON object a line.

    Raises
    ------
    DataError
        If the file cannot be read, is of another kind, or no object has a wanted field.
    """
    return _parsed(path, lambda stream: _objects(path, stream, columns))


def _objects(path: Path, stream: io.TextIOBase, columns: Mapping[str, str]) -> SourceTable:
    out: dict[str, list[Any]] = {purpose: [] for purpose in columns}
    records: list[int] = []
    rejections: list[tuple[int, str, Rejection]] = []
    names: dict[str, None] = {}
    for record, line in enumerate((x for x in stream if x.strip()), start=1):
        row, why = _object(line, columns)
        if why:
            if not records and not row:
                raise DataError(
                    f"the file is not JSON lines: in its first line, {why}",
                    where=path,
                    fix="Write one JSON object a line, or check 'format'.",
                )
            rejections.append((record, line.strip()[:SHOWN], Rejection("json", why)))
            continue
        names.update(dict.fromkeys(row))
        records.append(record)
        for purpose, column in columns.items():
            out[purpose].append(row.get(column))
    if records:
        require_columns(path, list(names), columns)
    return SourceTable(out, records, tuple(rejections))


def _object(line: str, columns: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Read one object; say why where it is none, or gives a wanted field twice."""
    repeated: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        names = [name for name, _ in pairs] if len(found) < len(pairs) else []
        repeated[:] = [n for n in columns.values() if names.count(n) > 1]  # the outermost is last
        return found

    try:
        row = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        return {}, f"the line is no JSON: {error}"
    if not isinstance(row, dict):
        return {}, "the line is no JSON object"
    return row, f"{repeated[0]!r} is given twice" if repeated else ""
