from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from models.search.latent_pool import SOURCES, PoolShares
from structure.composition import keys_of, parse_formulas
from structure.errors import ConfigError, DataError
from structure.files import sha256_of
from structure.properties.band_gap import BAND_GAP
from structure.properties.gap_window import band_gaps
from structure.rules.validity import valid
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import read_table, write_table
from tasks.campaign.outputs import Explored, Ingested, Trained
from tasks.explore.stage import ExploreConfig, Progress, explore
from tasks.explore.state import Rows
from tasks.oracles.answer import Answer, Asked
from tests.tasks.search_world import (
    CONFIG,
    INITIAL,
    CountSpace,
    SlowOracle,
    SmoothModel,
    ingested,
    search,
    smooth_oracle,
)

PAPER = ExploreConfig.agd(kappa=2.0, iterations=6, budget=60, batch=10, pool_size=300)


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    with Campaign(tmp_path / "campaign", {}, 7) as opened:
        yield opened


def visited(campaign: Campaign, explored: Explored) -> tuple[dict[str, np.ndarray], np.ndarray]:
    columns, counts = read_table(campaign.root, explored.visited)
    assert counts is not None
    return columns, counts


def summary(campaign: Campaign, explored: Explored) -> dict:
    return json.loads(explored.summary.open_in(campaign.root).read_text())


def test_the_budget_is_spent_on_new_valid_compositions(campaign: Campaign) -> None:
    columns, counts = visited(campaign, search(campaign))
    assert len(counts) == 60
    assert set(columns["status"]) == {"labelled"}
    assert valid(counts).all()
    keys = keys_of(counts)
    assert len(set(keys.tolist())) == 60
    assert not np.isin(keys, keys_of(parse_formulas(INITIAL).counts)).any()
    assert columns["iteration"].tolist() == [k for k in range(1, 7) for _ in range(10)]


def test_the_visited_table_has_the_columns_that_later_stages_read(campaign: Campaign) -> None:
    columns, _ = visited(campaign, search(campaign, CONFIG.model_copy(update={"budget": 10})))
    assert list(columns) == [
        "iteration",
        "source",
        "formula",
        "status",
        "band_gap_eV",
        "band_gap_sigma_eV",
        "utility",
        "reason",
        "latent",
    ]
    assert columns["iteration"].dtype == np.int64
    assert all(latent.dtype == np.float32 and len(latent) == 8 for latent in columns["latent"])
    assert set(columns["source"]) <= set(SOURCES)


def test_labels_are_the_oracles_and_the_utility_is_the_windows(campaign: Campaign) -> None:
    columns, counts = visited(campaign, search(campaign))
    assert columns["band_gap_eV"] == pytest.approx(SmoothModel().predict(counts).mean)
    assert columns["band_gap_sigma_eV"] == pytest.approx(0.1)
    assert np.array_equal(columns["utility"], band_gaps().first.utility(columns["band_gap_eV"]))


def test_labels_go_to_the_ledger_with_origin_source_and_iteration(campaign: Campaign) -> None:
    columns, _ = visited(campaign, search(campaign))
    labels = campaign.ledger.labels("band_gap_eV")
    assert [label.formula for label in labels] == columns["formula"].tolist()
    assert [label.iteration for label in labels] == columns["iteration"].tolist()
    assert {(label.origin, label.source, label.sigma) for label in labels} == {
        ("ml", "model-hash", 0.1)
    }


def test_the_search_finds_wider_gaps_than_random_candidates(campaign: Campaign) -> None:
    columns, _ = visited(campaign, search(campaign))
    rng = np.random.default_rng(0)
    space = CountSpace()
    counts = space.decode(rng.uniform(0, 5, (20_000, 8)))
    counts = counts[((counts > 0).sum(axis=1) >= 2) & ((counts > 0).sum(axis=1) <= 5)]
    counts = counts[counts.sum(axis=1) <= 20]
    counts = counts[valid(counts)][:60]
    random = np.sort(SmoothModel().predict(counts).mean)
    found = np.sort(columns["band_gap_eV"])
    assert found[-20:].mean() > random[-20:].mean() + 0.3


@pytest.mark.parametrize("backend", ["batch", "bayesian-optimization"])
@pytest.mark.parametrize("inputs", ["descriptors", "encoded", "proposed"])
def test_a_resumed_search_does_nothing_and_a_repeated_one_is_equal(
    tmp_path: Path, backend: str, inputs: str
) -> None:
    config = CONFIG.model_copy(
        update={"backend": backend, "surrogate_inputs": inputs, "budget": 40}
    )
    outputs = []
    for folder in ("a", "a", "b"):
        with Campaign(tmp_path / folder, {}, 7) as campaign:
            outputs.append(search(campaign, config))
    assert outputs[0] == outputs[1]
    assert outputs[0].visited.sha256 == outputs[2].visited.sha256


def test_a_search_that_is_cut_off_and_resumed_is_equal_to_a_whole_one(tmp_path: Path) -> None:
    class CutOffError(Exception):
        pass

    def cut(now: Progress) -> None:
        if now.iteration == 3:
            raise CutOffError

    with Campaign(tmp_path / "whole", {}, 7) as campaign:
        whole = search(campaign)
    with Campaign(tmp_path / "cut", {}, 7) as campaign, pytest.raises(CutOffError):
        search(campaign, progress=cut)
    with Campaign(tmp_path / "cut", {}, 7) as campaign:
        resumed = search(campaign)
        assert len(campaign.ledger.labels("band_gap_eV")) == 60
    assert resumed.visited.sha256 == whole.visited.sha256


@pytest.mark.slow
def test_a_search_that_is_killed_and_resumed_is_equal_to_a_whole_one(tmp_path: Path) -> None:
    with Campaign(tmp_path / "whole", {}, 7) as campaign:
        whole = search(campaign)
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.tasks.search_world", str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    assert program.stdout is not None
    while program.stdout.readline().strip() != "2":
        assert program.poll() is None
    program.send_signal(signal.SIGKILL)
    program.wait()
    with Campaign(tmp_path / "killed", {}, 7) as campaign:
        assert campaign.ledger.finished("explore", "all") is None
        resumed = search(campaign)
    assert resumed.visited.sha256 == whole.visited.sha256


def test_the_papers_way_spends_suggestions_and_says_what_became_of_them(
    campaign: Campaign,
) -> None:
    explored = search(campaign, PAPER)
    columns, _ = visited(campaign, explored)
    found = summary(campaign, explored)
    assert len(columns["status"]) == 60
    assert found["statuses"]["invalid"] > 0
    assert found["oracle_calls"] == found["statuses"]["labelled"] == found["labels"] < 60
    assert found["sources"]["box"]["decoded"] == 60
    assert found["sources"]["box"]["new"] == found["labels"]
    unlabelled = columns["status"] == "invalid"
    assert np.isnan(columns["band_gap_eV"][unlabelled]).all()


def test_a_suggestion_that_decodes_to_a_known_compound_takes_its_label(tmp_path: Path) -> None:
    config = PAPER.model_copy(
        update={"shares": PoolShares(box=0, around=1, between=0, offspring=0), "kappa": 0.0}
    )
    with Campaign(tmp_path, {}, 7) as campaign:
        columns, counts = visited(campaign, search(campaign, config))
        calls = len(campaign.ledger.labels("band_gap_eV"))
    merged = columns["status"] == "merged"
    assert merged.sum() > 5
    expected = SmoothModel().predict(counts[merged]).mean
    assert columns["band_gap_eV"][merged] == pytest.approx(expected)
    assert calls == (columns["status"] == "labelled").sum()


def test_answers_in_flight_are_not_waited_for_and_are_taken_in_later(campaign: Campaign) -> None:
    oracle = SlowOracle(patience=4)
    config = CONFIG.model_copy(update={"chemistry": "any", "budget": 40})
    explored = search(campaign, config, oracle=oracle)
    columns, _ = visited(campaign, explored)
    found = summary(campaign, explored)
    assert len(oracle.emitted) == len(set(oracle.emitted)) == 40
    assert found["oracle_calls"] == 40
    labelled = columns["status"] == "labelled"
    assert labelled.sum() > 10
    assert set(columns["formula"].tolist()) == set(oracle.emitted)
    assert len(columns["formula"]) == 40
    assert columns["iteration"][labelled].max() > 2


def test_the_search_rests_at_the_limit_in_flight_and_goes_on_later(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"in_flight_at_most": 15, "budget": 40, "chemistry": "any"})
    never = SlowOracle(patience=10**9)
    with Campaign(tmp_path, {}, 7) as campaign:
        resting = search(campaign, config, oracle=never)
        assert summary(campaign, resting)["statuses"] == {"pending": 15}
        assert campaign.ledger.finished("explore", "all") is None
    never.patience = 1
    with Campaign(tmp_path, {}, 7) as campaign:
        done = search(campaign, config, oracle=never)
        found = summary(campaign, done)
        assert "pending" not in found["statuses"]
        assert found["oracle_calls"] == 40
        assert campaign.ledger.finished("explore", "all") is not None
    assert len(never.emitted) == len(set(never.emitted))


def test_the_search_asks_for_no_more_than_the_oracle_has_room_for(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"budget": 40, "chemistry": "any"})
    oracle = SlowOracle(patience=1, places=17)
    with Campaign(tmp_path, {}, 7) as campaign:
        explored = search(campaign, config, oracle=oracle)
        assert summary(campaign, explored)["iterations"] == 2
        assert campaign.ledger.finished("explore", "all") is not None
    assert len(oracle.emitted) == 17
    oracle.places = 40
    with Campaign(tmp_path, {}, 7) as campaign:
        assert search(campaign, config, oracle=oracle) == explored
    assert len(oracle.emitted) == 17


def test_answers_that_trickle_in_do_not_end_the_search_early(campaign: Campaign) -> None:
    class OneByOne(SlowOracle):
        def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
            given = super().label(counts, asked)
            values = np.where(np.arange(len(counts)) == 0, given.values, np.nan)
            refusals = tuple(r if i == 0 else None for i, r in enumerate(given.refusals))
            return Answer(values, given.sigmas, given.jobs, refusals)

    config = CONFIG.model_copy(update={"budget": 30, "batch": 5, "in_flight_at_most": 5})
    oracle = OneByOne(patience=2)
    found = summary(campaign, search(campaign, config, oracle=oracle))
    assert found["iterations"] > config.most_iterations
    assert found["oracle_calls"] == 30


def test_what_the_oracle_cannot_be_asked_is_not_proposed(campaign: Campaign) -> None:
    class Choosy(SlowOracle):
        def accepts(self, counts: np.ndarray) -> np.ndarray:
            return counts[:, 12] == 0  # no aluminium

    config = CONFIG.model_copy(update={"budget": 30, "chemistry": "any"})
    columns, counts = visited(campaign, search(campaign, config, oracle=Choosy(patience=1)))
    assert set(columns["status"]) == {"labelled"}
    assert not counts[:, 12].any()


def test_tables_of_releases_without_reasons_are_read(campaign: Campaign) -> None:
    columns, counts = visited(campaign, search(campaign, CONFIG.model_copy(update={"budget": 10})))
    assert set(columns.pop("reason")) == {""}
    columns["latent"] = list(columns["latent"])
    path = campaign.root / "old.parquet"
    table = write_table(campaign.root, path, columns, "visited", counts=counts)
    assert Rows.read(campaign, table, 8, BAND_GAP).reasons == [""] * 10


def test_a_refused_composition_costs_no_call_and_is_not_asked_again(campaign: Campaign) -> None:
    config = CONFIG.model_copy(update={"chemistry": "any", "budget": 30})
    oracle = SlowOracle(patience=1)
    columns, counts = visited(campaign, search(campaign, config, oracle=oracle))
    refused = columns["status"] == "refused"
    assert refused.any()
    assert (counts[refused][:, 12] > 0).all()  # aluminium
    assert (columns["status"] == "labelled").sum() == 30
    assert max(oracle.times.values()) == 1


def test_a_space_that_is_used_up_ends_the_search(campaign: Campaign) -> None:
    config = CONFIG.model_copy(update={"maximum_atoms": 2, "budget": 1000, "batch": 100})
    explored = search(campaign, config)
    assert summary(campaign, explored)["labels"] < 20
    assert summary(campaign, explored)["iterations"] == config.most_iterations


def test_a_closed_window_is_searched_by_distance_from_its_centre(campaign: Campaign) -> None:
    window = band_gaps(minimum_eV=2.9, maximum_eV=3.1)
    explored = campaign.run(
        explore,
        CONFIG,
        window,
        ingested(campaign),
        Trained(models={}),
        oracle=smooth_oracle(),
        space=CountSpace(),
    )
    found = summary(campaign, explored)
    assert abs(found["best_gap_eV"] - 3.0) < 0.05
    assert found["trace_best_utility_eV"] == sorted(found["trace_best_utility_eV"])


def test_the_trace_is_the_best_gap_so_far_by_call(campaign: Campaign) -> None:
    explored = search(campaign)
    columns, _ = visited(campaign, explored)
    expected = np.maximum.accumulate(columns["band_gap_eV"])
    assert summary(campaign, explored)["trace_best_gap_eV"] == pytest.approx(expected)


def test_progress_is_told_and_logged(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Progress] = []
    with caplog.at_level(logging.INFO, logger="tasks.explore.stage"):
        search(campaign, progress=told.append)
    assert [now.calls for now in told] == [10, 20, 30, 40, 50, 60]
    assert "60 of 60 labels asked for, best gap" in caplog.text


def test_what_is_in_flight_and_that_nothing_is_known_yet_is_said() -> None:
    now = Progress(
        iteration=1, calls=2, budget=5, in_flight=2, best=float("nan"), sought=BAND_GAP, seconds=1.0
    )
    assert str(now) == "2 of 5 labels asked for, 2 of them in flight, no gap yet"


def test_a_large_initial_table_starts_from_its_best_and_some_others(campaign: Campaign) -> None:
    config = CONFIG.model_copy(update={"initial_at_most": 6, "budget": 10})
    explored = search(campaign, config)
    assert summary(campaign, explored)["initial"] == {"used": 6, "not_encodable": 0}


def test_compounds_the_space_cannot_hold_are_left_out_and_counted(campaign: Campaign) -> None:
    formulas = ["NaCl", "MgO", "CaO", "GaAs"]
    counts = parse_formulas(formulas).counts
    columns = {"band_gap_eV": [5.0, 4.5, np.nan, 0.5]}
    path = campaign.root / "initial.parquet"
    table = write_table(campaign.root, path, columns, "initial", counts=counts)
    explored = campaign.run(
        explore,
        CONFIG.model_copy(update={"budget": 10}),
        band_gaps(),
        Ingested(initial=table, known=table, templates=table, manifest=table),
        Trained(models={}),
        oracle=smooth_oracle(),
        space=CountSpace(),
    )
    assert summary(campaign, explored)["initial"] == {"used": 2, "not_encodable": 1}


def test_no_usable_initial_label_is_an_error_with_advice(campaign: Campaign) -> None:
    counts = parse_formulas(["GaAs"]).counts
    path = campaign.root / "initial.parquet"
    table = write_table(campaign.root, path, {"band_gap_eV": [0.5]}, "initial", counts=counts)
    with pytest.raises(DataError, match="none of the initial labels"):
        campaign.run(
            explore,
            CONFIG,
            band_gaps(),
            Ingested(initial=table, known=table, templates=table, manifest=table),
            Trained(models={}),
            oracle=smooth_oracle(),
            space=CountSpace(),
        )


def test_a_campaign_without_an_autoencoder_says_so(campaign: Campaign) -> None:
    with pytest.raises(ConfigError, match="no autoencoder"):
        campaign.run(explore, CONFIG, band_gaps(), ingested(campaign), Trained(models={}))


def test_a_killed_iteration_leaves_no_half_table(campaign: Campaign) -> None:
    explored = search(campaign)
    for path in (campaign.root / "explore").iterdir():
        assert path.suffix in (".parquet", ".json")
    assert sha256_of(explored.visited.open_in(campaign.root)) == explored.visited.sha256


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"decode_first": False}, "must be 'proposed'"),
        ({"minimum_elements": 6}, "above `maximum_elements`"),
        ({"budgets": 3}, "Extra inputs"),
        ({"kappa": -1}, "greater than or equal to 0"),
    ],
)
def test_an_impossible_configuration_is_refused(update: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExploreConfig(**update)
