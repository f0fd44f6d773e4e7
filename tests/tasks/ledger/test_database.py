"""Where a ledger lies, and what is said where it cannot be opened."""

from __future__ import annotations

import builtins
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from structure.errors import AgdError, CampaignError, ConfigError
from tasks.campaign.directory import Campaign
from tasks.collect import collect_campaign
from tasks.ledger.database import parsed, place_of
from tasks.ledger.ledger import Label, Ledger
from tasks.ledger.trial import try_campaign, try_setting
from tests.postgres import Postgres


def frozen(root: Path, **more: object) -> Path:
    root.mkdir()
    (root / "campaign.json").write_text(json.dumps({"config": {}, **more}))
    return root


@pytest.mark.parametrize(
    ("named", "driver"),
    [
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg"),
        ("postgresql://u@h/d", "postgresql+psycopg"),
        ("postgres://u@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg2://u@h/d", "postgresql+psycopg2"),
        ("sqlite:////data/l.sqlite", "sqlite"),
    ],
)
def test_a_database_is_named_as_its_users_name_it(named, driver):
    assert parsed(named).drivername == driver


@pytest.mark.parametrize(
    "named",
    ["mysql+pymysql://u:p4ss@h/d", "postgresql+asyncpg://u:p4ss@h/d", "sqlite://", "ledger.sqlite",
     "sqlite:///:memory:", "sqlite:///file:x?mode=ro&uri=true", "postgresql://u:p4ss@h:port/d", "",
     "postgresql"],
)  # fmt: skip
def test_a_database_that_cannot_hold_a_ledger_is_refused_as_a_setting(named):
    with pytest.raises(ConfigError, match="next:") as refused:
        parsed(named)
    assert "p4ss" not in str(refused.value)


def test_no_password_is_ever_shown(tmp_path):
    url = "postgresql+psycopg://u:p4ss@127.0.0.1:1/d?password=p4ss2&sslpassword=p4ss3"
    with pytest.raises(CampaignError) as refused:
        Campaign(tmp_path / "c", {"ledger": url}, 1)
    assert "127.0.0.1" in str(refused.value)
    assert "p4ss" not in str(refused.value)


def test_a_ledger_has_the_schema_of_its_campaigns_id(tmp_path):
    config = {"ledger": "postgresql://u@h/d"}
    assert place_of(frozen(tmp_path / "a", id="12ab", config=config)).schema == "agd_12ab"
    assert place_of(frozen(tmp_path / "b", config=config)).schema is None
    assert place_of(frozen(tmp_path / "c", id="12ab")).file == tmp_path / "c" / "ledger.sqlite"


FAULTS = {
    "no database": ("nowhere", "agd", 'database "nowhere" does not exist', "createdb"),
    "no such user": ("postgres", "nobody", 'role "nobody" does not exist', "PGPASSWORD"),
    "no right to a schema": ("postgres", "poor", "permission denied", "GRANT CREATE ON DATABASE"),
    "SQL_ASCII": ("ascii", "agd", "encoding SQL_ASCII", "createdb -E UTF8"),
    "Latin 1": ("latin", "agd", "encoding LATIN1", "createdb -E UTF8"),
    "no connection free": ("postgres", "crowded", "too many connections", "Wait"),
}


@pytest.fixture(scope="module")
def faulty(postgres: Postgres) -> Postgres:
    plain = "template template0 lc_collate 'C' lc_ctype 'C'"
    for statement in (
        f"create database ascii encoding 'SQL_ASCII' {plain}",
        f"create database latin encoding 'LATIN1' {plain}",
        "create user poor",
        "create user crowded connection limit 0",
    ):
        postgres.ask(statement)
    return postgres


@pytest.mark.parametrize("case", FAULTS)
def test_a_server_that_cannot_be_used_is_named_with_the_next_step(tmp_path, faulty, case):
    database, user, message, fix = FAULTS[case]
    url = faulty.url_of(database, user)
    with pytest.raises(CampaignError) as refused:
        Campaign(tmp_path / "c", {"ledger": url}, 1)
    assert message in refused.value.what
    assert fix in str(refused.value.fix)
    assert f"/{database}" in str(refused.value.where)
    with pytest.raises(CampaignError):
        try_setting(url)
    assert not (tmp_path / "c" / "campaign.json").exists()


def test_a_wrong_password_is_told_from_a_server_that_is_not_there(tmp_path, postgres):
    postgres.ask("create user guarded password 'right'")
    postgres.demand_password("guarded")
    url = parsed(postgres.url_of("postgres", "guarded")).set(password="wrong")
    named = url.render_as_string(hide_password=False)
    with pytest.raises(CampaignError, match=r"password authentication failed[\s\S]*~/.pgpass"):
        Campaign(tmp_path / "c", {"ledger": named}, 1)
    nowhere = f"postgresql+psycopg://agd@/postgres?host={tmp_path}"
    with pytest.raises(CampaignError, match=r"No such file[\s\S]*Start the server"):
        Campaign(tmp_path / "c", {"ledger": nowhere}, 1)
    with pytest.raises(CampaignError, match=r"resolve[\s\S]*Start the server"):
        Campaign(tmp_path / "c", {"ledger": "postgresql://agd@no.host.invalid/d"}, 1)


@pytest.mark.parametrize(
    ("said", "message", "fix"),
    [
        ("No module named 'psycopg'", "is not installed", r"agd-pipeline\[postgres\]"),
        ("no pq wrapper available.", "finds no library libpq", "libpq5"),
    ],
)
def test_a_missing_driver_is_a_setting_that_cannot_be_used(
    tmp_path, monkeypatch, said, message, fix
):
    usual = builtins.__import__

    def without(name, *rest):
        if name == "psycopg":
            raise ImportError(said)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "psycopg", raising=False)
    with pytest.raises(ConfigError, match=rf"{message}[\s\S]*{fix}"):
        Campaign(tmp_path / "c", {"ledger": "postgresql://u@h/d"}, 1)


def test_a_campaign_that_has_begun_is_not_begun_again_in_another_database(tmp_path, postgres):
    config = {"ledger": "${AGD_TEST_LEDGER}"}
    names = [f"moved_{os.getpid()}_{n}" for n in (1, 2)]
    for name in names:
        postgres.ask(f"create database {name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGD_TEST_LEDGER", postgres.url_of(names[0]))
        Campaign(tmp_path / "c", config, 1).close()
        patch.setenv("AGD_TEST_LEDGER", postgres.url_of(names[1]))
        with pytest.raises(CampaignError, match=r"no ledger of this campaign[\s\S]*--rebuild"):
            Campaign(tmp_path / "c", config, 1)
        with pytest.raises(CampaignError, match="no ledger of this campaign"):
            collect_campaign(tmp_path / "c")
        collect_campaign(tmp_path / "c", rebuild=True)
        Campaign(tmp_path / "c", config, 1).close()


def test_a_setting_is_tried_without_a_change(tmp_path, database):
    assert "can make its schema" in try_setting(database)
    assert sa.inspect(sa.create_engine(database)).get_schema_names() == [
        "information_schema",
        "public",
    ]
    file = tmp_path / "l.sqlite"
    assert "can be made" in try_setting(f"sqlite:///{file}")
    assert not file.exists()
    Campaign(tmp_path / "c", {"ledger": f"sqlite:///{file}"}, 1).close()
    assert "serves no other" in try_setting(f"sqlite:///{file}")
    with pytest.raises(CampaignError, match="Make its folder"):
        try_setting(f"sqlite:///{tmp_path}/nowhere/l.sqlite")


def test_a_trial_finds_a_damaged_page(tmp_path, database):
    with Campaign(tmp_path / "server", {"ledger": database}, 1):
        assert "0 labels, 0 jobs; PostgreSQL" in try_campaign(tmp_path / "server")
    with Campaign(tmp_path / "c", {}, 1) as campaign:
        campaign.ledger.add_labels(
            Label(formula=f"K{n}F", property="band_gap_eV", value=n, origin="ml", source="x")
            for n in range(2000)
        )
    assert "2,000 labels, 0 jobs, no page damaged" in try_campaign(tmp_path / "c")
    file = tmp_path / "c" / "ledger.sqlite"
    content = bytearray(file.read_bytes())
    content[-4096 * 20 : -4096 * 19] = bytes(4096)
    file.write_bytes(content)
    with pytest.raises(CampaignError, match="--rebuild"):
        try_campaign(tmp_path / "c")


CREATE = """
import sys
from pathlib import Path
from tasks.ledger.ledger import Ledger
print("ready", flush=True)
sys.stdin.readline()
Ledger.in_folder(Path(sys.argv[1])).close()
print("made", flush=True)
"""


def creator(root: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CREATE, str(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("server", [False, True], ids=["sqlite", "postgresql"])
def test_processes_that_make_one_ledger_at_once_make_it_once(tmp_path, database, server):
    root = frozen(tmp_path / "c", id="1", config={"ledger": database} if server else {})
    children = [creator(root) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert [child.communicate()[0] for child in children] == ["made\n"] * 4


@pytest.mark.parametrize("server", [False, True], ids=["sqlite", "postgresql"])
def test_a_run_killed_while_it_makes_the_ledger_makes_it_the_next_time(tmp_path, database, server):
    config = {"ledger": database} if server else {}
    for number, delay in enumerate((0.0, 0.002, 0.01, 0.03, 0.06, 0.1)):
        root = frozen(tmp_path / f"c{number}", schema_version=1, id=f"{number}", config=config)
        child = creator(root)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        with Campaign(root, config, 1) as campaign:
            campaign.ledger.set_fact("seen", "yes")


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "not there"])
def test_an_empty_ledger_is_a_lost_one_once_a_stage_has_run(tmp_path, content):
    root = tmp_path / "c"
    Campaign(root, {}, 1).close()
    file = root / "ledger.sqlite"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    Campaign(root, {}, 1).close()
    assert file.stat().st_size > 4096
    (root / "ingest").mkdir()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for use in (lambda: Campaign(root, {}, 1), lambda: collect_campaign(root)):
        with pytest.raises(CampaignError, match=r"collect DIR --rebuild[\s\S]*--campaign DIR"):
            use()
    collect_campaign(root, rebuild=True)
    Campaign(root, {}, 1).close()


def test_a_ledger_cut_short_is_not_opened_so_that_its_log_stays(tmp_path):
    root = tmp_path / "c"
    Campaign(root, {}, 1).close()
    (root / "ingest").mkdir()
    (root / "ledger.sqlite").write_bytes(b"")
    (root / "ledger.sqlite-wal").write_bytes(b"what may still be saved")
    with pytest.raises(CampaignError, match="0 bytes"):
        Campaign(root, {}, 1)
    assert (root / "ledger.sqlite-wal").read_bytes() == b"what may still be saved"


@pytest.mark.parametrize("kept", [1, 99, 100, 4095, 4096, 8192, 0.5, -1])
def test_a_ledger_cut_anywhere_is_refused_as_it_is(tmp_path, kept):
    Campaign(tmp_path, {}, 1).close()
    (tmp_path / "ingest").mkdir()
    file = tmp_path / "ledger.sqlite"
    whole = file.read_bytes()
    cut = whole[: int(kept * len(whole)) if isinstance(kept, float) else kept]
    file.write_bytes(cut)
    for use in (lambda: Campaign(tmp_path, {}, 1), lambda: try_campaign(tmp_path)):
        with pytest.raises(CampaignError, match="--rebuild"):
            use()
    assert file.read_bytes() == cut


def test_a_missing_table_is_not_made_again(tmp_path):
    Ledger.in_folder(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("drop table labels")
    with pytest.raises(CampaignError, match="no table 'labels'"):
        Ledger.in_folder(tmp_path)


def test_every_error_of_a_ledger_is_one_of_ours(tmp_path, monkeypatch):
    monkeypatch.delenv("AGD_NO_SUCH_VARIABLE", raising=False)
    with pytest.raises(AgdError, match="AGD_NO_SUCH_VARIABLE"):
        Campaign(tmp_path / "c", {"ledger": "postgresql://${AGD_NO_SUCH_VARIABLE}@h/d"}, 1)
    assert not (tmp_path / "c" / "campaign.json").exists()
