"""Flow ``agd``: a whole campaign through Prefect, each stage a task, exploring a sub-flow.

In: the name or path of a configuration, a directory, overrides and budgets. Out: a campaign with
candidates, job directories and a report, and artifacts for Prefect's pages. The picture itself is
`flows.pipeline.run_campaign`, which needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from prefect import flow
from prefect.states import Completed, State
from pydantic import BaseModel

from flows.explore import as_subflow
from flows.pipeline import opened, run_campaign, stage_runs
from flows.running.artifacts import Progress, publish
from flows.running.parts import Awaited, Parts
from flows.running.plan import planned
from flows.running.workers import Workers
from flows.stage_tasks import AT_WORKERS, IN_THE_FLOW
from tasks.campaign.directory import BudgetUsed, Campaign
from tasks.explore.stage import explore

Output = TypeVar("Output", bound=BaseModel)


@flow(name="agd", flow_run_name="{config}", persist_result=False)
def agd(
    config: str = "agd-bandgap",
    campaign: str | None = None,
    overrides: dict[str, Any] | None = None,
    oracle_calls: int | None = None,
    hours: float | None = None,
    nights: bool = False,
) -> State[None]:
    """Run a campaign from where its directory stands to its report.

    Parameters
    ----------
    config : str
        Name of a shipped campaign or path of a YAML file.
    campaign : str, optional
        Directory; ``campaigns/<name>`` when not given.
    overrides : dict, optional
        Settings by dotted key, e.g. ``{"sample.shards": 2}``.
    oracle_calls : int, optional
        Labels the search may ask for; the same as override ``explore.budget``.
    hours : float, optional
        Wall time after which no further part is begun. The next run goes on from there.
    nights : bool
        Take the directory as a series of nights: go on with the last one if it is unfinished,
        otherwise begin one from the labels that came back.
    """
    plan = planned(config, campaign, overrides, oracle_calls, nights)
    try:
        with opened(plan, hours) as (open_campaign, workers):
            run = AsTasks(open_campaign, workers, stage_runs(plan.config))
            run_campaign(open_campaign, plan.config, run)
            publish(open_campaign, plan.config.name, plan.config.targets, run.results)
    except BudgetUsed as stop:
        return Completed(message=stop.what)
    return Completed(message=f"the report is {plan.root / 'report' / 'index.html'}")


class AsTasks(Parts):
    """Runs stages as Prefect tasks; see `flows.pipeline.Run`.

    Parameters
    ----------
    campaign : Campaign
    workers : Workers
    steps : int
        Stage functions that will run, for the progress bar.

    Attributes
    ----------
    results : dict of str to object
        Last output of each stage function, by its name.
    """

    def __init__(self, campaign: Campaign, workers: Workers, steps: int):
        super().__init__(campaign, workers)
        self._progress = Progress("agd-progress", "campaign")
        self._steps, self._done = steps, 0
        self.results: dict[str, Any] = {}

    def here(self, stage: Callable[..., Output], *inputs: Any) -> Output:
        """Run a stage function in this process: as a task, or as a sub-flow where it searches."""
        if stage is explore:
            return cast("Output", as_subflow(self.campaign)(*inputs))
        return cast("Output", IN_THE_FLOW[stage](stage.__name__, self.campaign, list(inputs)))

    def submit(self, stage: Callable[..., Output], part: str, *inputs: Any) -> Awaited:
        """Submit a part as a task, which waits for a worker."""
        name = stage.__name__ if part == "all" else f"{stage.__name__}-{part}"
        task = AT_WORKERS[stage]
        return task.submit(name, self.workers, self.campaign.place, list(inputs))

    def done(self, stage: Callable[..., Output], output: Output) -> None:
        """Show how far the campaign is."""
        self.results[stage.__name__] = output
        self._done += 1
        self._progress.show(self._done / self._steps, f"{stage.__name__} done")
