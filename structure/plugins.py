"""Parts that other installed packages bring: serves every room whose parts can be added to.

In: the name of a group and our own parts of it. Out: each part by name, imported when it is used.
A package adds a part by an entry point: under ``[project.entry-points."agd.generators"]`` of its
``pyproject.toml`` the line ``mine = "my_package.my_module:MyClass"``.

Our own parts are a table in the room they belong to and no entry points: entry points are written
when a package is installed, so a checkout or an editable install would know those of yesterday.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from structure.errors import AgdError, ConfigError, PluginError

OURS = "agd-pipeline"
"""Name of our own distribution."""


@dataclass(frozen=True)
class Plugin:
    """One part, found but not yet imported.

    Attributes
    ----------
    group : str
        E.g. ``"agd.generators"``.
    name : str
        What a configuration calls it.
    targets : tuple of str
        ``module:attribute``. More than one if several packages brought the name.
    distributions : tuple of str
        Who brought each target, e.g. ``"my-package 1.2"``.
    """

    group: str
    name: str
    targets: tuple[str, ...]
    distributions: tuple[str, ...]

    def load(self, *needs: str) -> Any:
        """Import the part.

        Parameters
        ----------
        *needs : str
            Attributes it must have.

        Raises
        ------
        PluginError
            If several packages bring this name, or it cannot be imported, is not there, or lacks
            an attribute.
        """
        if len(self.targets) > 1:
            raise PluginError(
                f"{len(self.targets)} packages bring a part called {self.name!r}: "
                + " and ".join(self.distributions),
                where=self._where(),
                fix="Uninstall all but one of them, or rename one in its entry points.",
            )
        module, _, attribute = self.targets[0].partition(":")
        try:
            part: Any = importlib.import_module(module)
            for name in attribute.split(".") if attribute else ():
                part = getattr(part, name)
        except AgdError:
            raise
        except Exception as error:
            raise PluginError(
                f"{self.name!r} cannot be imported: {type(error).__name__}: {error}",
                where=self._where(),
                fix=f"Repair or uninstall {self.distributions[0]}.",
            ) from error
        lacking = [name for name in needs if not hasattr(part, name)]
        if lacking:
            raise PluginError(
                f"{self.name!r} is not what {self.group} needs: it has no "
                + " and no ".join(repr(name) for name in lacking),
                where=self._where(),
                fix=f"Correct or uninstall {self.distributions[0]}.",
            )
        return part

    def _where(self) -> str:
        sides = zip(self.targets, self.distributions, strict=True)
        return f"{self.group}: " + ", ".join(f"{target} ({who})" for target, who in sides)


def found(group: str, ours: Mapping[str, str]) -> dict[str, Plugin]:
    """Return all parts of a group by name, our own first; imports none of them.

    Parameters
    ----------
    group : str
    ours : mapping of str to str
        Our own parts: name to ``module:attribute``.

    Returns
    -------
    dict of str to Plugin
        A name that several packages bring is listed once and refuses to load, so that a package
        that nobody uses stops nobody.
    """
    brought: dict[str, list[tuple[str, str]]] = {
        name: [(target, OURS)] for name, target in ours.items()
    }
    for point in sorted(metadata.entry_points(group=group), key=lambda one: (one.name, one.value)):
        dist = point.dist
        who = f"{dist.name} {dist.version}" if dist is not None else "an unnamed package"
        brought.setdefault(point.name, []).append(
            (point.value.partition("[")[0].replace(" ", ""), who)
        )
    return {
        name: Plugin(group, name, tuple(t for t, _ in all_), tuple(who for _, who in all_))
        for name, all_ in brought.items()
    }


def named(group: str, ours: Mapping[str, str], name: str) -> Plugin:
    """Return the part of a name.

    Raises
    ------
    ConfigError
        If no installed package brings it.
    """
    parts = found(group, ours)
    if name in parts:
        return parts[name]
    close = difflib.get_close_matches(name, parts, n=1)
    raise ConfigError(
        f"nothing installed is called {name!r}"
        + (f"; did you mean {close[0]!r}?" if close else ""),
        where=group,
        fix=f"Use one of: {', '.join(sorted(parts))}; or install the package that brings it.",
    )
