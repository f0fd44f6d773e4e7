from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from structure.errors import CampaignError, ConfigError
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, write_table
from tasks.campaign.outputs import Sampled
from tasks.ledger.ledger import Ledger


def _sampled(campaign: Campaign, calls: list[int]) -> Sampled:
    def build() -> Sampled:
        calls.append(1)
        table = write_table(campaign.root, campaign.root / "t.parquet", {"a": [1]}, "x")
        return Sampled(table=table, generator="matgan")

    return campaign.once("sample", "0", Sampled, build)


def test_a_stage_part_runs_once_also_over_two_openings(tmp_path: Path) -> None:
    calls: list[int] = []
    with Campaign(tmp_path, {}, 1) as campaign:
        first = _sampled(campaign, calls)
    with Campaign(tmp_path, {}, 1) as campaign:
        assert _sampled(campaign, calls) == first
    assert calls == [1]


def test_a_finished_part_whose_file_was_changed_is_not_trusted(tmp_path: Path) -> None:
    with Campaign(tmp_path, {}, 1) as campaign:
        _sampled(campaign, [])
        (tmp_path / "t.parquet").write_bytes(b"damaged")
        with pytest.raises(CampaignError, match="changed"):
            _sampled(campaign, [])


def test_a_part_that_fails_is_not_finished(tmp_path: Path) -> None:
    def fail() -> Sampled:
        raise RuntimeError("stopped")

    with Campaign(tmp_path, {}, 1) as campaign:
        with pytest.raises(RuntimeError):
            campaign.once("sample", "0", Sampled, fail)
        assert campaign.ledger.finished("sample", "0") is None


def test_generators_depend_on_seed_and_names_alone(tmp_path: Path) -> None:
    with (
        Campaign(tmp_path / "a", {}, 1) as one,
        Campaign(tmp_path / "b", {}, 1) as same,
        Campaign(tmp_path / "c", {}, 2) as other,
    ):
        draws = [c.generator("explore", 3).random() for c in (one, same, other)]
        assert draws[0] == draws[1] != draws[2]
        assert one.generator("explore", 4).random() != draws[0]


def test_two_runs_never_share_a_campaign(tmp_path: Path) -> None:
    with Campaign(tmp_path, {}, 1), pytest.raises(CampaignError, match="another run"):
        Campaign(tmp_path, {}, 1)


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys,time;from pathlib import Path;from tasks.campaign.directory import Campaign;"
        f"c=Campaign(Path({str(tmp_path)!r}),{{}},1);print('open',flush=True);time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline().strip() == "open"
    with pytest.raises(CampaignError, match="another run"):
        Campaign(tmp_path, {}, 1)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    Campaign(tmp_path, {}, 1).close()


def test_another_configuration_is_refused_and_the_key_is_named(tmp_path: Path) -> None:
    Campaign(tmp_path, {"explore": {"budget": 300}}, 1).close()
    with pytest.raises(ConfigError, match=r"explore\.budget \(was 300, now 400\)"):
        Campaign(tmp_path, {"explore": {"budget": 400}}, 1)


def test_a_campaign_of_another_version_is_refused(tmp_path: Path) -> None:
    Campaign(tmp_path, {}, 1).close()
    path = tmp_path / "campaign.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(CampaignError, match="schema version 99"):
        Campaign(tmp_path, {}, 1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"config": {}}', '{"schema_version": 1}'])
def test_a_damaged_campaign_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "campaign.json").write_text(content)
    with pytest.raises(CampaignError, match="damaged"):
        Campaign(tmp_path, {}, 1)


def test_nothing_absolute_is_written(tmp_path: Path) -> None:
    with Campaign(tmp_path / "here", {"a": "${AGD_DATA_DIR}/x.csv"}, 1) as campaign:
        _sampled(campaign, [])
        output = campaign.ledger.finished("sample", "0")
    assert output is not None and str(tmp_path) not in output
    assert str(tmp_path) not in (tmp_path / "here/campaign.json").read_text()


def test_a_campaign_can_be_moved(tmp_path: Path) -> None:
    with Campaign(tmp_path / "old", {}, 1) as campaign:
        sampled = _sampled(campaign, [])
    (tmp_path / "old").rename(tmp_path / "new")
    with Campaign(tmp_path / "new", {}, 1) as campaign:
        calls: list[int] = []
        assert _sampled(campaign, calls) == sampled and calls == []


def test_leftovers_of_a_killed_write_are_cleared(tmp_path: Path) -> None:
    with Campaign(tmp_path, {}, 1) as campaign:
        leftover = campaign.folder("data") / ".tmp-12345678-t.parquet"
        leftover.write_text("half")
    with Campaign(tmp_path, {}, 1):
        assert not leftover.exists()


def test_handles_are_found_inside_nested_outputs(tmp_path: Path) -> None:
    from tasks.campaign.directory import handles_in

    handle = Handle(path="a", sha256="b", rows=1, schema_name="c")
    nested = {"x": [Sampled(table=handle, generator="g")], "y": (handle,)}
    assert list(handles_in(nested)) == [handle, handle]


def test_a_campaign_keeps_its_ledger_where_its_configuration_says(tmp_path, monkeypatch):
    monkeypatch.setenv("AGD_HERE", str(tmp_path))
    config = {"ledger": "sqlite:///${AGD_HERE}/elsewhere.sqlite"}
    with Campaign(tmp_path / "one", config, seed=1) as campaign:
        campaign.ledger.set_fact("finished", "yes")
    assert (tmp_path / "elsewhere.sqlite").exists()
    assert not (tmp_path / "one" / "ledger.sqlite").exists()
    assert "${AGD_HERE}" in (tmp_path / "one" / "campaign.json").read_text()
    again = Ledger.in_folder(tmp_path / "one")
    assert again.fact("finished") == "yes"
    again.close()


def test_a_database_serves_one_campaign_only(tmp_path):
    shared = {"ledger": f"sqlite:///{tmp_path / 'shared.sqlite'}"}
    Campaign(tmp_path / "one", shared, seed=1).close()
    with pytest.raises(CampaignError, match="another campaign"):
        Campaign(tmp_path / "two", shared | {"name": "two"}, seed=1)
    Campaign(tmp_path / "one", shared, seed=1).close()


def test_a_directory_in_which_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "campaign.lock").mkdir()
    with pytest.raises(CampaignError, match=r"cannot be written[\s\S]*permissions"):
        Campaign(tmp_path, {}, 1)
