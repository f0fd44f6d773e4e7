"""The batch scripts under a real SLURM; docs/results/slurm.md says what was seen."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from pymatgen.io.vasp import Poscar

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.job.folder import Job, write_batch
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import rocksalt
from tests.engines.one_node_slurm import LARGEST_ARRAY, CannotStartError, OneNodeSlurm

pytestmark = pytest.mark.slurm

FAKE = Path(__file__).parents[1] / "engines" / "fake_vasp"
EDGES = {"Mg": 4.25, "Ca": 4.8, "Sr": 5.1, "Ba": 5.5, "Zn": 4.3, "Cd": 4.7, "Be": 3.6}
STEPS = [step.name for step in PAPER.steps if not step.optional]
ROUNDS, KILLS_EACH = 15, 3
"""Batches whose submission is killed at random moments, and how often at most."""


@cache
def question(element: str) -> Job:
    oxide = rocksalt(element, "O", EDGES[element])
    return vasp_job(oxide, PAPER.with_steps(()), formula=f"{element}O")


class Batch:
    """A batch of jobs and what a person does with it."""

    def __init__(self, place: Path, slurm: OneNodeSlurm, library: Path, jobs: int, **settings):
        self.place, self.slurm = place, slurm
        self.env = {**slurm.env, "FAKE_VASP": ""}
        questions = [question(element) for element in list(EDGES)[:jobs]]
        symbols = {s for job in questions for s in job.ticket.potcar_symbols}
        subprocess.run([FAKE, "--make-potcars", library, *symbols], check=True)
        usual = {"tasks_per_node": 1, "hours": 1, "vasp": f"srun {FAKE}", "custodian": False}
        cluster = ClusterSettings(**{**usual, "potcars": str(library), **settings})
        write_batch(
            place, questions, batch_files(cluster, PAPER, [job.ticket for job in questions]), {}
        )
        self.jobs = [place / name for name in (place / "jobs.txt").read_text().split()]

    def submit(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", "submit.sh", *words]
        return subprocess.run(command, cwd=self.place, env=self.env, capture_output=True, text=True)

    def submit_and_be_killed(self, after_s: float | None = None) -> bool:
        """Return whether it ended by itself, and well."""
        child = subprocess.Popen(
            ["sh", "submit.sh"],
            cwd=self.place,
            env=self.env,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return child.wait(after_s) == 0
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return False

    def edit(self, name: str, value: str) -> None:
        """Change a line of cluster.env."""
        path = self.place / "cluster.env"
        text, found = re.subn(f"(?m)^{name}=.*$", f"{name}={value!r}", path.read_text())
        assert found == 1
        path.write_text(text)

    def queue(self) -> dict[str, str]:
        """Return the elements of this batch in SLURM, as 7_1 to PENDING, RUNNING ..."""
        lines = self.slurm.ask("squeue", "--array", "--noheader", "--format=%i %T %Z").splitlines()
        fields = [line.split(" ", 2) for line in lines]
        return {element: state for element, state, place in fields if place == str(self.place)}

    def array(self) -> str:
        """Return the id of the first array job."""
        return (self.place / "submitted" / "0001.id").read_text().strip()

    def lists(self) -> list[str]:
        return [p.read_text() for p in sorted((self.place / "submitted").glob("[0-9]*.list"))]

    def marked(self) -> list[Path]:
        return [job for job in self.jobs if (job / "SUBMITTED").exists()]

    def launches(self, step: str = STEPS[0]) -> list[int]:
        return [status(job)["attempts"].get(step, 0) for job in self.jobs]

    def until(self, true: Callable[[], object]) -> None:
        """Wait for what jobs in the queue will bring about."""
        while not true():
            if not self.queue():
                assert true(), "all jobs have left the queue"
            time.sleep(0.1)

    def until_done(self) -> None:
        while self.queue():
            time.sleep(0.1)
        states = {job.name: status(job)["state"] for job in self.jobs}
        assert set(states.values()) == {"DONE"}, states
        assert all((job / "DONE").exists() for job in self.jobs)


def status(job: Path) -> dict:
    return json.loads((job / "STATUS.json").read_text())


def begun(job: Path) -> bool:
    """Return whether the first ionic step of the first relaxation is over."""
    return (job / STEPS[0] / "CONTCAR").exists()


@pytest.fixture(scope="module")
def cluster() -> Iterator[OneNodeSlurm]:
    slurm = OneNodeSlurm()
    try:
        slurm.start()
    except CannotStartError as error:
        slurm.stop()
        pytest.skip(str(error))
    yield slurm
    slurm.stop()
    assert not slurm.processes()


@pytest.fixture
def slurm(cluster) -> Iterator[OneNodeSlurm]:
    yield cluster
    cluster.mend_node()
    hold(cluster, "UP")
    cluster.clear()


@pytest.fixture
def batch(slurm, tmp_path) -> Batch:
    return Batch(tmp_path / "batch-0001", slurm, tmp_path / "potcars", 5)


def hold(slurm: OneNodeSlurm, state: str) -> None:
    """Let the partition take jobs without starting them (DOWN), or start them again (UP)."""
    slurm.ask("scontrol", "update", "partitionname=main", f"state={state}")


def killed_at_sbatch(batch: Batch, place: Path, when: str) -> None:
    """Run submit.sh with an sbatch that kills it before or after SLURM took the list."""
    real = shutil.which("sbatch", path=batch.env["PATH"])
    place.mkdir()
    send = {"before": "", "after": f'{real} "$@"\n'}[when]
    (place / "sbatch").write_text(f"#!/bin/sh\n{send}kill -9 0\n")
    (place / "sbatch").chmod(0o755)
    path = batch.env["PATH"]
    batch.env["PATH"] = f"{place}:{path}"
    assert not batch.submit_and_be_killed()
    batch.env["PATH"] = path


def test_five_jobs_submitted_once_all_end_done_and_a_second_submit_sends_nothing(slurm, tmp_path):
    place = tmp_path / "my batches, second try" / "batch 1"
    place.parent.mkdir()
    batch = Batch(place, slurm, tmp_path / "potcars", 5)
    first = batch.submit()
    assert "submitted 5 jobs" in first.stdout, first.stderr
    assert "nothing to submit" in batch.submit().stdout
    batch.until_done()
    assert "nothing to submit" in batch.submit().stdout
    assert batch.lists() == [(place / "jobs.txt").read_text()]
    for job in batch.jobs:
        assert status(job)["finished"] == STEPS
        assert set(status(job)["attempts"].values()) == {1}


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_sbatch_the_next_submit_neither_loses_nor_doubles_a_job(
    slurm, batch, tmp_path, when
):
    hold(slurm, "DOWN")
    theirs = Batch(tmp_path / "theirs" / "batch-0001", slurm, tmp_path / "potcars", 1)
    theirs.submit()
    killed_at_sbatch(batch, tmp_path / "bin", when)
    assert len(batch.queue()) == {"before": 0, "after": 5}[when]
    again = batch.submit()
    assert "list 0001: job" in again.stdout, again.stderr
    assert len(batch.queue()) == 5
    assert len(batch.marked()) == 5
    assert batch.array() in again.stdout.split()
    assert {element.partition("_")[0] for element in batch.queue()} == {batch.array()}
    hold(slurm, "UP")
    batch.until_done()
    assert batch.launches() == [1] * 5


def test_killed_after_sbatch_it_does_not_send_what_has_ended_meanwhile(batch, tmp_path):
    batch.edit("AGD_POTCARS", "")
    killed_at_sbatch(batch, tmp_path / "bin", "after")
    while batch.queue():
        time.sleep(0.1)
    assert {status(job)["code"] for job in batch.jobs} == {20}
    batch.edit("AGD_POTCARS", str(tmp_path / "potcars"))
    again = batch.submit()
    assert f"list 0001: job {batch.array()}" in again.stdout
    assert "submitted 5 jobs" in again.stdout, "they ended without a POTCAR and are pending again"
    batch.until_done()
    assert batch.launches() == [1] * 5


def test_killed_at_many_random_moments_every_job_is_sent_once(slurm, batch):
    hold(slurm, "DOWN")
    chance, killed = random.Random(4), 0
    for number in range(ROUNDS):
        whole = copy_of(batch, f"whole-{number}")
        began = time.monotonic()
        assert whole.submit().returncode == 0
        usual = time.monotonic() - began
        other = copy_of(batch, f"killed-{number}")
        for _ in range(KILLS_EACH):
            killed += not other.submit_and_be_killed(chance.uniform(0.01, 1.0) * usual)
            assert len(other.queue()) in (0, 5)
        assert other.submit().returncode == 0
        assert len(other.queue()) == 5
        assert len({element.partition("_")[0] for element in other.queue()}) == 1
        assert other.marked() == other.jobs
        assert other.lists() == whole.lists()
    assert killed > ROUNDS / 2


def copy_of(batch: Batch, name: str) -> Batch:
    """Return the same batch elsewhere, before anything was submitted."""
    other = copy.copy(batch)
    other.place = batch.place.parent / name / batch.place.name
    shutil.copytree(batch.place, other.place)
    other.jobs = [other.place / job.name for job in batch.jobs]
    return other


def test_before_the_time_limit_slurm_signals_and_the_job_goes_on_from_contcar(batch):
    """The runner's own clock is switched off after sbatch, so that the signal must be SLURM's."""
    batch.env["FAKE_VASP"] = f"{STEPS[0]}=wait!"
    batch.edit("AGD_WARNING_S", "3570")
    assert batch.submit().returncode == 0
    batch.edit("AGD_WARNING_S", "600")
    batch.edit("AGD_HOURS", "0")
    batch.until(lambda: all(status(job)["state"] == "RESTARTING" for job in batch.jobs))
    batch.until(lambda: len(batch.queue()) == len(batch.marked()) == 5)
    assert "nothing to submit" in batch.submit().stdout
    stopped_at = [volume(job / STEPS[0] / "CONTCAR") for job in batch.jobs]
    batch.until_done()
    assert batch.launches() == [2] * 5
    for job, stopped in zip(batch.jobs, stopped_at, strict=True):
        ticket = json.loads((job / "ticket.json").read_text())
        assert stopped > 1.01 * ticket["volume_A3"]
        assert volume(job / STEPS[0] / "POSCAR") == pytest.approx(stopped, rel=1e-9)
    assert len(batch.lists()) == 1


def volume(poscar: Path) -> float:
    return Poscar.from_file(poscar, check_for_potcar=False).structure.volume


def element_with_the_arrays_id(batch: Batch) -> int:
    """Return the index of the element whose plain id means the whole array to SLURM."""
    lines = batch.slurm.ask("squeue", "--array", "--noheader", "--format=%A %K").splitlines()
    (index,) = [int(k) for a, k in map(str.split, lines) if a == batch.array()]
    return index


@pytest.mark.parametrize("vasp", ["wait!", "deaf!"], ids=["heeds STOPCAR", "hangs"])
def test_an_element_that_stops_leaves_the_others_of_its_array_alone(batch, vasp):
    for job in batch.jobs:
        (job / "FAKE").write_text(f"{STEPS[0]}=wait!\n")
    batch.submit()
    batch.until(lambda: all(begun(job) for job in batch.jobs))
    index = element_with_the_arrays_id(batch)
    stopping = batch.jobs[index - 1]
    if vasp == "deaf!":  # its second launch hangs for good, and with it the job step of srun
        stop(batch, index)
        (stopping / "FAKE").write_text(f"{STEPS[0]}=deaf!\n")
        batch.edit("AGD_WARNING_S", "3")
        batch.until(lambda: status(stopping)["attempts"].get(STEPS[0]) == 2)
        batch.until(lambda: (stopping / STEPS[0] / ".fake-deaf").exists())
    stop(batch, index)
    for job in batch.jobs:
        (job / "GO").touch()
    batch.until_done()
    launches = {"wait!": 2, "deaf!": 3}[vasp]
    assert batch.launches() == [launches if job == stopping else 1 for job in batch.jobs]


def stop(batch: Batch, index: int) -> None:
    """Send one element the signal that comes before the time limit and wait until it stopped."""
    element = f"{batch.array()}_{index}"
    batch.slurm.ask("scancel", "--signal=USR1", "--batch", element)
    batch.until(lambda: batch.queue()[element] == "PENDING")
    assert sorted(batch.queue().values()) == ["PENDING", *["RUNNING"] * 4]


def test_cancelled_jobs_stay_away_until_submit_lost_takes_them_up_and_no_others(batch):
    for job in batch.jobs:
        (job / "FAKE").write_text(f"{STEPS[0]}=wait\n")
    batch.edit("AGD_AT_ONCE", "4")
    batch.submit()
    batch.until(lambda: all(begun(job) for job in batch.jobs[:4]))
    running, waiting = f"{batch.array()}_2", f"{batch.array()}_5"
    assert batch.queue()[waiting] == "PENDING"
    batch.slurm.ask("scancel", running, waiting)
    batch.until(lambda: len(batch.queue()) == 3)
    assert "nothing to submit" in batch.submit().stdout
    lost = batch.submit("--lost")
    assert "submitted 2 jobs" in lost.stdout, lost.stderr
    assert batch.lists()[1].split() == [batch.jobs[1].name, batch.jobs[4].name]
    assert lost.stderr.count("in the queue") == 3
    for job in batch.jobs:
        (job / "GO").touch()
    batch.until_done()
    assert batch.launches() == [1, 2, 1, 1, 1]


def test_what_an_administrator_puts_back_is_not_computed_twice(batch):
    for job in batch.jobs[:2]:
        (job / "FAKE").write_text(f"{STEPS[0]}=wait\n")
    batch.submit()
    batch.until(lambda: all((job / "DONE").exists() for job in batch.jobs[2:]))
    batch.until(lambda: len(batch.queue()) == 2 and all(begun(job) for job in batch.jobs[:2]))
    results = {job: (job / "STATUS.json").read_bytes() for job in batch.jobs[2:]}
    batch.slurm.ask("scontrol", "requeue", batch.array())
    batch.until(lambda: list(batch.queue().values()).count("PENDING") == 5)
    assert "nothing to submit" in batch.submit().stdout
    for job in batch.jobs:
        (job / "GO").touch()
    batch.until_done()
    assert batch.launches() == [2, 2, 1, 1, 1]
    assert len(batch.lists()) == 1
    for job, before in results.items():
        assert (job / "STATUS.json").read_bytes() == before


def test_a_node_that_fails_costs_a_launch_and_no_job(slurm, batch):
    for job in batch.jobs:
        (job / "FAKE").write_text(f"{STEPS[0]}=wait\n")
    batch.submit()
    batch.until(lambda: all(begun(job) for job in batch.jobs))
    slurm.crash_node()
    batch.until(lambda: slurm.node_state() == "down")
    assert "nothing to submit" in batch.submit().stdout
    for job in batch.jobs:
        (job / "GO").touch()
    slurm.boot_node()
    batch.until_done()
    assert batch.launches() == [2] * 5
    assert len(batch.lists()) == 1


def test_a_folder_that_is_gone_is_named_by_the_job_and_by_the_next_submit(slurm, batch):
    hold(slurm, "DOWN")
    batch.submit()
    gone = batch.jobs.pop(2)
    shutil.rmtree(gone)
    hold(slurm, "UP")
    batch.until_done()
    said = (batch.place / "submitted" / "0001-3.out").read_text()
    assert "line 3 of submitted/0001.list names no job here" in said
    again = batch.submit("--lost")
    assert f"{gone.name} of jobs.txt is not here" in again.stderr
    assert "nothing to submit" in again.stdout


@pytest.mark.parametrize(
    ("partition", "sentence"),
    [("no-such", "Invalid partition name"), ("paid", "Invalid account")],
    ids=["partition", "account"],
)
def test_a_wrong_partition_or_account_is_said_and_nothing_is_marked(batch, partition, sentence):
    batch.edit("AGD_PARTITION", partition)
    batch.edit("AGD_ACCOUNT", "mine")
    refused = batch.submit()
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert "took no job and none is marked as submitted" in refused.stderr
    assert not batch.marked()
    assert not batch.queue()
    batch.edit("AGD_PARTITION", "main")
    assert "list 0001: job" in batch.submit().stdout
    batch.until_done()
    assert batch.launches() == [1] * 5
    assert len(batch.lists()) == 1


def test_more_jobs_than_the_largest_array_all_end_done(slurm, tmp_path):
    batch = Batch(tmp_path / "batch-0001", slurm, tmp_path / "potcars", len(EDGES))
    batch.submit()
    assert [text.count("\n") for text in batch.lists()] == [
        LARGEST_ARRAY,
        len(EDGES) - LARGEST_ARRAY,
    ]
    batch.until_done()
    assert batch.launches() == [1] * len(EDGES)
