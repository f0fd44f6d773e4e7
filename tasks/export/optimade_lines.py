"""Candidates as OPTIMADE JSON lines: serves ``agd export``.

In: candidates with their crystals and predictions. Out: a file in the JSON lines format of OPTIMADE
1.2 (a header, the description of the fields, one entry a line), which ``optimade-python-tools`` and
others serve as they are. What OPTIMADE has no name for has the prefix ``_agd_`` and is described.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from math import gcd
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np

from structure.errors import DataError

API_VERSION = "1.2.0"
PREFIX = "_agd_"
_UNITS = {"_eV_per_atom": "eV/atom", "_eV": "eV", "_GPa": "GPa", "_K": "K"}
_KINDS = {str: "string", bool: "boolean", int: "integer", float: "float"}


class Entry(NamedTuple):
    """One candidate.

    Attributes
    ----------
    id : str
    structure : dict
        Of pymatgen, as a dictionary.
    values : dict of str to str, int, float or None
        What is known of it; names end in their unit.
    """

    id: str
    structure: Mapping[str, Any]
    values: Mapping[str, str | int | float | None]


def lines(entries: Sequence[Entry], modified: datetime) -> Iterator[str]:
    """Yield the lines of a file.

    Parameters
    ----------
    entries : sequence of Entry
    modified : datetime
        When the candidates were made.

    Raises
    ------
    DataError
        If a crystal is disordered or has no site.
    """
    yield _line({"x-optimade": {"meta": {"api_version": API_VERSION}}})
    yield _line(
        {
            "type": "info",
            "id": "structures",
            "description": "Generated candidates: substituted, not relaxed; values are predicted",
            "properties": _described(entries),
        }
    )
    for entry in entries:
        attributes = attributes_of(entry, modified)
        yield _line({"type": "structures", "id": entry.id, "attributes": attributes})


def attributes_of(entry: Entry, modified: datetime) -> dict[str, Any]:
    """Return the attributes of one entry; lengths in Å, positions cartesian.

    Raises
    ------
    DataError
        If its crystal is disordered or has no site.
    """
    matrix = np.array(entry.structure["lattice"]["matrix"], dtype=np.float64)
    species, positions = [], []
    for site in entry.structure["sites"]:
        if len(site["species"]) != 1 or site["species"][0]["occu"] != 1:
            raise DataError("a candidate is disordered", where=entry.id, fix="Leave it out.")
        species.append(site["species"][0]["element"])
        positions.append((np.array(site["abc"]) @ matrix).tolist())
    if not species:
        raise DataError("a candidate has no atoms", where=entry.id, fix="Leave it out.")
    counts = Counter(species)
    elements = sorted(counts)
    divisor = reduce(gcd, counts.values())
    reduced = {e: counts[e] // divisor for e in elements}
    letters = zip(ascii_uppercase, sorted(reduced.values(), reverse=True), strict=False)
    own = {f"{PREFIX}{name.lower()}": value for name, value in entry.values.items()}
    return {
        "last_modified": modified.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [counts[e] / len(species) for e in elements],
        "chemical_formula_reduced": _formula(reduced),
        "chemical_formula_descriptive": _formula(reduced),
        "chemical_formula_anonymous": "".join(
            f"{letter}{n if n > 1 else ''}" for letter, n in letters
        ),
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": matrix.tolist(),
        "cartesian_site_positions": positions,
        "nsites": len(species),
        "species": [{"name": e, "chemical_symbols": [e], "concentration": [1.0]} for e in elements],
        "species_at_sites": species,
        "structure_features": [],
        **own,
    }


def _formula(counts: Mapping[str, int]) -> str:
    return "".join(f"{element}{n if n > 1 else ''}" for element, n in counts.items())


def _described(entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """Return kind and unit of our own fields."""
    described: dict[str, dict[str, str]] = {}
    for entry in entries:
        for name, value in entry.values.items():
            field = f"{PREFIX}{name.lower()}"
            if value is None or field in described:
                continue
            told = {"type": _KINDS[type(value)], "description": name.replace("_", " ")}
            unit = next((u for end, u in _UNITS.items() if name.endswith(end)), None)
            described[field] = {**told, "unit": unit} if unit else told
    return described


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"
