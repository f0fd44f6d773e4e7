"""Stage functions are plain, can be sent to another process, and their parts are done once."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel

from flows.pipeline import STAGES
from structure.files import write_text
from tasks.campaign.directory import BudgetUsed, Campaign
from tasks.campaign.handles import Handle, handle_for
from tasks.campaign.place import Place
from tasks.campaign.stage import stage, stage_of

TOLD: list[str] = []


class Drawn(BaseModel):
    file: Handle


def _tell(campaign: Campaign, output: Drawn) -> None:
    TOLD.append(f"told {output.file.path}")


def _check(campaign: Campaign, output: Drawn) -> None:
    TOLD.append(f"checked {output.file.path}")


@stage("draw", part="{number:03d}", takes="a number", gives="a file", tell=_tell, check=_check)
def draw(place: Place, text: str, number: int) -> Drawn:
    TOLD.append(f"drew {number}")
    path = place.folder("draw") / f"{number}.txt"
    write_text(path, f"{text} {place.seed_of('draw', number)}")
    return Drawn(file=handle_for(place.root, path, 1, "draw"))


def test_a_part_is_done_once_told_once_and_checked_each_time(tmp_path: Path) -> None:
    TOLD.clear()
    with Campaign(tmp_path, {}, 1) as campaign:
        first = campaign.run(draw, "a", 7)
        assert campaign.run(draw, "a", 7) == first
        assert campaign.ledger.finished("draw", "007") is not None
    assert TOLD == ["drew 7", "told draw/7.txt", "checked draw/7.txt", "checked draw/7.txt"]


def test_a_stage_away_from_the_ledger_writes_the_same_file(tmp_path: Path) -> None:
    with Campaign(tmp_path / "a", {}, 1) as campaign:
        recorded = campaign.run(draw, "a", 7)
        away = pickle.loads(pickle.dumps(draw))(Place(tmp_path / "b", 1), "a", 7)
        assert away == recorded
        assert campaign.ledger.finished("draw", "008") is None


def test_no_part_begins_after_the_deadline_but_finished_ones_are_given(tmp_path: Path) -> None:
    with Campaign(tmp_path, {}, 1) as campaign:
        first = campaign.run(draw, "a", 7)
        campaign.deadline = 0.0
        assert campaign.run(draw, "a", 7) == first
        with pytest.raises(BudgetUsed, match="draw 008"):
            campaign.run(draw, "a", 8)


@pytest.mark.parametrize("function", STAGES)
def test_every_stage_can_be_sent_to_another_process(function):
    assert pickle.loads(pickle.dumps(function)) is function
    about = stage_of(function)
    assert about.function is function
    assert issubclass(about.kind, BaseModel)
    assert about.takes
    assert about.gives


def test_a_place_can_be_sent_to_another_process(tmp_path: Path) -> None:
    place = Place(tmp_path, 3)
    assert pickle.loads(pickle.dumps(place)) == place
