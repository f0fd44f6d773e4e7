from __future__ import annotations

import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymatgen.io.vasp import Poscar

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.cluster import runner
from dft_inputs.job.folder import write_batch
from dft_inputs.job.ticket import read_ticket
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.jobs import vasp_job
from dft_inputs.vasp.judgement import judge
from tests.dft_inputs.cells import oblique, rocksalt

FAKE = Path(__file__).parents[2] / "engines" / "fake_vasp"
PACKAGE = Path(runner.__file__).parent


@pytest.fixture(scope="module")
def potcars(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("potcars")
    subprocess.run([FAKE, "--make-potcars", place, "Mg", "O", "F"], check=True)
    return place


@pytest.fixture
def job(tmp_path, potcars) -> Path:
    return emit(tmp_path / "batch-0001", potcars)


def emit(batch: Path, library: Path, **changes) -> Path:
    question = vasp_job(rocksalt(), PAPER.with_steps(()), formula="MgO")
    known = {"scheduler": "shell", "hours": 0, "vasp": str(FAKE), "potcars": str(library)}
    settings = ClusterSettings(**{**known, "custodian": False, **changes})
    write_batch(batch, [question], batch_files(settings, PAPER, [question.ticket]), {})
    return batch / question.ticket.folder


def run(job: Path, fake: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    everything = {**os.environ, "FAKE_VASP": fake, **env}
    return subprocess.run(["sh", job / "run.sh"], env=everything, capture_output=True, text=True)


def start(job: Path, fake: str = "", **env: str) -> subprocess.Popen[str]:
    everything = {**os.environ, "FAKE_VASP": fake, **env}
    return subprocess.Popen(
        ["sh", str(job / "run.sh")],
        env=everything,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def status(job: Path) -> dict:
    return json.loads((job / "STATUS.json").read_text())


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_a_job_runs_all_its_steps_and_the_marker_comes_last(job):
    done = run(job)
    assert done.returncode == 0, done.stderr
    assert (job / "DONE").exists()
    assert status(job)["state"] == "DONE"
    assert status(job)["finished"] == [step.name for step in PAPER.steps if not step.optional]
    assert (job / "DONE").stat().st_mtime_ns >= (job / "STATUS.json").stat().st_mtime_ns


def test_each_relaxation_starts_from_the_last_geometry(job):
    run(job)
    first = Poscar.from_file(job / "00-relax1" / "POSCAR").structure.volume
    relaxed = Poscar.from_file(job / "00-relax1" / "CONTCAR").structure.volume
    assert relaxed == pytest.approx(1.02 * first, rel=1e-3)
    for step in ("01-relax2", "02-static", "04-bands"):
        assert Poscar.from_file(job / step / "POSCAR").structure.volume == pytest.approx(
            relaxed, rel=1e-3
        )


def test_a_geometry_put_into_a_later_step_is_not_calculated(job):
    for step in ("01-relax2", "02-static"):
        Poscar(rocksalt("Ca", "O", 4.8).get_primitive_structure()).write_file(job / step / "POSCAR")
    (job / "00-relax1" / "CONTCAR").write_text((job / "01-relax2" / "POSCAR").read_text())
    assert run(job).returncode == 0
    assert judge(job, read_ticket(job / "ticket.json")).findings == ()


def test_a_density_put_into_a_step_is_not_the_one_it_reads(tmp_path):
    for step in ("01-relax2", "02-static", "03-uniform"):
        (tmp_path / step).mkdir()
        Poscar(rocksalt()).write_file(tmp_path / step / "CONTCAR")
        (tmp_path / step / "CHGCAR").write_text(step)
    [uniform] = [s for s in vasp_job(rocksalt(), PAPER, formula="MgO").ticket.steps if s.mesh][3:4]
    runner.prepare(tmp_path, uniform.model_dump())
    assert (tmp_path / "03-uniform" / "CHGCAR").read_text() == "02-static"


def test_what_admins_complain_about_is_cleaned_up_and_texts_are_packed(job):
    run(job)
    names = {p.name for p in job.rglob("*")}
    assert not names & {"WAVECAR", "CHGCAR", "POTCAR", "vasprun.xml", "OUTCAR"}
    assert {"vasprun.xml.gz", "OUTCAR.gz", "CONTCAR", "INCAR"} <= names


def test_without_a_potcar_it_stops_with_code_20_and_a_sentence_before_vasp_runs(tmp_path, potcars):
    job = emit(tmp_path / "batch-0001", potcars, potcars="")
    done = run(job)
    assert done.returncode == 20
    assert "POTCAR is missing" in done.stderr
    assert status(job)["state"] == "BROKEN"
    assert status(job)["code"] == 20
    assert not (job / "00-relax1" / "vasp.out").exists()


def test_a_symbol_missing_from_the_library_is_named(tmp_path, potcars):
    some = tmp_path / "some"
    shutil.copytree(potcars / "Mg", some / "Mg")
    done = run(emit(tmp_path / "batch-0001", some))
    assert done.returncode == 20
    assert "has no O/POTCAR" in done.stderr


def test_a_potcar_of_another_element_is_refused(tmp_path, potcars):
    job = emit(tmp_path / "batch-0001", potcars, potcars="")
    both = (potcars / "Mg/POTCAR").read_text() + (potcars / "F/POTCAR").read_text()
    (job / "POTCAR").write_text(both)
    done = run(job)
    assert done.returncode == 20
    assert "POTCAR holds Mg F, wanted Mg O" in done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("PAW_PBE Mg", "PAW Mg"),
        ("PAW_PBE O", "PAW_GGA O"),
        ("PAW_PBE Mg", "US Mg"),
        ("LEXCH  = PE", "LEXCH  = CA"),
        ("LEXCH  = PE", "LEXCH  = 91"),
    ],
)
def test_a_potcar_of_another_functional_is_refused_before_vasp_runs(
    tmp_path, potcars, before, after
):
    job = emit(tmp_path / "batch-0001", potcars, potcars="")
    both = (potcars / "Mg/POTCAR").read_text() + (potcars / "O/POTCAR").read_text()
    (job / "POTCAR").write_text(both.replace(before, after))
    done = run(job)
    assert done.returncode == 20
    assert "wanted PAW_PBE potentials" in done.stderr
    assert not (job / "00-relax1" / "vasp.out").exists()


def test_the_hash_of_a_potential_is_the_same_in_every_potcar(tmp_path, potcars):
    parts = [(potcars / symbol / "POTCAR").read_text() for symbol in ("Mg", "O")]
    found = []
    for symbols, text in (("Mg O", "".join(parts)), ("O", parts[1].replace("\n", " \r\n"))):
        step = tmp_path / symbols / "step"
        step.mkdir(parents=True)
        (step / "POTCAR.spec").write_text("\n".join(symbols.split()))
        (step / "POTCAR").write_text(text, newline="")
        found.append(runner.potcar_for(step, step.parent)["sha256_each"])
    assert found[0][1:] == found[1]
    assert found[0][0] != found[0][1]


def test_after_the_potcar_is_there_the_same_command_goes_on(tmp_path, potcars):
    job = emit(tmp_path / "batch-0001", potcars, potcars="")
    run(job)
    (job / "POTCAR").write_text("".join((potcars / s / "POTCAR").read_text() for s in ("Mg", "O")))
    assert run(job).returncode == 0


def test_a_vasp_that_is_not_there_is_broken_not_failed(tmp_path, potcars):
    job = emit(tmp_path / "batch-0001", potcars, vasp="no-such-vasp")
    done = run(job)
    assert done.returncode == 21
    assert status(job)["state"] == "BROKEN"
    assert "no-such-vasp" in status(job)["sentence"]
    assert not (job / "FAILED").exists()


def test_a_vasp_that_never_began_does_not_use_up_the_attempts(tmp_path, potcars):
    job = emit(tmp_path / "batch-0001", potcars, vasp="no-such-vasp")
    ends = tmp_path / "no-module"
    ends.write_text("#!/bin/sh\nexit 127\n")
    ends.chmod(0o755)
    env = job.parent / "cluster.env"
    for _ in range(3):
        assert run(job).returncode == 21
    env.write_text(env.read_text().replace("no-such-vasp", str(ends)))
    for _ in range(3):
        assert run(job).returncode == 21
    env.write_text(env.read_text().replace(str(ends), str(FAKE)))
    assert run(job).returncode == 0
    assert status(job)["attempts"]["00-relax1"] == 1


def test_a_finished_job_is_not_run_again_and_says_so(job):
    run(job)
    before = (job / "STATUS.json").read_bytes()
    again = run(job)
    assert (again.returncode, again.stderr) == (0, f"{job.name}: done before\n")
    assert (job / "STATUS.json").read_bytes() == before


def test_a_failed_job_says_why_and_the_second_time_how_to_try_it_again(job):
    assert run(job, "02-static=nelm").stderr == (
        f"{job.name}: 02-static: 210 electrons did not converge in 100 cycles\n"
    )
    assert "submit.sh --again" in run(job).stderr


def test_a_missing_result_is_told_with_the_last_words_of_vasp_and_no_absolute_path(
    tmp_path, potcars
):
    sulky = tmp_path / "sulky-vasp"
    sulky.write_text("#!/bin/sh\necho 'srun: error: invalid account'\nexit 1\n")
    sulky.chmod(0o755)
    job = emit(tmp_path / "batch-0001", potcars, vasp=str(sulky))
    assert run(job).returncode == 30
    assert status(job)["sentence"] == (
        "vasprun.xml is missing; vasp.out ends with: srun: error: invalid account"
    )


@pytest.mark.parametrize("text", [None, "", "{"])
def test_a_status_that_is_lost_or_damaged_is_said_in_a_sentence(job, text):
    (job / "STATUS.json").unlink()
    if text is not None:
        (job / "STATUS.json").write_text(text)
    done = run(job)
    assert done.returncode == 21
    assert done.stderr.startswith(f"{job.name}: STATUS.json is missing or damaged")


def test_hours_that_are_no_number_are_said_in_a_sentence(job):
    env = job.parent / "cluster.env"
    env.write_text(env.read_text().replace("AGD_HOURS=0", "AGD_HOURS=24:00:00"))
    assert run(job).returncode == 21
    assert "AGD_HOURS" in status(job)["sentence"]


def test_no_potcar_stays_in_a_job_that_ended(job, potcars):
    by_hand = "".join((potcars / s / "POTCAR").read_text() for s in ("Mg", "O"))
    (job / "POTCAR").write_text(by_hand)
    run(job, "02-static=nelm")
    assert [p.parent for p in job.rglob("POTCAR")] == [job]  # it is needed to try again
    (job / "FAILED").unlink()
    assert run(job).returncode == 0
    assert not list(job.rglob("POTCAR"))


def test_electrons_that_do_not_converge_climb_the_ladder_once(job):
    assert run(job, "00-relax1=nelm-until-all").returncode == 0
    assert status(job)["corrections"] == [
        {"tag": "ALGO", "from": "Normal", "to": "All", "step": "00-relax1"}
    ]
    assert "ALGO = All" in (job / "00-relax1" / "INCAR").read_text()


def test_electrons_that_failed_on_every_rung_are_tried_again_with_a_persons_own_incar(job):
    assert run(job, "00-relax1=nelm").returncode == 30
    assert status(job)["attempts"]["00-relax1"] == 2
    incar = job / "00-relax1" / "INCAR"
    incar.write_text(incar.read_text() + "AMIX = 0.1\n")
    (job / "FAILED").unlink()
    done = run(job)
    assert done.returncode == 0, done.stderr
    assert "AMIX = 0.1" in incar.read_text()


def test_a_crash_that_happens_once_is_tried_again(job):
    assert run(job, "00-relax1=truncate!").returncode == 0
    assert status(job)["attempts"]["00-relax1"] == 2


def test_a_job_that_failed_can_be_tried_again(job):
    assert run(job, "02-static=truncate").returncode == 30
    assert (job / "FAILED").exists()
    assert run(job).returncode == 30
    (job / "FAILED").unlink()
    assert run(job).returncode == 0
    assert status(job)["attempts"] == {"02-static": 1, "03-uniform": 1, "04-bands": 1}


def test_ions_that_do_not_converge_go_on_from_contcar_three_times(job):
    assert run(job, "00-relax1=nsw").returncode == 30
    assert status(job)["attempts"]["00-relax1"] == 4
    assert status(job)["code"] == 220


@pytest.mark.parametrize("damage", ["empty-contcar", "cut-contcar", "no-contcar"])
def test_an_unusable_contcar_is_never_used(job, damage):
    """The relaxation is tried once more, then fails; CONTCAR never becomes a POSCAR."""
    done = run(job, f"00-relax1={damage}")
    assert done.returncode == 30
    assert status(job)["code"] == 200
    assert "CONTCAR" in status(job)["sentence"]
    assert not (job / "01-relax2" / "POSCAR").exists()


@pytest.mark.parametrize("damage", ["empty-contcar", "cut-contcar", "no-contcar"])
def test_a_relaxation_whose_contcar_is_unusable_is_launched_again(job, damage):
    assert run(job, f"00-relax1={damage}!").returncode == 0
    assert status(job)["attempts"]["00-relax1"] == 2


def test_a_relaxation_whose_contcar_was_lost_later_is_launched_again(job):
    assert run(job, "01-relax2=truncate").returncode == 30
    (job / "FAILED").unlink()
    (job / "00-relax1" / "CONTCAR").write_text("")
    (job / "01-relax2" / "POSCAR").unlink()
    assert run(job).returncode == 0
    assert status(job)["attempts"]["00-relax1"] == 1
    assert len(status(job)["finished"]) == len(set(status(job)["finished"])) == 5


@pytest.mark.parametrize(
    "text",
    ["", "x\n1.0\n", "x\n1\n1 0 0\n0 1 0\n0 0 1\nNa\n2\nDirect\n0 0 0\n", "x\nnan\n" * 9],
    ids=["empty", "two lines", "a site short", "nonsense"],
)
def test_half_a_contcar_is_not_parsable(tmp_path, text):
    (tmp_path / "CONTCAR").write_text(text)
    assert not runner.parsable(tmp_path / "CONTCAR")


def test_what_pymatgen_writes_is_parsable(tmp_path):
    Poscar(oblique()).write_file(tmp_path / "CONTCAR")
    assert runner.parsable(tmp_path / "CONTCAR")
    velocities = (tmp_path / "CONTCAR").read_text() + "\n" + "  0.0 0.0 0.0\n" * 5
    (tmp_path / "CONTCAR").write_text(velocities)
    assert runner.parsable(tmp_path / "CONTCAR")


def test_the_early_signal_stops_a_relaxation_and_the_next_run_goes_on(job):
    child = start(job, FAKE_VASP_STEP_S="1.5")
    wait_for(job / "00-relax1" / "vasprun.xml")
    time.sleep(0.2)
    os.kill(child.pid, signal.SIGUSR1)
    assert child.wait() == 75
    assert status(job)["state"] == "RESTARTING"
    assert not (job / "SUBMITTED").exists()
    assert run(job).returncode == 0
    assert status(job)["attempts"]["00-relax1"] == 2
    assert judge(job, read_ticket(job / "ticket.json")).findings == ()


def test_a_relaxation_that_goes_on_keeps_the_geometry_it_began_with(job):
    child = start(job, "00-relax1=wait!")
    wait_for(job / "00-relax1" / "CONTCAR")
    os.kill(child.pid, signal.SIGUSR1)
    assert child.wait() == 75
    assert run(job).returncode == 0
    began, went_on = (
        Poscar.from_file(job / "00-relax1" / name).structure.volume
        for name in ("POSCAR.start", "POSCAR")
    )
    assert began < went_on
    assert judge(job, read_ticket(job / "ticket.json")).findings == ()


def test_a_relaxation_by_energy_that_was_stopped_early_is_not_taken_for_a_finished_one(job):
    incar = job / "00-relax1" / "INCAR"
    incar.write_text("".join(x for x in incar.open() if not x.startswith("EDIFFG")))
    child = start(job, "00-relax1=wait")
    wait_for(job / "00-relax1" / "CONTCAR")
    os.kill(child.pid, signal.SIGUSR1)
    assert child.wait() == 75
    assert runner.judge(job / "00-relax1", True).sentence.startswith("VASP was stopped")
    assert run(job).returncode == 0
    assert status(job)["attempts"]["00-relax1"] == 2


def test_a_vasp_that_hangs_is_asked_then_ended(job):
    (job.parent / "cluster.env").write_text(
        (job.parent / "cluster.env").read_text().replace("AGD_WARNING_S=600", "AGD_WARNING_S=1")
    )
    child = start(job, "00-relax1=hang")
    wait_for(job / "00-relax1" / "vasprun.xml")
    os.kill(child.pid, signal.SIGUSR1)
    assert child.wait() == 75
    assert status(job)["state"] == "RESTARTING"
    assert (job / "00-relax1" / "ABORTED").exists()
    assert run(job).returncode == 0


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """What an array element sees whose own id is that of the array; commands only note the call."""
    (tmp_path / "bin").mkdir()
    for name in ("scontrol", "squeue", "scancel"):
        answer = "printf '100_3.batch\\n100_3.0\\n'" if name == "squeue" else "exit $REFUSED"
        text = f'#!/bin/sh\necho {name} "$*" >> "$CALLS"\n{answer}\n'
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "calls").touch()
    ids = {"SLURM_JOB_ID": "100", "SLURM_ARRAY_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": "3"}
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    return {**ids, "PATH": path, "CALLS": str(tmp_path / "calls"), "REFUSED": "0"}


def stop_while_running(job: Path, number: signal.Signals, env: dict[str, str]) -> tuple[int, str]:
    """Return the exit code and the calls of SLURM's commands."""
    (job / "SUBMITTED").touch()
    child = start(job, FAKE_VASP_STEP_S="1.5", **env)
    wait_for(job / "00-relax1" / "vasprun.xml")
    os.kill(child.pid, number)
    return child.wait(), Path(env["CALLS"]).read_text()


def test_at_the_wall_time_limit_an_element_puts_itself_back_and_not_its_whole_array(job, slurm):
    assert stop_while_running(job, signal.SIGUSR1, slurm) == (0, "scontrol requeue 100_3\n")
    assert (job / "SUBMITTED").exists()


def test_a_job_that_slurm_does_not_take_back_is_submitted_again_by_submit_sh(job, slurm):
    code, _ = stop_while_running(job, signal.SIGUSR1, {**slurm, "REFUSED": "1"})
    assert code == 75
    assert not (job / "SUBMITTED").exists()


def test_a_job_that_slurm_tells_to_end_neither_comes_back_by_itself_nor_is_sent_twice(job, slurm):
    code, calls = stop_while_running(job, signal.SIGTERM, slurm)
    assert code == 75
    assert calls == ""
    assert (job / "SUBMITTED").exists()


def test_a_vasp_that_hangs_in_slurm_loses_its_own_job_step_and_no_other(job, slurm):
    env_file = job.parent / "cluster.env"
    env_file.write_text(env_file.read_text().replace("WARNING_S=600", "WARNING_S=1"))
    stop_while_running(job, signal.SIGUSR1, {**slurm, "FAKE_VASP": "*=deaf"})
    query, cancel, requeue = Path(slurm["CALLS"]).read_text().splitlines()
    assert query == "squeue --noheader --steps --job 100_3 --format=%i"
    assert cancel == "scancel 100_3.0"
    assert requeue == "scontrol requeue 100_3"


def test_the_time_given_in_cluster_env_stops_a_job_without_any_signal(tmp_path, potcars):
    job = emit(tmp_path / "batch-0001", potcars, hours=1, warning_s=1)
    started = str(time.time() - 3600 + 1.5)
    done = run(job, "00-relax1=hang", AGD_STARTED=started)
    assert done.returncode == 75
    assert status(job)["state"] == "RESTARTING"


def test_a_job_that_runs_elsewhere_is_left_alone(job):
    first = start(job, FAKE_VASP_STEP_S="0.5")
    wait_for(job / "00-relax1" / "vasprun.xml")
    second = run(job)
    assert second.returncode == 76
    assert "elsewhere" in second.stderr
    assert first.wait() == 0


@pytest.mark.slow
def test_killed_at_any_instant_a_job_ends_with_the_same_result(job, tmp_path, potcars):
    reference = emit(tmp_path / "reference", potcars)
    run(reference)
    chance = random.Random(1)
    for _ in range(12):
        child = start(job, FAKE_VASP_STEP_S="0.02")
        time.sleep(chance.uniform(0.05, 0.6))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        (job / "FAILED").unlink(missing_ok=True)
    while run(job).returncode == 30:
        (job / "FAILED").unlink()
    assert (job / "DONE").exists()
    assert judge(job, read_ticket(job / "ticket.json")).findings == ()
    for step in ("02-static", "04-bands"):
        volumes = [
            Poscar.from_file(folder / step / "CONTCAR").structure.volume
            for folder in (job, reference)
        ]
        assert volumes[0] == pytest.approx(volumes[1], rel=1e-3)


@pytest.mark.slow
def test_a_vasp_left_behind_by_a_killed_runner_is_ended_before_the_next_begins(job):
    child = start(job, "00-relax1=hang!")
    wait_for(job / "00-relax1" / "vasprun.xml")
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert run(job).returncode == 0
    token = f"AGD_JOB={job.resolve()}\0".encode()
    alive = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if token in (process / "environ").read_bytes():
                alive.append(process.name)
        except OSError:
            continue
    assert alive == []


@pytest.mark.slow
def test_custodian_runs_the_job_where_it_is_installed(tmp_path, potcars):
    pytest.importorskip("custodian")
    job = emit(tmp_path / "batch-0001", potcars, custodian=True, python=sys.executable)
    done = run(job, AGD_POLL_S="0.1")
    assert done.returncode == 0, done.stderr
    assert list((job / "00-relax1").glob("custodian.json*"))


@pytest.mark.parametrize("name", ["runner.py", "custodian_vasp.py"])
def test_what_is_copied_to_the_cluster_is_python_36_and_standard_library(name):
    tree = ast.parse((PACKAGE / name).read_text(), feature_version=(3, 6))
    allowed = set(sys.stdlib_module_names) | {"custodian"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] in allowed
