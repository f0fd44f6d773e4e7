"""Campaigns that are killed with SIGKILL in the middle of a stage end like undisturbed ones."""

from __future__ import annotations

import re
import time

import pytest

from tests.flows.campaigns import SMALL, fingerprint, kills

pytestmark = pytest.mark.slow

MOMENTS = (
    r"explore: iteration 1,",
    r"shard 0: 5000 compositions",
    r"template all: done",
)
"""Lines of the log after which the process is killed, in this order in one campaign."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("campaigns") / "undisturbed"
    kills.run_to_end(root, SMALL)
    return root


def kill_after(root, line):
    """Run a campaign until its log has a line, then kill it; False if it ended before."""
    log = root / "campaign.log"
    seen = log.stat().st_size if log.exists() else 0
    process = kills.start(root, SMALL)
    while process.poll() is None:
        if log.exists() and re.search(line, log.read_text()[seen:]):
            kills.kill(process)
            return True
        time.sleep(0.02)
    process.communicate()
    return False


def test_a_campaign_that_is_killed_again_and_again_ends_the_same(undisturbed, tmp_path):
    root = tmp_path / "killed"
    assert [kill_after(root, line) for line in MOMENTS] == [True] * len(MOMENTS)
    kills.run_to_end(root, SMALL)
    found = fingerprint(root)
    assert found["labels asked twice"] == 0
    assert found["jobs emitted twice"] == 0
    assert found["leftovers"] == []
    assert found == fingerprint(undisturbed)
