from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dft_inputs.job.folder import first_status
from dft_inputs.job.status import LEGAL_MOVES, State, may_become, observe, scan
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import rocksalt

NOW = 1_800_000_000.0
HOUR = 3600.0


@pytest.fixture
def job(tmp_path) -> Path:
    folder = tmp_path / "MgO--12345678"
    folder.mkdir()
    ticket = vasp_job(rocksalt(), PAPER, formula="MgO").ticket
    (folder / "STATUS.json").write_text(first_status(ticket))
    return folder


def write(folder: Path, state: str, age_h: float = 0.0, **more) -> None:
    path = folder / "STATUS.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": state, **more}))
    os.utime(path, (NOW - age_h * HOUR, NOW - age_h * HOUR))


def state_of(folder: Path, stale_after_h: float = 12) -> State:
    return observe(folder, NOW, stale_after_h * HOUR).state


def test_a_job_nobody_submitted_is_emitted(job):
    assert state_of(job) is State.EMITTED


def test_the_marker_of_submit_counts_until_the_runner_writes(job):
    write(job, "EMITTED", age_h=2)
    (job / "SUBMITTED").touch()
    assert state_of(job) is State.SUBMITTED
    write(job, "RUNNING", step="00-relax1")
    assert state_of(job) is State.RUNNING


def test_a_broken_job_that_was_sent_again_is_submitted(job):
    write(job, "BROKEN", age_h=1, code=20)
    assert state_of(job) is State.BROKEN
    (job / "SUBMITTED").touch()
    os.utime(job / "SUBMITTED", (NOW, NOW))
    assert state_of(job) is State.SUBMITTED


def test_markers_outrank_what_status_says(job):
    write(job, "RUNNING")
    (job / "DONE").touch()
    assert state_of(job) is State.DONE
    (job / "DONE").rename(job / "FAILED")
    assert state_of(job) is State.FAILED
    (job / "FAILED").rename(job / "CANCELLED")
    assert state_of(job) is State.CANCELLED


def test_a_cancelled_job_gives_the_reason_in_its_marker_if_there_is_one(job):
    (job / "CANCELLED").touch()
    assert observe(job, NOW, HOUR).sentence == ""
    (job / "CANCELLED").write_text("approved.csv declined this job: too dear\nand more\n")
    seen = observe(job, NOW, HOUR)
    assert (seen.state, seen.sentence) == (
        State.CANCELLED,
        "approved.csv declined this job: too dear",
    )


def test_a_job_without_its_marker_is_still_running(job):
    write(job, "DONE")
    assert state_of(job) is State.RUNNING


def test_a_silent_job_is_stale_and_says_what_to_do(job):
    write(job, "RUNNING", age_h=13)
    seen = observe(job, NOW, 12 * HOUR)
    assert seen.state is State.STALE
    assert seen.code == 110
    assert "submit.sh --lost" in seen.sentence


@pytest.mark.parametrize("state", ["EMITTED", "RESTARTING", "BROKEN"])
def test_waiting_in_a_queue_is_not_being_stale(job, state):
    write(job, state, age_h=1000)
    assert state_of(job) is not State.STALE


def test_clocks_that_jump_lose_no_job(job):
    """A heartbeat from the future is fresh; a job called stale comes back with the next beat."""
    write(job, "RUNNING", age_h=-50)
    assert state_of(job) is State.RUNNING
    write(job, "RUNNING", age_h=1)
    assert observe(job, NOW + 1e6 * HOUR, 12 * HOUR).state is State.STALE
    assert may_become(State.STALE, State.RUNNING)
    assert state_of(job) is State.RUNNING


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\x00", b'{"state": "HAPPY"}', b"x" * 2_000_000]
)
def test_a_damaged_status_is_broken_with_a_sentence(job, content):
    (job / "STATUS.json").write_bytes(content)
    seen = observe(job, NOW, HOUR)
    assert seen.state is State.BROKEN
    assert seen.sentence


def test_a_missing_status_is_broken_and_a_missing_folder_too(job):
    (job / "STATUS.json").unlink()
    assert state_of(job) is State.BROKEN
    assert state_of(job.parent / "gone--00000000") is State.BROKEN


@given(st.sampled_from(list(State)), st.sampled_from(list(State)))
def test_whatever_is_legal_may_be_seen(old, new):
    if new in LEGAL_MOVES[old]:
        assert may_become(old, new)


def test_what_was_ingested_stays_ingested():
    assert not any(may_become(State.INGESTED, state) for state in set(State) - {State.INGESTED})


def test_a_quarantined_job_only_comes_back_as_a_repaired_result():
    back = {s for s in State if may_become(State.QUARANTINED, s)} - {State.QUARANTINED}
    assert back == {State.DONE}


def test_an_old_copy_of_a_folder_does_not_undo_what_was_seen():
    for state in (State.RUNNING, State.DONE, State.FAILED, State.BROKEN, State.STALE):
        assert not may_become(state, State.EMITTED)


def test_states_missed_between_two_looks_are_no_obstacle():
    assert may_become(State.EMITTED, State.DONE)
    assert may_become(State.FAILED, State.RUNNING)


def test_scanning_reads_every_folder_once(tmp_path):
    for number in range(50):
        folder = tmp_path / f"X--{number:08x}"
        folder.mkdir()
        (folder / "DONE").touch()
    seen = list(scan(sorted(tmp_path.iterdir()), time.time(), HOUR))
    assert [s.id for s in seen] == [f"{n:08x}" for n in range(50)]
    assert {s.state for s in seen} == {State.DONE}
