"""Every combination of search settings, searched for real and told by the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.search.latent_pool import SOURCES, PoolShares
from structure.errors import Rejection
from structure.properties.gap_window import band_gaps
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import read_table
from tasks.explore.stage import ExploreConfig
from tasks.oracles.answer import Answer
from tasks.oracles.ml import MLOracle
from tasks.report import figures, search_words
from tests.tasks.search_world import SlowOracle, SmoothModel, search

INPUTS = {
    "descriptors": {"surrogate_inputs": "descriptors"},
    "encoded": {"surrogate_inputs": "encoded"},
    "proposed": {"surrogate_inputs": "proposed"},
    "proposed, chosen before decoding": {"surrogate_inputs": "proposed", "decode_first": False},
}
SHARES = [PoolShares()]
SHARES += [PoolShares(**{s: float(s == only) for s in SOURCES}) for only in SOURCES]
SHARES += [PoolShares(**{s: 0.0 if s == none else 1 / 3 for s in SOURCES}) for none in SOURCES]
SMALL = {"budget": 4, "batch": 4, "pool_size": 60, "iterations": 1}


class Refusing(MLOracle):
    """Refuses everything it is asked."""

    def label(self, counts: np.ndarray, asked: object = None) -> Answer:
        nothing = np.full(len(counts), np.nan)
        refusals = (Rejection("failed", "the calculation failed"),) * len(counts)
        return Answer(nothing, nothing, (None,) * len(counts), refusals)


def told(root: Path, config: ExploreConfig, **options: object) -> dict:
    """Search, let the report tell of it, and return the summary."""
    with Campaign(root, {}, 7) as campaign:
        explored = search(campaign, config, **options)
        summary = json.loads(explored.summary.open_in(root).read_text())
        columns, _ = read_table(root, explored.visited)
    assert not any(value != value for value in summary.values() if isinstance(value, float))
    words = search_words.paragraph(summary)
    assert f"(backend {config.backend})" in words
    assert search_words.INPUTS[config.surrogate_inputs] in words
    assert search_words.CHEMISTRY[config.chemistry] in words
    assert ("and those are decoded" in words) != config.decode_first
    rows = search_words.source_rows(summary)
    assert sum(row.asked for row in rows) == len(columns["status"])
    assert {row.source for row in rows} >= set(columns["source"])
    assert all(getattr(config.shares, row.source) > 0 for row in rows)
    assert all(share.endswith(" %") for row in rows for share in row.shares)
    return summary


@pytest.mark.parametrize("backend", ["batch", "bayesian-optimization"])
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("chemistry", ["strict", "any"])
def test_every_combination_of_settings_and_zero_shares_can_be_told(
    tmp_path: Path, backend: str, inputs: str, chemistry: str
) -> None:
    for number, shares in enumerate(SHARES):
        settings = {"backend": backend, "chemistry": chemistry, **INPUTS[inputs], **SMALL}
        config = ExploreConfig(shares=shares, **settings)
        summary = told(tmp_path / str(number), config)
        recorded = {name: summary[name] for name in ("surrogate_inputs", "chemistry", "backend")}
        assert recorded == {name: getattr(config, name) for name in recorded}
        assert summary["decode_first"] is config.decode_first
        assert summary["shares"] == shares.model_dump()


@pytest.mark.parametrize("acquisition", ["ucb", "ei"])
def test_the_papers_own_settings_can_be_told(tmp_path: Path, acquisition: str) -> None:
    summary = told(tmp_path, ExploreConfig.agd(acquisition=acquisition, **SMALL))
    assert [row.source for row in search_words.source_rows(summary)] == ["box"]
    assert summary["sources"]["around"]["fraction_decodable"] is None


def test_a_search_that_nobody_answers_can_be_told(tmp_path: Path) -> None:
    oracle = Refusing(SmoothModel(), "hash")
    summary = told(tmp_path, ExploreConfig(**SMALL), oracle=oracle)
    assert summary["labels"] == 0
    assert summary["best_gap_eV"] is None


def test_a_search_without_room_for_one_question_is_told_as_empty(tmp_path: Path) -> None:
    summary = told(tmp_path, ExploreConfig(**SMALL), oracle=SlowOracle(1, places=0))
    assert summary["iterations"] == summary["oracle_calls"] == 0
    assert search_words.source_rows(summary) == []


def test_a_summary_of_a_release_that_recorded_less_is_told_without_guesses() -> None:
    words = search_words.paragraph({"backend": "batch", "acquisition": "ucb", "kappa": 2.0})
    assert words.startswith("Bayesian optimisation over pools of candidates. It is this product's")
    assert "sees" not in words and "asked for" not in words
    assert search_words.source_rows({}) == []


@pytest.mark.parametrize("window", [(5.0, None), (2.0, 4.0)])
def test_a_trace_of_no_labels_is_drawn(window: tuple[float, float | None]) -> None:
    nothing = np.zeros(0)
    assert "<svg" in figures.search_trace(
        nothing, nothing, nothing.astype(str), 3.0, band_gaps(*window).first
    )


def test_every_setting_has_words() -> None:
    fields = ExploreConfig.model_fields
    for name, words in (
        ("backend", search_words.BACKENDS),
        ("surrogate_inputs", search_words.INPUTS),
        ("chemistry", search_words.CHEMISTRY),
    ):
        assert set(fields[name].annotation.__args__) == set(words)
    assert set(SOURCES) == set(search_words.SOURCES)
    assert set(SOURCES) <= set(figures.COLOURS)
