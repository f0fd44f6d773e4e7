"""Matbench tables: serves ``agd data fetch``.

In: the name of a Matbench task. Out: its records, read from the compressed file a piece at a time:
the largest holds a gigabyte of text. A download that was cut off goes on where it stopped.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from structure.composition import formulas_of, parse_formulas
from structure.errors import DataError, Rejection
from tasks.fetch.crystals import from_pymatgen
from tasks.fetch.query import Asked, Page, Query, require_known
from tasks.fetch.web import Web

ADDRESS = "https://ml.materialsproject.org/projects"
ROWS_A_PAGE = 2000
_PIECE = 1 << 20


class Task(NamedTuple):
    """One table: its file, the column of values, what they are, and whether it has crystals."""

    file: str
    column: str
    unit: str
    crystals: bool
    property: str


TASKS = {
    task.file.removeprefix("matbench_"): task
    for task in (
        Task("matbench_mp_gap", "gap pbe", "eV", True, "band_gap"),
        Task("matbench_mp_e_form", "e_form", "eV/atom", True, "formation_energy"),
        Task("matbench_expt_gap", "gap expt", "eV", False, "band_gap"),
        Task("matbench_log_kvrh", "log10(K_VRH)", "log10(GPa)", True, "bulk_modulus"),
        Task("matbench_log_gvrh", "log10(G_VRH)", "log10(GPa)", True, "shear_modulus"),
        Task("matbench_dielectric", "n", "", True, "refractive_index"),
        Task("matbench_phonons", "last phdos peak", "cm-1", True, "last_phonon_peak"),
    )
}


class Matbench:
    """One table of Matbench; see `tasks.fetch.query.Provider`.

    Parameters
    ----------
    query : Query
        Its one property is the name of the task: ``mp_gap``.
    web : Web
    folder : Path
        Where the download is kept.
    """

    name = "matbench"
    licence = "as its sources state: CC BY 4.0 for Materials Project data"
    citation = "A. Dunn et al., npj Comput. Mater. 6, 138 (2020), doi:10.1038/s41524-020-00406-3"

    def __init__(self, query: Query, web: Web, folder: Path):
        named = query.properties[0] if query.properties else ""
        require_known(named.removeprefix("matbench_"), TASKS, "Matbench")
        self._task = TASKS[named.removeprefix("matbench_")]
        self.query = query
        self.title = f"Matbench {self._task.file}"
        self.crystals = self._task.crystals
        self.asked: tuple[Asked, ...] = (
            Asked(self._task.property, self._task.column, self._task.unit),
        )
        self._web, self._file = web, folder / f"{self._task.file}.json.gz.part"
        self._records: Iterator[tuple[int, list[Any]]] | None = None

    def page(self, place: str | None) -> Page:
        """Return a page; `place` is how many records come before it."""
        begin = int(place or 0)
        if self._records is None:
            address = f"{self.query.address.rstrip('/')}/{self._task.file}.json.gz"
            self._web.file(address, self._file)
            self._records = enumerate(records(self._file, self._task.column))
            for _ in range(begin):
                next(self._records, None)
        rows, refused, last = [], [], False
        end = begin + ROWS_A_PAGE
        number = begin
        while number < end:
            number, record = next(self._records, (number, None))
            if record is None or number >= (self.query.limit or number + 1):
                last = True
                break
            number += 1
            row = self._row(number, *record)
            if isinstance(row, Rejection):
                refused.append((f"record {number}", row))
            elif row:
                rows.append(row)
        return Page(rows, refused, None if last else str(number), None)

    def _row(self, number: int, what: Any, value: Any) -> dict[str, Any] | Rejection:
        """Return a row; an empty one where an element that is wanted is not in it."""
        id = f"{self._task.file}-{number}"
        if self.crystals:
            found = from_pymatgen(what)
            if isinstance(found, Rejection):
                return found
            elements = set(found["species"])
        else:
            parsed = parse_formulas([str(what)])
            if parsed.rejections:
                return parsed.rejections[0][2]
            found = {"formula": str(what)}
            reduced = formulas_of(parsed.counts)[0]
            elements = {e for e in self.query.elements if _has(reduced, e)}
        if not elements.issuperset(self.query.elements):
            return {}
        return {"material_id": id, **found, self.asked[0].column: value}


def _has(formula: str, symbol: str) -> bool:
    counts = parse_formulas([formula, symbol]).counts
    return bool(counts[0][counts[1] > 0].all())


def records(path: Path, column: str) -> Iterator[list[Any]]:
    """Yield the records of a Matbench file, of which a piece at a time is in memory.

    Raises
    ------
    DataError
        If the file is damaged, or has another column.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            yield from _records(_Text(stream), column)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"the download cannot be read: {error}",
            where=path,
            fix="Delete it and run the same command again.",
        ) from error


def _records(text: _Text, column: str) -> Iterator[list[Any]]:
    text.expect("{")
    while True:
        key = text.value()
        text.expect(":")
        if key == "data":
            break
        found = text.value()
        if key == "columns" and found[-1] != column:
            raise ValueError(f"its last column is {found[-1]!r}, not {column!r}")
        text.expect(",")
    text.expect("[")
    while True:
        yield text.value()
        if text.next() == "]":
            return
        text.expect(",")


class _Text:
    """JSON that is read value by value."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._buffer = ""
        self._decoder = json.JSONDecoder()

    def _more(self) -> None:
        piece = self._stream.read(_PIECE)
        if not piece:
            raise ValueError("it ends too early")
        self._buffer += piece

    def next(self) -> str:
        """Return the next sign that is no blank."""
        while not (bare := self._buffer.lstrip()):
            self._more()
        self._buffer = bare
        return bare[0]

    def expect(self, sign: str) -> None:
        """Pass a sign."""
        if self.next() != sign:
            raise ValueError(f"{sign!r} is expected where {self._buffer[:20]!r} stands")
        self._buffer = self._buffer[1:]

    def value(self) -> Any:
        """Return the next value and pass it; numbers end at the sign after them."""
        self.next()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._buffer)
            except ValueError:
                end = len(self._buffer)
                found = None
            if end < len(self._buffer):
                self._buffer = self._buffer[end:]
                return found
            self._more()
