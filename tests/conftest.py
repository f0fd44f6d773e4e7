from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.postgres import Postgres

# No test has a time limit: the machine may be busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the development data set; tests that need it say why they are skipped."""
    named = os.environ.get("AGD_DATA_DIR", "")
    path = Path(named)
    if not named or not (path / "mp_structures.jsonl.gz").exists():
        pytest.skip("AGD_DATA_DIR names no folder with the development data set")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; its sockets need a short path."""
    from tests.postgres import Postgres

    with tempfile.TemporaryDirectory(prefix="agd-pg-") as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def database(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database."""
    name = f"test_{abs(hash(request.node.nodeid))}"
    postgres.ask(f"create database {name}")
    yield postgres.url_of(name)
    postgres.ask(f"drop database {name} with (force)")
