from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.elk.elk_runner import INPUT, RESULT, SPECIES
from dft_inputs.elk.engine import ENGINE, PROGRAM
from dft_inputs.elk.recipe import ELK
from dft_inputs.elk.results import other_species
from dft_inputs.job.folder import write_batch
from dft_inputs.job.ticket import Ticket
from dft_inputs.references.prototypes import build
from structure.errors import ConfigError

FAKE = Path(__file__).parents[2] / "engines" / "fake_elk"
STEP = ELK.steps[0].name


def hand_off(place: Path, role: str = "candidate", **programs: str) -> tuple[Path, Ticket]:
    cell = build("rocksalt", ("Li", "H"), volume_A3=8.1)
    job = ENGINE.prepare(cell, ELK, formula="LiH", role=role)
    settings = ClusterSettings(scheduler="shell", hours=0, programs=programs)
    write_batch(place, [job], batch_files(settings, ELK, [job.ticket]), {})
    return place / job.ticket.folder, job.ticket


@pytest.fixture
def job(tmp_path) -> tuple[Path, Ticket]:
    species = tmp_path / "species"
    species.mkdir()
    for symbol in ("Li", "H"):
        (species / f"{symbol}.in").write_text(f"{symbol} of this test\n")
    return hand_off(tmp_path / "batch-0001", elk=str(FAKE), elk_species=str(species))


def run(folder: Path, fault: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "FAKE_ELK": fault}
    return subprocess.run(["sh", folder / "run.sh"], env=env, capture_output=True, text=True)


def status(folder: Path) -> dict:
    return json.loads((folder / "STATUS.json").read_text())


def codes(job: tuple[Path, Ticket]) -> list[str]:
    return [finding.code for finding in ENGINE.judge(*job).findings]


def test_a_job_runs_and_its_gap_is_the_smaller_of_mesh_and_path(job):
    assert run(job[0]).returncode == 0
    assert (job[0] / "DONE").exists()
    judgement = ENGINE.judge(*job)
    found = ENGINE.result(*job, judgement)
    assert found.properties["band_gap_mesh_eV"] == pytest.approx(3.0)
    assert found.properties["band_gap_path_eV"] == pytest.approx(2.8)
    assert found.properties["band_gap_eV"] == pytest.approx(2.8)
    assert [finding.code for finding in found.findings] == ["400"]
    assert set(found.potentials["species"]) == {"Li", "H"}
    assert found.structure is not None


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("crash", 200, "diagonalisation failed"),
        ("cut", 200, "EIGVAL.OUT is cut off"),
        ("no-empty", 200, "no empty bands"),
        ("unconverged", 210, "did not converge"),
        ("charge", 210, "+0.028 electrons"),
    ],
)
def test_what_went_wrong_is_said_with_its_code(job, fault, code, words):
    assert run(job[0], fault).returncode == 30
    assert status(job[0])["code"] == code
    assert words in status(job[0])["sentence"]


def test_a_crash_is_tried_once_more(job):
    run(job[0], "crash")
    assert status(job[0])["attempts"] == {STEP: 2}


def test_what_elk_gave_up_is_not_tried_again(job):
    run(job[0], "unconverged")
    assert status(job[0])["attempts"] == {STEP: 1}


def test_a_species_file_that_is_missing_is_named_before_elk_is_started(job, tmp_path):
    (tmp_path / "species" / "H.in").unlink()
    done = run(job[0])
    assert done.returncode == 21
    assert "H.in" in done.stderr
    assert "AGD_ELK_SPECIES" in done.stderr
    assert status(job[0])["attempts"] == {}


def test_a_metal_has_a_gap_of_zero(job):
    run(job[0], "metal")
    assert ENGINE.result(*job, ENGINE.judge(*job)).properties["band_gap_eV"] == 0


def test_an_input_that_was_edited_before_or_after_has_code_300(job):
    run(job[0])
    path = job[0] / STEP / INPUT
    text = path.read_text()
    path.write_text(text.replace("rgkmax\n 8", "rgkmax\n 5"))
    assert codes(job) == ["300"]
    path.write_text(text)
    assert codes(job) == []
    result = job[0] / STEP / RESULT
    result.write_text(json.dumps({**json.loads(result.read_text()), "input_sha256": "0" * 64}))
    assert codes(job) == ["300"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"energy_eV": -20.0}, "260"),
        ({"energy_eV": "low"}, "200"),
        ({"gap_eV": 40.0, "gap_mesh_eV": 40.0, "gap_path_eV": 40.0, "direct_gap_eV": 40.0}, "250"),
        ({"gap_eV": 3.5}, "200"),
        ({"gap_eV": None}, "200"),
        ({"status": "fine"}, "200"),
        ({"status": "failed", "code": "210", "sentence": "no"}, "210"),
        ({"status": "failed", "code": "999", "sentence": "no"}, "200"),
    ],
)
def test_a_result_that_cannot_be_is_refused(job, change, code):
    run(job[0])
    path = job[0] / STEP / RESULT
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert codes(job) == [code]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"7" * 2_000_000])
def test_a_damaged_result_has_code_200(job, content):
    run(job[0])
    (job[0] / STEP / RESULT).write_bytes(content)
    assert codes(job) == ["200"]


def test_species_files_are_compared_as_far_as_both_are_known():
    own = {"species": {"Li": "abc", "H": "def"}}
    assert other_species(own, {"species": {"H": "def"}}, "H") is None
    assert other_species(own, {"species": {"H": "xyz"}}, "H").code == "410"
    assert other_species(own, {"species": 7}, "H") is None
    assert other_species(own, {}, "H") is None


def test_a_missing_program_or_species_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no program 'none-such'"):
        ENGINE.ready(ClusterSettings(programs={"elk": "none-such"}))
    with pytest.raises(ConfigError, match="species files"):
        ENGINE.ready(ClusterSettings(programs={"elk": "sh", "elk_species": str(tmp_path)}))


def test_a_program_that_elk_does_not_know_is_refused():
    settings = ClusterSettings(programs={"elc": "elk"})
    with pytest.raises(ConfigError, match="no program 'elc'"):
        batch_files(settings, ELK, [])


@pytest.mark.dft
@pytest.mark.slow
@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="Debian's elk-lapw is not installed")
def test_elk_itself_gives_lithium_hydride_the_gap_it_has(tmp_path):
    job = hand_off(tmp_path / "batch-0001", elk=PROGRAM, elk_species=SPECIES)
    assert run(job[0]).returncode == 0
    found = ENGINE.result(*job, ENGINE.judge(*job))
    assert found.properties["band_gap_eV"] == pytest.approx(3.0, abs=0.1)
