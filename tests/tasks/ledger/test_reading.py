"""A ledger is read without a trace: in a directory nobody may write to, and beside a run."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from structure.errors import CampaignError
from structure.files import sha256_of
from tasks.campaign.directory import Campaign
from tasks.ledger import reading as _reading
from tasks.ledger.ledger import Candidate, Label, Ledger
from tasks.ledger.reading import (
    NotBegun,
    candidates_by_status,
    jobs_by_state,
    labels_by_origin,
    read_ledger,
    stage_times,
)

GAP = "band_gap_eV"


@pytest.fixture(params=["sqlite", "postgresql"])
def campaign(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A campaign with something of everything."""
    server = request.param == "postgresql"
    config = {"ledger": request.getfixturevalue("database")} if server else {}
    return filled(tmp_path / "c", config)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A campaign with its ledger in its directory."""
    return filled(tmp_path / "c", {})


def filled(root: Path, config: dict[str, object]) -> Path:
    with Campaign(root, config, 1) as one:
        one.ledger.add_labels(
            Label(formula=f"K{n}F", property=GAP, value=n, origin=origin, source="x")
            for n, origin in enumerate(("ml", "ml", "table"), 1)
        )
        one.ledger.add_labels(
            [Label(formula="KF", property="other", value=1.0, origin="ml", source="x")]
        )
        one.ledger.replace_candidates(
            [
                Candidate(formula="KF", rank=1, status="selected"),
                Candidate(formula="RbF", rank=2, status="reserve"),
                Candidate(formula="CsF", status="rejected", code="emd"),
            ]
        )
        for id, state, story in (
            ("1", "EMITTED", {"asked_by": "search", "iteration": 3}),
            ("2", "INGESTED", {"note": "asked_by search"}),
            ("3", "INGESTED", {"asked_by": "table"}),
        ):
            one.ledger.add_job(
                id, formula="KF", batch="b", folder="f", recipe="r", story=story, state=state
            )
        one.ledger.finish("ingest", "all", "{}", 2.0)
        one.ledger.finish("screen", "shard-0001", "{}", 1.0)
        one.ledger.finish("screen", "merge", "{}", 0.5)
    return root


def test_counts_are_those_of_the_rows(campaign):
    with closing(Ledger.in_folder(campaign)) as ledger:
        labels, candidates, jobs = ledger.labels(GAP), ledger.candidates(), ledger.jobs()
        assert labels_by_origin(ledger, GAP) == Counter(one.origin for one in labels)
        assert candidates_by_status(ledger) == Counter(one.status for one in candidates)
        ranked = Counter(one.status for one in candidates if one.rank is not None)
        assert candidates_by_status(ledger, ranked=True) == ranked
        assert jobs_by_state(ledger) == Counter(job["state"] for job in jobs)
        assert jobs_by_state(ledger, asked_by="search") == {"EMITTED": 1}
        assert sorted(stage_times(ledger)) == [("ingest", 1, 2.0), ("screen", 2, 1.5)]
        assert [part["part"] for part in ledger.stages()] == ["all", "shard-0001", "merge"]


def test_what_is_read_cannot_be_changed(campaign):
    with pytest.raises(CampaignError, match="cannot be used"):
        read_ledger(campaign, lambda ledger: ledger.set_fact("seen", "yes"))
    assert read_ledger(campaign, lambda ledger: ledger.fact("seen")) is None


def test_reading_leaves_no_trace(alone):
    def state() -> dict[str, tuple[str, int]]:
        return {p.name: (sha256_of(p), p.stat().st_mtime_ns) for p in alone.iterdir()}

    before = state()
    assert len(read_ledger(alone, lambda ledger: ledger.labels(GAP))) == 3
    assert state() == before


def powerless(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``agd`` as somebody who may not write; root may where nothing takes its powers away."""
    agd = [str(Path(sys.executable).with_name("agd")), *words]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and setpriv is not installed")
        agd = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *agd]
    subprocess.run(["chmod", "-R", "a-w", str(root)], check=True)
    try:
        return subprocess.run(agd, capture_output=True, text=True)
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)


def open_elsewhere(root: Path) -> subprocess.Popen[str]:
    """Open a campaign in another process, which writes a label and waits."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tasks.campaign.directory import Campaign\n"
        "from tasks.ledger.ledger import Label\n"
        "one = Campaign(Path(sys.argv[1]), {}, 1)\n"
        "one.ledger.add_labels([Label(formula='LiF', property='band_gap_eV', value=8.0, "
        "origin='dft-gpaw', source='x')])\n"
        "print('open', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    return child


def test_a_directory_nobody_may_write_to_is_told_of(alone):
    status = powerless(alone, "status", str(alone))
    assert "2 ml, 1 table" in status.stdout, status.stderr
    why = powerless(alone, "why", "KF", "--campaign", str(alone))
    assert "candidate: selected, rank 1" in why.stdout, why.stderr


def test_what_a_run_has_written_last_is_seen_also_where_nobody_may_write(alone):
    child = open_elsewhere(alone)
    assert "1 dft-gpaw, 2 ml, 1 table" in powerless(alone, "status", str(alone)).stdout
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert (alone / "ledger.sqlite-wal").stat().st_size
    assert "1 dft-gpaw" in powerless(alone, "status", str(alone)).stdout
    (alone / "ledger.sqlite-shm").unlink()
    before = {p.name: sha256_of(p) for p in alone.iterdir()}
    assert "1 dft-gpaw" in powerless(alone, "status", str(alone)).stdout
    assert {p.name: sha256_of(p) for p in alone.iterdir()} == before


def test_a_ledger_that_may_not_be_read_is_named(alone):
    (alone / "ledger.sqlite").chmod(0)
    done = powerless(alone, "status", str(alone))
    assert done.returncode == 5
    assert "ledger.sqlite" in done.stderr and "permissions" in done.stderr


def test_a_ledger_written_to_meanwhile_is_read_again(alone, monkeypatch):
    seen: list[int] = []

    def look(ledger: Ledger) -> int:
        seen.append(len(ledger.labels(GAP)))
        if len(seen) == 1:
            with closing(sqlite3.connect(alone / "ledger.sqlite")) as other:
                other.execute("delete from labels where formula = 'K1F'")
                other.commit()
        return seen[-1]

    assert read_ledger(alone, look) == 2
    assert seen == [3, 2]
    monkeypatch.setattr(_reading, "TIMES", 0)
    with pytest.raises(CampaignError, match="each time"):
        read_ledger(alone, look)


def test_a_campaign_that_was_killed_before_it_had_a_ledger_says_so(tmp_path):
    Campaign(tmp_path, {}, 1).close()
    (tmp_path / "ledger.sqlite").unlink()
    with pytest.raises(NotBegun, match="agd run"):
        read_ledger(tmp_path, lambda ledger: None)
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_look_at_the_state_never_keeps_a_run_out(alone):
    from flows.cli.status import standing

    child = subprocess.Popen(
        [sys.executable, "-c",
         "import sys; from pathlib import Path; from flows.cli.status import standing\n"
         "print('ready', flush=True)\nwhile True: standing(Path(sys.argv[1]))", str(alone)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    try:
        for _ in range(20):
            with Campaign(alone, {}, 1):
                assert "a run is going on" in standing(alone)
    finally:
        child.kill()
        child.communicate()
