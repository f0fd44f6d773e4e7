"""Flow ``agd``: a whole campaign through Prefect, each stage a task, exploring a sub-flow.

In: the name or path of a configuration, a directory, overrides and budgets. Out: a campaign with
candidates, job directories and a report, and artifacts for Prefect's pages. The picture itself is
`flows.pipeline.run_campaign`, which needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import flow
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State
from prefect.tasks import Task
from pydantic import BaseModel

from flows.explore import as_subflow
from flows.pipeline import opened, run_campaign, stage_runs
from flows.running.artifacts import Progress, publish
from flows.running.plan import planned
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
        with opened(plan, hours) as open_campaign:
            run = AsTasks(open_campaign, stage_runs(plan.config))
            run_campaign(open_campaign, plan.config, run)
            publish(open_campaign, plan.config.name, plan.config.targets, run.results)
    except BudgetUsed as stop:
        return Completed(message=stop.what)
    return Completed(message=f"the report is {plan.root / 'report' / 'index.html'}")


class AsTasks:
    """Runs stages as Prefect tasks; see `flows.pipeline.Run`.

    Only handles and configurations go through Prefect. Nothing is retried or cached by it: the
    campaign's ledger knows what is finished.

    Attributes
    ----------
    results : dict of str to object
        Last output of each stage function, by its name.
    """

    def __init__(self, campaign: Campaign, steps: int):
        self._campaign = campaign
        self._progress = Progress("agd-progress", "campaign")
        self._steps, self._done = steps, 0
        self.results: dict[str, Any] = {}

    def __call__(self, stage: Callable[..., Output], *inputs: Any) -> Output:
        """Run one stage function as a task, or as a sub-flow where it is the search."""
        name = stage.__name__
        if stage is explore:
            output: Any = as_subflow(self._campaign)(*inputs)
        else:
            output = self._task(stage, name, inputs)(list(inputs))
        self.results[name] = output
        self._done += 1
        self._progress.show(self._done / self._steps, f"{name} done")
        return output

    def _task(
        self, stage: Callable[..., Output], name: str, inputs: tuple[Any, ...]
    ) -> Task[[list[Any]], Output]:
        def body(inputs: list[Any]) -> Output:
            return self._campaign.run(stage, *inputs)

        body.__name__ = name
        shard = next((f"-{one}" for one in reversed(inputs) if isinstance(one, int)), "")
        return Task(
            body,
            name=name,
            task_run_name=f"{name}{shard}",
            description=(stage.__doc__ or "").partition("\n")[0],
            tags=["agd"],
            retries=0,
            cache_policy=NO_CACHE,
            persist_result=False,
        )
