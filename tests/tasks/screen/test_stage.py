from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.properties.prediction import Prediction
from structure.composition import counts_of, formulas_of, keys_of, parse_formulas
from structure.elements import INDEX
from structure.files import write_json
from structure.properties.gap_window import band_gaps
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, ModelHandle, handle_for, read_table, write_table
from tasks.campaign.outputs import Explored, Ingested, Sampled, Screened, ScreenedShard
from tasks.screen import stage
from tasks.screen.funnel import VALID_STEP, NovelSample
from tasks.screen.stage import ScreenConfig, merge_screened, screen_shard

SCREENING = ModelHandle(name="screening", place="campaign", path="screening", sha256="ab")


class GapByFluorine:
    """A stand-in model: 10 eV times the share of fluorine, sure of compounds without oxygen."""

    property = "band_gap_eV"

    def predict(self, counts: np.ndarray) -> Prediction:
        share = counts[:, INDEX["F"]] / counts.sum(axis=1)
        return Prediction(10.0 * share, 0.1 + (counts[:, INDEX["O"]] > 0))


class Bench:
    """A campaign with known formulas, a search and shards made of formulas."""

    def __init__(self, root: Path, known: list[str]):
        self.campaign = Campaign(root, {}, seed=11)
        self.root = root
        keys = np.unique(keys_of(parse_formulas(known).counts))
        np.save(root / "known.npy", keys)
        empty = self._json("empty.json")
        self.ingested = Ingested(
            initial=empty,
            known=handle_for(root, root / "known.npy", len(keys), "known"),
            templates=empty,
            manifest=empty,
        )
        self.explored = self.search([])

    def _json(self, name: str) -> Handle:
        write_json(self.root / name, {})
        return handle_for(self.root, self.root / name, 0, "json")

    def search(self, visited: list[tuple[str, str, float]]) -> Explored:
        """Make a search that visited formulas, each with a status and a label."""
        counts = np.zeros((len(visited), 103), dtype=np.int16)
        for i, (formula, _, _) in enumerate(visited):
            if formula:
                counts[i] = counts_of(formula)
        columns = {
            "status": np.array([v[1] for v in visited], dtype=np.str_),
            "band_gap_eV": np.array([v[2] for v in visited], dtype=float),
            "band_gap_sigma_eV": np.full(len(visited), 0.5),
        }
        path = self.root / "visited.parquet"
        table = write_table(self.root, path, columns, "visited", counts=counts)
        return Explored(visited=table, summary=self._json("summary.json"))

    def shard(
        self, number: int, formulas: list[str], generator: str = "matgan", **settings: Any
    ) -> ScreenedShard:
        """Screen a shard of drawn formulas; an empty text draws nothing."""
        counts = np.zeros((len(formulas), 103), dtype=np.int16)
        for i, formula in enumerate(formulas):
            if formula:
                counts[i] = 2 * counts_of(formula)
        path = self.root / f"drawn-{number}.parquet"
        table = write_table(self.root, path, {}, "sampled", counts=counts)
        return self.campaign.run(
            screen_shard,
            ScreenConfig(**settings),
            settings_window,
            self.ingested,
            Sampled(table=table, generator=generator),
            SCREENING,
            number,
        )

    def merge(self, shards: list[ScreenedShard], **settings: Any) -> tuple[Any, dict[str, Any]]:
        """Merge shards; give the candidates' columns and the funnel."""
        output = self.campaign.run(
            merge_screened,
            ScreenConfig(**settings),
            settings_window,
            shards,
            self.ingested,
            self.explored,
            SCREENING,
        )
        return self.read(output)

    def read(self, output: Screened) -> tuple[Any, dict[str, Any]]:
        columns, counts = read_table(self.root, output.candidates)
        assert counts is not None
        assert formulas_of(counts) == columns["formula"].tolist()
        return columns, json.loads(output.funnel.open_in(self.root).read_text())


settings_window = band_gaps(minimum_eV=5.0)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "load_property_model", lambda folder: GapByFluorine())
    made = Bench(tmp_path / "c", known=["NaCl", "CaF2"])
    yield made
    made.campaign.close()


def _verdicts(bench: Bench, shard: ScreenedShard) -> dict[str, str]:
    columns, counts = read_table(bench.root, shard.table)
    assert counts is not None
    assert (columns["key"] == keys_of(counts)).all()
    return dict(zip(formulas_of(counts), columns["verdict"].tolist(), strict=True))


DRAWN = ["SrYF5", "", "CaF2", "SrYF5", "NaCl3", "PCl5O", "Fe", "SrClF3", "SrCl2", "KYF4"]


def test_each_unique_composition_of_a_shard_has_one_verdict(bench: Bench) -> None:
    shard = bench.shard(0, DRAWN)
    assert (shard.drawn, shard.empty) == (10, 1)
    assert _verdicts(bench, shard) == {
        "SrYF5": "passed",
        "CaF2": "known",
        "NaCl3": "charge",
        "PCl5O": "electronegativity",
        "Fe": "single-element",
        "SrClF3": "passed",
        "SrCl2": "gap-window",
        "KYF4": "passed",
    }


def test_gaps_are_predicted_for_survivors_of_the_rules_only(bench: Bench) -> None:
    shard = bench.shard(0, DRAWN)
    columns, _ = read_table(bench.root, shard.table)
    asked = np.isin(columns["verdict"].astype(str), ["passed", "gap-window"])
    assert (np.isfinite(columns["band_gap_eV"]) == asked).all()


def test_the_funnel_counts_every_step_by_generator_and_each_compound_once(bench: Bench) -> None:
    bench.explored = bench.search(
        [("KYF4", "labelled", 7.0), ("", "undecodable", np.nan), ("SrO", "labelled", 1.0)]
    )
    first = bench.shard(0, DRAWN)
    second = bench.shard(1, ["SrYF5", "RbYF4", "SrO", "SrS"], generator="sequence")
    columns, funnel = bench.merge([first, second])
    steps = {s["name"]: s["by_generator"] for s in funnel["steps"]}
    assert steps == {
        "drawn": {"matgan": 10, "search": 3, "sequence": 4},
        "with atoms": {"matgan": 9, "search": 2, "sequence": 4},
        "unique": {"matgan": 7, "search": 2, "sequence": 2},
        "unique and novel": {"matgan": 6, "search": 2, "sequence": 2},
        "of allowed size and elements": {"matgan": 5, "search": 2, "sequence": 2},
        "charge neutral": {"matgan": 4, "search": 2, "sequence": 2},
        VALID_STEP: {"matgan": 3, "search": 2, "sequence": 2},
        "in the gap window": {"matgan": 2, "search": 1, "sequence": 1},
        "kept as candidates": {"matgan": 2, "search": 1, "sequence": 1},
    }
    assert all(s["count"] == sum(s["by_generator"].values()) for s in funnel["steps"])
    assert funnel["closed_at"] is None
    assert funnel["reasons"]["matgan"]["electronegativity"] == 1
    assert dict(zip(columns["formula"], columns["generator"], strict=True)) == {
        "SrYF5": "matgan",
        "SrClF3": "matgan",
        "KYF4": "search",
        "RbYF4": "sequence",
    }


def test_finds_of_the_search_are_candidates_by_the_oracles_label(bench: Bench) -> None:
    bench.explored = bench.search(
        [
            ("SrYF5", "labelled", 6.0),
            ("CaF2", "labelled", 9.0),
            ("NaCl3", "labelled", 9.0),
            ("SrS", "labelled", 2.0),
            ("KYF4", "merged", np.nan),
            ("KYF4", "labelled", 8.0),
            ("RbYF4", "invalid", np.nan),
        ]
    )
    columns, funnel = bench.merge([bench.shard(0, ["RbYF4"])])
    assert columns["formula"].tolist() == ["KYF4", "RbYF4", "SrYF5"]
    assert columns["generator"].tolist() == ["search", "matgan", "search"]
    assert columns["band_gap_eV"].tolist() == pytest.approx([8.0, 20 / 3, 6.0])
    assert columns["score"].tolist() == pytest.approx([7.5, 20 / 3 - 0.1, 5.5])
    assert funnel["reasons"]["search"] == {"charge": 1, "gap-window": 1, "known": 1, "passed": 2}


def test_of_equal_gaps_the_surer_comes_first_and_the_limit_holds(bench: Bench) -> None:
    shard = bench.shard(0, ["MoOF4", "RbYF4", "SrClF3", "SrYF5"])
    columns, funnel = bench.merge([shard], limit=3)
    assert columns["rank"].tolist() == [1, 2, 3]
    assert columns["formula"].tolist() == ["SrYF5", "RbYF4", "SrClF3"]
    assert columns["score"].tolist() == pytest.approx([50 / 7 - 0.1, 20 / 3 - 0.1, 5.9])
    assert [s["count"] for s in funnel["steps"][-2:]] == [4, 3]


def test_a_closed_window_ranks_by_nearness_to_its_centre(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "settings_window", band_gaps(minimum_eV=2.0, maximum_eV=7.0))
    columns, _ = bench.merge([bench.shard(0, ["RbYF4", "SrClF3", "Ca2ClF3", "SrYF5"])])
    assert columns["formula"].tolist() == ["Ca2ClF3", "SrClF3", "RbYF4"]


def test_a_window_that_nothing_reaches_gives_an_empty_table_and_says_where_it_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "settings_window", band_gaps(minimum_eV=20.0))
    columns, funnel = bench.merge([bench.shard(0, DRAWN)])
    assert len(columns["formula"]) == 0
    assert columns["formula"].dtype == object
    assert columns["band_gap_eV"].dtype == np.float64
    assert funnel["closed_at"] == "in the gap window"


def test_a_generator_that_draws_nothing_is_no_exception(bench: Bench) -> None:
    columns, funnel = bench.merge([bench.shard(0, ["", ""])])
    assert len(columns["formula"]) == 0
    assert funnel["closed_at"] == "with atoms"
    assert funnel["validity"] == {"sample": 0}


def test_a_shard_is_screened_once_and_a_merge_repeats_to_the_byte(
    bench: Bench, tmp_path: Path
) -> None:
    shards = [bench.shard(0, DRAWN), bench.shard(1, ["RbYF4", "SrS"], generator="sequence")]
    again = Bench(tmp_path / "again", known=["NaCl", "CaF2"])
    twins = [again.shard(0, DRAWN), again.shard(1, ["RbYF4", "SrS"], generator="sequence")]
    assert [s.table.sha256 for s in shards] == [s.table.sha256 for s in twins]
    assert bench.merge(shards)[1] == again.merge(twins)[1]
    again.campaign.close()
    (bench.root / "drawn-0.parquet").unlink()
    table = shards[0].table
    repeated = bench.campaign.run(
        screen_shard,
        ScreenConfig(),
        settings_window,
        bench.ingested,
        Sampled(table=table, generator="matgan"),
        SCREENING,
        0,
    )
    assert repeated == shards[0]


def test_validity_is_reported_beside_a_random_baseline(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    names = ["Na", "K", "Rb", "Cs", "Ca", "Sr", "Ba"]
    drawn = [
        f"{a}{b}F{n}" for a in names for b in names if a < b for n in rng.integers(1, 6, size=3)
    ]
    _, funnel = bench.merge([bench.shard(0, drawn)])
    validity = funnel["validity"]
    novel = next(s["count"] for s in funnel["steps"] if s["name"] == "unique and novel")
    assert validity["sample"] == novel
    assert set(validity["matched_random"]) == {"strict", "with_alloys", "pymatgen_sp"}
    assert validity["with_alloys"] >= validity["strict"]
    assert validity["strict_by_generator"] == {"matgan": validity["strict"]}


def test_a_sample_of_a_stream_is_bounded_and_uniform() -> None:
    rng = np.random.default_rng(3)
    means = []
    for _ in range(200):
        sample = NovelSample(50, rng)
        for block in range(10):
            counts = np.zeros((100, 103), dtype=np.int16)
            counts[:, 0] = 1 + np.arange(100 * block, 100 * block + 100)
            sample.add(f"g{block % 2}", counts)
        rows = sample._counts[:, 0]
        assert len(rows) == len(set(rows.tolist())) == 50
        means.append(rows.mean())
    # The mean of 50 of 1..1000 has a standard error of 40.8 / sqrt(200) = 2.8 over the runs.
    assert abs(np.mean(means) - 500.5) < 10.0


def test_the_rule_set_is_configuration_and_a_misspelt_rule_is_refused(bench: Bench) -> None:
    shard = bench.shard(0, ["Fe2Ti", "SrYF5"], rules={"alloys": True})
    assert _verdicts(bench, shard) == {"TiFe2": "gap-window", "SrYF5": "passed"}
    with pytest.raises(ValidationError, match="alloy"):
        ScreenConfig.model_validate({"rules": {"alloy": True}})
    with pytest.raises(ValidationError, match="oxidation_states"):
        ScreenConfig.model_validate({"rules": {"oxidation_states": "icsd25"}})
