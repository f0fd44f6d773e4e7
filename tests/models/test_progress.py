from __future__ import annotations

import logging

import pytest

from models.progress import console_report


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
