"""What the tests of the flows share: a campaign small enough for a test, and a Prefect server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

SMALL: dict[str, Any] = {
    "explore.budget": 40,
    "explore.pool_size": 200,
    "sample.shards": 2,
    "sample.shard_size": 5000,
    "screen.validity_sample": 200,
    "template.limit": 20,
}
"""Overrides that make agd-bandgap a campaign of seconds. It stays whole: no stage is left out."""


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect server for all tests that run flows in this process."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project directory of its own, with the files that Prefect's command line reads."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("prefect.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder
