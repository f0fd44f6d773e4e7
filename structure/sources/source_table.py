"""The wanted columns of a table, and how they are found by name: shared by all readers of tables.

In: the names that a file's header gives and those that a configuration wants. Out: where they
stand, or a `DataError` that names the nearest, or the column that is there twice.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structure.errors import DataError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

_COMPARED = 60
_LOOKED_AT = 200
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))


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
    notes : tuple of str
        What the reader found out by itself: encoding, separator, lines above the header.
    """

    columns: dict[str, list[Any]]
    records: list[int]
    rejections: tuple[tuple[int, str, Rejection], ...] = ()
    structures: list[Structure] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def places_of(found: Sequence[str], name: str) -> list[int]:
    """Return where a column of a name stands; blanks and invisible characters do not count."""
    bare = _bare(name)
    return [i for i, column in enumerate(found) if column == name or _bare(column) == bare]


def _bare(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name.translate(_INVISIBLE)).split())


def likeness(found: Sequence[str], columns: Mapping[str, str]) -> float:
    """Return how like wanted names the names of a row are: 1 for each that is there."""
    names = [column[:_COMPARED].lower() for column in found[:_LOOKED_AT]]
    ratios = (
        max((difflib.SequenceMatcher(None, n, name.lower()).ratio() for n in names), default=-1.0)
        for name in columns.values()
    )
    return sum(ratios)


def find_columns(path: Path, found: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Find the wanted columns, each of which must be there once.

    Returns
    -------
    dict of str to int
        By purpose, the place in `found`.

    Raises
    ------
    DataError
        Naming the nearest column where one is missing, or the column that is there twice.
    """
    require_columns(path, found, columns)
    places: dict[str, int] = {}
    for purpose, name in columns.items():
        there = places_of(found, name)
        if len(there) > 1:
            raise DataError(
                f"the source has {len(there)} columns named {name!r}, for {purpose}: columns "
                f"{' and '.join(str(i + 1) for i in there)}",
                where=path,
                fix="Rename all but one of them in the file.",
            )
        places[purpose] = there[0]
    return places


def require_columns(path: Path, found: Sequence[str], columns: Mapping[str, str]) -> None:
    """Raise a `DataError` naming the nearest column unless all wanted ones are there."""
    for purpose, name in columns.items():
        if not places_of(found, name):
            raise _missing(path, found, purpose, name)


def _missing(path: Path, found: Sequence[str], purpose: str, name: str) -> DataError:
    lower = {c.lower(): c for c in reversed(found)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.4)
    nearest = f"; the nearest is {lower[near[0]]!r}" if near else ""
    if len(found) == 1:
        fix = (
            f"The header {found[0]!r} is read as one column: part columns by commas, semicolons "
            "or tabs."
        )
    else:
        fix = f"Set 'columns.{purpose}' to one of: {', '.join(map(repr, found))}."
    return DataError(
        f"the source has no column {name!r} for {purpose}{nearest}", where=path, fix=fix
    )
