from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dft_inputs.recipes.shipped import GPAW
from structure.errors import CampaignError
from tasks.campaign.directory import Campaign
from tasks.collect import collect_campaign
from tasks.dft_jobs.contradictions import check_jobs
from tasks.dft_jobs.emit import Emission
from tasks.ledger.ledger import Ledger
from tests.tasks.campaign.test_job_lock import jobs_of
from tests.tasks.dft_world import cluster, job_places


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign whose two candidates and four references were calculated and taken in."""
    root = tmp_path_factory.mktemp("taken-in") / "c"
    with Campaign(root, {}, 0) as campaign:
        emission = Emission(root, GPAW, cluster())
        emission.emit(campaign.ledger, jobs_of(("Mg", "O"), ("Na", "Cl")))
    for place in job_places(root):
        env = {**os.environ, "FAKE_GPAW": ""}
        subprocess.run(["sh", "submit.sh"], cwd=place, env=env, capture_output=True, check=True)
    assert collect_campaign(root).states == {"INGESTED": 6}
    return root


@pytest.fixture
def root(taken_in: Path, tmp_path: Path) -> Path:
    shutil.copytree(taken_in, tmp_path / "c")
    return tmp_path / "c"


def checked(root: Path) -> None:
    ledger = Ledger.in_folder(root)
    try:
        check_jobs(ledger, root)
    finally:
        ledger.close()


def in_ledger(statement: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with sqlite3.connect(root / "ledger.sqlite") as ledger:
            assert ledger.execute(statement).rowcount

    return change


def in_result(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for path in (root / "results").glob("*.json"):
            text = path.read_text()
            if '"formula": "MgO"' in text:
                assert old in text
                path.write_text(text.replace(old, new, 1))

    return change


CHANGES = {
    "a gap": in_ledger("update labels set value = value + 1e-9 where formula = 'MgO'"),
    "a label that is gone": in_ledger("delete from labels where formula = 'MgO'"),
    "a quality": in_ledger("update labels set quality = '230' where formula = 'NaCl'"),
    "a label's compound": in_ledger("update labels set formula = 'MgS' where formula = 'MgO'"),
    "a job's compound": in_ledger("update jobs set formula = 'MgS' where formula = 'MgO'"),
    "a job's recipe": in_ledger("update jobs set recipe = 'other' where formula = 'MgO'"),
    "a state": in_ledger("update jobs set state = 'INGESTEE' where formula = 'MgO'"),
    "a code": in_ledger("update jobs set code = 230 where formula = 'MgO'"),
    "a role": in_ledger(
        "update jobs set story = replace(story, 'reference', 'referense') where formula = 'Mg'"
    ),
    "an energy": in_ledger(
        "update jobs set story = replace(story, 'energy_eV\": -', 'energy_eV\": -1') "
        "where formula = 'Mg'"
    ),
    "the name of an energy": in_ledger(
        "update jobs set story = replace(story, 'energy_eV_per', 'energy_eW_per')"
    ),
    "no JSON": in_ledger("update jobs set story = replace(story, '{', '[') where formula = 'O'"),
    "a result": in_result('"band_gap_eV": 3', '"band_gap_eV": 4'),
    "a result's compound": in_result('"formula": "MgO"', '"formula": "MgS"'),
    "a result's cell": in_result('"Mg": 1', '"Mg": 2'),
    "a result's label": in_result('"value": 3', '"value": 4'),
}


def test_what_was_taken_in_agrees(root):
    checked(root)


@pytest.mark.parametrize("change", CHANGES)
def test_a_number_that_was_changed_where_it_stands_is_noticed(root, change):
    CHANGES[change](root)
    with pytest.raises(CampaignError, match=r"disagree on|were changed"):
        checked(root)


def test_a_collect_that_was_killed_before_it_told_the_ledger_is_no_contradiction(taken_in, root):
    """The formation energy stands in the result already, and the next collect adds it."""
    with sqlite3.connect(root / "ledger.sqlite") as ledger:
        for id, story in ledger.execute("select id, story from jobs").fetchall():
            known = json.loads(story)
            known["dft"].pop("formation_energy_eV_per_atom", None)
            ledger.execute("update jobs set story = ? where id = ?", (json.dumps(known), id))
        ledger.execute("delete from labels where property like 'formation%'")
    checked(root)
    collect_campaign(root)
    checked(root)
    whole = sqlite3.connect(taken_in / "ledger.sqlite")
    query = "select formula, property, value from labels order by 1, 2"
    assert sqlite3.connect(root / "ledger.sqlite").execute(query).fetchall() == (
        whole.execute(query).fetchall()
    )


@pytest.mark.parametrize("gone", ["results", "handoff", "references"])
def test_files_that_are_gone_contradict_nothing(root, gone):
    shutil.rmtree(root / gone)
    checked(root)


def test_of_two_answers_to_one_question_either_may_count(root):
    """Two structures of one compound are two jobs; the label that came first counts."""
    with sqlite3.connect(root / "ledger.sqlite") as ledger:
        (id,) = ledger.execute("select id from jobs where formula = 'MgO'").fetchone()
        ledger.execute(
            "insert into jobs select 'ffffffff', formula, batch, folder || '-2', recipe, state, "
            "code, story, changed_at from jobs where formula = 'MgO'"
        )
        ledger.execute("update labels set value = 9.5 where property = 'band_gap_eV' and "
                       "formula = 'MgO'")  # fmt: skip
        ledger.execute(
            "update jobs set story = replace(story, '\"band_gap_eV\": 3.0', '\"band_gap_eV\": 9.5')"
            " where id = 'ffffffff'"
        )
    text = (root / "results" / f"{id}.json").read_text()
    other = text.replace(id, "ffffffff").replace('"band_gap_eV": 3.0', '"band_gap_eV": 9.5')
    document = json.loads(other)
    for label in document["labels"]:
        if label["property"] == "band_gap_eV":
            label["value"] = 9.5
    (root / "results" / "ffffffff.json").write_text(json.dumps(document))
    checked(root)
    (root / "results" / "ffffffff.json").unlink()
    checked(root)
