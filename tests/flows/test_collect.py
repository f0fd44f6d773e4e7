from __future__ import annotations

import pytest

from tests.tasks.test_collect import calculated, emitted, finished, potcars  # noqa: F401


@pytest.mark.flow
def test_the_flow_takes_finished_jobs_in_and_leaves_an_artifact(prefect_server, finished):  # noqa: F811
    from flows.collect import agd_collect

    state = agd_collect(campaigns=str(finished.parent), return_state=True)
    assert state.is_completed()
    assert state.message == "6 new labels from 1 campaigns"


@pytest.mark.flow
def test_the_flow_waits_quietly_for_the_first_campaign(prefect_server, tmp_path):
    from flows.collect import agd_collect

    state = agd_collect(campaigns=str(tmp_path / "campaigns"), return_state=True)
    assert state.is_completed()
    assert "no campaign" in state.message
