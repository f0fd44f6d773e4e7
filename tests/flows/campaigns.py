"""A campaign small enough for a test, and what of a campaign must always be the same."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from tests.flows.conftest import ROOT

SMALL: dict[str, Any] = {
    "window.minimum_eV": 3.0,
    "explore.budget": 40,
    "explore.pool_size": 200,
    "sample.shards": 2,
    "sample.shard_size": 5000,
    "screen.validity_sample": 200,
    "template.limit": 400,
}
"""Overrides that make agd-bandgap a campaign of seconds. It stays whole: no stage is left out, and
the window is wide enough for a few thousand formulas to leave candidates."""


def settings(overrides: dict[str, Any]) -> list[str]:
    """Return the words of a command that make these settings."""
    return [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]


def _benchmark() -> Any:
    """Load benchmarks/kills.py: the tests compare campaigns by the benchmark's own measure."""
    spec = importlib.util.spec_from_file_location("kills", ROOT / "benchmarks" / "kills.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kills"] = module
    spec.loader.exec_module(module)
    return module


kills = _benchmark()
fingerprint = kills.fingerprint
