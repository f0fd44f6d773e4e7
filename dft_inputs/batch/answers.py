"""The answers a person wrote into ``approved.csv``: serves the approval of DFT jobs.

In: the file as a spreadsheet or an editor left it, with commas, semicolons or tabs, any line ends,
a BOM. Out: for each job yes, no, nothing, or why its line is unclear. The rules are those of the
awk program in ``approval.sh``, and a test holds the two together. Bytes are read as Latin-1, one
character each, which is how the shell sees them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

APPROVED = "approved.csv"
"""Name of the file that a person edits."""

COLUMNS = ("folder", "approved", "reason")
"""The columns that are read, wherever they stand."""

MEANINGS: Mapping[str, Literal["yes", "no"]] = {
    **dict.fromkeys(("yes", "y", "true", "1"), "yes"),
    **dict.fromkeys(("no", "n", "false", "0"), "no"),
}
"""What a person may write, in any case."""

LARGEST_BYTES = 10_000_000
"""A larger file is not one of ours (chosen: some 50,000 jobs)."""

MOST_LINES = 20
"""Lines that one row may take; a longer one has a quote that was forgotten (chosen)."""

_SPACE = " \t\r\n"
_MIXED = "columns are separated by both , and ;"
_QUOTES = "a quote is not closed, or text follows it"
_TOO_MANY = "more columns than the first line; put a text that holds a , or ; into quotes"


@dataclass(frozen=True)
class Verdict:
    """What was decided about one job.

    Attributes
    ----------
    answer : {"yes", "no", "waiting"}
    sentence : str
        The reason of a no, or what a job waits for; a character is a byte of the file.
    """

    answer: Literal["yes", "no", "waiting"]
    sentence: str = ""


@dataclass(frozen=True)
class Answers:
    """What the file says.

    Attributes
    ----------
    found : dict of str to Verdict or None
        For every job; None for an empty line, "waiting" for one that is unclear or not there.
    notes : tuple of str
        What is unclear, each with its line.
    understood : bool
        Whether anything was clear.
    """

    found: Mapping[str, Verdict | None]
    notes: tuple[str, ...] = ()
    understood: bool = True


def read_answers(path: Path, jobs: Sequence[str]) -> Answers:
    """Read ``approved.csv``.

    Parameters
    ----------
    path : Path
    jobs : sequence of str
        The job folders of its batch.
    """
    content = _content(path)
    if content is not None:
        return _Sheet(jobs).read(content)
    note = f"{APPROVED} cannot be read; save it as plain CSV"
    return Answers(dict.fromkeys(jobs, Verdict("waiting", note)), (note,), understood=not jobs)


def readable(text: bytes) -> str:
    """Decode what a person wrote: UTF-8, or else the encoding of older spreadsheets."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", errors="replace")


def _content(path: Path) -> str | None:
    """Return the file's bytes as characters, None when it is no text."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return None if b"\0" in content else content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def _flat(text: str) -> str:
    return re.sub(r"[\t\r\n]+", " ", text).strip(_SPACE)


def _lower(text: str) -> str:
    """Change the case of ASCII letters only, as awk does."""
    return text.encode("latin-1").lower().decode("latin-1")


@dataclass
class _Record:
    """One row of the file, which may take several lines."""

    line: int
    separator: str
    cells: list[str] = field(default_factory=list)
    text: str = ""
    strays: str = ""
    inside: bool = False
    broken: bool = False

    def take(self, line: str) -> None:
        """Read one more line of this row. A cell is quoted when it begins with a quote."""
        self.text += line + "\n"
        cell = self.cells.pop() if self.inside else ""
        closed, place = False, 0
        while place < len(line):
            c = line[place]
            place += 1
            if self.inside:
                if c != '"':
                    cell += c
                elif line[place : place + 1] == '"':
                    cell, place = cell + c, place + 1
                else:
                    self.inside, closed = False, True
            elif c == self.separator:
                self.cells.append(cell.strip(_SPACE))
                cell, closed = "", False
            elif closed:
                self.broken = self.broken or c not in _SPACE
            elif c == '"' and not cell.strip(_SPACE):
                cell, self.inside = "", True
            else:
                cell += c
                self.strays += c if c in ",;" else ""
        self.cells.append(cell + "\n" if self.inside else cell.strip(_SPACE))

    def value(self, column: int | None) -> str:
        """Return a cell; a row may end early."""
        return self.cells[column] if column is not None and column < len(self.cells) else ""


def _records(content: str) -> Iterator[_Record]:
    """Yield the rows that are not blank. The first of them tells the separator."""
    separator, record = "", None
    for number, line in enumerate(content.removesuffix("\n").split("\n"), start=1):
        if record is None and not line.strip(",;" + _SPACE):
            continue
        if not separator:
            first = re.search("[,;\t]", line)
            separator = first.group() if first else ","
        record = record or _Record(number, separator)
        record.take(line)
        if record.inside and record.text.count("\n") < MOST_LINES:
            continue
        record.broken = record.broken or record.inside
        yield record
        record = None
    if record is not None:
        record.broken = True
        yield record


class _Sheet:
    """The answers in the file, row by row."""

    def __init__(self, jobs: Sequence[str]):
        self.jobs = dict.fromkeys(jobs)
        self.columns: dict[str, int] = {}
        self.width = 0
        self.useless = False
        self.found: dict[str, Verdict | None] = {}
        self.notes: list[str] = []

    def read(self, content: str) -> Answers:
        """Understand every row; the first one names the columns."""
        for record in _records(content):
            self._take(record)
            if self.useless:
                break
        if not self.width:
            self.notes.append(f"{APPROVED} is empty")
        if self.useless or not self.width:
            nothing = dict.fromkeys(self.jobs, Verdict("waiting", self.notes[-1]))
            return Answers(nothing, tuple(self.notes), understood=not self.jobs)
        for job in self.jobs:
            if job not in self.found:
                self.notes.append(f"{APPROVED} has no line for {job}")
                self.found[job] = Verdict("waiting", self.notes[-1])
        clear = any(v is None or v.answer != "waiting" for v in self.found.values())
        return Answers(self.found, tuple(self.notes), clear or not self.jobs)

    def _take(self, record: _Record) -> None:
        if not self.width:
            self._head(record)
        elif record.broken:
            unclear = self._note(record, _QUOTES)
            for job in self.jobs:
                if job in record.text:
                    self._settle(record, job, unclear)
        elif any(record.cells):
            self._row(record)

    def _note(self, record: _Record, text: str) -> Verdict:
        self.notes.append(f"{APPROVED} line {record.line}: {text}")
        return Verdict("waiting", self.notes[-1])

    def _head(self, record: _Record) -> None:
        names = [_lower(cell) for cell in record.cells]
        self.columns = {name: place for place, name in reversed(list(enumerate(names)))}
        self.width = max((place + 1 for place, name in enumerate(names) if name), default=1)
        if record.broken:
            self._note(record, _QUOTES)
        elif record.strays:
            self._note(record, _MIXED)
        elif "folder" not in names or "approved" not in names:
            self._note(record, "the columns folder and approved are not named here")
        elif any(names.count(name) > 1 for name in COLUMNS):
            self._note(record, "a column is named twice")
        self.useless = bool(self.notes)

    def _row(self, record: _Record) -> None:
        job = record.value(self.columns["folder"])
        if job not in self.jobs:
            self._note(record, f'"{_flat(job)}" is no job of this batch')
            return
        verdict: Verdict | None
        word = _lower(record.value(self.columns["approved"]))
        reason = _flat(record.value(self.columns.get("reason")))
        if any(record.cells[self.width :]):
            verdict = self._note(record, _TOO_MANY)
        elif word in MEANINGS:
            verdict = Verdict(MEANINGS[word], reason if MEANINGS[word] == "no" else "")
        elif word:
            verdict = self._note(record, f'"{_flat(word)}" is neither yes nor no')
        elif reason:
            verdict = self._note(record, "a reason, but neither yes nor no")
        elif ";" in record.strays:
            verdict = self._note(record, _MIXED)
        else:
            verdict = None
        self._settle(record, job, verdict)

    def _settle(self, record: _Record, job: str, verdict: Verdict | None) -> None:
        """Keep the answer of a row; of rows that contradict each other, none counts."""
        if job not in self.found:
            self.found[job] = verdict
            return
        before = self.found[job]
        if (before and before.answer) != (verdict and verdict.answer):
            self.found[job] = self._note(record, f"{job} is named again, with another answer")
