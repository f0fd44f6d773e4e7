from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
