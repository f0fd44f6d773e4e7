"""Providers by name: serves ``agd data fetch``.

In: words of a command. Out: the provider, ready to be asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from structure.errors import ConfigError
from tasks.fetch import matbench, materials_project
from tasks.fetch.optimade_provider import Optimade, address_of
from tasks.fetch.query import Provider, Query
from tasks.fetch.web import Web

NAMES = ("materials-project", "optimade", "matbench")


@contextmanager
def provider(
    name: str,
    folder: Path,
    *,
    address: str = "",
    elements: Sequence[str] = (),
    properties: Sequence[str] = (),
    limit: int | None = None,
) -> Iterator[Provider]:
    """Give a provider.

    Parameters
    ----------
    name : {"materials-project", "optimade", "matbench"}
    folder : Path
        That is to be filled.
    address : str
        Where to ask: needed for OPTIMADE, an address or the id of a provider.
    elements, properties, limit
        See `tasks.fetch.query.Query`.

    Raises
    ------
    ConfigError
        If something cannot be asked, or there is no key.
    DataError
        If the provider cannot be reached.
    """
    if name not in NAMES:
        raise ConfigError(
            f"there is no provider {name!r}", where="PROVIDER", fix=f"One of {', '.join(NAMES)}."
        )
    web = Web(materials_project.key() if name == "materials-project" else "")
    try:
        if name == "materials-project":
            address = address or materials_project.ADDRESS
        elif name == "matbench":
            address = address or matbench.ADDRESS
        elif not address:
            raise ConfigError(
                "which OPTIMADE provider is not said",
                where="--address",
                fix="Give its address, or its id, e.g. `--address oqmd`.",
            )
        else:
            address = address_of(address, web)
        try:
            query = Query(
                provider=name,
                address=address,
                elements=tuple(elements),
                properties=tuple(properties),
                limit=limit,
            )
        except ValidationError as error:
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(
                told, where="agd data fetch", fix="Correct `--elements` or `--limit`."
            ) from error
        if name == "materials-project":
            yield materials_project.MaterialsProject(query, web)
        elif name == "matbench":
            folder.mkdir(parents=True, exist_ok=True)
            yield matbench.Matbench(query, web, folder)
        else:
            yield Optimade(query, web)
    finally:
        web.close()
