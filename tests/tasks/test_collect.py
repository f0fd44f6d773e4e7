from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymatgen.core import Structure

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.job.folder import emitted_jobs
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.inputs import potcar_symbols
from structure.errors import CampaignError
from structure.properties.band_gap import BAND_GAP
from structure.templates.library import TemplateLibrary
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import handle_for
from tasks.collect import CollectConfig, Collected, campaigns_under, collect, collect_campaign
from tasks.dft_jobs.rebuild import rebuild_jobs
from tasks.handoff import HandoffConfig, hand_off
from tasks.ledger.ledger import Ledger
from tasks.report.story import _in_ledger
from tests.dft_inputs.cells import rocksalt
from tests.tasks.test_handoff import TRAINED, survivors

FAKE = Path(__file__).parents[1] / "engines" / "fake_vasp"
PAIRS = [("Mg", "O"), ("Ca", "O"), ("Na", "Cl")]


def cluster(potcars: Path) -> ClusterSettings:
    return ClusterSettings(
        scheduler="shell", hours=0, vasp=str(FAKE), potcars=str(potcars), custodian=False
    )


def submit(folder: Path, fake: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "FAKE_VASP": fake}
    return subprocess.run(["sh", "submit.sh"], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="session")
def potcars(tmp_path_factory) -> Path:
    """A library of stand-in POTCARs."""
    place = tmp_path_factory.mktemp("potcars")
    symbols = potcar_symbols(PAPER, ["Mg", "Ca", "Na", "O", "Cl"])
    subprocess.run([FAKE, "--make-potcars", place, *symbols], check=True)
    return place


@pytest.fixture(scope="session")
def emitted(potcars, tmp_path_factory) -> Path:
    """A campaign whose three candidates and five references were handed off."""
    place = tmp_path_factory.mktemp("emitted")
    with Campaign(place / "c", {}, 0) as campaign:
        config = HandoffConfig(cluster=cluster(potcars))
        campaign.run(hand_off, config, survivors(campaign, PAIRS, reserve=0), TRAINED)
    return place / "c"


@pytest.fixture(scope="session")
def calculated(emitted, tmp_path_factory) -> Path:
    """The same campaign after every job has run."""
    root = tmp_path_factory.mktemp("calculated") / "c"
    shutil.copytree(emitted, root)
    for place in job_places(root):
        done = submit(place)
        assert done.returncode == 0, done.stdout + done.stderr
    return root


def job_places(root: Path) -> list[Path]:
    return [root / "handoff" / "batch-0001", root / "references"]


@pytest.fixture
def finished(calculated, tmp_path) -> Path:
    shutil.copytree(calculated, tmp_path / "c")
    return tmp_path / "c"


def job_of(root: Path, formula: str) -> Path:
    jobs = emitted_jobs(*job_places(root)).values()
    return next(folder for ticket, folder in jobs if ticket.formula == formula)


def collected(root: Path, *sources: Path):
    ledger = Ledger.in_folder(root)
    try:
        return collect(root, ledger, CollectConfig(), sources), ledger
    finally:
        ledger.close()


def labels(root: Path) -> dict[tuple[str, str], float]:
    ledger = Ledger.in_folder(root)
    names = ("band_gap_eV", "formation_energy_eV_per_atom")
    found = {(x.formula, n): x.value for n in names for x in ledger.labels(n)}
    ledger.close()
    return found


def test_finished_jobs_become_labels_with_origin_and_recipe(finished):
    out, ledger = collected(finished)
    assert out.states == {"INGESTED": 8}
    assert out.new_labels == 6
    gaps = ledger.labels("band_gap_eV")
    assert {g.formula for g in gaps} == {"MgO", "CaO", "NaCl"}
    assert {g.origin for g in gaps} == {"dft-vasp"}
    recipe = json.loads((finished / "handoff/batch-0001/batch.json").read_text())["recipe_sha256"]
    assert {g.source for g in gaps} == {recipe}


def test_formation_energies_are_the_papers_equation_four(finished):
    collected(finished)
    results = {}
    for path in (finished / "results").glob("*.json"):
        result = json.loads(path.read_text())
        results[result["formula"]] = result["properties"]
    found = labels(finished)[("MgO", "formation_energy_eV_per_atom")]
    own = results["MgO"]["energy_eV"]
    parts = results["Mg"]["energy_eV_per_atom"] + results["O"]["energy_eV_per_atom"]
    assert found == pytest.approx((own - parts) / 2)
    assert found < 0


def test_collecting_again_changes_nothing(finished):
    collected(finished)
    before = {p: p.read_bytes() for p in (finished / "results").iterdir()}
    known = labels(finished)
    out, _ = collected(finished)
    assert out.new_labels == 0
    assert not out.ingested
    assert labels(finished) == known
    assert {p: p.read_bytes() for p in (finished / "results").iterdir()} == before


def test_the_distance_to_the_hull_comes_with_the_competing_phases(potcars, tmp_path):
    """NaCl beside its elements only; CaMgO2 against MgO and CaO, which the library knows."""
    cells = {"MgO": rocksalt(), "CaO": rocksalt("Ca", "O", 4.8)}
    library = TemplateLibrary.from_structures(cells.items(), dict.fromkeys(cells, -3.0))
    layered = Structure(
        [[3.2, 0, 0], [0, 3.2, 0], [0, 0, 4.5]],
        ["Ca", "Mg", "O", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]],
    )
    root = tmp_path / "c"
    with Campaign(root, {}, 0) as campaign:
        place = campaign.folder("ingest") / "templates.parquet"
        library.save(place)
        handle = handle_for(campaign.root, place, len(library), "templates")
        config = HandoffConfig(cluster=cluster(potcars), competing_phases=True)
        filtered = survivors(campaign, [("Na", "Cl")], reserve=0, more={"CaMgO2": layered})
        campaign.run(hand_off, config, filtered, TRAINED, handle)
        tickets = emitted_jobs(*job_places(root)).values()
        assert sorted(t.formula for t, _ in tickets if t.role == "competing") == ["CaO", "MgO"]
    for place in job_places(root):
        assert submit(place).returncode == 0
    collected(root)
    ledger = Ledger.in_folder(root)
    found = {x.formula: x.value for x in ledger.labels("energy_above_hull_eV_per_atom")}
    energy = {x.formula: x.value for x in ledger.labels("formation_energy_eV_per_atom")}
    ledger.close()
    assert found["NaCl"] == pytest.approx(energy["NaCl"])
    parts = (energy["MgO"] + energy["CaO"]) / 2
    assert found["CaMgO2"] == pytest.approx(energy["CaMgO2"] - parts)


def test_formation_energies_wait_for_their_references(finished):
    oxygen = job_of(finished, "O")
    (oxygen / "DONE").rename(oxygen / "NOT-YET")
    out, _ = collected(finished)
    assert ("MgO", "band_gap_eV") in labels(finished)
    assert ("MgO", "formation_energy_eV_per_atom") not in labels(finished)
    assert ("NaCl", "formation_energy_eV_per_atom") in labels(finished)
    (oxygen / "NOT-YET").rename(oxygen / "DONE")
    out, _ = collected(finished)
    assert out.ingested == (oxygen.name,)
    assert ("MgO", "formation_energy_eV_per_atom") in labels(finished)


def rewrite(job: Path, before: str, after: str) -> None:
    """Replace words in every result of a job."""
    for path in job.glob("*/vasprun.xml.gz"):
        text = gzip.decompress(path.read_bytes()).decode()
        assert before in text
        path.write_bytes(gzip.compress(text.replace(before, after).encode()))


def test_a_compound_and_its_reference_by_two_releases_make_no_formation_energy(finished):
    rewrite(job_of(finished, "O"), "PAW_PBE O 01Jan2026", "PAW_PBE O 08Apr2002")
    out, _ = collected(finished)
    assert ("MgO", "band_gap_eV") in labels(finished)
    assert ("MgO", "formation_energy_eV_per_atom") not in labels(finished)
    assert ("NaCl", "formation_energy_eV_per_atom") in labels(finished)
    [note] = [n for n in out.notes if n.startswith("MgO--")]
    assert "PAW_PBE O 01Jan2026, its reference with PAW_PBE O 08Apr2002" in note


def test_a_formation_energy_that_no_crystal_has_is_no_label(finished):
    rewrite(job_of(finished, "O"), ">-", ">-1")
    collected(finished)
    assert ("MgO", "formation_energy_eV_per_atom") not in labels(finished)
    assert ("NaCl", "formation_energy_eV_per_atom") in labels(finished)


@pytest.mark.parametrize(
    ("tags", "state", "code"),
    [
        ("IVDW = 12", "QUARANTINED", 300),
        ("PSTRESS = 100", "QUARANTINED", 300),
        ("NELECT = 17", "QUARANTINED", 300),
        ("NCORE = 8\nKPAR = 2\nLWAVE = .TRUE.\nLELF = .TRUE.\nAMIX = 0.1", "INGESTED", None),
    ],
)
def test_what_was_edited_on_the_cluster_decides(emitted, tmp_path, tags, state, code):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    job = job_of(root, "MgO")
    for path in job.glob("*/INCAR"):
        path.write_text(f"{path.read_text()}{tags}\n")
    env = {**os.environ, "FAKE_VASP_PERMISSIVE": "yes"}
    subprocess.run(["sh", job / "run.sh"], env=env, capture_output=True)
    collected(root)
    ledger = Ledger.in_folder(root)
    found = next(j for j in ledger.jobs() if j["formula"] == "MgO")
    ledger.close()
    assert (found["state"], found["code"]) == (state, code)
    assert (("MgO", "band_gap_eV") in labels(root)) is (state == "INGESTED")


def test_folders_that_came_back_elsewhere_are_taken_in_from_there(emitted, finished, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(emitted, home)
    out, _ = collected(home, finished / "handoff", finished / "references")
    assert out.states == {"INGESTED": 8}
    again, _ = collected(home)
    assert again.states == {"INGESTED": 8}


def test_the_potentials_that_were_used_are_recorded_and_none_comes_back(finished):
    collected(finished)
    result = json.loads(next((finished / "results").glob("*.json")).read_text())
    assert result["potentials"]["titel"]
    assert len(result["potentials"]["sha256"]) == 64
    assert not list(finished.rglob("POTCAR"))


@pytest.mark.parametrize(
    ("fake", "state", "code"),
    [
        ("03-uniform=other-titel", "QUARANTINED", 310),
        ("02-static=other-atoms", "QUARANTINED", 320),
        ("02-static=other-encut", "QUARANTINED", 300),
        ("04-bands=other-gap", "INGESTED", 400),
        ("04-bands=metal-path", "INGESTED", 400),
        ("*=swell", "INGESTED", 230),
        ("01-relax2=close-atoms", "INGESTED", 230),
        ("*=apart", "FAILED", 240),
        ("02-static=truncate", "FAILED", 200),
        ("02-static=garbage", "FAILED", 200),
        ("02-static=no-xml", "FAILED", 200),
        ("00-relax1=die", "FAILED", 200),
        ("00-relax1=nsw", "FAILED", 220),
        ("02-static=nelm", "FAILED", 210),
        ("02-static=bomb", "INGESTED", None),
        ("*=vasp5", "INGESTED", None),
        ("*=vasp5-vdw", "INGESTED", None),
    ],
)
def test_a_job_that_goes_wrong_ends_with_its_code(emitted, tmp_path, fake, state, code):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    job = job_of(root, "MgO")
    env = {**os.environ, "FAKE_VASP": fake}
    subprocess.run(["sh", job / "run.sh"], env=env, capture_output=True)
    out, ledger = collected(root)
    found = next(j for j in ledger.jobs() if j["formula"] == "MgO")
    assert (found["state"], found["code"]) == (state, code)
    gaps = ledger.labels("band_gap_eV")
    assert [g.quality for g in gaps] == ([str(code or "")] if state == "INGESTED" else [])
    if state != "INGESTED":
        assert str(code) in out.turned_down[0]
    if state == "QUARANTINED":
        assert (root / "quarantine" / f"{job.name}--{code}").is_dir()
        reason = json.loads((root / "quarantine" / f"{job.name}--{code}.json").read_text())
        assert reason["sentence"]
    again, _ = collected(root)
    assert not again.turned_down
    assert not again.ingested


def test_a_crystal_that_fell_apart_is_turned_down_with_a_picture(emitted, tmp_path):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    job = job_of(root, "MgO")
    env = {**os.environ, "FAKE_VASP": "*=apart"}
    subprocess.run(["sh", job / "run.sh"], env=env, capture_output=True)
    collected(root)
    picture = (root / "results" / f"{job.name.rpartition('--')[2]}.svg").read_text()
    assert picture.startswith("<svg")


def test_what_runs_is_followed_and_what_fell_silent_is_listed(emitted, tmp_path):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    busy, silent = job_of(root, "MgO"), job_of(root, "CaO")
    for folder in (busy, silent):
        status = json.loads((folder / "STATUS.json").read_text())
        (folder / "STATUS.json").write_text(json.dumps({**status, "state": "RUNNING"}))
    os.utime(silent / "STATUS.json", (time.time() - 1e6,) * 2)
    out, _ = collected(root)
    assert out.states == {"EMITTED": 6, "RUNNING": 1, "STALE": 1}
    assert out.stale[0].startswith(silent.name)
    os.utime(silent / "STATUS.json")
    out, _ = collected(root)
    assert out.states == {"EMITTED": 6, "RUNNING": 2}


def test_a_job_that_was_run_again_after_it_failed_is_taken_in(emitted, tmp_path):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    job = job_of(root, "MgO")
    env = {**os.environ, "FAKE_VASP": "02-static=truncate"}
    subprocess.run(["sh", job / "run.sh"], env=env, capture_output=True)
    out, _ = collected(root)
    assert out.states["FAILED"] == 1
    (job / "FAILED").unlink()
    subprocess.run(["sh", job / "run.sh"], check=True, capture_output=True)
    out, _ = collected(root)
    assert out.ingested == (job.name,)
    assert "sentence" not in job_in_ledger(root, "MgO")["story"]


def test_a_batch_copied_back_before_and_after_a_second_try_counts_with_the_second(
    emitted, tmp_path
):
    root, cluster = tmp_path / "c", tmp_path / "cluster"
    shutil.copytree(emitted, root)
    job = job_of(root, "MgO")
    shutil.copytree(job.parent, cluster)
    there = cluster / job.name
    submit(cluster, "02-static=nelm")
    shutil.copytree(cluster, job.parent, dirs_exist_ok=True)
    assert collected(root)[0].states["FAILED"] == 3
    again = ["sh", "submit.sh", "--again", "--code", "210"]
    subprocess.run(again, cwd=cluster, check=True, capture_output=True)
    assert not (there / "02-static" / "vasprun.xml").exists()
    shutil.copytree(cluster, job.parent, dirs_exist_ok=True)
    assert (job / "02-static" / "vasprun.xml").exists()
    assert job.name in collected(root)[0].ingested


def test_the_smaller_gap_counts_when_two_disagree(emitted, tmp_path):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    env = {**os.environ, "FAKE_VASP": "04-bands=metal-path"}
    subprocess.run(["sh", job_of(root, "MgO") / "run.sh"], env=env, capture_output=True)
    collected(root)
    assert labels(root)[("MgO", "band_gap_eV")] == 0


def test_a_foreign_folder_is_set_aside_with_its_reason(finished, tmp_path):
    stranger = finished / "handoff" / "batch-0001" / "GaAs--deadbeef"
    shutil.copytree(job_of(finished, "MgO"), stranger)
    out, _ = collected(finished)
    assert "GaAs--deadbeef: GaAs--deadbeef is no job of this campaign" in out.quarantined
    assert not stranger.exists()
    assert (finished / "quarantine" / "GaAs--deadbeef--foreign" / "DONE").exists()
    assert out.states == {"INGESTED": 8}


@pytest.mark.parametrize("name", ["{}-old", "{} (copy)", "done-{}"])
def test_a_renamed_folder_is_known_by_its_id(finished, name):
    job = job_of(finished, "MgO")
    job.rename(job.with_name(name.format(job.name)))
    out, _ = collected(finished)
    assert not out.quarantined
    assert out.states == {"INGESTED": 8}
    assert ("MgO", "band_gap_eV") in labels(finished)


def test_an_unfinished_copy_beside_a_job_says_nothing_about_it(finished):
    job = job_of(finished, "MgO")
    copy = job.with_name(f"{job.name}-old")
    shutil.copytree(job, copy)
    (copy / "DONE").rename(copy / "FAILED")
    (job / "DONE").rename(job / "NOT-YET")
    out, _ = collected(finished)
    assert not out.turned_down
    assert copy.exists()
    (job / "NOT-YET").rename(job / "DONE")
    out, _ = collected(finished)
    assert out.ingested == (job.name,)


def test_an_edited_ticket_is_set_aside(finished):
    job = job_of(finished, "MgO")
    ticket = json.loads((job / "ticket.json").read_text())
    ticket["cell"] = {"Mg": 2, "O": 2}
    (job / "ticket.json").write_text(json.dumps(ticket))
    out, ledger = collected(finished)
    assert "changed after it was handed off" in out.quarantined[0]
    assert ("MgO", "band_gap_eV") not in labels(finished)
    assert next(j for j in ledger.jobs() if j["formula"] == "MgO")["state"] == "QUARANTINED"


def test_a_folder_that_is_still_being_copied_is_left_alone(finished):
    job = job_of(finished, "MgO")
    (job / "ticket.json").rename(job / ".ticket.json.partial")
    out, _ = collected(finished)
    assert job.exists()
    assert not out.quarantined
    (job / ".ticket.json.partial").rename(job / "ticket.json")
    out, _ = collected(finished)
    assert job.name in out.ingested


def test_a_lost_ledger_is_rebuilt_from_the_folders(finished):
    collected(finished)
    ledger = Ledger.in_folder(finished)
    before, known = ledger.jobs(), labels(finished)
    ledger.close()
    for leftover in finished.glob("ledger.sqlite*"):
        leftover.unlink()
    with pytest.raises(CampaignError, match="rebuild"):
        collected(finished)
    ledger = Ledger.in_folder(finished, anew=True)
    assert rebuild_jobs(finished, ledger) == (8, 8)
    after = ledger.jobs()
    assert [(j["id"], j["state"], j["code"]) for j in after] == [
        (j["id"], j["state"], j["code"]) for j in before
    ]
    assert labels(finished) == known
    assert rebuild_jobs(finished, ledger) == (0, 0)


RUN = """
import sys
from pathlib import Path
from tasks.ledger.ledger import Ledger
from tasks.campaign.outputs import Ingested
from tasks.collect import collect
root = Path(sys.argv[1])
import dft_inputs.vasp.outputs, pymatgen.io.vasp
print("ready", flush=True)
out = collect(root, Ledger.in_folder(root))
print(out.model_dump_json(), flush=True)
"""


@pytest.mark.slow
def test_two_collectors_at_once_take_each_job_once(finished):
    children = [
        subprocess.Popen([sys.executable, "-c", RUN, finished], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outs = [json.loads(c.communicate()[0].splitlines()[-1]) for c in children]
    names = [name for out in outs for name in out["ingested"]]
    assert len(names) == len(set(names)) == 8
    assert sum(out["new_labels"] for out in outs) == 6


@pytest.mark.slow
def test_a_collect_killed_anywhere_is_completed_by_the_next(finished, tmp_path):
    reference = tmp_path / "reference"
    shutil.copytree(finished, reference)
    collected(reference)
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2):
        child = subprocess.Popen([sys.executable, "-c", RUN, finished], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
    collected(finished)
    assert labels(finished) == labels(reference)


def test_campaigns_are_found_alone_in_a_folder_and_as_nights(tmp_path):
    for name in ("one", "series/night-0001", "series/night-0002"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "campaign.json").write_text("{}")
    assert [p.name for p in campaigns_under(tmp_path)] == ["one", "night-0001", "night-0002"]
    assert campaigns_under(tmp_path / "one") == [tmp_path / "one"]
    with pytest.raises(CampaignError, match="no campaign here"):
        campaigns_under(tmp_path / "nowhere")


def test_a_collect_runs_beside_an_open_campaign_and_says_what_it_found(finished):
    with Campaign(finished, {}, 0):
        lines = collect_campaign(finished).lines()
    assert lines[0] == "jobs         8 ingested"
    assert lines[1] == "new labels   6"
    assert sum(line.startswith("taken in") for line in lines) == 8


def test_a_source_that_does_not_exist_is_named(finished):
    with pytest.raises(CampaignError, match="no such folder"):
        collected(finished, finished / "elsewhere")


def answer(batch: Path, **answers: str) -> None:
    """Write answers, ``MgO="no,too dear"``, into ``approved.csv``; the others stay empty."""
    jobs = (batch / "jobs.txt").read_text().split()
    lines = [f"{job},{answers.get(job.partition('--')[0], '')}\n" for job in jobs]
    (batch / "approved.csv").write_text("folder,approved,reason\n" + "".join(lines))


def job_in_ledger(root: Path, formula: str) -> dict:
    ledger = Ledger.in_folder(root)
    try:
        return next(job for job in ledger.jobs() if job["formula"] == formula)
    finally:
        ledger.close()


def test_a_declined_job_is_cancelled_with_the_reason_although_nothing_was_submitted(
    emitted, tmp_path
):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    answer(root / "handoff/batch-0001", MgO="no,too dear")
    out, _ = collected(root)
    assert out.states == {"CANCELLED": 1, "EMITTED": 7}
    sentence = "approved.csv declined this job: too dear"
    assert out.turned_down == (f"{job_of(root, 'MgO').name}: {sentence}",)
    assert job_in_ledger(root, "MgO")["story"]["sentence"] == sentence
    assert collected(root)[0].turned_down == ()
    assert any(sentence in line for line in lines_of(root, "MgO"))


def lines_of(root: Path, formula: str) -> list[str]:
    ledger = Ledger.in_folder(root)
    try:
        return list(_in_ledger(ledger, formula, BAND_GAP))
    finally:
        ledger.close()


def test_a_job_approved_after_all_is_open_again_and_runs(emitted, tmp_path):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    batch = root / "handoff/batch-0001"
    answer(batch, MgO="no", CaO="no", NaCl="no")
    assert collected(root)[0].states == {"CANCELLED": 3, "EMITTED": 5}
    answer(batch, MgO="yes", CaO="no", NaCl="no")
    assert collected(root)[0].states == {"CANCELLED": 2, "EMITTED": 6}
    assert job_in_ledger(root, "MgO")["story"]["sentence"] == ""
    assert submit(batch).returncode == 0
    out, _ = collected(root)
    assert out.ingested == (job_of(root, "MgO").name,)
    assert out.states == {"CANCELLED": 2, "EMITTED": 5, "INGESTED": 1}


def test_what_waits_or_cannot_be_understood_is_said_and_cancels_nothing(emitted, tmp_path):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    batch = root / "handoff/batch-0001"
    answer(batch, MgO="perhaps")
    out, _ = collected(root)
    assert out.states == {"EMITTED": 8}
    assert '"perhaps" is neither yes nor no' in out.approval[0]
    assert out.approval[1] == "batch-0001: 1 jobs wait for an answer in approved.csv"
    assert any(line.startswith("approval") for line in out.lines())


def test_the_answers_that_came_back_from_the_cluster_outrank_those_at_home(emitted, tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"
    shutil.copytree(emitted, home)
    shutil.copytree(emitted / "handoff" / "batch-0001", away / "batch-0001")
    answer(home / "handoff/batch-0001", MgO="no")
    answer(away / "batch-0001", MgO="yes", CaO="no,known")
    assert collected(home)[0].states == {"CANCELLED": 1, "EMITTED": 7}
    out, _ = collected(home, away)
    assert out.states == {"CANCELLED": 1, "EMITTED": 7}
    assert job_in_ledger(home, "MgO")["state"] == "EMITTED"
    assert job_in_ledger(home, "CaO")["state"] == "CANCELLED"


def test_jobs_declined_for_one_reason_are_one_line_below_those_that_failed():
    out = Collected(
        states={"CANCELLED": 3, "FAILED": 1},
        turned_down=(
            "CaO--00000001: approved.csv declined this job: nobody approved it",
            "KF--00000002: approved.csv declined this job: too dear",
            "MgO--00000003: 210 electrons did not converge",
            "NaCl--00000004: approved.csv declined this job: nobody approved it",
        ),
    )
    assert [line for line in out.lines() if line.startswith("turned down")] == [
        "turned down  KF--00000002: approved.csv declined this job: too dear",
        "turned down  MgO--00000003: 210 electrons did not converge",
        "turned down  2 jobs: approved.csv declined this job: nobody approved it",
    ]


def test_a_job_cancelled_by_hand_says_so(emitted, tmp_path):
    root = tmp_path / "c"
    shutil.copytree(emitted, root)
    (job_of(root, "MgO") / "CANCELLED").touch()
    answer(root / "handoff/batch-0001", MgO="yes")
    out, _ = collected(root)
    assert out.turned_down == (f"{job_of(root, 'MgO').name}: cancelled by hand",)
