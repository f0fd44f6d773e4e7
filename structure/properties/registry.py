"""Which properties there are: serves the configuration and every stage that reads its targets.

In: a name. Out: the `Property`, or an error that names the nearest one.
"""

from __future__ import annotations

import difflib
from functools import cache

from structure.errors import ConfigError
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property

DEFAULT = BAND_GAP.name
"""What a campaign seeks that names nothing."""


@cache
def properties() -> dict[str, Property]:
    """Return all properties by name."""
    return {one.name: one for one in (BAND_GAP,)}


def property_named(name: str) -> Property:
    """Return a property by name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    known = properties()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ConfigError(
        f"there is no property {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        where="targets",
        fix=f"Name one of {', '.join(sorted(known))}; one of your own needs its 'unit' as well.",
    )
