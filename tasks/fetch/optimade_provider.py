"""Any provider that speaks OPTIMADE: serves ``agd data fetch``.

In: the address of a provider, or its id in the list of the OPTIMADE consortium, and a query. Out:
pages of structures, with the provider's own properties where it declares them. Nothing but
documented fields of OPTIMADE 1 is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structure.errors import ConfigError, DataError, Rejection
from tasks.fetch.crystals import from_optimade
from tasks.fetch.query import Asked, Page, Query, require_known, value_in
from tasks.fetch.web import Web

PROVIDERS = "https://providers.optimade.org/v1/links"

FIELDS = ("lattice_vectors", "cartesian_site_positions", "species", "species_at_sites",
          "nperiodic_dimensions", "structure_features")  # fmt: skip


def address_of(named: str, web: Web, listed: str = PROVIDERS) -> str:
    """Return the address of a provider: itself, or that of an id such as ``oqmd``.

    Raises
    ------
    ConfigError
        If no provider has that id.
    DataError
        If the list cannot be had.
    """
    if "://" in named:
        return named.rstrip("/").removesuffix("/v1")
    known = {p["id"]: value_in(p, "attributes.base_url") for p in web.json(listed)["data"]}
    known = {id: _href(url) for id, url in known.items() if url}
    if named not in known:
        raise ConfigError(
            f"there is no OPTIMADE provider {named!r}",
            where=listed,
            fix=f"Give an address, or one of: {', '.join(sorted(known))}.",
        )
    for link in web.json(f"{known[named].rstrip('/')}/v1/links")["data"]:
        attributes = link.get("attributes") or {}
        if attributes.get("link_type") == "child" and attributes.get("base_url"):
            return _href(attributes["base_url"]).rstrip("/")
    raise DataError(
        f"the provider {named!r} lists no database",
        where=known[named],
        fix="Give the address of one of its databases.",
    )


def _href(link: Any) -> str:
    return str(link["href"] if isinstance(link, Mapping) else link)


class Optimade:
    """Structures of one provider; see `tasks.fetch.query.Provider`.

    A property is named ``NAME=FIELD:UNIT``, e.g. ``band_gap=_oqmd_band_gap:eV``; the unit can be
    left out where the provider declares it.

    Raises
    ------
    ConfigError
        If the provider has no such field, or declares no unit.
    """

    name = "optimade"
    crystals = True
    citation = "C. W. Andersen et al., Sci. Data 8, 217 (2021), doi:10.1038/s41597-021-00974-z"

    def __init__(self, query: Query, web: Web):
        self.query = query
        self._web = web
        base = f"{query.address}/v1"
        described = web.json(f"{base}/info/structures").get("data") or {}
        fields = described.get("properties") or {}
        self.asked = tuple(_asked(text, fields, query.address) for text in query.properties)
        told = web.json(f"{base}/info")
        provider = value_in(told, "meta.provider.name") or query.address
        licence = value_in(told, "data.attributes.license") or value_in(told, "meta.license")
        self.title = f"{provider} through OPTIMADE"
        self.licence = _href(licence) if licence else "not stated; ask the provider"

    def page(self, place: str | None) -> Page:
        """Return a page; `place` is its address."""
        if place is None:
            # No page_limit: a provider refuses one above its own, and its own is the usual one.
            asked = {"response_fields": ",".join([*FIELDS, *(a.field for a in self.asked)])}
            if self.query.elements:
                listed = ", ".join(f'"{symbol}"' for symbol in self.query.elements)
                asked["filter"] = f"elements HAS ALL {listed}"
            answer = self._web.json(f"{self.query.address}/v1/structures", asked)
        else:
            answer = self._web.json(place)
        found = answer.get("data")
        if not isinstance(found, list):
            raise DataError(
                "the answer has no list 'data'",
                where=self.query.address,
                fix="Check that the address is that of an OPTIMADE database.",
            )
        taken, refused = [], []
        for entry in found:
            attributes, id = entry.get("attributes") or {}, str(entry.get("id") or "")
            crystal = from_optimade(attributes)
            if not id:
                crystal = Rejection("id", "the provider gives no id")
            if isinstance(crystal, Rejection):
                refused.append((id, crystal))
                continue
            values = {a.column: attributes.get(a.field) for a in self.asked}
            taken.append({"material_id": id, **crystal, **values})
        link = (answer.get("links") or {}).get("next")
        available = value_in(answer, "meta.data_available")
        returned = value_in(answer, "meta.data_returned")
        following = _href(link) if link and found else None
        return Page(taken, refused, following, returned if returned is not None else available)


def _asked(text: str, fields: Mapping[str, Any], address: str) -> Asked:
    """Read one ``NAME=FIELD:UNIT``."""
    name, _, rest = text.partition("=")
    field, _, unit = (rest or name).partition(":")
    require_known(field, fields, f"the provider at {address}")
    declared = (fields[field] or {}).get("unit") or ""
    unit = unit or ("" if declared in ("dimensionless", "inapplicable") else declared)
    if not unit and not declared:
        raise ConfigError(
            f"the provider declares no unit of {field!r}",
            where="--property",
            fix=f"Say it, e.g. `--property {name}={field}:eV`.",
        )
    return Asked(name, field, unit)
