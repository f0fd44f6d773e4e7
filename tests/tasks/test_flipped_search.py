"""One bit is flipped in each file of a search that asks for calculations, which is then resumed.

The search may say so, a job of it may end without a result, or it ends as it would have.
"""

from __future__ import annotations

import random
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from structure.errors import AgdError
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import read_table
from tasks.ledger.ledger import Ledger
from tasks.oracles.dft_settings import DFTOracleConfig
from tasks.oracles.oracle import OracleConfig
from tests.tasks import dft_world

pytestmark = pytest.mark.slow

SETTINGS = dft_world.SEARCH.model_copy(
    update={
        "budget": 4,
        "batch": 2,
        "in_flight_at_most": 2,
        "oracle": OracleConfig(
            kind="gpaw",
            dft=DFTOracleConfig(cluster=dft_world.cluster(), **dft_world.ANY_TEMPLATE),
        ),
    }
)

PEOPLE = ("cluster.env", "approved.csv", "README.txt", "*.sh", "runner.py", "gpaw_*.py")
"""What a person may edit beside the jobs, and the programs that the cluster runs."""

NOT_READ = ("*.lock", "ledger.sqlite-*", "launches", "*.svg")


def searched(root: Path) -> None:
    with Campaign(root, {}, 7) as campaign:
        dft_world.search(campaign, SETTINGS)


def ended(root: Path) -> tuple[dict[str, list[Any]], bool]:
    """Resume a search; return what it found, and whether every job of it was taken in."""
    searched(root)
    dft_world.submit(root)
    with Campaign(root, {}, 7) as campaign:
        explored = dft_world.search(campaign, SETTINGS)
        columns, _ = read_table(root, explored.visited)
        whole = {job["state"] for job in campaign.ledger.jobs()} == {"INGESTED"}
        labels = sorted(
            (x.formula, x.property, x.value, x.quality)
            for name in ("band_gap_eV", "formation_energy_eV_per_atom")
            for x in campaign.ledger.labels(name)
        )
    found = {name: columns[name].tolist() for name in ("formula", "status", "band_gap_eV")}
    return {**found, "labels": labels}, whole


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search whose first two answers were taken in, and whose next two jobs did not run yet."""
    root = tmp_path_factory.mktemp("half") / "c"
    searched(root)
    dft_world.submit(root)
    searched(root)
    ledger = Ledger.in_folder(root)
    states = {job["state"] for job in ledger.jobs()}
    ledger.close()
    assert states == {"INGESTED", "EMITTED"}
    return root


@pytest.fixture(scope="module")
def undisturbed(half: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    root = tmp_path_factory.mktemp("undisturbed") / "c"
    shutil.copytree(half, root)
    found, whole = ended(root)
    assert whole
    assert found["status"] == ["labelled"] * 4
    return found


@pytest.mark.parametrize("kind", ["results", "explore", "ingest", "ledger.sqlite", "handoff",
                                  "references", "campaign.json", "initial.parquet"])  # fmt: skip
def test_a_flipped_bit_is_noticed_or_changes_no_answer(half, undisturbed, tmp_path, kind):
    names = [
        path.relative_to(half)
        for path in sorted(half.rglob("*"))
        if path.is_file()
        and path.stat().st_size
        and path.relative_to(half).parts[0] == kind
        and not any(path.match(pattern) for pattern in (*PEOPLE, *NOT_READ))
    ]
    assert names
    for name in names:
        for number in range(16 if kind == "ledger.sqlite" else 1):
            root = tmp_path / "c"
            shutil.copytree(half, root)
            content = bytearray((root / name).read_bytes())
            chance = random.Random(zlib.crc32(name.name.encode()) + number)
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            (root / name).write_bytes(bytes(content))
            try:
                found, whole = ended(root)
            except AgdError as error:
                assert error.fix
            else:
                assert found == undisturbed or not whole, f"bit {number} of {name}"
            shutil.rmtree(root)
