"""Parts of a campaign at workers of every kind: the same outputs, and what dies is done again."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.config import load_config
from flows.running.parts import Parts
from flows.running.processes import Processes
from flows.running.worker_kinds import workers_for
from flows.running.workers import Threads, WorkerDied, Workers, WorkersClosed, WorkersConfig
from structure.errors import CampaignError, ConfigError, DataError
from tasks.campaign.directory import BudgetUsed, Campaign
from tasks.campaign.place import Place
from tests.flows.running import stages_to_try as to_try

KINDS = ["threads", "processes", pytest.param("dask", marks=pytest.mark.slow)]


def begun(kind: str, n: int, root: Path, **settings: object) -> Workers:
    if kind == "dask":
        pytest.importorskip("distributed")
    return workers_for(WorkersConfig.model_validate({"kind": kind, "n": n, **settings}), root)


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    with Campaign(tmp_path / "campaign", {}, 1) as one:
        yield one


@pytest.fixture
def processes() -> Iterator[Processes]:
    workers = Processes(2)
    yield workers
    workers.close()


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_same_for_every_kind_and_number_of_workers(
    kind: str, tmp_path: Path
) -> None:
    found = []
    for n in (1, 2):
        with Campaign(tmp_path / str(n), {}, 1) as campaign:
            workers = begun(kind, n, campaign.root)
            try:
                outputs = Parts(campaign, workers).each(to_try.draw, [(i,) for i in range(5)])
            finally:
                workers.close()
            assert [s["part"] for s in campaign.ledger.stages()] != []
            found.append([one.file for one in outputs])
    expected = [to_try.draw(Place(tmp_path / "here", 1), i).file for i in range(5)]
    assert found == [expected, expected]


@pytest.mark.parametrize("kind", ["processes", pytest.param("dask", marks=pytest.mark.slow)])
def test_a_worker_has_its_threads_and_waits_passively(kind: str, campaign: Campaign) -> None:
    workers = begun(kind, 1, campaign.root, threads=3)
    try:
        assert Parts(campaign, workers)(to_try.draw, 0).threads == "3passive"
    finally:
        workers.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_worker_logs_is_logged_here(
    kind: str, campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    workers = begun(kind, 1, campaign.root)
    with caplog.at_level(logging.INFO, "tasks"):
        Parts(campaign, workers)(to_try.draw, 3)
    workers.close()
    assert "drew 3" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_part_comes_home_and_is_not_tried_again(
    kind: str, campaign: Campaign
) -> None:
    workers = begun(kind, 2, campaign.root)
    try:
        with pytest.raises(DataError, match="spoilt") as raised:
            Parts(campaign, workers)(to_try.failing)
    finally:
        workers.close()
    assert raised.value.fix == "Mend it."
    assert len(list((campaign.root / "failing").iterdir())) == 1


def test_an_error_that_cannot_be_sent_is_told_in_words(
    campaign: Campaign, processes: Processes
) -> None:
    with pytest.raises(RuntimeError, match="of this kind"):
        Parts(campaign, processes)(to_try.unfit)
    assert Parts(campaign, processes)(to_try.draw, 1)


@pytest.mark.parametrize("kind", ["processes", pytest.param("dask", marks=pytest.mark.slow)])
def test_a_part_whose_worker_is_killed_is_done_again_with_the_same_output(
    kind: str, campaign: Campaign, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workers = begun(kind, 2, campaign.root)
    try:
        rows = [(i, 1 if i == 2 else 0) for i in range(5)]
        outputs = Parts(campaign, workers).each(to_try.dying, rows)
    finally:
        workers.close()
    expected = [to_try.draw(Place(tmp_path / "here", 1), i).file for i in range(5)]
    assert [one.file for one in outputs] == expected
    assert "done once more" in caplog.text


@pytest.mark.parametrize("kind", ["processes", pytest.param("dask", marks=pytest.mark.slow)])
def test_a_part_that_takes_two_workers_down_is_given_up_and_the_others_are_kept(
    kind: str, campaign: Campaign
) -> None:
    workers = begun(kind, 1, campaign.root)
    try:
        with pytest.raises(WorkerDied, match="dying 01") as raised:
            Parts(campaign, workers).each(to_try.dying, [(0, 0), (1, 2), (2, 0)])
    finally:
        workers.close()
    assert "workers.n" in str(raised.value.fix)
    assert [one["part"] for one in campaign.ledger.stages()] == ["00"]


def test_stopping_ends_processes_in_the_middle_of_a_part(campaign: Campaign) -> None:
    workers = Processes(1)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            workers.run("it", to_try.waiting, campaign.place, 0)
        except BaseException as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not (begun := list(campaign.root.glob("waiting/0-*"))):
        time.sleep(0.02)
    workers.close()
    asking.join()
    assert isinstance(raised[0], WorkersClosed)
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun[0].name.partition("-")[2]), 0)
    with pytest.raises(WorkersClosed):
        workers.run("it", to_try.draw, campaign.place, 0)


def test_parts_under_way_are_finished_when_the_time_is_up(campaign: Campaign) -> None:
    parts = Parts(campaign, Threads(2))
    raised: list[BaseException] = []

    def end_the_time() -> None:
        while len(list(campaign.root.glob("waiting/*"))) < 2:
            time.sleep(0.02)
        campaign.deadline = 0.0
        (campaign.root / "go-on").touch()

    ending = threading.Thread(target=end_the_time)
    ending.start()
    try:
        parts.each(to_try.waiting, [(i,) for i in range(4)])
    except BudgetUsed as error:
        raised.append(error)
    ending.join()
    assert "waiting 2" in str(raised[0])
    assert sorted(one["part"] for one in campaign.ledger.stages()) == ["0", "1"]


def test_workers_of_a_campaign_can_be_others_than_it_began_with(tmp_path: Path) -> None:
    from flows.config import as_begun

    first = load_config("agd-bandgap", {"workers.n": 1})
    with Campaign(tmp_path, as_begun(first, tmp_path), first.seed):
        pass
    other = load_config("agd-bandgap", {"workers.n": 2, "workers.kind": "threads"})
    with Campaign(tmp_path, as_begun(other, tmp_path), other.seed) as campaign:
        assert "workers" not in (campaign.root / "campaign.json").read_text()


def test_settings_of_workers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"workers\.n"):
        load_config("agd-bandgap", {"workers.n": 0})
    with pytest.raises(ConfigError, match="processes"):
        load_config("agd-bandgap", {"workers.kind": "ray"})
    with pytest.raises(ValidationError, match="kind"):
        WorkersConfig(kind="threads", address="tcp://here:1")


def test_dask_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="not installed") as raised:
        workers_for(WorkersConfig(kind="dask"), tmp_path)
    assert "[dask]" in str(raised.value.fix)


def test_a_scheduler_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    from flows.running import dask_workers

    monkeypatch.setattr(dask_workers, "CONNECT_S", 0.5)
    with pytest.raises(ConfigError, match="no Dask scheduler answers") as raised:
        workers_for(WorkersConfig(kind="dask", address="tcp://127.0.0.1:9"), tmp_path)
    assert "127.0.0.1:9" in str(raised.value.where)


def test_a_dask_worker_that_does_not_see_the_campaign_says_so(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from flows.running.dask_workers import at_dask_worker
    from flows.running.worker_process import Failed, Task

    told = at_dask_worker(Task(to_try.draw, (Place(tmp_path / "elsewhere", 1), 0)))
    assert isinstance(told.answer, Failed)
    assert isinstance(told.answer.error, CampaignError)
    assert not (tmp_path / "elsewhere").exists()
