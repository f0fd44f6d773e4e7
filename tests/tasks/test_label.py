from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from structure.composition import counts_of, parse_formulas
from structure.errors import ConfigError, DataError, Rejection
from structure.sources.quantities import UnitMap
from tasks import label as stage
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import read_table, write_table
from tasks.campaign.outputs import Trained
from tasks.label import Answer, MLOracle, OracleConfig, TableOracle, label_table, oracle_for
from tasks.oracles.oracle import check_ready, table_oracle
from tests.tasks.search_world import SlowOracle, SmoothModel

KNOWN = parse_formulas(["NaCl", "MgO", "K4Mn4O8", "NaCl"])
VALUES = np.array([5.0, 4.5, 1.5, 6.0])


def test_the_table_answers_what_it_has_and_refuses_the_rest_with_a_reason() -> None:
    oracle = TableOracle(KNOWN.counts, VALUES, "mp")
    answer = oracle.label(parse_formulas(["KMnO2", "CaO", "MgO"]).counts)
    assert answer.known.tolist() == [True, False, True]
    assert answer.values[[0, 2]].tolist() == [1.5, 4.5]
    assert np.isnan(answer.values[1])
    refusal = answer.refusals[1]
    assert refusal is not None
    assert refusal.code == "unlabelled"
    assert refusal.sentence == "CaO has no value in the table mp"
    assert not answer.pending.any()


def test_polymorphs_in_a_table_give_their_median() -> None:
    oracle = TableOracle(KNOWN.counts, VALUES, "mp")
    assert oracle.label(counts_of("NaCl")[None]).values[0] == 5.5


@given(st.permutations(range(4)))
def test_the_order_of_a_table_does_not_matter(order: list[int]) -> None:
    shuffled = TableOracle(KNOWN.counts[order], VALUES[order], "mp")
    expected = TableOracle(KNOWN.counts, VALUES, "mp").label(KNOWN.counts).values
    assert np.array_equal(shuffled.label(KNOWN.counts).values, expected)


def test_an_empty_table_refuses_everything() -> None:
    oracle = TableOracle(KNOWN.counts[:0], VALUES[:0], "empty")
    assert not oracle.label(KNOWN.counts).known.any()


def test_a_table_is_read_from_csv_with_bad_rows_left_out(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("compound,gap\nNaCl,5.0\nXx9,1.0\nMgO,metal\n")
    oracle = TableOracle.read(path, "compound", "gap")
    assert len(oracle) == 1
    assert oracle.label(counts_of("ClNa")[None]).values.tolist() == [5.0]
    assert oracle.source.startswith("gaps.csv:")


def test_a_table_without_the_column_or_the_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("compound,gap\nNaCl,5.0\n")
    with pytest.raises(DataError, match="no column 'formula'"):
        TableOracle.read(path, "formula", "gap")
    with pytest.raises(DataError, match="does not exist"):
        TableOracle.read(tmp_path / "none.csv", "formula", "gap")
    path.write_text("compound,gap\nNaCl,metal\n")
    with pytest.raises(DataError, match="no row with"):
        TableOracle.read(path, "compound", "gap")


@pytest.mark.parametrize("name", ["gaps.csv", "gaps.tsv", "gaps.csv.gz", "gaps.jsonl", "g.parquet"])
def test_a_table_in_mev_is_converted_where_it_is_declared_and_refused_where_not(
    tmp_path: Path, name: str
) -> None:
    rows = pd.DataFrame({"compound": ["NaCl", "MgO", "Fe"], "gap": [5010.0, 7800.0, 0.0]})
    path = tmp_path / name
    if name.endswith(".parquet"):
        rows.to_parquet(path)
    elif name.endswith(".jsonl"):
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_csv(path, index=False, sep="\t" if name.endswith(".tsv") else ",")
    config = OracleConfig(
        kind="table",
        table=str(path),
        formula_column="compound",
        value_column="gap",
        units={"band_gap": "meV"},  # type: ignore[arg-type]
    )
    answer = table_oracle(config).label(parse_formulas(["NaCl", "MgO", "Fe"]).counts)
    assert answer.values == pytest.approx([5.01, 7.8, 0.0])
    undeclared = config.model_copy(update={"units": UnitMap()})
    with pytest.raises(DataError, match=r"cannot be in eV.*look like meV") as refused:
        check_ready(undeclared)
    assert "explore.oracle.units.band_gap" in str(refused.value)


def test_the_name_of_a_tables_column_must_not_contradict_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("formula,gap (meV)\nNaCl,8\n")
    with pytest.raises(DataError, match="says meV"):
        TableOracle.read(path, "formula", "gap (meV)")


def test_one_gap_that_no_solid_has_is_left_out_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("formula,gap\nNaCl,8.5\nPbTe,310\nMgO,-1\nKCl,1_0\nLiF,13.6\n")
    oracle = TableOracle.read(path, "formula", "gap")
    answer = oracle.label(parse_formulas(["NaCl", "PbTe", "MgO", "KCl", "LiF"]).counts)
    assert answer.known.tolist() == [True, False, False, False, True]
    assert "3 rows of gaps.csv are not used" in caplog.text


def test_a_tables_column_that_is_missing_or_doubled_names_the_oracles_setting(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("formula,gap,gap\nNaCl,0,8.5\n")
    with pytest.raises(DataError, match="2 columns named 'gap'"):
        TableOracle.read(path, "formula", "gap")
    with pytest.raises(DataError, match=r"explore\.oracle\.value_column"):
        TableOracle.read(path, "formula", "gaps")


def test_the_model_oracle_answers_everything_at_once() -> None:
    oracle = MLOracle(SmoothModel(), "hash")
    answer = oracle.label(KNOWN.counts)
    assert answer.known.all() and not answer.pending.any()
    assert answer.values == pytest.approx(SmoothModel().predict(KNOWN.counts).mean)
    assert (oracle.origin, oracle.source, oracle.property) == ("ml", "hash", "band_gap_eV")


def test_an_answer_tells_known_pending_and_refused_apart() -> None:
    answer = Answer(
        np.array([1.0, np.nan, np.nan]),
        np.full(3, np.nan),
        (None, "job-1", None),
        (None, None, Rejection("failed", "it failed")),
    )
    assert answer.known.tolist() == [True, False, False]
    assert answer.pending.tolist() == [False, True, False]
    with pytest.raises(ValueError, match="differ in length"):
        Answer(np.zeros(2), np.zeros(2), (None,), (None, None))


def test_a_table_of_compositions_is_labelled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("formula,band_gap_eV\nNaCl,5.0\n")
    config = OracleConfig(kind="table", table=str(path))
    with Campaign(tmp_path / "campaign", {}, 0) as campaign:
        counts = parse_formulas(["MgO", "NaCl"]).counts
        table = write_table(campaign.root, campaign.root / "t.parquet", {}, "x", counts=counts)
        first = label_table(campaign, config, Trained(models={}), table, "all")
        monkeypatch.setattr(stage, "oracle_for", None)
        assert label_table(campaign, config, Trained(models={}), table, "all") == first
        columns, labelled = read_table(campaign.root, first)
    assert columns["refusal"].tolist() == ["unlabelled", ""]
    assert columns["band_gap_eV"][1] == 5.0
    assert labelled is not None and np.array_equal(labelled, counts)


def test_a_table_with_answers_outstanding_is_labelled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = SlowOracle(patience=2)
    monkeypatch.setattr(stage, "oracle_for", lambda *_: oracle)
    with Campaign(tmp_path, {}, 0) as campaign:
        counts = parse_formulas(["MgO", "NaCl"]).counts
        table = write_table(campaign.root, campaign.root / "t.parquet", {}, "x", counts=counts)
        answers = []
        for _ in range(3):
            handle = label_table(campaign, OracleConfig(), Trained(models={}), table, "all")
            answers.append(read_table(campaign.root, handle)[0])
    assert answers[0]["job"].tolist() == ["job-MgO", "job-NaCl"]
    assert np.isnan(answers[0]["band_gap_eV"]).all()
    assert np.isfinite(answers[1]["band_gap_eV"]).all()
    assert oracle.times == {"MgO": 2, "NaCl": 2}


def test_oracles_that_answer_at_once_take_everything_and_have_no_limit() -> None:
    for oracle in (MLOracle(SmoothModel(), "hash"), TableOracle(KNOWN.counts, VALUES, "mp")):
        assert oracle.accepts(KNOWN.counts).all()
        assert oracle.room() is None
        assert not oracle.later


def test_a_model_that_the_campaign_lacks_is_named(tmp_path: Path) -> None:
    with (
        Campaign(tmp_path, {}, 0) as campaign,
        pytest.raises(ConfigError, match="'oracle' is not among"),
    ):
        oracle_for(campaign, OracleConfig(), {})


@pytest.mark.parametrize("settings", [{"kind": "table"}, {"kind": "ml", "table": "x.csv"}])
def test_a_table_is_named_if_and_only_if_it_is_used(settings: dict) -> None:
    with pytest.raises(ValidationError, match="only if"):
        OracleConfig(**settings)
