from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dft_inputs.job.folder import emitted_jobs
from flows.cli.app import app
from structure.errors import Rejection
from tasks.campaign.directory import Campaign
from tasks.collect import collect_campaign
from tasks.dft_jobs.quarantine import set_aside
from tasks.ledger.ledger import Ledger
from tests.tasks.campaign.test_job_lock import emit, in_ledger, jobs_of, on_disk

FOREIGN = Rejection("foreign", "is no job of this campaign")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with two jobs and four references."""
    root = tmp_path_factory.mktemp("begun") / "c"
    with Campaign(root, {}, 0) as campaign:
        emit(campaign, jobs_of(("Mg", "O"), ("Na", "Cl")))
    return root


@pytest.fixture
def root(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "c")
    return tmp_path / "c"


def forget(root: Path, where: str = "1") -> None:
    with sqlite3.connect(root / "ledger.sqlite") as ledger:
        ledger.execute(f"delete from jobs where {where}")


def folders(root: Path) -> dict[str, Path]:
    places = [root / "handoff" / "batch-0001", root / "references"]
    return {ticket.formula: folder for ticket, folder in emitted_jobs(*places).values()}


def move_all(root: Path) -> None:
    for folder in folders(root).values():
        set_aside(root, folder, FOREIGN)


def recorded(root: Path) -> None:
    """The ledger has the jobs: they were recorded after they had been moved, or before."""


def never_recorded(root: Path) -> None:
    forget(root)


def neither_recorded_nor_listed(root: Path) -> None:
    """References that were moved before their folder's list was written."""
    forget(root, "folder like 'references%'")
    place = root / "references"
    document = json.loads((place / "batch.json").read_text())
    (place / "batch.json").write_text(json.dumps({**document, "jobs": []}))
    (place / "jobs.txt").write_text("")


@pytest.mark.parametrize("known", [recorded, never_recorded, neither_recorded_nor_listed])
def test_jobs_that_were_set_aside_by_mistake_come_back_to_their_place(
    begun, root, known: Callable[[Path], None]
):
    move_all(root)
    known(root)
    found = collect_campaign(root, restore=True)
    assert sorted(found.put_back) == sorted(in_ledger(begun).values())
    assert found.states == {"EMITTED": 6}
    assert found.notes == ()
    assert on_disk(root) == in_ledger(root) == in_ledger(begun)
    assert not list((root / "quarantine").iterdir())
    for name in ("handoff/batch-0001/jobs.txt", "references/jobs.txt", "references/batch.json"):
        assert (root / name).read_text() == (begun / name).read_text()


def test_putting_back_again_moves_nothing(root):
    move_all(root)
    collect_campaign(root, restore=True)
    again = collect_campaign(root, restore=True)
    assert (again.put_back, again.notes, again.states) == ((), (), {"EMITTED": 6})


@pytest.mark.parametrize("moves", range(6))
def test_putting_back_that_is_killed_goes_on(begun, root, monkeypatch, moves):
    class KilledError(Exception):
        pass

    move_all(root)
    neither_recorded_nor_listed(root)
    rename, done = Path.rename, []

    def until_killed(self: Path, target: Path) -> Path:
        if self.parent.name == "quarantine":
            if len(done) == moves:
                raise KilledError
            done.append(self)
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", until_killed)
        with pytest.raises(KilledError):
            collect_campaign(root, restore=True)
    collect_campaign(root, restore=True)
    assert on_disk(root) == in_ledger(root) == in_ledger(begun)


def test_what_is_no_job_of_ours_or_was_judged_stays(root):
    stranger = folders(root)["MgO"].with_name("GaAs--deadbeef")
    shutil.copytree(folders(root)["MgO"], stranger)
    text = (stranger / "ticket.json").read_text()
    own = json.loads(text)["content_sha256"]
    (stranger / "ticket.json").write_text(
        text.replace(own, "deadbeef" + own[8:]).replace(own[:8], "deadbeef")
    )
    set_aside(root, stranger, FOREIGN)
    judged = folders(root)["NaCl"]
    ledger = Ledger.in_folder(root)
    job = next(job for job in ledger.jobs() if job["formula"] == "NaCl")
    ledger.set_job_state(job["id"], "QUARANTINED", 310, story={**job["story"], "judged": []})
    ledger.close()
    set_aside(root, judged, Rejection("310", "another potential was used"))
    found = collect_campaign(root, restore=True)
    assert found.put_back == ()
    assert found.notes == ("2 folders stay in quarantine: judged, changed, or no jobs of ours",)
    assert len(list((root / "quarantine").glob("*--*/ticket.json"))) == 2


def test_a_changed_ticket_stays_until_it_is_the_one_that_was_handed_off(root):
    job = folders(root)["MgO"]
    text = (job / "ticket.json").read_text()
    (job / "ticket.json").write_text(text.replace('"Mg": 1', '"Mg": 2'))
    assert "was changed" in collect_campaign(root).quarantined[0]
    assert collect_campaign(root, restore=True).put_back == ()
    (aside,) = (root / "quarantine").glob("*--*/ticket.json")
    aside.write_text(text)
    found = collect_campaign(root, restore=True)
    assert found.put_back == (job.relative_to(root).as_posix(),)
    assert found.states == {"EMITTED": 6}


def test_of_two_copies_the_finished_one_comes_back_and_the_other_is_named(root):
    job = folders(root)["MgO"]
    for done in (False, True):
        copy = job.with_name("copy")
        shutil.copytree(job, copy)
        if done:
            (copy / "DONE").touch()
        set_aside(root, copy, FOREIGN)
    shutil.rmtree(job)
    found = collect_campaign(root, restore=True)
    assert (job / "DONE").exists()
    (note,) = (n for n in found.notes if "stays" in n)
    assert note.startswith("quarantine/copy--foreign stays: handoff/batch-0001/MgO--")


def test_the_command_says_what_it_put_back(root):
    move_all(root)
    done = CliRunner().invoke(app, ["collect", str(root), "--restore"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("put back")]
    assert len(lines) == 6
    assert any(line.startswith("put back     references/Mg--") for line in lines)
