from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.gpaw.jobs import RESULT, gpaw_job
from dft_inputs.job.folder import write_batch
from dft_inputs.recipes.shipped import GPAW
from dft_inputs.references.prototypes import build

FAKE = Path(__file__).parents[2] / "engines" / "fake_gpaw"
STEP = GPAW.steps[0].name


@pytest.fixture
def job(tmp_path: Path) -> Path:
    question = gpaw_job(build("rocksalt", ("Li", "H"), volume_A3=8.1), GPAW, formula="LiH")
    settings = ClusterSettings(scheduler="shell", hours=0, gpaw_python=str(FAKE))
    files = batch_files(settings, GPAW, [question.ticket])
    write_batch(tmp_path / "batch-0001", [question], files, {})
    return tmp_path / "batch-0001" / question.ticket.folder


def run(job: Path, fake: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    everything = {**os.environ, "FAKE_GPAW": fake, **env}
    return subprocess.run(["sh", job / "run.sh"], env=everything, capture_output=True, text=True)


def status(job: Path) -> dict:
    return json.loads((job / "STATUS.json").read_text())


def launches(job: Path) -> int:
    return len((job / STEP / "launches").read_text().splitlines())


def at_work(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_job_runs_and_the_marker_comes_last(job):
    done = run(job)
    assert done.returncode == 0, done.stderr
    assert status(job)["state"] == "DONE"
    assert (job / "DONE").stat().st_mtime_ns >= (job / "STATUS.json").stat().st_mtime_ns


def test_a_finished_job_is_not_run_again(job):
    run(job)
    assert run(job).returncode == 0
    assert launches(job) == 1


def test_a_crash_is_tried_once_more(job):
    assert run(job, "crash!").returncode == 0
    assert launches(job) == 2


@pytest.mark.parametrize("fake", ["crash", "cut"])
def test_a_job_that_crashes_twice_fails_with_code_200(job, fake):
    assert run(job, fake).returncode == 30
    assert (status(job)["state"], status(job)["code"]) == ("FAILED", 200)
    assert (job / "FAILED").exists()
    assert launches(job) == 2


def test_what_gpaw_gave_up_is_not_computed_again(job):
    assert run(job, "unconverged").returncode == 30
    assert (status(job)["state"], status(job)["code"]) == ("FAILED", 210)
    assert launches(job) == 1


def test_a_failed_job_that_is_submitted_again_is_computed_again(job):
    run(job, "unconverged")
    done = subprocess.run(
        ["sh", "submit.sh", "--again"], cwd=job.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert status(job)["state"] == "DONE"
    assert launches(job) == 2


def test_a_python_without_gpaw_is_not_the_calculations_fault(job):
    assert run(job, "absent").returncode == 21
    assert (status(job)["state"], status(job)["code"]) == ("BROKEN", 21)
    assert not (job / "FAILED").exists()


def test_an_interpreter_that_does_not_exist_is_not_the_calculations_fault(job):
    env = job.parent / "cluster.env"
    env.write_text(env.read_text().replace(str(FAKE), "/nowhere/python3"))
    assert run(job).returncode == 21
    assert status(job)["state"] == "BROKEN"
    assert "/nowhere/python3" in status(job)["sentence"]


def test_a_killed_run_leaves_nothing_at_work_and_the_next_one_finishes(job):
    env = {**os.environ, "FAKE_GPAW": "slow!"}
    child = subprocess.Popen(["sh", str(job / "run.sh")], env=env, start_new_session=True)
    while not (job / STEP / "launches").exists():
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    worker = int((job / STEP / "launches").read_text().split()[0])
    assert run(job, "slow!").returncode == 0
    assert not at_work(worker)
    assert (job / STEP / RESULT).exists()


def test_at_the_wall_time_limit_it_stops_and_asks_to_be_queued_again(job):
    env = {**os.environ, "FAKE_GPAW": "slow!", "AGD_WARNING_S": "1"}
    text = (job.parent / "cluster.env").read_text()
    (job.parent / "cluster.env").write_text(
        "\n".join(line for line in text.splitlines() if "AGD_WARNING_S=" not in line) + "\n"
    )
    child = subprocess.Popen(["sh", str(job / "run.sh")], env=env)
    while not (job / STEP / "launches").exists():
        time.sleep(0.05)
    child.send_signal(signal.SIGUSR1)
    assert child.wait() == 75
    assert status(job)["state"] == "RESTARTING"
    assert run(job, "slow!").returncode == 0
    assert status(job)["state"] == "DONE"
