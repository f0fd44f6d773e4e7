"""Which properties there are: serves the configuration and every stage that reads its targets.

In: a name. Out: the `Property`, or an error that names the nearest one.
"""

from __future__ import annotations

import difflib
from functools import cache

from structure.errors import ConfigError, PluginError
from structure.plugins import found
from structure.properties.band_gap import BAND_GAP
from structure.properties.energies import FORMATION_ENERGY
from structure.properties.moduli import BULK_MODULUS
from structure.properties.of_elements import OF_ELEMENTS
from structure.properties.quantity import Property

DEFAULT = BAND_GAP.name
"""What a campaign seeks that names nothing."""


GROUP = "agd.properties"
"""Entry points of packages that bring a `Property`; each is called what its property is called."""

OURS = {one.name: one for one in (BAND_GAP, BULK_MODULUS, FORMATION_ENERGY, *OF_ELEMENTS)}


@cache
def properties() -> dict[str, Property]:
    """Return all properties by name: ours, and those of installed packages.

    Raises
    ------
    PluginError
        If a package brings a name that is taken, cannot be imported, or brings something else.
    """
    known = dict(OURS)
    ours = dict.fromkeys(OURS, f"{__name__}:OURS")
    for name, plugin in found(GROUP, ours).items():
        if name in OURS and len(plugin.targets) == 1:
            continue
        part = plugin.load()
        if not isinstance(part, Property) or part.name != name:
            what = f"the property {part.name!r}" if isinstance(part, Property) else repr(part)
            raise PluginError(
                f"the entry point {name!r} brings {what}",
                where=f"{GROUP}: {', '.join(plugin.distributions)}",
                fix="Let it name a `Property` whose name is that of the entry point.",
            )
        known[name] = part
    return known


def measured() -> tuple[str, ...]:
    """Return the names, in results of jobs, of all properties that calculations give."""
    return tuple(one.result for one in properties().values() if one.steps is not None)


def property_named(name: str, unit: str | None = None) -> Property:
    """Return a property by name; one that nobody knows is made of its name and unit.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    known = properties()
    if name in known:
        return known[name]
    if unit is not None:
        return Property(name=name, words=name.replace("_", " "), unit=unit)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ConfigError(
        f"there is no property {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        where="targets",
        fix=f"Name one of {', '.join(sorted(known))}; one of your own needs its 'unit' as well.",
    )
