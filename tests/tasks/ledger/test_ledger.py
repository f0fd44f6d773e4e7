from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from structure.errors import CampaignError, Rejection
from tasks.ledger.ledger import Candidate, Label, Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "sqlite":
        opened = Ledger.in_folder(tmp_path)
    else:
        opened = Ledger(request.getfixturevalue("database"))
    yield opened
    opened.close()


def _label(formula: str = "SrYF5", value: float = 6.4, source: str = "abc") -> Label:
    return Label(formula=formula, property="band_gap_eV", value=value, origin="ml", source=source)


def test_a_label_is_kept_once_for_one_question(ledger: Ledger) -> None:
    assert ledger.add_labels([_label(), _label("NaCl")]) == 2
    assert ledger.add_labels([_label(value=1.0), _label("KCl")]) == 1
    found = ledger.labels("band_gap_eV")
    assert [(x.formula, x.value) for x in found] == [("SrYF5", 6.4), ("NaCl", 6.4), ("KCl", 6.4)]


def test_the_same_compound_may_have_labels_of_two_sources(ledger: Ledger) -> None:
    ledger.add_labels([_label(source="one"), _label(source="two", value=6.0)])
    assert [x.source for x in ledger.labels("band_gap_eV", "SrYF5")] == ["one", "two"]


def test_a_label_that_collect_added_learns_the_iteration_once(ledger: Ledger) -> None:
    found = Label(formula="LiF", property="band_gap_eV", value=9.0, origin="dft-gpaw", source="r")
    ledger.add_labels([found])
    learned = found.model_copy(update={"iteration": 4, "value": 1.0})
    assert ledger.add_labels([learned]) == 0
    assert ledger.add_labels([learned.model_copy(update={"iteration": 6})]) == 0
    assert ledger.labels("band_gap_eV") == [found.model_copy(update={"iteration": 4})]


def test_candidates_come_back_by_rank_and_rejected_ones_last(ledger: Ledger) -> None:
    why = Rejection("too-close", "Xe and F are 0.9 A apart")
    ledger.replace_candidates(
        [
            Candidate.rejected("XeF9", why, {"emd": 1.0}),
            Candidate(formula="KF", rank=2, status="reserve"),
            Candidate(formula="RbF", rank=1, status="selected", story={"gap": 6.0}),
        ]
    )
    assert [c.formula for c in ledger.candidates()] == ["RbF", "KF", "XeF9"]
    assert [c.formula for c in ledger.candidates("selected")] == ["RbF"]
    rejected = ledger.candidate("XeF9")
    assert rejected is not None and rejected.code == "too-close" and rejected.story == {"emd": 1.0}
    assert ledger.candidate("NaCl") is None


def test_a_job_is_recorded_once(ledger: Ledger) -> None:
    fields = {"formula": "KF", "batch": "b", "folder": "f", "recipe": "r", "story": {"a": 1}}
    assert ledger.add_job("1", **fields)
    assert not ledger.add_job("1", **fields)
    assert [j["id"] for j in ledger.jobs()] == ["1"]


def test_a_job_and_the_labels_it_earned_change_together(ledger: Ledger) -> None:
    ledger.add_job("1", formula="KF", batch="b", folder="f", recipe="r", story={})
    ledger.set_job_state("1", "INGESTED", labels=[_label("KF")])
    ledger.set_job_state("1", "INGESTED", code=900, labels=[_label("KF")])
    assert ledger.jobs("INGESTED")[0]["code"] == 900
    assert len(ledger.labels("band_gap_eV", "KF")) == 1


def test_a_finished_stage_keeps_its_first_output(ledger: Ledger) -> None:
    assert ledger.finished("sample", "1") is None
    ledger.finish("sample", "1", '{"a": 1}', 2.0)
    ledger.finish("sample", "1", '{"a": 2}', 2.0)
    assert ledger.finished("sample", "1") == '{"a": 1}'


def test_a_fact_can_be_changed(ledger: Ledger) -> None:
    ledger.set_fact("seed", "1")
    ledger.set_fact("seed", "2")
    assert ledger.fact("seed") == "2"


def test_models_are_listed_with_their_metrics(ledger: Ledger) -> None:
    ledger.add_model("oracle", "aa", "tables", {"mae_eV": 0.3})
    ledger.add_model("oracle", "bb", "tables", {"mae_eV": 0.2})
    assert [(m["sha256"], m["metrics"]) for m in ledger.models()] == [("bb", {"mae_eV": 0.2})]


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    Ledger.in_folder(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("update facts set value = '99' where name = 'schema'")
    with pytest.raises(CampaignError, match="schema version 99"):
        Ledger.in_folder(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("not a database, but long enough to be read as one")
    with pytest.raises(CampaignError, match="cannot be used: file is not a database"):
        Ledger.in_folder(tmp_path)


def test_a_ledger_damaged_inside_says_how_to_make_it_again(tmp_path: Path) -> None:
    ledger = Ledger.in_folder(tmp_path)
    ledger.add_labels([Label(formula="NaCl", property="band_gap_eV", value=5.0, origin="ml",
                             source="x")])  # fmt: skip
    ledger.close()
    file = tmp_path / "ledger.sqlite"
    content = bytearray(file.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 1500] = b"\xaa" * 1500
    file.write_bytes(bytes(content))
    with pytest.raises(CampaignError, match=r"malformed[\s\S]*--rebuild"):
        Ledger.in_folder(tmp_path).labels("band_gap_eV")
