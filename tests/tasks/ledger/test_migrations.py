"""A ledger of an earlier release goes on in this one, and one of a later release is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.cli.status import standing
from structure.errors import CampaignError
from structure.files import sha256_of
from tasks.campaign.directory import Campaign
from tasks.ledger import migrations
from tasks.ledger.database import Place, place_of
from tasks.ledger.ledger import Label, Ledger
from tasks.ledger.migrations import Migration, latest
from tasks.ledger.reading import read_ledger
from tests.tasks.ledger.old_ledgers import make_version_1


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A campaign directory with a ledger of version 1."""
    server = request.param == "postgresql"
    config = {"ledger": request.getfixturevalue("database")} if server else {}
    root = tmp_path / "campaign"
    root.mkdir()
    frozen = {"schema_version": 1, "product": "0.1.0", "id": "0a1b", "config": config}
    (root / "campaign.json").write_text(json.dumps(frozen))
    (root / "campaign.log").write_text("")
    place = place_of(root)
    make_version_1(place)
    if server:
        owned(place)
    return root


def owned(place: Place) -> None:
    """Let the campaign of the fixture be the owner of its schema, as its first run would."""
    engine = sa.create_engine(place.url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"insert into {place.schema}.facts values ('campaign', '0a1b')")
    engine.dispose()


def config_of(root: Path) -> dict[str, str]:
    return json.loads((root / "campaign.json").read_text())["config"]


def tables(engine: sa.Engine, schema: str | None) -> dict[str, list[tuple[str, str, bool]]]:
    """Return the columns of every table: name, kind and whether they may be null."""
    with engine.connect() as connection:
        found = sa.inspect(connection)
        return {
            name: sorted(
                (c["name"], str(c["type"].as_generic()), bool(c["nullable"]))
                for c in found.get_columns(name, schema=schema)
            )
            for name in found.get_table_names(schema=schema)
        }


@pytest.fixture
def further(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let this release know one version more, with a column and a table of its own."""

    def apply(operations, schema) -> None:
        operations.add_column("labels", sa.Column("note", sa.Text), schema=schema)
        column = sa.Column("name", sa.Text, primary_key=True)
        operations.create_table("remarks", column, schema=schema)

    step = Migration(latest() + 1, apply, ("remarks",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, step))
    return step.version


def test_a_campaign_of_an_earlier_release_goes_on(old: Path) -> None:
    with Campaign(old, config_of(old), 7) as campaign:
        ledger = campaign.ledger
        assert ledger.fact("schema") == str(latest())
        assert ledger.fact("seed") == "7"
        assert [label.value for label in ledger.labels("band_gap_eV")] == [5.0]
        assert [c.formula for c in ledger.candidates()] == ["KCl"]
        new = Label(formula="LiF", property="band_gap_eV", value=9.0, origin="ml", source="m")
        assert ledger.add_labels([new]) == 1
    with Campaign(old, config_of(old), 7) as campaign:
        assert len(campaign.ledger.labels("band_gap_eV")) == 2


def test_a_migrated_ledger_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    place = place_of(old)
    migrated = Ledger.in_folder(old)
    fresh_place = Place(place.url, "agd_fresh") if place.file is None else None
    fresh = Ledger(fresh_place) if fresh_place else Ledger.in_folder(tmp_path / "fresh")
    try:
        schema = fresh_place.schema if fresh_place else None
        assert tables(migrated.engine, place.schema) == tables(fresh.engine, schema)
    finally:
        migrated.close()
        fresh.close()


def test_a_further_version_adds_its_column_and_table(old: Path, further: int) -> None:
    ledger = Ledger.in_folder(old)
    found = tables(ledger.engine, ledger.place.schema)
    assert ("note", "TEXT", True) in found["labels"]
    assert "remarks" in found
    assert ledger.fact("schema") == str(further)
    assert [label.formula for label in ledger.labels("band_gap_eV")] == ["NaCl"]
    ledger.close()


def test_an_earlier_ledger_is_read_as_it_is(old: Path, further: int) -> None:
    place = place_of(old)
    before = sha256_of(place.file) if place.file else None
    listed = sorted(old.iterdir())
    seen = read_ledger(old, lambda ledger: (ledger.fact("schema"), ledger.labels("band_gap_eV")))
    assert seen[0] == str(further)
    assert [label.formula for label in seen[1]] == ["NaCl"]
    words = standing(old)
    assert "ingest      1 done, 1.5 s" in words
    assert "table 1" in words or "1 table" in words
    assert sorted(old.iterdir()) == listed
    if place.file:
        assert sha256_of(place.file) == before
    else:
        engine = sa.create_engine(place.url)
        with engine.connect() as connection:
            query = sa.text(f"select value from {place.schema}.facts where name = 'schema'")
            assert connection.scalar(query) == "1"
        engine.dispose()


def test_a_ledger_of_a_later_release_is_refused_also_for_reading(old: Path, monkeypatch) -> None:
    ledger = Ledger.in_folder(old)
    ledger.set_fact("schema", str(latest() + 5))
    ledger.close()
    with pytest.raises(CampaignError, match=r"made by a later release; this one .* up to") as told:
        Ledger.in_folder(old)
    assert "Update the product" in str(told.value)
    with pytest.raises(CampaignError, match="made by a later release"):
        read_ledger(old, lambda found: found.labels("band_gap_eV"))


def test_a_version_that_is_no_number_is_damage(old: Path) -> None:
    ledger = Ledger.in_folder(old)
    ledger.set_fact("schema", "two")
    ledger.close()
    with pytest.raises(CampaignError, match="damaged: its schema version is 'two'"):
        Ledger.in_folder(old)


KILLED = """
import sys, time
from pathlib import Path
import sqlalchemy as sa
from tasks.ledger import migrations
from tasks.ledger.ledger import Ledger

def apply(operations, schema):
    operations.add_column("labels", sa.Column("note", sa.Text), schema=schema)
    print("half", flush=True)
    time.sleep(600)

step = migrations.Migration(migrations.latest() + 1, apply)
migrations.MIGRATIONS = (*migrations.MIGRATIONS, step)
Ledger.in_folder(Path(sys.argv[1]))
"""


def test_a_ledger_whose_migration_was_killed_goes_on(old: Path, further: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(old)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    ledger = Ledger.in_folder(old)
    assert ledger.fact("schema") == str(further)
    assert ("note", "TEXT", True) in tables(ledger.engine, ledger.place.schema)["labels"]
    ledger.close()
