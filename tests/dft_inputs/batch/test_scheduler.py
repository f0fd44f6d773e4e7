from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dft_inputs.batch.approval import apply_approval
from dft_inputs.batch.cluster_settings import ClusterSettings, script
from dft_inputs.batch.scheduler import batch_files, cluster_env
from dft_inputs.job.folder import write_batch
from dft_inputs.recipes.shipped import GPAW, PAPER
from dft_inputs.vasp.engine import ENGINE as VASP
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import rocksalt

CELLS = {"MgO": rocksalt(), "CaO": rocksalt("Ca", "O", 4.8), "SrO": rocksalt("Sr", "O", 5.1)}

FAKE_SBATCH = """#!/bin/sh
# Notes the call and gives a job id; with HANG it takes the job but never answers.
for word; do
    case $word in
        --job-name=*) name=${word#--job-name=} ;;
        --array=*) last=${word#--array=1-} ;;
    esac
done
number=$(( $(wc -l < "$QUEUE/calls") + 100 ))
echo "$*" >> "$QUEUE/calls"
echo "$AGD_BATCH/$AGD_LIST" > "$QUEUE/sent"
for i in $(seq "${last%\\%*}"); do echo "$number $i/$name$(pwd -P)"; done >> "$QUEUE/jobs"
[ ! -e "$QUEUE/HANG" ] || sleep 100
echo "$number;cluster"
"""
FAKE_SQUEUE = """#!/bin/sh
# A line of the queue is `id index/name/place`, as the options ask for it.
[ ! -e "$QUEUE/DOWN" ] || { echo "Unable to contact slurm controller" >&2; exit 1; }
for word; do case $word in --name=*) name=${word#--name=} ;; esac; done
if [ -n "$name" ]; then sed -n "s,^\\([0-9]*\\) [0-9]*/$name/,\\1 /,p" "$QUEUE/jobs"
else sed 's/^[0-9]* //' "$QUEUE/jobs"; fi
"""
FAKE_SCONTROL = """#!/bin/sh
echo "MaxArraySize            = ${FAKE_MAX_ARRAY_SIZE:-1001}"
"""
FAKE_QSUB = """#!/bin/sh
echo "$*" >> "$QUEUE/calls"
echo "7.pbs"
"""


@pytest.fixture
def queue(tmp_path) -> Path:
    place = tmp_path / "queue"
    (place / "bin").mkdir(parents=True)
    fakes = {"sbatch": FAKE_SBATCH, "squeue": FAKE_SQUEUE, "scontrol": FAKE_SCONTROL}
    for name, text in {**fakes, "qsub": FAKE_QSUB}.items():
        (place / "bin" / name).write_text(text)
        (place / "bin" / name).chmod(0o755)
    for name in ("calls", "jobs"):
        (place / name).touch()
    return place


def emit(batch: Path, **settings) -> Path:
    jobs = [vasp_job(s, PAPER, formula=f) for f, s in CELLS.items()]
    shared = batch_files(ClusterSettings(**settings), PAPER, [job.ticket for job in jobs])
    write_batch(batch, jobs, shared, {})
    return batch


def environment(queue: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{queue}/bin:{os.environ['PATH']}", "QUEUE": str(queue)}


def submit(batch: Path, queue: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "submit.sh", *words],
        cwd=batch,
        env=environment(queue),
        capture_output=True,
        text=True,
    )


def calls(queue: Path) -> list[str]:
    return (queue / "calls").read_text().splitlines()


def test_the_jobs_of_a_batch_become_one_array_with_an_early_signal(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001", account="mat", partition="long", hours=12, at_once=2)
    done = submit(batch, queue)
    assert done.returncode == 0, done.stderr
    (call,) = calls(queue)
    for word in (
        *("--array=1-3%2", "--time=12:00:00", "--signal=B:USR1@600", "--requeue"),
        *("--account=mat", "--partition=long", "--job-name=agd-batch-0001-0001"),
    ):
        assert word in call.split()
    order = (batch / "jobs.txt").read_text()
    assert (batch / "submitted" / "0001.list").read_text() == order
    assert (batch / "submitted" / "0001.id").read_text() == "100\n"
    assert [(batch / j / "SUBMITTED").read_text() for j in order.split()] == ["0001\n"] * 3


def test_submitting_again_submits_nothing(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    again = submit(batch, queue)
    assert again.returncode == 0
    assert "nothing to submit" in again.stdout
    assert len(calls(queue)) == 1


def test_a_dry_run_changes_nothing_and_shows_the_call(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    before = sorted(batch.rglob("*"))
    done = submit(batch, queue, "--dry-run")
    assert "3 jobs would be submitted to slurm" in done.stdout
    assert "sbatch --parsable --job-name=agd-batch-0001-0001" in done.stdout
    assert sorted(batch.rglob("*")) == before
    assert calls(queue) == []


def test_done_and_cancelled_jobs_are_skipped_and_failed_ones_only_taken_again_on_request(
    tmp_path, queue
):
    batch = emit(tmp_path / "batch-0001")
    first, second, third = [batch / name for name in (batch / "jobs.txt").read_text().split()]
    (first / "DONE").touch()
    (second / "FAILED").touch()
    status = (second / "STATUS.json").read_text()
    (second / "STATUS.json").write_text(status.replace('"code": null', '"code": 210'))
    (third / "CANCELLED").touch()
    assert "nothing to submit" in submit(batch, queue).stdout
    assert "nothing to submit" in submit(batch, queue, "--again", "--code", "220").stdout
    assert submit(batch, queue, "--again", "--code", "210").returncode == 0
    assert (batch / "submitted" / "0001.list").read_text().split() == [second.name]
    assert not (second / "FAILED").exists()


def test_jobs_the_scheduler_lost_are_sent_again_on_request_and_those_it_has_are_not(
    tmp_path, queue
):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    assert "nothing to submit" in submit(batch, queue, "--lost").stdout
    _first, *others = (queue / "jobs").read_text().splitlines()
    (queue / "jobs").write_text("\n".join(others) + "\n")
    assert "submitted 1 jobs" in submit(batch, queue, "--lost").stdout
    assert (batch / "submitted" / "0002.list").read_text() == first_job(batch)
    assert len(calls(queue)) == 2


def first_job(batch: Path) -> str:
    return (batch / "jobs.txt").read_text().splitlines(keepends=True)[0]


def test_a_queue_that_does_not_answer_is_no_reason_to_send_again(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    (queue / "DOWN").touch()
    assert submit(batch, queue, "--lost").returncode == 1
    for name in ("0001.id", "0001.sent"):
        (batch / "submitted" / name).unlink()
    done = submit(batch, queue)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert len(calls(queue)) == 1


def test_the_list_of_another_campaigns_batch_of_the_same_name_is_not_taken_for_ours(
    tmp_path, queue
):
    theirs, ours = (emit(tmp_path / who / "batch-0001") for who in ("theirs", "ours"))
    submit(theirs, queue)
    (ours / "submitted").mkdir()
    shutil.copy(ours / "jobs.txt", ours / "submitted" / "0001.list")
    assert "list 0001: job 101" in submit(ours, queue).stdout
    assert "nothing to submit" in submit(ours, queue, "--lost").stdout
    assert len(calls(queue)) == 2


def test_more_jobs_than_an_array_may_have_become_several_arrays(tmp_path, queue, monkeypatch):
    monkeypatch.setenv("FAKE_MAX_ARRAY_SIZE", "3")
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    assert [call.split()[2] for call in calls(queue)] == ["--array=1-2%50", "--array=1-1%50"]
    lists = [(batch / "submitted" / f"{n}.list").read_text() for n in ("0001", "0002")]
    assert "".join(lists) == (batch / "jobs.txt").read_text()


def test_a_job_that_ends_while_its_list_is_being_sent_is_not_marked_as_submitted(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    job = first_job(batch).strip()
    text = FAKE_SBATCH.replace('echo "$number;', f'rm {job}/SUBMITTED\necho "$number;')
    (queue / "bin" / "sbatch").write_text(text)
    assert submit(batch, queue).returncode == 0
    assert not (batch / job / "SUBMITTED").exists()
    assert len(list(batch.glob("*/SUBMITTED"))) == 2


def test_a_job_folder_that_is_gone_is_named_and_the_others_are_sent(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    gone = first_job(batch).strip()
    (batch / "submitted").mkdir()
    shutil.copy(batch / "jobs.txt", batch / "submitted" / "0001.list")
    shutil.rmtree(batch / gone)
    done = submit(batch, queue)
    assert done.returncode == 0
    assert f"{gone} of jobs.txt is not here" in done.stderr
    assert len(list(batch.glob("*/SUBMITTED"))) == 2


def test_killed_after_the_scheduler_took_the_jobs_it_does_not_send_them_twice(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    (queue / "HANG").touch()
    child = subprocess.Popen(
        ["sh", "submit.sh"], cwd=batch, env=environment(queue), start_new_session=True
    )
    while not (queue / "jobs").read_text():
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    (queue / "HANG").unlink()
    done = submit(batch, queue)
    assert "list 0001: job 100" in done.stdout, done.stderr
    assert len(calls(queue)) == 1
    assert len(list(batch.glob("*/SUBMITTED"))) == 3


def test_killed_before_the_scheduler_took_them_it_sends_them_once(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    (batch / "submitted").mkdir()
    shutil.copy(batch / "jobs.txt", batch / "submitted" / "0001.list")
    assert submit(batch, queue).returncode == 0
    assert len(calls(queue)) == 1
    assert len(list(batch.glob("*/SUBMITTED"))) == 3


def test_a_scheduler_that_refuses_is_an_error_and_nothing_is_marked(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    (queue / "bin" / "sbatch").write_text("#!/bin/sh\necho no such partition >&2\nexit 1\n")
    done = submit(batch, queue)
    assert done.returncode == 1
    assert "took no job" in done.stderr
    assert not list(batch.glob("*/SUBMITTED"))


def test_pbs_gets_an_array_and_no_array_for_a_single_job(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001", scheduler="pbs", account="mat")
    submit(batch, queue)
    words = shlex.split(calls(queue)[0])
    assert "1-3%50" in words
    assert "select=1:ncpus=32" in words
    for name in (batch / "jobs.txt").read_text().split()[1:]:
        (batch / name / "DONE").touch()
    submit(batch, queue, "--lost")
    assert "-J" not in shlex.split(calls(queue)[1])


def test_an_unknown_option_explains_the_command(tmp_path, queue):
    done = submit(emit(tmp_path / "batch-0001"), queue, "--frobnicate")
    assert done.returncode == 2
    assert done.stdout.startswith("there is no option --frobnicate\n")
    assert "--dry-run" in done.stdout


@pytest.mark.parametrize(
    ("name", "value"), [("AGD_HOURS", "24:00:00"), ("AGD_NODES", ""), ("AGD_WARNING_S", "10min")]
)
def test_a_number_in_cluster_env_that_is_none_is_named_before_anything_is_sent(
    tmp_path, queue, name, value
):
    batch = emit(tmp_path / "batch-0001")
    env = batch / "cluster.env"
    lines = [
        f"{name}={value}" if x.startswith(f"{name}=") else x for x in env.read_text().split("\n")
    ]
    env.write_text("\n".join(lines))
    done = submit(batch, queue)
    assert done.returncode == 2
    assert f"'{value}' in cluster.env must be a whole number" in done.stderr
    assert not calls(queue)


def test_a_batch_without_its_list_of_jobs_is_an_error(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    (batch / "jobs.txt").unlink()
    done = submit(batch, queue)
    assert done.returncode == 1
    assert "jobs.txt is missing" in done.stderr


def test_one_element_of_the_array_runs_its_line(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    env = {
        **environment(queue),
        "SLURM_ARRAY_TASK_ID": "2",
        "AGD_BATCH": str(batch),
        "AGD_LIST": "submitted/0001.list",
    }
    name = (batch / "jobs.txt").read_text().split()[1]
    (batch / name / "run.sh").write_text('echo ran "$0" started "$AGD_STARTED"\n')
    done = subprocess.run(["sh", batch / "array.sh"], env=env, capture_output=True, text=True)
    assert name in done.stdout
    assert abs(int(done.stdout.split()[-1]) - time.time()) < 600
    env["SLURM_ARRAY_TASK_ID"] = "9"
    done = subprocess.run(["sh", batch / "array.sh"], env=env, capture_output=True, text=True)
    assert done.returncode == 21
    assert "names no job" in done.stderr


def test_a_killed_submit_learns_from_a_job_that_began_that_its_list_was_sent(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    for name in ("0001.id", "0001.sent"):
        (batch / "submitted" / name).unlink()
    (queue / "jobs").write_text("")
    (batch / first_job(batch).strip() / "run.sh").write_text("true\n")
    slurm = {"SLURM_ARRAY_JOB_ID": "100", "SLURM_JOB_ID": "101", "SLURM_ARRAY_TASK_ID": "1"}
    agd = {"AGD_BATCH": str(batch), "AGD_LIST": "submitted/0001.list"}
    subprocess.run(["sh", batch / "array.sh"], env={**environment(queue), **slurm, **agd})
    assert "list 0001: job 100" in submit(batch, queue).stdout
    assert len(calls(queue)) == 1


@pytest.mark.parametrize("seconds", [0, 1, 60], ids=["not reaped", "dying", "at work"])
def test_a_submit_that_was_killed_is_not_taken_for_one_at_work(tmp_path, queue, seconds):
    batch = emit(tmp_path / "batch-0001")
    (batch / "submitted/lock").mkdir(parents=True)
    other = subprocess.Popen(["sleep", str(seconds)])
    (batch / "submitted/lock/pid").write_text(f"{other.pid}\n")
    done = submit(batch, queue)
    assert ("is at work here" in done.stderr) == (seconds == 60)
    assert len(calls(queue)) == (seconds != 60)
    other.kill()
    other.wait()


def test_a_job_cancelled_while_it_waits_does_not_begin(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    job = batch / first_job(batch).strip()
    (job / "run.sh").write_text("touch began\n")
    (job / "CANCELLED").touch()
    agd = {"AGD_BATCH": str(batch), "AGD_LIST": "submitted/0001.list", "SLURM_ARRAY_TASK_ID": "1"}
    done = subprocess.run(["sh", batch / "array.sh"], env={**environment(queue), **agd})
    assert done.returncode == 0
    assert not (batch / "began").exists()


def test_a_batch_whose_place_has_spaces_and_commas_works(tmp_path, queue):
    batch = emit(tmp_path / "my batches, second" / "batch 1")
    assert submit(batch, queue).returncode == 0
    assert len(list(batch.glob("*/SUBMITTED"))) == 3
    assert "--export=ALL" in calls(queue)[0].split()
    assert (queue / "sent").read_text() == f"{batch}/submitted/0001.list\n"


def test_values_with_quotes_and_spaces_survive_the_shell(tmp_path):
    settings = ClusterSettings(
        setup="module load 'vasp 6'; export A=\"b c\"", vasp="srun -n 4 vasp"
    )
    (tmp_path / "cluster.env").write_text(cluster_env(VASP.cluster_files(settings, PAPER, ())))
    done = subprocess.run(
        ["sh", "-c", '. ./cluster.env; printf "%s\\n%s\\n" "$AGD_SETUP" "$AGD_VASP"'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [settings.setup, settings.vasp]


def answer(batch: Path, *answers: str) -> list[str]:
    """Write these answers, ``"no,too dear"``, into ``approved.csv`` and return the job folders."""
    jobs = (batch / "jobs.txt").read_text().split()
    lines = [f"{job},{text}\n" for job, text in zip(jobs, answers, strict=True)]
    (batch / "approved.csv").write_text("folder,approved,reason\n" + "".join(lines))
    return jobs


@pytest.mark.parametrize("scheduler", ["slurm", "pbs"])
def test_a_declined_job_gets_a_marker_with_the_reason_and_is_not_submitted(
    tmp_path, queue, scheduler
):
    batch = emit(tmp_path / "batch-0001", scheduler=scheduler)
    jobs = answer(batch, "", "no,too dear", "yes")
    done = submit(batch, queue)
    assert "1 jobs are declined in approved.csv" in done.stdout
    assert (batch / "submitted" / "0001.list").read_text().split() == [jobs[0], jobs[2]]
    marker = (batch / jobs[1] / "CANCELLED").read_text()
    assert marker == "approved.csv declined this job: too dear\n"


def test_a_job_approved_after_all_is_submitted_and_a_persons_own_marker_stays(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    jobs = answer(batch, "no", "no", "no")
    (batch / jobs[0] / "CANCELLED").touch()
    assert "nothing to submit" in submit(batch, queue).stdout
    answer(batch, "yes", "yes", "no")
    shown = submit(batch, queue, "--dry-run").stdout
    assert "1 jobs would be submitted" in shown
    assert (batch / jobs[1] / "CANCELLED").exists()
    submit(batch, queue)
    assert (batch / "submitted" / "0001.list").read_text().split() == [jobs[1]]
    assert [(batch / job / "CANCELLED").exists() for job in jobs] == [True, False, True]
    assert (batch / jobs[0] / "CANCELLED").read_text() == ""


def test_jobs_without_an_answer_wait_and_go_when_the_batch_is_old_enough(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001", approval_hours=24)
    jobs = answer(batch, "", "yes", "no")
    shown = submit(batch, queue, "--dry-run").stdout
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + 24 * 3600))[:-3]
    assert f"waits     {jobs[0]}: until {end}" in shown
    assert f"declined  {jobs[2]}" in shown
    assert "1 jobs would be submitted" in shown
    assert "1 jobs wait for an answer" in submit(batch, queue).stdout
    assert [job.parent.name for job in batch.glob("*/SUBMITTED")] == [jobs[1]]
    then = time.time() - 25 * 3600
    os.utime(batch / "batch.json", (then, then))
    submit(batch, queue)
    assert (batch / jobs[0] / "SUBMITTED").exists()
    assert len(calls(queue)) == 2


def test_where_an_empty_line_counts_as_no_only_approved_jobs_go(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001", approval="no")
    assert "3 jobs are declined" in submit(batch, queue).stdout
    jobs = answer(batch, "", "yes", "")
    submit(batch, queue)
    assert (batch / "submitted" / "0001.list").read_text().split() == [jobs[1]]
    assert "nobody approved it" in (batch / jobs[0] / "CANCELLED").read_text()


def test_a_batch_from_before_approval_submits_everything(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    (batch / "approved.csv").unlink()
    settings = (batch / "cluster.env").read_text().splitlines(keepends=True)
    (batch / "cluster.env").write_text("".join(x for x in settings if "APPROVAL" not in x))
    assert "submitted 3 jobs" in submit(batch, queue).stdout


def test_an_unclear_line_is_named_its_job_waits_and_the_others_go(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    jobs = answer(batch, "perhaps", "no", "yes")
    done = submit(batch, queue)
    assert done.returncode == 0
    assert 'approved.csv line 2: "perhaps" is neither yes nor no' in done.stderr
    assert [job.parent.name for job in batch.glob("*/SUBMITTED")] == [jobs[2]]
    assert not (batch / jobs[0] / "CANCELLED").exists()


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--lost"], ["--again"]])
def test_an_approval_nobody_can_read_submits_nothing_and_is_an_error(tmp_path, queue, words):
    batch = emit(tmp_path / "batch-0001")
    (batch / "approved.csv").write_text("no\nno\nno\n")
    done = submit(batch, queue, *words)
    assert done.returncode == 1
    assert "line 1: the columns folder and approved are not named here" in done.stderr
    assert calls(queue) == []


@pytest.mark.parametrize("line", ["AGD_APPROVAL=perhaps", "AGD_APPROVAL_HOURS=1.5"])
def test_a_cluster_env_that_does_not_say_what_an_empty_line_is_stops(tmp_path, queue, line):
    batch = emit(tmp_path / "batch-0001")
    with (batch / "cluster.env").open("a") as settings:
        settings.write(f"{line}\n")
    done = submit(batch, queue)
    assert done.returncode == 2
    assert line.partition("=")[0] in done.stderr
    assert calls(queue) == []


def test_neither_again_nor_lost_brings_a_declined_job_back(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    jobs = answer(batch, "no", "no", "no")
    (batch / jobs[0] / "FAILED").touch()
    (queue / "jobs").write_text("")
    assert "nothing to submit" in submit(batch, queue, "--again", "--lost").stdout
    assert len(calls(queue)) == 1


def test_a_list_that_was_not_sent_loses_what_was_declined_meanwhile(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    (batch / "submitted").mkdir()
    shutil.copy(batch / "jobs.txt", batch / "submitted" / "0001.list")
    jobs = answer(batch, "yes", "no", "perhaps")
    for job in jobs:
        (batch / job / "SUBMITTED").touch()
    assert "list 0001: job 100" in submit(batch, queue).stdout
    assert (batch / "submitted" / "0001.list").read_text().split() == jobs[:1]
    assert [(batch / job / "SUBMITTED").exists() for job in jobs] == [True, False, False]
    (batch / "submitted" / "0001.sent").unlink()
    (batch / "submitted" / "0001.id").unlink()
    (queue / "jobs").write_text("")
    answer(batch, "no", "no", "no")
    assert "nothing to submit" in submit(batch, queue).stdout
    assert not (batch / "submitted" / "0001.list").exists()
    assert len(calls(queue)) == 1


def test_declined_while_it_queues_a_job_does_not_begin_and_can_be_submitted_again(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001")
    submit(batch, queue)
    jobs = answer(batch, "no", "yes", "yes")
    submit(batch, queue)
    assert (batch / jobs[0] / "CANCELLED").exists()
    (batch / jobs[0] / "run.sh").write_text("touch began\n")
    agd = {"AGD_BATCH": str(batch), "AGD_LIST": "submitted/0001.list", "SLURM_ARRAY_TASK_ID": "1"}
    subprocess.run(["sh", batch / "array.sh"], env={**environment(queue), **agd}, check=True)
    assert not (batch / "began").exists()
    answer(batch, "yes", "yes", "yes")
    assert "submitted 1 jobs" in submit(batch, queue).stdout


def test_jobs_run_one_after_another_are_asked_about_again_before_each(tmp_path, queue):
    batch = emit(tmp_path / "batch-0001", scheduler="shell")
    jobs = answer(batch, "yes", "yes", "no,too dear")
    for job in jobs:
        (batch / job / "run.sh").write_text('touch "$(dirname "$0")/DONE"\n')
    changed = (batch / "approved.csv").read_text().replace(f"{jobs[1]},yes", f"{jobs[1]},no")
    (batch / "changed.csv").write_text(changed)
    (batch / jobs[0] / "run.sh").write_text("mv changed.csv approved.csv\n")
    done = submit(batch, queue)
    assert done.returncode == 0
    assert f"{jobs[1]} is not to run any more" in done.stdout
    assert not list(batch.glob("*/DONE"))
    assert len(list(batch.glob("*/CANCELLED"))) == 2


def test_a_job_that_does_not_finish_here_is_told_with_its_status_and_the_next_one_runs(
    tmp_path, queue
):
    batch = emit(tmp_path / "batch-0001", scheduler="shell")
    jobs = (batch / "jobs.txt").read_text().split()
    for job, status in zip(jobs, (0, 30, 0), strict=True):
        (batch / job / "run.sh").write_text(f"exit {status}\n")
    done = submit(batch, queue)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if "ended" in line] == [
        f"{jobs[1]} ended with status 30"
    ]
    assert "1 of 3 jobs did not finish" in done.stdout


def test_the_marker_of_the_shell_is_the_marker_of_collect(tmp_path, queue):
    """Byte for byte, so that two writers never undo each other's work."""
    reasons = ["m\u00fc\u0141\u0107 \u0080\u0085", "a \\n b\\", "$(touch x) `y` %s"]
    batch = emit(tmp_path / "batch-0001")
    jobs = answer(batch, *(f"no, {reason} " for reason in reasons))
    shutil.copytree(batch, tmp_path / "twin")
    submit(batch, queue)
    apply_approval(tmp_path / "twin", time.time())
    for job, reason in zip(jobs, reasons, strict=True):
        marker = (batch / job / "CANCELLED").read_bytes()
        assert marker == (tmp_path / "twin" / job / "CANCELLED").read_bytes()
        assert marker.decode() == f"approved.csv declined this job: {reason}\n"
    before = [(batch / job / "CANCELLED").stat().st_mtime_ns for job in jobs]
    apply_approval(batch, time.time())
    submit(batch, queue)
    assert [(batch / job / "CANCELLED").stat().st_mtime_ns for job in jobs] == before


@pytest.mark.parametrize("name", ["submit.sh", "approval.sh", "array.sh", "run.sh"])
@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_the_scripts_are_posix_shell(tmp_path, name, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / name).write_text(script(name))
    subprocess.run([shell, "-n", name], cwd=tmp_path, check=True)
    assert "[[" not in script(name)


@pytest.mark.parametrize(
    ("recipe", "given", "told"),
    [(PAPER, {}, 32), (GPAW, {}, 1), (PAPER, {"tasks_per_node": 4}, 4),
     (GPAW, {"tasks_per_node": 4}, 4)],
)  # fmt: skip
def test_a_gpaw_job_asks_for_one_core_unless_told_otherwise(recipe, given, told):
    text = batch_files(ClusterSettings(**given), recipe, [])["cluster.env"]
    assert f"AGD_TASKS_PER_NODE={told}" in text.splitlines()
