"""What is asked of a provider of data, and what it answers with: serves ``agd data fetch``.

In: words of a command. Out: a `Query`, which is written down beside what it brought, and the
`Provider` that every source of data is. An answer comes in pages, so that a fetch that was cut off
goes on with the page after the last.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from pydantic import Field, field_validator

from structure.elements import INDEX
from structure.errors import ConfigError, Rejection
from structure.records import Record

Row = dict[str, Any]
"""A line of the table: ``material_id``, ``formula``, perhaps a crystal, and the properties."""


class Query(Record):
    """What is asked.

    Attributes
    ----------
    provider : str
    address : str
        Where the provider was asked.
    elements : tuple of str
        Only compounds that contain all of these.
    properties : tuple of str
        As the command spelt them.
    limit : int or None
        Most records.
    """

    provider: str
    address: str
    elements: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    limit: int | None = Field(default=None, ge=1)

    @field_validator("elements")
    @classmethod
    def _known(cls, elements: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in elements:
            if symbol not in INDEX:
                raise ValueError(f"there is no element {symbol!r}")
        return tuple(sorted(set(elements)))


class Asked(NamedTuple):
    """A property that is asked for: its name here, the provider's field, and the field's unit."""

    name: str
    field: str
    unit: str

    @property
    def column(self) -> str:
        """What the column of the table is called: with its unit, where that can be part of it."""
        in_names = {"eV": "eV", "eV/atom": "eV_per_atom", "GPa": "GPa"}
        return f"{self.name}_{in_names[self.unit]}" if self.unit in in_names else self.name


class Page(NamedTuple):
    """One part of an answer.

    Attributes
    ----------
    rows : list of dict
    refused : list of (str, Rejection)
        Name of a record that was not taken in, and why.
    following : str or None
        Where the next page is; None after the last.
    available : int or None
        How many records the provider says that it has.
    """

    rows: list[Row]
    refused: list[tuple[str, Rejection]]
    following: str | None
    available: int | None


class Provider(Protocol):
    """A source of data.

    Attributes
    ----------
    name : str
    title : str
        What it is called in a model card.
    licence, citation : str
    crystals : bool
        Whether rows have crystal structures.
    asked : tuple of Asked
    query : Query
    """

    name: str
    title: str
    licence: str
    citation: str
    crystals: bool
    asked: tuple[Asked, ...]
    query: Query

    def page(self, place: str | None) -> Page:
        """Return a page: the first, or the one that the page before named."""
        ...


def require_known(name: str, known: Iterable[str], provider: str) -> None:
    """Raise unless a provider has a property.

    Raises
    ------
    ConfigError
        Naming the nearest one.
    """
    names = sorted(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    shown = ", ".join(names[:40]) + (" ..." if len(names) > 40 else "")
    raise ConfigError(
        f"{provider} has no property {name!r}" + (f"; the nearest is {near[0]!r}" if near else ""),
        where="--property",
        fix=f"Name one of: {shown}.",
    )


def value_in(record: Mapping[str, Any], field: str) -> Any:
    """Return a field of a record, ``a.b`` being field b of field a; None where there is none."""
    found: Any = record
    for part in field.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
