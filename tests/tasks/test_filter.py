from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from structure.composition import parse_formulas
from structure.crystals.crystal_text import structure_json
from structure.errors import CampaignError
from tasks import filter as stage
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import ModelHandle, read_table, write_table
from tasks.campaign.outputs import Filtered, Templated, Trained
from tasks.filter import ENERGY, FilterConfig, filter_by_energy

TRAINED = Trained(
    models={"gatgnn": ModelHandle(name="gatgnn", place="campaign", path="g", sha256="abc")}
)


class EnergyByHalide:
    """A stand-in model: fluorides are bound, iodides are not."""

    energy_scheme = "test scale, eV/atom"

    def predict(self, structures: Sequence[Structure]) -> np.ndarray:
        halide = {"F": -3.0, "Cl": -2.0, "Br": -1.0, "I": 0.25}
        return np.array([halide[s[1].specie.symbol] + 0.01 * s[0].specie.Z for s in structures])


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_model", lambda *_: EnergyByHalide())


def salt(formula: str) -> Structure:
    cation, anion = (str(e) for e in parse_composition(formula))
    return Structure(Lattice.cubic(4.0), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def parse_composition(formula: str) -> list[str]:
    place = next(i for i in range(1, len(formula)) if formula[i].isupper())
    return [formula[:place], formula[place:]]


def templated(root: Path, formulas: list[str]) -> Templated:
    n = len(formulas)
    structures = write_table(
        root,
        root / "structures.parquet",
        {
            "rank": np.arange(1, n + 1),
            "formula": np.array(formulas, dtype=np.str_),
            "generator": np.array(["matgan"] * n, dtype=np.str_),
            "band_gap_eV": np.linspace(7, 5, n),
            "band_gap_sigma_eV": np.full(n, 0.3),
            "template_id": np.array(["mp-1"] * n, dtype=np.str_),
            "emd": np.full(n, 0.5),
            "structure_json": np.array([structure_json(salt(f)) for f in formulas], dtype=np.str_),
        },
        "structures",
        counts=parse_formulas(formulas).counts,
    )
    rejected = write_table(
        root,
        root / "rejected.parquet",
        {"formula": ["XeF6"], "code": ["no-template"], "sentence": ["no template has AB6"]},
        "rejected",
    )
    return Templated(structures=structures, rejected=rejected)


def run(
    root: Path, formulas: list[str], config: FilterConfig | None = None
) -> tuple[Campaign, Filtered]:
    with Campaign(root, {}, 1) as campaign:
        made = templated(root, formulas)
        return campaign, campaign.run(filter_by_energy, config or FilterConfig(), made, TRAINED)


def test_only_negative_energies_go_on_and_ranks_close_up(tmp_path: Path) -> None:
    campaign, filtered = run(tmp_path, ["NaI", "NaF", "KI", "NaCl"])
    columns, counts = read_table(campaign.root, filtered.survivors)
    assert columns["formula"].tolist() == ["NaF", "NaCl"]
    assert columns["rank"].tolist() == [1, 2]
    assert (columns[ENERGY] < 0).all()
    assert set(columns["energy_scheme"]) == {"test scale, eV/atom"}
    assert counts is not None and counts.sum(axis=1).tolist() == [2, 2]


def test_what_was_turned_down_keeps_the_number_that_decided_it(tmp_path: Path) -> None:
    campaign, filtered = run(tmp_path, ["NaI", "NaF"])
    columns, _ = read_table(campaign.root, filtered.rejected)
    assert columns["formula"].tolist() == ["NaI"]
    assert columns["code"].tolist() == ["formation-energy"]
    assert "+0.360 eV/atom is not below 0.00" in columns["sentence"][0]


def test_the_order_is_that_of_the_screening_unless_energies_are_asked_for(tmp_path: Path) -> None:
    formulas = ["NaBr", "NaCl", "NaF"]
    for name, by, order in (
        ("a", "screening", formulas),
        ("b", "formation_energy", formulas[::-1]),
    ):
        (tmp_path / name).mkdir()
        campaign, filtered = run(tmp_path / name, formulas, FilterConfig(rank_by=by))  # type: ignore[arg-type]
        columns, _ = read_table(campaign.root, filtered.survivors)
        assert columns["formula"].tolist() == order


def test_the_limit_selects_the_best_and_the_rest_is_in_reserve(tmp_path: Path) -> None:
    campaign, filtered = run(tmp_path, ["NaF", "KF", "LiF"], FilterConfig(limit=2))
    columns, _ = read_table(campaign.root, filtered.survivors)
    assert columns["status"].tolist() == ["selected", "selected", "reserve"]


def test_one_chemical_system_does_not_fill_the_batch(tmp_path: Path) -> None:
    counts = parse_formulas(["NaF", "Na2F", "NaF2", "KF"]).counts
    statuses = stage._statuses(counts, FilterConfig(limit=3, per_system=2))
    assert statuses.tolist() == ["selected", "selected", "reserve", "selected"]
    everything = stage._statuses(counts, FilterConfig(limit=3, per_system=None))
    assert everything.tolist() == ["selected", "selected", "selected", "reserve"]


def test_the_ledger_has_every_candidate_with_its_story(tmp_path: Path) -> None:
    run(tmp_path, ["NaF", "NaI"])
    with Campaign(tmp_path, {}, 1) as again:
        by_formula = {c.formula: c for c in again.ledger.candidates()}
    assert set(by_formula) == {"NaF", "NaI", "XeF6"}
    best = by_formula["NaF"]
    assert (best.status, best.rank) == ("selected", 1)
    assert best.story["template_id"] == "mp-1"
    assert best.story[ENERGY] == pytest.approx(-2.89)
    assert best.story["models"]["gatgnn"] == "abc"
    assert by_formula["NaI"].code == "formation-energy"
    assert by_formula["XeF6"].sentence == "no template has AB6"


def test_no_candidates_give_empty_tables_with_the_same_columns(tmp_path: Path) -> None:
    campaign, filtered = run(tmp_path, [])
    columns, _ = read_table(campaign.root, filtered.survivors)
    assert filtered.survivors.rows == filtered.rejected.rows == 0
    assert {"formula", ENERGY, "energy_scheme", "status", "rank"} <= set(columns)


def test_a_model_the_campaign_does_not_have_is_named_with_those_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with pytest.raises(CampaignError, match=r"no model 'chgnet'; it has gatgnn"):
        run(tmp_path, ["NaF"], FilterConfig(model="chgnet"))
