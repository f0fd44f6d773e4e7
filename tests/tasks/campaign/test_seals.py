from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from structure.errors import CampaignError
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import write_table
from tasks.campaign.outputs import ScreenedShard
from tasks.campaign.seals import check_candidates, seal_candidates
from tasks.ledger.ledger import Candidate


def screened(campaign: Campaign) -> ScreenedShard:
    def build() -> ScreenedShard:
        table = write_table(campaign.root, campaign.root / "t.parquet", {"a": [1]}, "x")
        return ScreenedShard(table=table, generator="matgan", drawn=5000, empty=3)

    return campaign.once("screen", "0", ScreenedShard, build)


def change(root: Path, statement: str) -> None:
    with sqlite3.connect(root / "ledger.sqlite") as ledger:
        assert ledger.execute(statement).rowcount


@pytest.mark.parametrize(
    ("old", "new"), [("5000", "5001"), ("matgan", "matgam"), ('"empty"', '"empti"'), ("}", "")]
)
def test_an_output_that_was_changed_in_the_ledger_is_not_trusted(tmp_path, old, new):
    with Campaign(tmp_path, {}, 0) as campaign:
        first = screened(campaign)
        assert screened(campaign) == first
    change(tmp_path, f"update stages set output = replace(output, '{old}', '{new}')")
    with (
        Campaign(tmp_path, {}, 0) as campaign,
        pytest.raises(CampaignError, match="ledger says of screen 0 was changed"),
    ):
        screened(campaign)


def test_an_output_of_a_release_that_kept_no_hash_is_taken(tmp_path):
    with Campaign(tmp_path, {}, 0) as campaign:
        first = screened(campaign)
    change(tmp_path, "delete from facts where name like 'sha256/%'")
    with Campaign(tmp_path, {}, 0) as campaign:
        assert screened(campaign) == first


def test_a_part_that_was_killed_before_its_output_was_recorded_is_done_again(tmp_path, monkeypatch):
    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with Campaign(tmp_path, {}, 0) as campaign:
        with monkeypatch.context() as patched:
            patched.setattr(campaign.ledger, "finish", killed)
            with pytest.raises(KilledError):
                screened(campaign)
        first = screened(campaign)
        assert screened(campaign) == first


CANDIDATES = [
    Candidate(formula="SrYF5", rank=1, status="selected", story={"emd": 1.5, "models": {"a": "b"}}),
    Candidate(formula="KF", status="rejected", code="no-template", sentence="no template"),
]


@pytest.mark.parametrize(
    "statement",
    [
        "update candidates set formula = 'SrYF4' where formula = 'SrYF5'",
        "update candidates set rank = 2 where rank = 1",
        "update candidates set story = replace(story, '1.5', '1.6')",
        "update candidates set story = replace(story, '{', '(')",
        "delete from candidates where formula = 'KF'",
    ],
)
def test_candidates_that_were_changed_in_the_ledger_are_not_trusted(tmp_path, statement):
    with Campaign(tmp_path, {}, 0) as campaign:
        seal_candidates(campaign.ledger, CANDIDATES)
        campaign.ledger.replace_candidates(CANDIDATES)
        check_candidates(campaign.ledger, tmp_path)
    change(tmp_path, statement)
    with (
        Campaign(tmp_path, {}, 0) as campaign,
        pytest.raises(CampaignError, match="candidates were changed"),
    ):
        check_candidates(campaign.ledger, tmp_path)


def test_candidates_of_a_release_that_kept_no_hash_are_taken(tmp_path):
    with Campaign(tmp_path, {}, 0) as campaign:
        campaign.ledger.replace_candidates(CANDIDATES)
        check_candidates(campaign.ledger, tmp_path)
