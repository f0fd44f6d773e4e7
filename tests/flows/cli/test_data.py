from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from flows.cli.app import app
from structure.errors import ConfigError
from structure.rules.known_formulas import load_filter
from tests.tasks.fetch.stand_in import KEY, Server, serving

RUNNER = CliRunner()


def test_a_check_says_what_would_be_taken_in_and_why_the_rest_would_not(tmp_path: Path) -> None:
    (tmp_path / "gaps.csv").write_text("formula,gap\nNaCl,5\nKCl,5.2\nFe,0\nNaCl),5\nLiF,\n")
    config = tmp_path / "mine.yaml"
    config.write_text(
        "name: mine\ningest:\n  initial: {rule: all}\n  sources:\n"
        f"    - path: {tmp_path}/gaps.csv\n"
        "      roles: [labels]\n      columns: {band_gap: gap}\n"
    )
    result = RUNNER.invoke(app, ["data", "check", str(config)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == ("gaps: 5 records, 4 distinct formulas, 3 band gaps, 0 formation energies")
    assert "rule no_single_elements: removed 1 of 3" in lines
    assert "initial set: 2 (all) from table: gaps" in lines
    assert "turned down, no-label: 1" in lines
    assert "  gaps record 5, LiF: there is no band gap" in lines
    assert not list(tmp_path.glob("**/ledger.sqlite"))


def test_the_filter_of_known_formulas_can_be_built(tmp_path: Path, monkeypatch) -> None:
    import tasks.ingest.stage

    build = tasks.ingest.stage.build_known_filter
    monkeypatch.setattr(
        tasks.ingest.stage, "build_known_filter", lambda a, b: build(a, b, ("t.csv",))
    )
    (tmp_path / "t.csv").write_text("formula\nNaCl\nKCl\n")
    result = RUNNER.invoke(
        app, ["data", "known", "--from", str(tmp_path), "--to", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "total: 2 distinct formulas" in result.output
    assert len(load_filter(tmp_path / "out")[0]) == 2


def test_fetched_data_come_with_the_lines_that_name_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MP_API_KEY", KEY)
    words = ["data", "fetch", "materials-project", "--to", str(tmp_path / "mp")]
    words += ["--property", "band_gap", "--elements", "Na, Cl"]
    with serving(Server()) as server:
        result = RUNNER.invoke(app, [*words, "--address", server.address])
    assert result.exit_code == 0, result.output
    assert "licence: CC BY 4.0" in result.stdout
    assert "columns: {formula: formula, id: material_id, band_gap: band_gap_eV}" in result.stdout
    assert "records of" in result.stderr


def test_a_fetch_without_a_key_says_where_to_get_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("MP_API_KEY", raising=False)
    result = RUNNER.invoke(app, ["data", "fetch", "materials-project", "--to", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "materialsproject.org/api" in str(result.exception)
