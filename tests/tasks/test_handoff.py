from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.job.folder import emitted_jobs
from dft_inputs.job.prepare import prepare_job
from dft_inputs.recipes.shipped import GPAW, PAPER
from structure.composition import counts_from
from structure.crystals.crystal_text import structure_json
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import ModelHandle, write_table
from tasks.campaign.outputs import Filtered, Trained
from tasks.dft_jobs.emit import Emission
from tasks.handoff import HandoffConfig, hand_off
from tests.dft_inputs.cells import rocksalt, wurtzite

TRAINED = Trained(
    models={"gatgnn": ModelHandle(name="gatgnn", place="shipped", path="gatgnn", sha256="ab" * 32)}
)
PAIRS = [("Mg", "O"), ("Ca", "O"), ("Sr", "O"), ("Zn", "S"), ("Na", "Cl"), ("K", "F")]


def survivors(campaign: Campaign, pairs=PAIRS, reserve: int = 1, more=None) -> Filtered:
    """A survivors table as the filter stage writes it, the first rows in reserve."""
    cells = [wurtzite(*p) if "S" in p else rocksalt(*p, edge=5.0) for p in pairs]
    names = [a + b for a, b in pairs] + list(more or {})
    cells += list((more or {}).values())
    n = len(cells)
    table = write_table(
        campaign.root,
        campaign.folder("filter") / "survivors.parquet",
        {
            "rank": np.arange(n, 0, -1),
            "formula": names,
            "generator": ["matgan"] * n,
            "band_gap_eV": np.linspace(4, 7, n),
            "band_gap_sigma_eV": [0.4] * n,
            "template_id": [f"mp-{i}" for i in range(n)],
            "template_formula": ["LiF"] * n,
            "emd": [1.5] * n,
            "assignment": ["Li->Mg, F->O"] * n,
            "structure_json": [structure_json(c) for c in cells],
            "formation_energy_eV_per_atom": [-2.5] * n,
            "energy_scheme": ["MP2020"] * n,
            "status": ["reserve"] * reserve + ["selected"] * (n - reserve),
        },
        "survivors",
        counts=counts_from([c.composition.get_el_amt_dict() for c in cells]),
    )
    return Filtered(survivors=table, rejected=table)


def test_every_selected_survivor_gets_one_job_best_first(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        out = campaign.run(hand_off, HandoffConfig(), survivors(campaign), TRAINED)
        batch = campaign.root / "handoff" / out.batch
        listed = json.loads((batch / "batch.json").read_text())["jobs"]
        assert [j["formula"] for j in listed] == ["KF", "NaCl", "ZnS", "SrO", "CaO"]
        assert out.jobs == 5
        assert (batch / listed[0]["folder"] / "02-static" / "INCAR").exists()


def test_the_ticket_tells_the_whole_story(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        campaign.run(hand_off, HandoffConfig(), survivors(campaign), TRAINED)
        tickets = {
            t.formula: t for t, _ in emitted_jobs(campaign.root / "handoff/batch-0001").values()
        }
        story = tickets["NaCl"].story
        assert story["template_id"] == "mp-4"
        assert story["assignment"] == "Li->Mg, F->O"
        assert story["models"] == {"gatgnn": "ab" * 32}
        assert story["band_gap_sigma_eV"] == 0.4
        assert story["generator"] == "matgan"
        assert story["why"].startswith("rank 2, predicted gap 6.40 +- 0.40 eV")
        assert tickets["NaCl"].cell == {"Na": 1, "Cl": 1}


def test_the_ledger_knows_every_job_and_where_it_lies(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        campaign.run(hand_off, HandoffConfig(), survivors(campaign), TRAINED)
        jobs = campaign.ledger.jobs()
        for job in jobs:
            assert (campaign.root / job["folder"] / "ticket.json").exists()
            assert job["state"] == "EMITTED"
        candidates = [j for j in jobs if j["story"]["role"] == "candidate"]
        assert len(candidates) == 5


def test_handing_off_again_changes_nothing(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        first = campaign.run(hand_off, HandoffConfig(), survivors(campaign), TRAINED)
        before = sorted(p for p in campaign.root.rglob("*") if "ledger" not in p.name)
        jobs = campaign.ledger.jobs()
        assert campaign.run(hand_off, HandoffConfig(), survivors(campaign), TRAINED) == first
        assert sorted(p for p in campaign.root.rglob("*") if "ledger" not in p.name) == before
        assert campaign.ledger.jobs() == jobs


def test_a_candidate_the_recipe_cannot_ask_keeps_its_reason(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        filtered = survivors(campaign, [("Mg", "O"), ("Md", "O"), ("Ca", "O")], reserve=0)
        out = campaign.run(hand_off, HandoffConfig(), filtered, TRAINED)
        document = json.loads(out.manifest.open_in(campaign.root).read_text())
        assert [j["formula"] for j in document["jobs"]] == ["CaO", "MgO"]
        assert document["refused"][0]["formula"] == "MdO"
        assert "Md" in document["refused"][0]["sentence"]


def test_no_survivor_is_an_empty_batch_not_an_error(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        filtered = survivors(campaign, [("Mg", "O")], reserve=1)
        out = campaign.run(hand_off, HandoffConfig(), filtered, TRAINED)
        assert out.jobs == 0
        batch = campaign.root / "handoff" / out.batch
        done = subprocess.run(["sh", "submit.sh"], cwd=batch, capture_output=True, text=True)
        assert done.returncode == 0
        assert "nothing to submit" in done.stdout


def test_a_recipe_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="agd-paper"):
        HandoffConfig(recipe="agd-papper")


def test_a_gpaw_recipe_gives_gpaw_jobs_in_primitive_cells_with_references_of_the_same_recipe(
    tmp_path,
):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        filtered = survivors(campaign, [("Mg", "O"), ("La", "N")], reserve=0)
        out = campaign.run(hand_off, HandoffConfig(recipe="gpaw-pbe"), filtered, TRAINED)
        batch = campaign.root / "handoff" / out.batch
        ((ticket, folder),) = emitted_jobs(batch).values()
        assert (ticket.engine, ticket.formula, ticket.n_sites) == ("gpaw", "MgO", 2)
        assert (folder / ticket.steps[0].name / "gpaw.json").exists()
        assert (folder / "run.sh").exists()
        assert not (batch / "potcars.txt").exists()
        refused = json.loads((batch / "batch.json").read_text())["refused"]
        assert [(r["formula"], r["code"]) for r in refused] == [("LaN", "gpaw-element")]
        references = emitted_jobs(campaign.root / "references").values()
        assert {t.recipe_sha256 for t, _ in references} == {ticket.recipe_sha256}
        assert {t.formula for t, _ in references} == {"Mg", "O"}


def test_references_of_a_second_recipe_get_a_folder_of_their_own(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        root = campaign.root
        jobs = {}
        for recipe in (GPAW, PAPER.with_steps(()), PAPER.with_steps(["06-elastic"])):
            emission = Emission(root, recipe, ClusterSettings())
            job = prepare_job(rocksalt(), recipe, formula="MgO")
            _, folder = emission.emit(campaign.ledger, [job])
            assert folder is not None
            assert emission.reference_folder() == folder
            jobs[folder.name] = emitted_jobs(folder)
        assert list(jobs)[:2] == ["references", "references-agd-paper"]
        assert len(jobs) == 3
        assert len({id for found in jobs.values() for id in found}) == 6
        assert len(campaign.ledger.jobs()) == 9


def test_references_that_grow_are_counted_and_their_potentials_listed(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        emission = Emission(campaign.root, PAPER, ClusterSettings())
        for formula, cell in {"MgO": rocksalt(), "NaCl": rocksalt("Na", "Cl", 5.64)}.items():
            folder = emission.emit_references([prepare_job(cell, PAPER, formula=formula)])
        assert (folder / "README.txt").read_text().startswith("4 VASP jobs, references of the")
        assert "approved.csv" not in (folder / "README.txt").read_text()
        listed = (folder / "potcars.txt").read_text().split("\n\n")[1].split()
        assert listed == ["Cl", "Mg", "Na_pv", "O"]


def test_references_that_an_earlier_night_took_in_are_not_asked_again(tmp_path):
    job = prepare_job(rocksalt(), PAPER, formula="MgO")
    with Campaign(tmp_path / "night-0001", {}, 0) as first:
        _, place = Emission(first.root, PAPER, ClusterSettings()).emit(first.ledger, [job])
        assert place is not None
        oxygen = next(f for t, f in emitted_jobs(place).values() if t.formula == "O")
        status = json.loads((oxygen / "STATUS.json").read_text())
        status["history"] = [{"state": "RUNNING", "at": 1.6e9}]
        (oxygen / "STATUS.json").write_text(json.dumps(status))
        (oxygen / "DONE").touch()
        for entry in first.ledger.jobs():
            if entry["formula"] == "O":
                first.ledger.set_job_state(entry["id"], "INGESTED")
    config = {"ingest": {"earlier": ["../night-0001"]}}
    with Campaign(tmp_path / "night-0002", config, 1) as second:
        _, place = Emission(second.root, PAPER, ClusterSettings()).emit(second.ledger, [job])
        assert place is not None
        done = {t.formula: (f / "DONE").exists() for t, f in emitted_jobs(place).values()}
        assert done == {"Mg": False, "O": True}
        began = {e["formula"]: e["story"]["emitted_at"][:4] for e in second.ledger.jobs()}
        assert began["O"] == "2020"
        assert began["Mg"] > "2020"


RUN = """
import sys
from pathlib import Path
from tasks.campaign.directory import Campaign
from tasks.handoff import HandoffConfig, hand_off
from tests.tasks.test_handoff import TRAINED, survivors
with Campaign(Path(sys.argv[1]), {}, 0) as campaign:
    filtered = survivors(campaign)
    print("ready", flush=True)
    campaign.run(hand_off, HandoffConfig(), filtered, TRAINED)
    print("done", flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_instant_the_same_command_completes_without_duplicates(tmp_path):
    root = tmp_path / "c"
    chance = random.Random(0)
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", RUN, root], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.6))
        child.send_signal(signal.SIGKILL)
        child.wait()
    subprocess.run([sys.executable, "-c", RUN, root], check=True, capture_output=True)
    with Campaign(tmp_path / "clean", {}, 0) as campaign:
        campaign.run(hand_off, HandoffConfig(), survivors(campaign), TRAINED)
        expected = {j["id"]: j["folder"] for j in campaign.ledger.jobs()}
    with Campaign(root, {}, 0) as campaign:
        found = {j["id"]: j["folder"] for j in campaign.ledger.jobs()}
    assert found == expected
    on_disk = sorted(p.parent.name for p in Path(root).rglob("ticket.json"))
    assert on_disk == sorted(f.rpartition("/")[2] for f in expected.values())


def test_the_elements_of_a_batch_get_reference_jobs_of_the_same_recipe(tmp_path):
    with Campaign(tmp_path / "c", {}, 0) as campaign:
        campaign.run(hand_off, HandoffConfig(), survivors(campaign), TRAINED)
        jobs = emitted_jobs(campaign.root / "references")
        named = {next(iter(ticket.cell)) for ticket, _ in jobs.values()}
        assert named == {"K", "F", "Na", "Cl", "Zn", "S", "Sr", "O", "Ca"}
        assert {t.role for t, _ in jobs.values()} == {"reference"}
        recipes = {j["recipe"] for j in campaign.ledger.jobs()}
        assert len(recipes) == 1
