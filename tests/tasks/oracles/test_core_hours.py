from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dft_inputs.batch.cluster_settings import ClusterSettings
from tasks.oracles.core_hours import NIGHT_S, core_hours_of, room_for

NOW = 1_800_000_000.0
CLUSTER = ClusterSettings(nodes=2, tasks_per_node=4, hours=3)


def history(folder: Path, *marks: tuple[str, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{"state": state, "at": NOW + 3600 * hours} for state, hours in marks]
    (folder / "STATUS.json").write_text(json.dumps({"history": entries}))


def job(name: str, state: str = "EMITTED", role: str = "candidate", age_h: float = 1.0) -> dict:
    when = datetime.fromtimestamp(NOW - 3600 * age_h, UTC).isoformat()
    story = {"role": role, "emitted_at": when}
    return {"folder": name, "state": state, "story": story, "changed_at": when}


def test_a_jobs_core_hours_are_the_time_it_ran_on_all_its_cores(tmp_path):
    history(tmp_path, ("RUNNING", 0), ("RUNNING", 0.5), ("DONE", 2))
    assert core_hours_of(tmp_path, CLUSTER) == pytest.approx(16)


def test_waiting_in_the_queue_again_costs_nothing(tmp_path):
    history(tmp_path, ("RUNNING", 0), ("RESTARTING", 1), ("RUNNING", 9), ("FAILED", 10))
    assert core_hours_of(tmp_path, CLUSTER) == pytest.approx(16)


def test_a_run_longer_than_its_wall_time_was_dead_for_the_rest(tmp_path):
    history(tmp_path, ("RUNNING", 0), ("RUNNING", 50), ("DONE", 51))
    assert core_hours_of(tmp_path, CLUSTER) == pytest.approx(8 * (3 + 1))


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"history": [{"state": "RUNNING"}]}'])
def test_a_directory_that_does_not_tell_is_not_measured(tmp_path, text):
    if text is not None:
        (tmp_path / "STATUS.json").write_text(text)
    assert core_hours_of(tmp_path, CLUSTER) is None


def test_before_anything_is_measured_a_job_counts_as_much_as_it_may_take(tmp_path):
    assert room_for(24 * 10, [], CLUSTER, NOW) == 10
    assert room_for(24 * 10, [(tmp_path, job("a")), (tmp_path, job("b"))], CLUSTER, NOW) == 8
    assert room_for(23.9, [], CLUSTER, NOW) == 0


def test_finished_jobs_are_the_measure_of_the_others_role_by_role(tmp_path):
    history(tmp_path / "a", ("RUNNING", 0), ("DONE", 1))
    history(tmp_path / "b", ("RUNNING", 0), ("DONE", 2))
    history(tmp_path / "r", ("RUNNING", 0), ("DONE", 0.5))
    done = [job("a", "INGESTED"), job("b", "FAILED"), job("r", "INGESTED", "reference")]
    jobs = [(tmp_path, j) for j in [*done, job("c"), job("s", role="reference")]]
    spent = 8 * (1 + 2 + 0.5) + 8 * 1.5 + 8 * 0.5
    assert room_for(spent + 12 * 5 + 1, jobs, CLUSTER, NOW) == 5


def test_jobs_of_the_night_before_are_measured_and_not_charged(tmp_path):
    history(tmp_path / "a", ("RUNNING", -30), ("DONE", -29))
    old = [(tmp_path, job("a", "INGESTED", age_h=NIGHT_S / 3600 + 1))]
    assert room_for(40, old, CLUSTER, NOW) == 5


def test_a_ledger_without_the_time_of_emission_counts_the_last_change(tmp_path):
    known = job("a", age_h=30)
    del known["story"]["emitted_at"]
    assert room_for(24, [(tmp_path, known)], CLUSTER, NOW) == 1
    known["changed_at"] = datetime.fromtimestamp(NOW, UTC).isoformat()
    assert room_for(24, [(tmp_path, known)], CLUSTER, NOW) == 0


@given(st.floats(0.1, 1e5), st.floats(0.1, 1e5), st.integers(0, 30))
def test_more_budget_is_never_less_room_and_more_jobs_never_more(one, other, n):
    jobs = [(Path("nowhere"), job(str(i))) for i in range(n)]
    low, high = sorted((one, other))
    assert 0 <= room_for(low, jobs, CLUSTER, NOW) <= room_for(high, jobs, CLUSTER, NOW)
    assert room_for(low, [*jobs, *jobs[:1]], CLUSTER, NOW) <= room_for(low, jobs, CLUSTER, NOW)
