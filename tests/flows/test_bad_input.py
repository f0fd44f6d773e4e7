"""Bad input through the command line: each ends with a sentence, a place and a next step."""

from __future__ import annotations

import gzip
import io
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flows.cli.app import main
from tasks.campaign.directory import Campaign

GOOD = "formula,gap\nNaCl,5.0\nKCl,5.2\nLiF,8.9\n"
SOURCE = "{path: 'FILE', roles: [labels], columns: {formula: formula, band_gap: gap}}"


@pytest.fixture
def agd(monkeypatch, capsys, tmp_path):
    """Give a function that runs the command line in an empty folder: status and errors."""
    monkeypatch.chdir(tmp_path)

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


def _campaign_on(file: str) -> str:
    return (
        f"name: mine\ningest:\n  embedded: {{known: false}}\n"
        f"  initial: {{count: 2}}\n  sources:\n    - {SOURCE.replace('FILE', file)}\n"
    )


def _parquet(names: list[str], *columns: list) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(c) for c in columns], names=names), written)
    return written.getvalue()


TABLES = {
    "an empty table": ("t.csv", b"", "table is empty"),
    "a header without rows": ("t.csv", b"formula,gap\n", "no records"),
    "a missing column": ("t.csv", b"formula,gpa\nNaCl,5\n", "the nearest is 'gpa'"),
    "formulas that are none": ("t.csv", b"formula,gap\n??,5\n", "'?' at character 1"),
    "unknown elements only": ("t.csv", b"formula,gap\nXx2O,5\n", "unknown element 'Xx'"),
    "no gap at all": (
        "t.csv",
        b"formula,gap\nNaCl,nan\nKCl,\n",
        "none of the 2 records has a band",
    ),
    "gaps below zero only": ("t.csv", b"formula,gap\nNaCl,-5\n", "-5 eV, below zero"),
    "commas that can part thousands": (
        "t.csv",
        b'formula,gap\nNaCl,"5,010"\n',
        "it can be 5.010 or 5010",
    ),
    "two columns of one name": ("t.csv", b"formula,gap,gap\nNaCl,0,8\n", "2 columns named 'gap'"),
    "two Parquet columns of one name": (
        "t.parquet",
        _parquet(["formula", "gap", "gap"], ["NaCl"], [0.0], [8.0]),
        "2 columns named 'gap'",
    ),
    "a workbook": ("t.csv", b"PK\x03\x04" + bytes(99), "Excel workbook"),
    "a full stop with two meanings": ("t.csv", b"formula,gap\nCaO.2Al2O3,5\n", "write"),
    "gaps in meV declared eV": ("t.csv", b"formula,gap\nNaCl,5000\nKCl,5200\n", "look like meV"),
    "fewer compounds than asked for": ("t.csv", b"formula,gap\nNaCl,5\n", "the data have 1"),
    "one element only": ("t.csv", b"formula,gap\nSi,1\nSi2,1\n", "no_single_elements removed 1"),
    "a cut gzip file": ("t.csv.gz", gzip.compress(GOOD.encode() * 99)[:60], "cut short"),
    "a file that only says it is gzip": ("t.csv.gz", GOOD.encode(), "Not a gzipped file"),
    "a wrong ending": ("t.xlsx", GOOD.encode(), "'.xlsx' tells no format"),
    "another format": ("t.parquet", GOOD.encode(), "no readable Parquet"),
    "no text": ("t.csv", bytes(range(256)), "not UTF-8"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_used_is_refused_with_its_file_or_setting_named(agd, case):
    name, content, message = TABLES[case]
    Path(name).write_bytes(content)
    Path("mine.yaml").write_text(_campaign_on(name))
    status, _, err = agd("data", "check", "mine.yaml")
    assert status == 3
    assert message in err
    assert name in err or "ingest.initial" in err
    assert "next: " in err


def test_single_bad_rows_are_turned_down_and_told_and_the_rest_is_used(agd):
    Path("t.csv").write_text(GOOD + "Xx2O,3\nhello,3\nRbF,nan\nCsF,-1\nKF,abc\nBaO,1,2\n")
    Path("mine.yaml").write_text(_campaign_on("t.csv"))
    status, out, _ = agd("data", "check", "mine.yaml")
    assert status == 0
    assert "labelled compounds: 3" in out
    for code in ("element", "formula", "no-label", "negative-gap", "value", "fields"):
        assert f"turned down, {code}: 1" in out


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere.csv", "does not exist"), ("folder", "no .cif file"), ("folder.csv", "no .cif file")],
)
def test_a_source_that_is_no_file_says_so(agd, path, message):
    Path("folder").mkdir()
    Path("folder.csv").mkdir()
    Path("mine.yaml").write_text(_campaign_on(path))
    status, _, err = agd("data", "check", "mine.yaml")
    assert status == 3
    assert message in err


def test_a_folder_in_which_every_cif_is_broken_says_what_is_wrong_with_the_first(agd):
    Path("cifs").mkdir()
    Path("cifs/a.cif").write_text("rubbish")
    Path("mine.yaml").write_text(
        "name: mine\ningest: {sources: [{path: cifs, roles: [templates]}]}"
    )
    status, _, err = agd("data", "check", "mine.yaml")
    assert status == 3
    assert "a.cif: it has no atoms" in err


SETTINGS = {
    "unknown at the top": ("name: a\nwindo: {}\n", "Did you mean 'window'?"),
    "unknown in a section": ("name: a\nexplore: {bugdet: 3}\n", "'explore.budget'?"),
    "unknown in a source": (
        "name: a\ningest: {sources: [{pth: t.csv, roles: [labels]}]}\n",
        "Did you mean 'ingest.sources.path'?",
    ),
    "unknown deep in a source": (
        "name: a\ningest: {sources: [{path: t.csv, roles: [known], columns: {fomula: f}}]}\n",
        "Did you mean 'ingest.sources.columns.formula'?",
    ),
    "a wrong type": ("name: a\nexplore: {budget: many}\n", "'explore.budget' is 'many'"),
    "an empty section": ("name: a\nexplore:\n", "must be a section of settings"),
    "a section instead of a list": ("name: a\ningest: {sources: {path: a}}\n", "must be a list"),
    "no name": ("seed: 1\n", "'name' is missing"),
    "a key given twice": ("name: a\nseed: 1\nseed: 2\n", "'seed' is given twice"),
    "bad syntax": ("name: [a\n", "not valid YAML"),
    "a list": ("- a\n", "keys and values"),
    "a window that is no number": ("name: a\nwindow: {minimum_eV: .nan}\n", "finite number"),
    "a window without an end": ("name: a\nwindow: {minimum_eV: .inf}\n", "finite number"),
    "a window upside down": (
        "name: a\nwindow: {minimum_eV: 5, maximum_eV: 3}\n",
        "'window': maximum_eV must lie above",
    ),
    "an unset variable": (_campaign_on("${NOT_SET_ANYWHERE}/t.csv"), "export NOT_SET_ANYWHERE"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_cannot_be_used_is_named_with_the_way_out(agd, case):
    text, message = SETTINGS[case]
    Path("mine.yaml").write_text(text)
    status, _, err = agd("data", "check", "mine.yaml")
    assert status == 2
    assert message in err
    assert "next: " in err


@pytest.fixture
def begun(tmp_path):
    """A campaign directory that has begun and has its ledger."""
    from flows.config import load_config

    root = tmp_path / "begun"
    config = load_config("agd-bandgap")
    with Campaign(root, config.model_dump(mode="json"), config.seed):
        (root / "campaign.log").write_text("12:00:00  campaign agd-bandgap in begun\n")
    return root


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 1500] = b"\xaa" * 1500
    path.write_bytes(bytes(content))


def _first_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096])


def _emptied(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma user_version = 1")


def _without_jobs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("drop table jobs")


DAMAGES = {
    "ledger.sqlite inside": (_damage, "malformed", "collect DIR --rebuild"),
    "ledger.sqlite gone": (Path.unlink, "is gone", "collect DIR --rebuild"),
    "ledger.sqlite cut to nothing": (
        lambda path: path.write_bytes(b""),
        "its 0 bytes hold no table",
        "collect DIR --rebuild",
    ),
    "ledger.sqlite cut to its first page": (_first_page, "malformed", "collect DIR --rebuild"),
    "ledger.sqlite without a table": (_emptied, "hold no table", "collect DIR --rebuild"),
    "ledger.sqlite without one table": (
        _without_jobs,
        "has no table 'jobs'",
        "collect DIR --rebuild",
    ),
    "ledger.sqlite overwritten": (
        lambda path: path.write_bytes(b"x" * 9000),
        "not a database",
        "collect DIR --rebuild",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize(
    "words",
    [["status"], ["why", "NaCl", "--campaign"], ["run", "--local", "--campaign"], ["collect"]],
)
def test_a_campaign_whose_ledger_is_damaged_or_gone_says_how_to_get_it_back(
    agd, begun, case, words
):
    damage, message, remedy = DAMAGES[case]
    damage(begun / "ledger.sqlite")
    status, _, err = agd(*words, begun)
    assert status == 5
    assert message in err
    assert remedy in err
    assert "ledger.sqlite" in err


@pytest.mark.parametrize("content", ["", '{"schema_version": 1', '{"schema_version": 1}', "[1]"])
@pytest.mark.parametrize("words", [["run", "--local", "--campaign"], ["report"]])
def test_a_damaged_campaign_file_is_told_from_a_missing_one(agd, begun, content, words):
    (begun / "campaign.json").write_text(content)
    status, _, err = agd(*words, begun)
    assert status == 5
    assert "campaign.json is damaged" in err


def test_two_runs_at_once_on_one_campaign_are_refused(agd, begun):
    from flows.config import load_config

    config = load_config("agd-bandgap")
    with Campaign(begun, config.model_dump(mode="json"), config.seed):
        status, _, err = agd("run", "--local", "--campaign", begun)
    assert status == 5
    assert "another run has this campaign open" in err


def test_a_campaign_directory_that_cannot_be_made_is_named(agd):
    Path("file").write_text("")
    status, _, err = agd("run", "--local", "--campaign", "file/inside")
    assert status == 5
    assert "--campaign DIR" in err


def test_a_silence_below_zero_is_refused_as_an_option(agd, begun):
    status, _, err = agd("collect", begun, "--stale-hours", "-5")
    assert status == 2
    assert "--stale-hours" in err
