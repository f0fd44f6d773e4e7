"""The commands of the README, with a real server, worker and deployment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.running import services
from tests.flows.campaigns import SMALL, fingerprint, kills, settings

pytestmark = [pytest.mark.flow, pytest.mark.slow]

AGD = Path(sys.executable).parent / "agd"
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(root, **overrides):
    words = [str(AGD), "run", "agd-bandgap", "--campaign", str(root)]
    return words + settings(SMALL | overrides)


def run(project, root, **overrides):
    return subprocess.run(
        command(root, **overrides), cwd=project, capture_output=True, text=True, env=ENV
    )


@pytest.fixture(scope="module")
def interrupted(project, tmp_path_factory):
    """A campaign that was told to stop in its search, with what the launcher said."""
    root = tmp_path_factory.mktemp("campaigns") / "launched"
    process = subprocess.Popen(
        command(root),
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENV,
    )
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if "explore: iteration 1," in line:
            process.send_signal(signal.SIGTERM)
    return root, process.wait(), "".join(said)


@pytest.fixture(scope="module")
def served(project, interrupted):
    """``agd serve`` of the same project, on a free port."""
    port = services._checked_port(None)
    with (project / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [AGD, "serve", "--port", str(port)], cwd=project, stdout=log, stderr=log, env=ENV
        )
        try:
            while services.served(project) is None:
                assert process.poll() is None, services.tail(project / "serve.log")
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/api"
        finally:
            process.terminate()
            process.wait()


def test_a_run_told_to_stop_says_how_to_go_on_and_leaves_no_process(project, interrupted):
    root, status, said = interrupted
    assert status == 130
    assert "the same command goes on" in said
    assert not (root / "report" / "index.html").exists()
    with services.FileLock(project / ".prefect" / "server.lock", timeout=0):
        pass
    with services.FileLock(root / "campaign.lock", timeout=0):
        pass


def test_the_same_command_goes_on_to_the_same_end_on_a_server_that_is_up(
    project, interrupted, served, tmp_path
):
    root, _, _ = interrupted
    done = run(project, root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"using the server at {served}" in done.stdout
    assert "explore iteration-0001: already done" in done.stdout
    assert f"report:  {root / 'report' / 'index.html'}" in done.stdout
    kills.run_to_end(tmp_path / "plain", SMALL)
    assert fingerprint(root) == fingerprint(tmp_path / "plain")


@pytest.mark.usefixtures("served")
def test_a_run_that_fails_ends_with_status_one_and_shows_the_reason(project, tmp_path):
    source = {"path": "no-such.csv", "roles": ["labels"], "columns": {"band_gap": "gap"}}
    done = run(project, tmp_path / "failing", **{"ingest.sources": [source]})
    assert done.returncode == 1
    assert "no-such.csv" in done.stdout
    assert "agd run agd-bandgap" in (tmp_path / "failing" / "report" / "FAILED.md").read_text()
