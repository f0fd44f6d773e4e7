from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.job.folder import emitted_jobs
from dft_inputs.properties import phonons
from dft_inputs.properties.phonon_bands import IMAGINARY
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.inputs import potcar_symbols
from tasks.campaign.directory import Campaign
from tasks.collect import CollectConfig, collect
from tasks.dft_jobs.results import Result
from tasks.handoff import HandoffConfig, hand_off
from tasks.ledger.ledger import Ledger
from tasks.report.story import story_of
from tests.tasks.test_handoff import TRAINED, survivors

pytest.importorskip("phonopy")

FAKE = Path(__file__).parents[2] / "engines" / "fake_vasp"
OPTIONAL = ("05-dfpt", "06-elastic", "07-phonons")


@pytest.fixture(scope="module")
def potcars(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("potcars")
    symbols = potcar_symbols(PAPER, ["Mg", "O"])
    subprocess.run([FAKE, "--make-potcars", place, *symbols], check=True)
    return place


def calculated(root: Path, potcars: Path, fake: str = "") -> Path:
    """Hand MgO off with all optional steps and run it; return the job's folder."""
    cluster = ClusterSettings(
        scheduler="shell", hours=0, vasp=str(FAKE), potcars=str(potcars), custodian=False
    )
    with Campaign(root, {}, 0) as campaign:
        config = HandoffConfig(cluster=cluster, optional_steps=OPTIONAL, references=False)
        campaign.run(hand_off, config, survivors(campaign, [("Mg", "O")], reserve=0), TRAINED)
    ((_, folder),) = emitted_jobs(root / "handoff" / "batch-0001").values()
    env = {**os.environ, "FAKE_VASP": fake}
    done = subprocess.run(["sh", folder / "run.sh"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def collected(root: Path) -> tuple[tuple[str, ...], Result]:
    """Collect; return the remarks and the only result."""
    ledger = Ledger.in_folder(root)
    try:
        out = collect(root, ledger, CollectConfig())
    finally:
        ledger.close()
    assert out.states == {"INGESTED": 1}
    (path,) = (root / "results").glob("*.json")
    assert [line for line in out.lines() if line.startswith("remark")] == [
        f"remark       {text}" for text in out.remarks
    ]
    return out.remarks, Result.model_validate_json(path.read_bytes())


def test_phonons_go_from_the_hand_off_to_a_picture(tmp_path, potcars):
    root = tmp_path / "c"
    folder = calculated(root, potcars)
    remarks, result = collected(root)
    properties = result.properties
    assert properties["lowest_phonon_THz"] == pytest.approx(0, abs=1e-3)
    assert properties["phonons_stable"] == 1
    assert properties["lowest_phonon_at_gamma_THz"] == pytest.approx(0, abs=1e-3)
    assert properties["bulk_modulus_GPa"] > 0
    assert [text.partition(": ")[2] for text in remarks] == list(result.remarks)
    assert any(text.startswith("phonons: stable, lowest frequency 0.00") for text in result.remarks)
    drawn = (root / "results" / f"{result.id}-phonons.svg").read_text()
    assert drawn.startswith("<svg")
    assert f"MgO ({result.id})" in drawn
    assert IMAGINARY not in drawn
    assert result.quality == ""
    assert result.labels[0].quality == ""
    relaxed = result.structure
    assert relaxed is not None and len(relaxed["sites"]) == 2
    poscar = (folder / "07-phonons" / "POSCAR").read_text().splitlines()
    assert poscar[6].split() == ["27", "27"]


def test_an_unstable_crystal_keeps_its_label_and_says_so(tmp_path, potcars):
    root = tmp_path / "c"
    calculated(root, potcars, "05-dfpt=unstable 07-phonons=unstable")
    remarks, result = collected(root)
    assert result.properties["lowest_phonon_THz"] < -1
    assert result.properties["phonons_stable"] == 0
    assert any("phonons: unstable, lowest frequency -" in text for text in remarks)
    assert result.labels[0].property == "band_gap_eV"
    assert result.quality == ""
    assert IMAGINARY in (root / "results" / f"{result.id}-phonons.svg").read_text()
    assert any("phonons: unstable" in line for line in story_of(root, "MgO"))


def test_without_phonopy_the_other_results_stay_and_a_sentence_says_what_is_missing(
    tmp_path, potcars, monkeypatch
):
    root = tmp_path / "c"
    calculated(root, potcars)
    monkeypatch.setattr(phonons, "find_spec", lambda name: None)
    remarks, result = collected(root)
    assert sum("phonopy is not installed" in text for text in remarks) == 2
    assert "lowest_phonon_THz" not in result.properties
    assert result.properties["lowest_phonon_at_gamma_THz"] == pytest.approx(-0.012345)
    assert result.properties["bulk_modulus_GPa"] > 0
    assert result.labels
    assert not list((root / "results").glob("*.svg"))


def test_a_phonon_step_that_fails_leaves_the_job_good_with_a_sentence(tmp_path, potcars):
    root = tmp_path / "c"
    calculated(root, potcars, "07-phonons=garbage")
    remarks, result = collected(root)
    assert any("07-phonons was left out: 07-phonons/vasprun.xml" in text for text in remarks)
    assert result.labels
    assert "bulk_modulus_GPa" in result.properties


def test_a_result_written_before_there_were_remarks_is_read(tmp_path, potcars):
    root = tmp_path / "c"
    calculated(root, potcars)
    _, result = collected(root)
    document = json.loads(result.model_dump_json())
    assert "pictures" not in document
    del document["remarks"]
    assert Result.model_validate(document).remarks == ()
