"""Materials Project: serves ``agd data fetch`` through its documented REST interface.

In: a key and a query. Out: pages of summaries with crystal structures and properties computed with
PBE. The key is read from the environment and is never written down.
"""

from __future__ import annotations

import os
from typing import Any

from structure.errors import ConfigError, DataError, Rejection
from tasks.fetch.crystals import from_pymatgen
from tasks.fetch.query import Asked, Page, Query, require_known, value_in
from tasks.fetch.web import Web

ADDRESS = "https://api.materialsproject.org"
KEY = "MP_API_KEY"
ROWS_A_PAGE = 500
"""Chosen: the interface gives 1,000 at most; half of it survives a slow line."""

PROPERTIES = {
    "band_gap": ("band_gap", "eV"),
    "formation_energy": ("formation_energy_per_atom", "eV/atom"),
    "energy_above_hull": ("energy_above_hull", "eV/atom"),
    "bulk_modulus": ("bulk_modulus.vrh", "GPa"),
    "shear_modulus": ("shear_modulus.vrh", "GPa"),
    "density": ("density", "g/cm3"),
    "total_magnetization": ("total_magnetization", "µB"),
}
"""By name, the field of a summary and its unit."""


class MaterialsProject:
    """Summaries of the Materials Project; see `tasks.fetch.query.Provider`.

    Raises
    ------
    ConfigError
        If there is no key, or a property is unknown.
    """

    name = "materials-project"
    title = "Materials Project"
    licence = "CC BY 4.0"
    citation = "A. Jain et al., APL Materials 1, 011002 (2013), doi:10.1063/1.4812323"
    crystals = True

    def __init__(self, query: Query, web: Web):
        for name in query.properties:
            require_known(name, PROPERTIES, "Materials Project")
        self.query = query
        self.asked = tuple(Asked(name, *PROPERTIES[name]) for name in query.properties)
        self._web = web

    def page(self, place: str | None) -> Page:
        """Return a page; `place` is how many summaries come before it."""
        skip = int(place or 0)
        rows = min(ROWS_A_PAGE, (self.query.limit or ROWS_A_PAGE + skip) - skip)
        fields = ["material_id", "structure", *(a.field.partition(".")[0] for a in self.asked)]
        asked: dict[str, Any] = {
            "_fields": ",".join(fields),
            "_limit": rows,
            "_skip": skip,
            "_sort_fields": "material_id",
            "deprecated": "false",
        }
        if self.query.elements:
            asked["elements"] = ",".join(self.query.elements)
        address = f"{self.query.address.rstrip('/')}/materials/summary/"
        answer = self._web.json(address, asked)
        found = answer.get("data")
        if not isinstance(found, list):
            raise DataError(
                "the answer has no list 'data'", where=address, fix="Check the address."
            )
        taken, refused = [], []
        for record in found:
            id = str(record.get("material_id"))
            crystal = from_pymatgen(record.get("structure") or {})
            if isinstance(crystal, Rejection):
                refused.append((id, crystal))
                continue
            values = {a.column: value_in(record, a.field) for a in self.asked}
            taken.append({"material_id": id, **crystal, **values})
        available = (answer.get("meta") or {}).get("total_doc")
        reached = skip + len(found)
        enough = self.query.limit is not None and reached >= self.query.limit
        short = len(found) < rows if available is None else reached >= available
        following = None if enough or short or not found else str(reached)
        return Page(taken, refused, following, available)


def key() -> str:
    """Return the key from the environment.

    Raises
    ------
    ConfigError
        If there is none.
    """
    found = os.environ.get(KEY, "").strip()
    if not found:
        raise ConfigError(
            "Materials Project needs a key",
            where=f"environment variable {KEY}",
            fix=f"Log in at https://materialsproject.org/api, then `export {KEY}=...`.",
        )
    return found
