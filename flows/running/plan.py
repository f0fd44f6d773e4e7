"""What one run does and where: serves the flow, the launcher and ``agd run --local``.

In: what a person or a schedule asked for. Out: a `Plan`: the configuration, the campaign directory
and the command that goes on with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.config import CampaignConfig, load_config
from flows.running.nights import tonight


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes
    ----------
    config : CampaignConfig
    root : Path
        The campaign directory.
    again : str
        Shell command that goes on with it.
    """

    config: CampaignConfig
    root: Path
    again: str


def planned(
    config: str,
    campaign: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    oracle_calls: int | None = None,
    nights: bool = False,
) -> Plan:
    """Decide what a run does.

    Parameters
    ----------
    config : str
        Name of a shipped campaign or path of a YAML file.
    campaign : str, optional
        Directory; ``campaigns/<name>`` under the current one when not given.
    overrides : mapping of str to object, optional
        Settings by dotted key.
    oracle_calls : int, optional
        Labels the search may ask for.
    nights : bool
        Take the directory as a series of nights; see `flows.running.nights`.

    Raises
    ------
    ConfigError
        If the configuration cannot be used.
    """
    settings = dict(overrides or {})
    if oracle_calls is not None:
        settings["explore.budget"] = oracle_calls
    loaded = load_config(config, settings)
    root = Path(campaign) if campaign else Path("campaigns") / loaded.name
    again = ["agd", "run", config, *(["--nights"] if nights else [])]
    if campaign:
        again += ["--campaign", campaign]
    for key, value in settings.items():
        again += ["--set", f"{key}={value}"]
    if nights:
        loaded, root = tonight(root, loaded)
    return Plan(loaded, root, shlex.join(again))
