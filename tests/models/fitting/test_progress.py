from __future__ import annotations

import io
import logging

import pytest

from models.fitting.progress import console_report


def test_without_a_terminal_the_first_and_last_lines_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), console_report("matgan", log_seconds=3600) as report:
        for share in (0.1, 0.2, 0.3):
            report(share, f"at {share}")
        report(1.0, "done")
    assert [r.getMessage() for r in caplog.records] == [
        "matgan:  10 %, at 0.1",
        "matgan: 100 %, done",
    ]


def test_on_a_terminal_a_bar_shows_the_label_and_the_numbers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console_report("autoencoder") as report:
        report(0.5, "step 5/10")
        report(1.0, "step 10/10")
    assert "autoencoder" in screen.getvalue()
    assert "step 10/10" in screen.getvalue()
    assert capfd.readouterr().out == ""
