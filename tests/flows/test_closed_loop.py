"""The loop closed with real DFT: schedule, search, directories, GPAW, collect, the next night."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from dft_inputs.gpaw.jobs import DEFAULT_PYTHON, PYTHON_VARIABLE, available
from dft_inputs.recipes.shipped import GPAW
from flows.running import services
from structure.errors import AgdError
from tasks.campaign.handles import read_table
from tasks.campaign.outputs import Ingested
from tasks.ledger.ledger import Ledger

NIGHTS = 3
COMPOUNDS = 2
SMALL = {"sample.shard_size": 2000, "explore.pool_size": 1000, "filter.limit": 1}

pytestmark = [
    pytest.mark.dft,
    pytest.mark.slow,
    pytest.mark.skipif(
        not available(), reason=f"{DEFAULT_PYTHON} or ${PYTHON_VARIABLE} cannot import gpaw"
    ),
]


def scheduled(project: Path) -> None:
    """Put a schedule that fires all the time into the project's deployments."""
    path = project / "prefect.yaml"
    document = yaml.safe_load(path.read_text())
    deployments = {one["name"]: one for one in document["deployments"]}
    loop, collect = deployments["agd-bandgap-overnight"], deployments["agd-collect"]
    loop["parameters"] = {
        "config": "agd-bandgap-gpaw",
        "campaign": "campaigns/loop",
        "nights": True,
        "overrides": SMALL,
    }
    loop["schedules"] = [{"interval": 5, "active": True}]
    collect["schedules"] = [{"interval": 30, "active": True}]
    path.write_text(yaml.safe_dump({**document, "deployments": [loop, collect]}))


def finished(night: Path) -> bool:
    if not (night / "campaign.json").exists():
        return False
    try:
        ledger = Ledger.in_folder(night)
    except AgdError:
        return False
    try:
        return ledger.fact("finished") is not None
    finally:
        ledger.close()


def facts(night: Path) -> tuple[list[dict], list, list[str]]:
    """Return what the search asked for, what came back, and what the night began with."""
    ledger = Ledger.in_folder(night)
    try:
        asked = [job for job in ledger.jobs() if job["story"].get("asked_by") == "search"]
        output = Ingested.model_validate_json(ledger.finished("ingest", "all") or "")
        labels = [label for label in ledger.labels("band_gap_eV") if label.iteration]
    finally:
        ledger.close()
    columns, _ = read_table(night, output.initial)
    return asked, labels, columns["formula"].tolist()


def test_three_nights_of_real_calculations_follow_each_other_on_a_schedule(project):
    scheduled(project)
    nights = [project / "campaigns" / "loop" / f"night-{n:04d}" for n in range(1, NIGHTS + 1)]
    with services.server(project) as env:
        services.make_pool(env)
        services.deploy(env, project)
        with services.worker(env, project) as worker:
            while not finished(nights[-1]):
                assert worker.poll() is None, services.tail(project / ".prefect" / "worker.log")
                time.sleep(1.0)
    every: list[str] = []
    for night in nights:
        asked, labels, initial = facts(night)
        assert len(asked) == COMPOUNDS
        assert {job["state"] for job in asked} == {"INGESTED"}
        assert {label.formula for label in labels} == {job["formula"] for job in asked}
        assert {(label.origin, label.source) for label in labels} == {("dft-gpaw", GPAW.hash)}
        for job in asked:
            folder = night / job["folder"]
            assert (folder / "DONE").exists()
            assert (night / "results" / f"{job['id']}.json").exists()
        assert set(every) <= set(initial)
        every += [job["formula"] for job in asked]
    assert len(set(every)) == NIGHTS * COMPOUNDS
