from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import dft_inputs.job.folder as folder_module
import tasks.dft_jobs.emit as emission_module
from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.job.folder import Job, emitted_jobs
from dft_inputs.job.prepare import prepare_job
from dft_inputs.recipes.shipped import GPAW
from structure.errors import CampaignError
from tasks.campaign.directory import Campaign
from tasks.campaign.job_lock import jobs_to_itself
from tasks.collect import CollectConfig, Collected, collect_campaign
from tasks.dft_jobs.emit import Emission
from tasks.handoff import HandoffConfig, hand_off
from tasks.ledger.ledger import Ledger
from tests.dft_inputs.cells import rocksalt
from tests.tasks.dft_world import config, oracle_of
from tests.tasks.oracles.test_dft import SIX
from tests.tasks.test_handoff import TRAINED, survivors


def jobs_of(*pairs: tuple[str, str]) -> list[Job]:
    found = [prepare_job(rocksalt(a, b, 4.8), GPAW, formula=f"{a}{b}") for a, b in pairs]
    assert all(isinstance(job, Job) for job in found)
    return [job for job in found if isinstance(job, Job)]


def emit(campaign: Campaign, jobs: Sequence[Job]) -> None:
    Emission(campaign.root, GPAW, ClusterSettings()).emit(campaign.ledger, jobs)


def on_disk(root: Path) -> dict[str, str]:
    """Return where every job lies, by id, in batches, references and quarantine."""
    found = {}
    for ticket in sorted(root.rglob("ticket.json")):
        id = json.loads(ticket.read_text())["id"]
        assert id not in found
        found[id] = ticket.parent.relative_to(root).as_posix()
    return found


def in_ledger(root: Path) -> dict[str, str]:
    ledger = Ledger.in_folder(root)
    try:
        return {job["id"]: job["folder"] for job in ledger.jobs()}
    finally:
        ledger.close()


def nothing_moved(found: Collected, root: Path) -> None:
    assert found.quarantined == ()
    assert not (root / "quarantine").exists()


class KilledError(Exception):
    """What stands for SIGKILL: the process does nothing after it."""


def killed(*_: object) -> None:
    raise KilledError


def by_hand_off(campaign: Campaign) -> None:
    handoff = HandoffConfig(recipe="gpaw-pbe")
    campaign.run(hand_off, handoff, survivors(campaign, [("Mg", "O"), ("Na", "Cl")], 0), TRAINED)


def by_search(campaign: Campaign) -> None:
    oracle_of(campaign, config(Path("none"))).label(SIX[:2])


@pytest.mark.parametrize("write", [by_hand_off, by_search])
def test_nobody_collects_between_the_folders_and_the_ledger(
    tmp_path, monkeypatch, write: Callable[[Campaign], None]
):
    """The barrier stands where collects used to empty fresh batches into quarantine."""
    refused = []
    record = emission_module.record

    def with_a_collect_before(root: Path, ledger: Ledger, places: Sequence[Path]) -> list[str]:
        assert emitted_jobs(*places)
        with pytest.raises(CampaignError, match="takes long") as caught:
            collect_campaign(root, CollectConfig(wait_s=0))
        refused.append(caught.value)
        return record(root, ledger, places)

    monkeypatch.setattr(emission_module, "record", with_a_collect_before)
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        write(campaign)
        assert refused
        nothing_moved(collect_campaign(campaign.root), campaign.root)
    assert on_disk(tmp_path / "c") == in_ledger(tmp_path / "c")


def test_a_collect_that_waits_for_a_hand_off_sees_all_of_it(tmp_path, monkeypatch):
    record, seen = emission_module.record, []

    def with_a_collect_beside(root: Path, ledger: Ledger, places: Sequence[Path]) -> list[str]:
        beside = threading.Thread(target=lambda: seen.append(collect_campaign(root)))
        beside.start()
        threads.append(beside)
        return record(root, ledger, places)

    threads: list[threading.Thread] = []
    monkeypatch.setattr(emission_module, "record", with_a_collect_beside)
    with Campaign(tmp_path, {}, 0) as campaign:
        emit(campaign, jobs_of(("Mg", "O"), ("Na", "Cl")))
    threads[0].join()
    nothing_moved(seen[0], tmp_path)
    assert seen[0].states == {"EMITTED": 6}
    assert seen[0].notes == ()


def test_a_hand_off_waits_for_a_collect_and_says_so(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="tasks.campaign.job_lock")
    monkeypatch.setattr("tasks.campaign.job_lock.TELL_S", 0.02)
    inside = threading.Event()

    def hold() -> None:
        with jobs_to_itself(tmp_path):
            inside.set()
            while "waits for a collect" not in caplog.text:
                pass

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    with jobs_to_itself(tmp_path):
        assert "waits for a collect" in caplog.text
    holder.join()


def test_a_search_goes_on_beside_a_collect_that_takes_long(tmp_path, monkeypatch):
    class Impatient(CollectConfig):
        wait_s: float = 0.0

    monkeypatch.setattr("tasks.dft_jobs.collect_round.CollectConfig", Impatient)
    with Campaign(tmp_path, {}, 0) as campaign:
        oracle = oracle_of(campaign, config(Path("none")))
        first = oracle.label(SIX[:2])
        with jobs_to_itself(tmp_path):
            assert oracle.label(SIX[:2]).jobs == first.jobs
        assert oracle.label(SIX[:2]).jobs == first.jobs


def dies_before_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission_module, "record", killed)


def dies_before_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission_module, "write_batch", killed)


def dies_within_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    write, done = folder_module._write_job, []

    def until_the_second(folder: Path, job: Job) -> None:
        if done and folder.parent.name == "references":
            raise KilledError
        done.append(folder)
        write(folder, job)

    monkeypatch.setattr(folder_module, "_write_job", until_the_second)


MOMENTS = [dies_before_the_ledger, dies_before_the_batch, dies_within_the_references]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_on_the_way_to_the_ledger_loses_no_folder_to_a_collect(
    tmp_path, monkeypatch, moment
):
    first, second = jobs_of(("Mg", "O")), jobs_of(("Na", "Cl"), ("K", "F"))
    for name in ("undisturbed", "killed"):
        with Campaign(tmp_path / name, {}, 0) as campaign:
            emit(campaign, first)
    with Campaign(tmp_path / "undisturbed", {}, 0) as campaign:
        emit(campaign, second)
    root = tmp_path / "killed"
    with Campaign(root, {}, 0) as campaign, monkeypatch.context() as patched:
        moment(patched)
        with pytest.raises(KilledError):
            emit(campaign, second)
    there = on_disk(root)
    assert len(there) > len(in_ledger(root))
    found = collect_campaign(root)
    nothing_moved(found, root)
    assert any("are not in the ledger, such as" in note for note in found.notes)
    assert on_disk(root) == there
    with Campaign(root, {}, 0) as campaign:
        emit(campaign, second)
    assert collect_campaign(root).notes == ()
    assert on_disk(root) == in_ledger(root) == in_ledger(tmp_path / "undisturbed")


@pytest.mark.parametrize("lost", [["jobs.txt"], ["batch.json"]])
def test_what_a_ledger_from_a_copy_does_not_know_stays_where_it_is(tmp_path, lost):
    with Campaign(tmp_path, {}, 0) as campaign:
        emit(campaign, jobs_of(("Mg", "O"), ("Na", "Cl")))
    before = on_disk(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        ledger.execute("delete from jobs where formula not in ('MgO', 'Mg')")
    for name in lost:
        (tmp_path / "references" / name).unlink()
    if lost == ["batch.json"]:
        (tmp_path / "references" / "batch.json").write_text("damaged")
    nothing_moved(collect_campaign(tmp_path), tmp_path)
    assert on_disk(tmp_path) == before
    assert collect_campaign(tmp_path, rebuild=True).states == {"EMITTED": 6}


def test_another_campaigns_batch_copied_over_ours_is_still_set_aside(tmp_path):
    for name, pair in (("one", ("Mg", "O")), ("two", ("Na", "Cl"))):
        with Campaign(tmp_path / name, {}, 0) as campaign:
            emit(campaign, jobs_of(pair))
    there = tmp_path / "two" / "handoff" / "batch-0001"
    shutil.copytree(there, tmp_path / "one" / "handoff" / "batch-0001", dirs_exist_ok=True)
    found = collect_campaign(tmp_path / "one")
    (sentence,) = found.quarantined
    assert "is no job of this campaign" in sentence
    assert [p.name for p in (tmp_path / "one" / "handoff/batch-0001").glob("*--*")] == [
        Path(folder).name for folder in in_ledger(tmp_path / "one").values() if "MgO" in folder
    ]
