from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.gpaw.jobs import DEFAULT_PYTHON, INPUT, PYTHON_VARIABLE, RESULT, available, gpaw_job
from dft_inputs.job.folder import Job, write_batch
from dft_inputs.job.status import State
from dft_inputs.recipes.shipped import GPAW
from dft_inputs.references.prototypes import build
from dft_inputs.references.reference_phases import reference_job
from structure.errors import Rejection
from tasks.campaign.directory import Campaign
from tasks.collect import Collected, collect_campaign
from tasks.ledger.ledger import Ledger

FAKE = Path(__file__).parents[2] / "engines" / "fake_gpaw"
STEP = GPAW.steps[0].name


def emit(campaign: Campaign, place: Path, jobs: list[Job], python: str) -> None:
    place.parent.mkdir(exist_ok=True)
    settings = ClusterSettings(scheduler="shell", hours=0, gpaw_python=python)
    write_batch(place, jobs, batch_files(settings, GPAW, [job.ticket for job in jobs]), {})
    for job in jobs:
        campaign.ledger.add_job(
            job.ticket.id,
            formula=job.ticket.formula,
            batch=place.name,
            folder=(place / job.ticket.folder).relative_to(campaign.root).as_posix(),
            recipe=GPAW.hash,
            story={"role": job.ticket.role, "ticket_sha256": job.ticket.sha256},
        )


def campaign_of_lithium_hydride(root: Path, python: str) -> Path:
    candidate = gpaw_job(build("rocksalt", ("Li", "H"), volume_A3=8.1), GPAW, formula="LiH")
    references = [reference_job(element, GPAW) for element in ("Li", "H")]
    assert not any(isinstance(job, Rejection) for job in (candidate, *references))
    with Campaign(root, {}, 0) as campaign:
        emit(campaign, root / "handoff" / "batch-0001", [candidate], python)
        emit(campaign, root / "references", references, python)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return campaign_of_lithium_hydride(tmp_path / "c", str(FAKE))


def submit(root: Path, fake: str = "", places: tuple[str, ...] = ("handoff/batch-0001",)) -> None:
    for place in places:
        env = {**os.environ, "FAKE_GPAW": fake}
        subprocess.run(["sh", "submit.sh"], cwd=root / place, env=env, capture_output=True)


def job(root: Path) -> Path:
    return next((root / "handoff" / "batch-0001").glob("LiH--*"))


def ledger_of(root: Path, look: Callable[[Ledger], object]) -> object:
    ledger = Ledger.in_folder(root)
    try:
        return look(ledger)
    finally:
        ledger.close()


def labels(root: Path, property: str = "band_gap_eV") -> list:
    return ledger_of(root, lambda ledger: ledger.labels(property))


def code_of(collected: Collected) -> str:
    [text] = collected.turned_down
    return text.split(": ")[1].split()[0]


def test_a_finished_job_becomes_a_label_with_its_origin_and_recipe(root):
    submit(root)
    collected = collect_campaign(root)
    assert collected.new_labels == 1
    [label] = labels(root)
    assert (label.formula, label.origin, label.source) == ("LiH", "dft-gpaw", GPAW.hash)
    assert label.value == pytest.approx(3.0)


def test_taking_in_again_changes_nothing(root):
    submit(root)
    collect_campaign(root)
    before = (root / "results").joinpath(f"{job(root).name[-8:]}.json").read_bytes()
    assert collect_campaign(root).new_labels == 0
    assert len(labels(root)) == 1
    assert (root / "results").joinpath(f"{job(root).name[-8:]}.json").read_bytes() == before


def test_the_formation_energy_waits_for_the_elements(root):
    submit(root)
    collect_campaign(root)
    assert labels(root, "formation_energy_eV_per_atom") == []
    submit(root, places=("references",))
    assert collect_campaign(root).new_labels == 1
    [label] = labels(root, "formation_energy_eV_per_atom")
    # The stand-in's compound lies 1 eV per atom below its elements.
    assert label.value == pytest.approx(-1.0)
    assert label.origin == "dft-gpaw"


def test_a_lost_ledger_is_made_again_with_origins(root):
    submit(root, places=("handoff/batch-0001", "references"))
    collect_campaign(root)
    before = labels(root)
    (root / "ledger.sqlite").unlink()
    collect_campaign(root, rebuild=True)
    assert labels(root) == before


@pytest.mark.parametrize(
    ("fake", "code"), [("foreign", "320"), ("recipe", "300"), ("metal-on-path", None)]
)
def test_results_that_answer_another_question_are_set_aside(root, fake, code):
    submit(root, fake)
    collected = collect_campaign(root)
    if code is None:
        assert collected.new_labels == 1
        assert labels(root)[0].quality == "400"
        assert labels(root)[0].value == 0
        return
    assert code_of(collected) == code
    assert collected.states[State.QUARANTINED] == 1
    assert labels(root) == []


def test_an_input_that_was_edited_is_set_aside_with_code_300(root):
    path = job(root) / STEP / INPUT
    path.write_text(path.read_text().replace('"cutoff_eV": 500.0', '"cutoff_eV": 200.0'))
    submit(root)
    assert code_of(collect_campaign(root)) == "300"
    assert labels(root) == []


def test_a_structure_that_was_edited_is_set_aside_with_code_300(root):
    path = job(root) / STEP / INPUT
    document = json.loads(path.read_text())
    document["structure"]["lattice"][0][0] += 0.1
    path.write_text(json.dumps(document))
    submit(root)
    assert code_of(collect_campaign(root)) == "300"


def test_an_input_that_was_edited_only_while_it_ran_is_set_aside_with_code_300(root):
    path = job(root) / STEP / INPUT
    asked = path.read_text()
    path.write_text(asked.replace('"cutoff_eV": 500.0', '"cutoff_eV": 200.0'))
    submit(root)
    path.write_text(asked)
    assert code_of(collect_campaign(root)) == "300"
    assert labels(root) == []


def test_a_layout_that_changed_on_the_way_back_changes_no_question(root):
    submit(root)
    path = job(root) / STEP / INPUT
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert collect_campaign(root).new_labels == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"energy_eV": 0.0}, "260"),
        ({"energy_eV": 4.4}, "260"),
        ({"energy_eV": -258.0}, "260"),
        (dict.fromkeys(("gap_eV", "gap_mesh_eV", "gap_path_eV", "direct_gap_eV"), 217.8), "250"),
    ],
    ids=str,
)
def test_a_number_that_no_crystal_has_is_turned_down(root, changes, code):
    submit(root)
    path = job(root) / STEP / RESULT
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert code_of(collect_campaign(root)) == code
    assert labels(root) == []


def test_a_compound_and_its_element_by_two_setups_make_no_formation_energy(root):
    submit(root, places=("handoff/batch-0001", "references"))
    lithium = next((root / "references").glob("Li--*")) / STEP / RESULT
    lithium.write_text(lithium.read_text().replace("Li:stand-in", "Li:another"))
    notes = collect_campaign(root).notes
    assert any("Li was calculated with setup stand-in, its reference with" in n for n in notes)
    assert len(labels(root)) == 1
    assert labels(root, "formation_energy_eV_per_atom") == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "done"}', "x" * 2_000_000])
def test_a_damaged_result_is_broken_with_code_200(root, content):
    submit(root)
    (job(root) / STEP / RESULT).write_text(content)
    assert code_of(collect_campaign(root)) == "200"
    assert labels(root) == []


def test_a_repaired_result_is_taken_in(root):
    submit(root)
    path = job(root) / STEP / RESULT
    whole = path.read_text()
    path.write_text(whole[:50])
    collect_campaign(root)
    path.write_text(whole)
    assert collect_campaign(root).new_labels == 1


@pytest.mark.dft
@pytest.mark.slow
@pytest.mark.skipif(
    not available(), reason=f"{DEFAULT_PYTHON} or ${PYTHON_VARIABLE} cannot import gpaw"
)
def test_lithium_hydride_goes_through_batch_and_collect_with_real_dft(tmp_path):
    root = campaign_of_lithium_hydride(
        tmp_path / "c", os.environ.get(PYTHON_VARIABLE, DEFAULT_PYTHON)
    )
    submit(root, places=("handoff/batch-0001", "references"))
    collect_campaign(root)
    # PBE: 2.9 to 3.1 eV; -0.43 eV/atom against metal and molecule.
    assert labels(root)[0].value == pytest.approx(3.0, abs=0.15)
    assert labels(root, "formation_energy_eV_per_atom")[0].value == pytest.approx(-0.43, abs=0.06)
