"""Sub-flow ``agd-explore``: the active-learning loop as a run of its own within a campaign's run.

In: an open campaign. Out: a runner of the explore stage that Prefect shows beside the other stages,
with its iterations in its log and its labels as a progress bar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import flow

from flows.running.artifacts import Progress
from tasks.campaign.directory import Campaign
from tasks.campaign.outputs import Explored
from tasks.explore.stage import Progress as SearchProgress
from tasks.explore.stage import explore


def as_subflow(campaign: Campaign) -> Callable[..., Explored]:
    """Return the explore stage as a Prefect flow of the stage's inputs.

    Proposing, decoding, choosing and labelling happen inside the stage, each iteration one part of
    the ledger, so that a killed loop goes on at its last iteration.
    """

    @flow(name="agd-explore", flow_run_name="explore", persist_result=False)
    def run_explore(inputs: list[Any]) -> Explored:
        bar = Progress("agd-explore", "search")

        def show(now: SearchProgress) -> None:
            bar.show(now.calls / now.budget, str(now))

        return campaign.run(explore, *inputs, progress=show)

    def run(*inputs: Any) -> Explored:
        return run_explore(list(inputs))

    return run
