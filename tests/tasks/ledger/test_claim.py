"""Two campaigns, two copies of one and two runs never share a ledger: SQLite file or server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.cli.status import standing
from structure.errors import CampaignError
from structure.files import sha256_of
from tasks.campaign.directory import Campaign
from tasks.collect import collect_campaign
from tasks.ledger import claim as _claim
from tasks.ledger.ledger import Label, Ledger
from tests.postgres import Postgres

OPEN = """
import sys, time
from pathlib import Path
from tasks.campaign.directory import Campaign
campaign = Campaign(Path(sys.argv[1]), {"ledger": sys.argv[2]}, 1)
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Do not wait for a hold that lasts."""
    monkeypatch.setattr(_claim, "PATIENCE_S", 0.5)


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Setting ``ledger`` of several campaigns."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.sqlite'}"
    return str(request.getfixturevalue("database"))


def opened(root: Path, ledger: str) -> Campaign:
    return Campaign(root, {"ledger": ledger}, 1)


def run_in_another_process(root: Path, ledger: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(root), ledger], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "open"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_two_directories_with_one_configuration_have_a_ledger_each_on_a_server(tmp_path, database):
    with opened(tmp_path / "one", database) as one, opened(tmp_path / "two", database) as two:
        one.ledger.finish("ingest", "all", "{}", 1.0)
        one.ledger.add_labels(
            [Label(formula="KF", property="band_gap_eV", value=9.0, origin="ml", source="x")]
        )
        assert two.ledger.finished("ingest", "all") is None
        assert two.ledger.labels("band_gap_eV") == []
    with opened(tmp_path / "two", database) as two:
        assert two.ledger.stages() == []
    with opened(tmp_path / "one", database) as one:
        assert len(one.ledger.labels("band_gap_eV")) == 1


def test_a_second_campaign_on_one_sqlite_file_is_refused_and_not_begun(tmp_path):
    shared = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    opened(tmp_path / "one", shared).close()
    with pytest.raises(CampaignError, match=r"another campaign[\s\S]*setting 'ledger'"):
        opened(tmp_path / "two", shared)
    assert not (tmp_path / "two" / "campaign.json").exists()
    opened(tmp_path / "two", f"sqlite:///{tmp_path / 'own.sqlite'}").close()
    opened(tmp_path / "one", shared).close()


def test_a_moved_directory_keeps_its_ledger(tmp_path, shared):
    with opened(tmp_path / "one", shared) as campaign:
        campaign.ledger.set_fact("seen", "yes")
    (tmp_path / "one").rename(tmp_path / "moved")
    with opened(tmp_path / "moved", shared) as campaign:
        assert campaign.ledger.fact("seen") == "yes"


def test_a_copy_may_not_run_while_the_original_does(tmp_path, shared):
    with opened(tmp_path / "one", shared):
        shutil.copytree(tmp_path / "one", tmp_path / "copy")
        with pytest.raises(CampaignError, match="from a copy of its directory"):
            opened(tmp_path / "copy", shared)
        assert "a run is going on" in standing(tmp_path / "copy")


def test_of_two_copies_the_one_that_ran_last_goes_on(tmp_path, shared):
    opened(tmp_path / "one", shared).close()
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    opened(tmp_path / "copy", shared).close()
    for refused in (
        lambda: opened(tmp_path / "one", shared),
        lambda: standing(tmp_path / "one"),
        lambda: collect_campaign(tmp_path / "one"),
    ):
        with pytest.raises(CampaignError, match="another copy of this campaign directory"):
            refused()
    opened(tmp_path / "copy", shared).close()


def test_a_copy_of_campaign_json_alone_is_no_part_of_the_campaign(tmp_path, shared):
    opened(tmp_path / "one", shared).close()
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "campaign.json", tmp_path / "two")
    with pytest.raises(CampaignError, match="another copy"):
        opened(tmp_path / "two", shared)


def test_a_killed_run_holds_nothing(tmp_path, shared):
    child = run_in_another_process(tmp_path / "one", shared)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    with pytest.raises(CampaignError, match="another run"):
        opened(tmp_path / "copy", shared)
    kill(child)
    for _ in range(2):
        kill(run_in_another_process(tmp_path / "one", shared))
    opened(tmp_path / "one", shared).close()


def test_a_run_killed_between_directory_and_ledger_goes_on(tmp_path, shared, monkeypatch):
    opened(tmp_path / "one", shared).close()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "set_fact", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            opened(tmp_path / "one", shared)
    opened(tmp_path / "one", shared).close()


def test_a_campaign_without_an_id_keeps_the_tables_it_has(tmp_path, database):
    """As one that a release before ids began."""
    root = tmp_path / "old"
    root.mkdir()
    frozen = {"schema_version": 1, "product": "0.1.0", "config": {"ledger": database}}
    (root / "campaign.json").write_text(json.dumps(frozen))
    ledger = Ledger(database)
    ledger.set_fact("campaign", sha256_of(root / "campaign.json"))
    ledger.set_fact("seen", "yes")
    ledger.close()
    shutil.copytree(root, tmp_path / "second")
    with opened(root, database) as campaign:
        assert campaign.ledger.fact("seen") == "yes"
        assert campaign.ledger.place.schema is None
    with pytest.raises(CampaignError, match="another copy"):
        opened(tmp_path / "second", database)
    with opened(tmp_path / "new", database) as campaign:
        assert campaign.ledger.fact("seen") is None


def test_a_run_goes_on_when_its_server_came_back(tmp_path, database, postgres: Postgres):
    with opened(tmp_path / "one", database) as campaign:
        postgres.end_connections(database)
        campaign.ledger.set_fact("seen", "yes")
        assert campaign.ledger.fact("seen") == "yes"
        shutil.copytree(tmp_path / "one", tmp_path / "copy")
        with pytest.raises(CampaignError, match="another run"):
            opened(tmp_path / "copy", database)


def test_a_run_that_lost_its_turn_while_its_server_was_away_writes_nothing_more(
    tmp_path, database, postgres: Postgres
):
    with opened(tmp_path / "one", database) as campaign:
        shutil.copytree(tmp_path / "one", tmp_path / "copy")
        postgres.end_connections(database)
        with (
            opened(tmp_path / "copy", database),
            pytest.raises(CampaignError, match="another run took the ledger"),
        ):
            campaign.ledger.set_fact("seen", "yes")
        with pytest.raises(CampaignError, match="another run took the ledger"):
            campaign.ledger.set_fact("seen", "yes")
        assert campaign.ledger.fact("seen") is None


def test_a_server_that_dies_in_mid_run_is_named_and_the_run_goes_on_later(tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="agd-pg-"))
    server = Postgres(folder)
    try:
        with opened(tmp_path / "one", server.url) as campaign:
            server.stop(signal.SIGQUIT)
            with pytest.raises(CampaignError, match=r"cannot be used[\s\S]*next:"):
                campaign.ledger.finish("ingest", "all", "{}", 1.0)
            with pytest.raises(CampaignError, match="cannot be used"):
                campaign.ledger.stages()
        with pytest.raises(CampaignError, match="Start the server"):
            standing(tmp_path / "one")
        server.start()
        with opened(tmp_path / "one", server.url) as campaign:
            assert campaign.ledger.finished("ingest", "all") is None
    finally:
        server.stop()
        shutil.rmtree(folder)
