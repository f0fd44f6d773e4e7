from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from structure.composition import counts_of, keys_of
from structure.errors import CampaignError
from structure.properties.band_gap import BAND_GAP
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import read_table
from tasks.campaign.series import earlier_campaigns
from tasks.ingest.stage import IngestConfig, ingest
from tasks.ledger.ledger import Label

GAP = "band_gap_eV"


def night(root: Path, jobs: dict[str, float | None], origin: str = "dft-vasp") -> None:
    """Make a campaign that gave jobs to compounds; those with a value have finished."""
    with Campaign(root, {"name": root.name}, seed=1) as campaign:
        for formula, gap in jobs.items():
            campaign.ledger.add_job(
                formula, formula=formula, batch="batch-0001", folder=f"handoff/{formula}",
                recipe="abc", story={},
            )  # fmt: skip
            labels = []
            if gap is not None:
                labels = [
                    Label(formula=formula, property=GAP, value=gap, origin=origin, source="abc")
                ]
            campaign.ledger.set_job_state(formula, "DONE" if labels else "EMITTED", labels=labels)


def tonight(tmp_path: Path) -> Path:
    """Make the directory of the campaign that begins."""
    root = tmp_path / "tonight"
    root.mkdir()
    return root


def key(formula: str) -> int:
    return int(keys_of(counts_of(formula)[None])[0])


def test_finished_jobs_of_all_earlier_campaigns_are_labels(tmp_path):
    night(tmp_path / "night-0001", {"SrYF5": 7.0, "LiF": None})
    night(tmp_path / "night-0002", {"KMgF3": 8.0})
    found = earlier_campaigns(tonight(tmp_path), ["../night-0001", "../night-0002"], BAND_GAP)
    gaps = dict(zip(keys_of(found.rows.counts).tolist(), found.rows.value, strict=True))
    assert gaps == {key("SrYF5"): 7.0, key("KMgF3"): 8.0}
    assert found.origins == ["dft-vasp"]
    assert np.isnan(found.rows.formation_energy).all()


def test_every_compound_with_a_job_counts_as_proposed(tmp_path):
    night(tmp_path / "night-0001", {"SrYF5": 7.0, "LiF": None})
    found = earlier_campaigns(tonight(tmp_path), ["../night-0001"], BAND_GAP)
    assert found.proposed.tolist() == sorted([key("SrYF5"), key("LiF")])


def test_the_later_label_of_a_compound_counts(tmp_path):
    night(tmp_path / "night-0001", {"SrYF5": 7.0})
    night(tmp_path / "night-0002", {"SrYF5": 6.5})
    found = earlier_campaigns(tonight(tmp_path), ["../night-0001", "../night-0002"], BAND_GAP)
    assert found.rows.value.tolist() == [6.5]


def test_labels_of_a_model_are_not_carried_over(tmp_path):
    night(tmp_path / "night-0001", {"SrYF5": 7.0}, origin="ml")
    assert not len(earlier_campaigns(tonight(tmp_path), ["../night-0001"], BAND_GAP).rows)


def test_reference_jobs_are_neither_learned_from_nor_proposed(tmp_path):
    root = tmp_path / "night-0001"
    night(root, {"SrYF5": 7.0})
    with Campaign(root, {"name": root.name}, seed=1) as campaign:
        campaign.ledger.add_job(
            "ref", formula="F", batch="references", folder="references/F", recipe="abc", story={}
        )
        element = Label(formula="F", property=GAP, value=3.0, origin="dft-vasp", source="abc")
        campaign.ledger.set_job_state("ref", "INGESTED", labels=[element])
    found = earlier_campaigns(tonight(tmp_path), ["../night-0001"], BAND_GAP)
    assert found.rows.value.tolist() == [7.0]
    assert found.proposed.tolist() == [key("SrYF5")]


def test_no_earlier_campaign_gives_nothing(tmp_path):
    found = earlier_campaigns(tmp_path, [], BAND_GAP)
    assert not len(found.rows)
    assert not len(found.proposed)


def test_a_missing_earlier_campaign_is_named(tmp_path):
    with pytest.raises(CampaignError, match="no earlier campaign"):
        earlier_campaigns(tonight(tmp_path), ["../night-0001"], BAND_GAP)


def test_ingest_starts_from_what_came_back_and_proposes_none_of_it_again(tmp_path):
    night(tmp_path / "night-0001", {"NaCl": 5.5, "LiF": None})
    table = tmp_path / "labels.csv"
    table.write_text("formula,gap\nNaCl,5.0\nKCl,5.2\n")
    config = IngestConfig.model_validate(
        {
            "sources": [{"path": str(table), "roles": ["labels"], "columns": {"band_gap": "gap"}}],
            "initial": {"rule": "all"},
            "embedded": {"known": False},
            "earlier": ["../night-0001"],
        }
    )
    with Campaign(tmp_path / "night-0002", config.model_dump(mode="json"), seed=2) as campaign:
        output = campaign.run(ingest, config)
        columns, counts = read_table(campaign.root, output.initial)
        rows = {
            k: (float(gap), str(origin))
            for k, gap, origin in zip(
                keys_of(counts).tolist(), columns[GAP], columns["origin"], strict=True
            )
        }
        known = np.load(output.known.open_in(campaign.root))
    assert rows == {key("NaCl"): (5.5, "dft-vasp"), key("KCl"): (5.2, "table")}
    assert {key("NaCl"), key("LiF")} <= set(known.tolist())
