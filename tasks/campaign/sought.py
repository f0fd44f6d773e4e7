"""What a campaign seeks, told from its directory: serves ``agd status``, ``agd why`` and collect.

In: a campaign directory, also one of an earlier release. Out: its targets.
"""

from __future__ import annotations

import json
from pathlib import Path

from structure.errors import ConfigError
from structure.properties.gap_window import Window
from structure.properties.quantity import Property
from structure.properties.target import DEFAULT_TARGETS, Targets


def targets_in(root: Path) -> Targets:
    """Return the targets of a campaign; the default where its file does not tell any.

    A damaged file is named where the campaign is opened.

    Raises
    ------
    ConfigError
        If it seeks a property that no installed package brings any more.
    """
    try:
        config = json.loads((root / "campaign.json").read_bytes())["config"]
        given = config.get("targets")
        if given is None:
            return Window.model_validate(config.get("window", {})).targets()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return DEFAULT_TARGETS
    try:
        return Targets.model_validate(given)
    except ValueError as error:
        raise ConfigError(
            f"the campaign's targets cannot be read: {' '.join(str(error).split())}",
            where=root / "campaign.json",
            fix="Install the package that brings the property, as when the campaign began.",
        ) from error


def sought_in(root: Path) -> Property:
    """Return the property of a campaign's first target."""
    return targets_in(root).first.sought
