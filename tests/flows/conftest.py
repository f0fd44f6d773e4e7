"""What the tests of the flows share: a Prefect server and a project directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect server, with a secret, for all tests that run flows in this process."""
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_SERVER_API_AUTH_STRING,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    key = f"agd:{token_urlsafe(32)}"
    both = {PREFECT_API_AUTH_STRING: key, PREFECT_SERVER_API_AUTH_STRING: key}
    with temporary_settings(both), prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project directory of its own, with the files that Prefect's command line reads."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("prefect.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder
