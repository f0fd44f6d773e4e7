from __future__ import annotations

import os
import secrets
import signal
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
            server.stop(signal.SIGQUIT)


@pytest.fixture
def database(postgres: Postgres) -> str:
    """URL of an empty database; it goes with its server."""
    name = f"test_{secrets.token_hex(8)}"
    postgres.ask(f"create database {name}")
    return postgres.url_of(name)
