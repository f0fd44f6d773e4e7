from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.cli.app import main
from structure.errors import ModelError
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import write_table
from tasks.campaign.outputs import Handle, ScreenedShard
from tasks.ledger.ledger import Candidate, Label
from tests.flows.campaigns import SMALL, settings


@pytest.fixture
def agd(monkeypatch, capsys):
    """Give a function that runs the command line and returns status, output and errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["agd", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_stages_are_printed_in_order(agd):
    status, out, _ = agd("stages")
    names = ["ingest", "train", "explore", "sample", "screen", "template", "filter", "handoff"]
    places = [out.index(f"\n{name} ") for name in names]
    assert status == 0
    assert places == sorted(places)


def test_an_unknown_setting_ends_with_status_two_and_the_nearest_one(agd):
    status, out, err = agd("run", "--local", "--set", "explore.bugdet=5")
    assert status == 2
    assert "Did you mean 'explore.budget'?" in err
    assert "Traceback" not in out + err


def test_an_unknown_campaign_ends_with_status_two(agd):
    status, _, err = agd("run", "agd-bandgpa")
    assert status == 2
    assert "agd-bandgap" in err


def test_the_status_of_a_series_is_that_of_each_night_and_other_commands_name_one(agd, tmp_path):
    series = tmp_path / "series"
    for night in ("night-0001", "night-0002"):
        Campaign(series / night, {}, 0).close()
    status, out, _ = agd("status", series)
    assert status == 0
    assert [line.split("/")[-1] for line in out.splitlines() if line.startswith("campaign ")] == [
        "night-0001",
        "night-0002",
    ]
    status, _, err = agd("why", "NaCl", "--campaign", series)
    assert status == 5
    assert "name one" in err and "night-0002" in err


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["agd", "--debug", "run", "no-such.yaml"])
    with pytest.raises(Exception, match="no readable file"):
        main()


@pytest.mark.parametrize("words", [["status"], ["report"], ["why", "NaCl", "--campaign"]])
def test_a_directory_that_is_no_campaign_is_named(agd, tmp_path, words):
    status, _, err = agd(*words, tmp_path)
    assert status == 5
    assert str(tmp_path) in err


def test_a_run_outside_the_project_says_what_to_do(agd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = agd("run")
    assert status == 2
    assert "--local" in err


@pytest.fixture
def campaign(tmp_path):
    """A campaign that labelled one compound, screened two and rejected one."""
    import numpy as np

    from structure.composition import counts_of, formulas_of, keys_of

    counts = np.stack([counts_of("SrYF5"), counts_of("NaCl2")])
    root = tmp_path / "campaign"
    with Campaign(root, {"name": "told"}, seed=1) as one:

        def screened() -> ScreenedShard:
            columns = {
                "key": keys_of(counts),
                "verdict": ["passed", "charge"],
                "band_gap_eV": [7.2, float("nan")],
            }
            path = one.folder("screen") / "shard-0000.parquet"
            table = write_table(root, path, columns, "screened", counts=counts)
            return ScreenedShard(table=table, generator="matgan", drawn=3, empty=1)

        def known() -> Handle:
            keys = one.folder("ingest") / "known.npy"
            np.save(keys, np.sort(keys_of(counts[:1])))
            from tasks.campaign.handles import handle_for

            return handle_for(root, keys, 1, "known")

        from pydantic import BaseModel

        class Found(BaseModel):
            known: Handle

        one.once("ingest", "all", Found, lambda: Found(known=known()))
        one.once("screen", "shard-0000", ScreenedShard, screened)
        name = formulas_of(counts[:1])[0]
        label = Label(
            formula=name, property="band_gap_eV", value=7.1, sigma=0.3, origin="ml", source="abc",
            iteration=2,
        )  # fmt: skip
        one.ledger.add_labels([label])
        one.ledger.replace_candidates([Candidate(formula=name, rank=1, status="selected")])
        one.ledger.add_job(
            "x", formula=name, batch="batch-0001", folder="handoff/batch-0001/x", recipe="r",
            story={},
        )  # fmt: skip
    return root


def test_why_tells_the_story_of_a_candidate(agd, campaign):
    status, out, _ = agd("why", "Y Sr F5".replace(" ", ""), "--campaign", campaign)
    assert status == 0
    for fact in (
        "ingest: a known compound",
        "screen: drawn by matgan in shard-0000; passed, predicted gap 7.20",
        "label: 7.10 +- 0.30 eV, ml (abc), iteration 2",
        "candidate: selected, rank 1",
        "job: EMITTED in handoff/batch-0001/x",
    ):
        assert fact in out


def test_why_says_which_rule_a_formula_breaks(agd, campaign):
    _, out, _ = agd("why", "NaCl2", "--campaign", campaign)
    assert "turned down: charge" in out
    assert "rules: " in out
    assert "electronegativity balanced" not in out.splitlines()[-1]


def test_why_says_when_no_stage_has_met_a_formula(agd, campaign):
    status, out, _ = agd("why", "LiF", "--campaign", campaign)
    assert status == 0
    assert "no stage of this campaign has met it" in out


def test_why_explains_a_formula_it_cannot_read(agd, campaign):
    status, _, err = agd("why", "Xx2", "--campaign", campaign)
    assert status == 3
    assert "Xx" in err


def test_status_counts_what_is_there(agd, campaign):
    status, out, _ = agd("status", campaign)
    assert status == 0
    assert "1 ml" in out
    assert "1 selected" in out
    assert "1 EMITTED" in out
    assert "not running, not finished" in out


def test_status_sees_a_run_that_has_the_campaign_open(agd, campaign):
    with Campaign(campaign, {"name": "told"}, seed=1):
        _, out, _ = agd("status", campaign)
    assert "a run is going on" in out


def test_the_doctor_finds_no_fault_in_what_was_installed():
    from flows.cli import doctor

    quick = (doctor.python_version, doctor.own_packages, doctor.requirements, doctor.disk_space)
    assert [check().verdict for check in quick] == ["ok"] * len(quick)


@pytest.mark.slow
def test_the_prefect_server_can_be_imported():
    from flows.cli.doctor import prefect_server

    check = prefect_server()
    assert check.verdict == "ok", check.found


def test_the_doctor_names_a_missing_requirement_and_what_to_do(monkeypatch):
    from flows.cli import doctor

    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "fastapi" else "1000")
    check = doctor.requirements()
    assert check.verdict == "fault"
    assert "fastapi is missing" in check.found
    assert "make install" in check.fix


def test_the_doctor_finds_a_foreign_package_of_our_name(monkeypatch, tmp_path):
    from flows.cli import doctor

    foreign = tmp_path / "models" / "__init__.py"
    find = doctor.importlib.util.find_spec

    def shadowed(name):
        spec = find(name)
        if name == "models":
            spec.origin = str(foreign)
        return spec

    monkeypatch.setattr(doctor.importlib.util, "find_spec", shadowed)
    check = doctor.own_packages()
    assert check.verdict == "fault"
    assert str(foreign) in check.found


def test_the_doctor_reports_damaged_weights(monkeypatch):
    import tasks.train
    from flows.cli import doctor

    def damaged():
        raise ModelError("the weights changed", where="models/pretrained/matgan")

    monkeypatch.setattr(tasks.train, "verify_shipped", damaged)
    assert doctor.shipped_weights().verdict == "fault"


def test_the_doctor_ends_with_status_one_on_a_fault(monkeypatch):
    from flows.cli import doctor

    said: list[str] = []
    fault = doctor.Check("disk", "fault", "full", "Free some.")
    monkeypatch.setattr(doctor, "checks", lambda about: iter([fault]))
    assert doctor.diagnose(said.append) == 1
    assert any("Free some." in line for line in said)


def test_the_installed_command_answers():
    agd = Path(sys.executable).parent / "agd"
    done = subprocess.run([agd, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "doctor" in done.stdout


def test_an_error_nobody_foresaw_is_one_line_and_says_how_to_see_more(agd, monkeypatch):
    import tasks.report.story

    def broken(*_):
        raise RuntimeError("the disk caught fire")

    monkeypatch.setattr(tasks.report.story, "story_of", broken)
    status, out, err = agd("why", "NaCl", "--campaign", "x")
    assert status == 70
    assert "the disk caught fire" in err
    assert "--debug" in err
    assert "Traceback" not in out + err


STOPPABLE = """
import sys, time
from flows.cli import app as cli

@cli.app.command()
def work():
    try:
        print("working", flush=True)
        time.sleep(600)
    finally:
        print("tidying", flush=True)
        sys.stdin.readline()
        print("tidy", flush=True)

sys.argv = ["agd", "work"]
cli.main()
"""


def hears_signals():
    """In the child: as in a terminal, also where the tests run in the background or under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def at_work(*before):
    """Give a command of ours that works until it is told to stop, and tidies until it may end."""
    words = [*before, sys.executable, "-c", STOPPABLE]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=hears_signals
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "working\n"
        yield one
        one.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_told_to_stop_tidies_up_and_says_how_to_go_on(number):
    with at_work() as one:
        one.send_signal(number)
        out, err = one.communicate("go on\n")
        assert (out, one.returncode) == ("tidying\ntidy\n", 130)
        assert "the same command goes on from here" in err
        assert "Traceback" not in err


def test_being_told_twice_does_not_cut_the_tidying_short():
    """A scheduler sends SIGTERM to the batch script and to its children, which hand it on."""
    with at_work() as one:
        one.send_signal(signal.SIGTERM)
        assert one.stdout.readline() == "tidying\n"
        for number in (signal.SIGTERM, signal.SIGHUP):
            one.send_signal(number)
        out, err = one.communicate("go on\n")
        assert (out, one.returncode) == ("tidy\n", 130)
        assert "the same command goes on from here" in err


def test_a_command_under_nohup_outlives_the_terminal():
    ignoring = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    start = [sys.executable, "-c", f"{ignoring}os.execv(sys.argv[1], sys.argv[1:])"]
    with at_work(*start) as one:
        one.send_signal(signal.SIGHUP)
        one.send_signal(signal.SIGTERM)
        out, _ = one.communicate("go on\n")
        assert (out, one.returncode) == ("tidying\ntidy\n", 130)


@pytest.mark.slow
def test_a_local_campaign_told_to_stop_ends_with_130_and_the_same_command_goes_on(tmp_path):
    agd = Path(sys.executable).parent / "agd"
    words = [agd, "run", "--local", "--campaign", "one", *settings(SMALL)]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "explore: iteration 1," in line:
                process.send_signal(signal.SIGTERM)
                break
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.count("the same command goes on from here") == 2  # the log, and the last word
    assert "Traceback" not in said
    assert subprocess.run(words, cwd=tmp_path).returncode == 0
    assert not (tmp_path / "one" / "report" / "FAILED.md").exists()


def test_the_doctor_opens_the_ledger_of_what_it_is_given(agd, campaign):
    from flows.cli import doctor

    assert doctor.ledger_of("agd-bandgap").found.endswith("keeps it in the campaign directory")
    assert doctor.ledger_of("agd-bandgpa").verdict == "fault"
    found = doctor.ledger_of(str(campaign))
    assert (found.verdict, found.fix) == ("ok", "")
    assert "1 labels, 1 jobs, no page damaged" in found.found
    (campaign / "ledger.sqlite").write_bytes(b"")
    status, out, _ = agd("doctor", campaign)
    assert status == 1
    assert "FAULT  ledger: the ledger is damaged" in out
    assert "agd collect DIR --rebuild" in out
