from __future__ import annotations

import pytest

from flows.config import CampaignConfig, load_config
from flows.running.nights import take_in, tonight
from structure.composition import parse_formulas
from structure.errors import CampaignError, ConfigError
from structure.properties.band_gap import BAND_GAP
from tasks.campaign.directory import Campaign
from tasks.campaign.series import earlier_campaigns
from tasks.oracles.dft_settings import DFTOracleConfig
from tasks.oracles.oracle import OracleConfig
from tests.tasks.dft_world import ANY_TEMPLATE, SEARCH, cluster, oracle_of, submit


@pytest.fixture
def config() -> CampaignConfig:
    return load_config("agd-bandgap-overnight")


def live_through(config, root, finished=True):
    with Campaign(root, config.model_dump(mode="json"), config.seed) as campaign:
        if finished:
            campaign.ledger.set_fact("finished", "yes")


def test_the_first_night_begins_with_nothing_earlier(tmp_path, config):
    first, root = tonight(tmp_path, config)
    assert root == tmp_path / "night-0001"
    assert first == config


def test_a_night_after_a_finished_one_is_new_and_knows_all_earlier_ones(tmp_path, config):
    for _ in range(2):
        live_through(*tonight(tmp_path, config))
    third, root = tonight(tmp_path, config)
    assert root == tmp_path / "night-0003"
    assert third.ingest.earlier == ("../night-0001", "../night-0002")
    assert third.seed == config.seed + 2


def test_a_night_that_was_cut_short_goes_on(tmp_path, config):
    live_through(*tonight(tmp_path, config))
    second, root = tonight(tmp_path, config)
    live_through(second, root, finished=False)
    assert tonight(tmp_path, config) == (second, root)


def test_a_night_that_was_cut_short_keeps_the_settings_it_began_with(tmp_path, config):
    begun, root = tonight(tmp_path, config)
    live_through(begun, root, finished=False)
    edited = load_config("agd-bandgap-overnight", {"explore.budget": 7})
    assert tonight(tmp_path, edited) == (begun, root)


def test_a_directory_that_holds_no_campaign_yet_is_used(tmp_path, config):
    (tmp_path / "night-0001").mkdir()
    assert tonight(tmp_path, config) == (config, tmp_path / "night-0001")


def test_choosing_tonight_changes_nothing(tmp_path, config):
    before = sorted(tmp_path.rglob("*"))
    assert tonight(tmp_path, config) == tonight(tmp_path, config)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_series_with_one_file_for_the_ledgers_of_all_nights_is_refused(tmp_path):
    shared = load_config("agd-bandgap-overnight", {"ledger": "sqlite:///shared.sqlite"})
    with pytest.raises(ConfigError, match=r"share one file[\s\S]*PostgreSQL"):
        tonight(tmp_path, shared)


def test_each_night_of_a_series_has_its_own_ledger_in_one_postgresql_database(tmp_path, database):
    shared = load_config("agd-bandgap-overnight", {"ledger": database})
    for number in (1, 2):
        night, root = tonight(tmp_path, shared)
        assert root.name == f"night-000{number}"
        with Campaign(root, night.model_dump(mode="json"), night.seed) as campaign:
            assert campaign.ledger.fact("finished") is None
            assert campaign.ledger.jobs() == []
            if number == 1:
                campaign.ledger.add_job(
                    "x", formula="KF", batch="b", folder="f", recipe="r", story={}
                )
                assert tonight(tmp_path, shared) == (night, root)
                campaign.ledger.set_fact("finished", "yes")
    assert len(earlier_campaigns(root, night.ingest.earlier, BAND_GAP).proposed) == 1


def test_a_damaged_night_is_named(tmp_path, config):
    begun, root = tonight(tmp_path, config)
    live_through(begun, root, finished=False)
    (root / "campaign.json").write_text("{")
    with pytest.raises(CampaignError, match="damaged"):
        tonight(tmp_path, config)


def test_a_new_night_collects_what_earlier_ones_asked_for(tmp_path, caplog):
    oracle = OracleConfig(kind="gpaw", dft=DFTOracleConfig(cluster=cluster(), **ANY_TEMPLATE))
    settings = SEARCH.model_copy(update={"oracle": oracle})
    with Campaign(tmp_path / "night-0001", {}, 1) as campaign:
        oracle_of(campaign, settings).label(parse_formulas(["LiF"]).counts)
    submit(tmp_path / "night-0001")
    broken = tmp_path / "night-0002"
    broken.mkdir()
    (broken / "campaign.json").write_text("{}")
    (broken / "ledger.sqlite").write_text("no database")
    earlier = ["../night-0001", "../night-0002"]
    with Campaign(tmp_path / "night-0003", {"ingest": {"earlier": earlier}}, 2) as campaign:
        assert not len(earlier_campaigns(campaign.root, earlier[:1], BAND_GAP).rows)
        take_in(campaign.root)
        assert earlier_campaigns(campaign.root, earlier[:1], BAND_GAP).origins == ["dft-gpaw"]
    assert "the jobs of night-0002 are not collected" in caplog.text
