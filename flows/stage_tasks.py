"""Prefect tasks of the stage functions: one a function, made once.

In: the functions that a campaign runs. Out: their tasks. A task at a worker is a thread of the flow
that waits for the worker: Prefect's own runners take 0.1 to 0.4 s a task, and would need its server
at each worker. Prefect retries a part whose worker died, and nothing else: an error in our code or
in the input is the same the second time. It caches nothing: the campaign's ledger knows what is
finished. Only handles and settings go through it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task
from pydantic import BaseModel

from flows.pipeline import STAGES
from flows.running.parts import ATTEMPTS
from flows.running.workers import WorkerDied, Workers
from tasks.campaign.directory import Campaign
from tasks.campaign.place import Place
from tasks.campaign.stage import stage_of

Function = Callable[..., BaseModel]


def worker_died(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a task failed because its worker ended before it answered."""
    return isinstance(state.data, WorkerDied)


def at_worker(function: Function) -> Task[[str, Workers, Place, list[Any]], BaseModel]:
    """Return a task that has a worker do a part of a stage, once more if the worker dies."""

    def body(name: str, workers: Workers, place: Place, inputs: list[Any]) -> BaseModel:
        return workers.run(name, function, place, *inputs)

    return Task(
        body,
        name=function.__name__,
        task_run_name="{name}",
        description=_first_line(function),
        tags=["agd"],
        retries=ATTEMPTS - 1,
        retry_condition_fn=worker_died,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def in_the_flow(function: Function) -> Task[[str, Campaign, list[Any]], BaseModel]:
    """Return a task that runs a stage which needs the ledger, in the flow's own thread."""

    def body(name: str, campaign: Campaign, inputs: list[Any]) -> BaseModel:
        return campaign.run(function, *inputs)

    return Task(
        body,
        name=function.__name__,
        task_run_name="{name}",
        description=_first_line(function),
        tags=["agd"],
        retries=0,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _first_line(function: Function) -> str:
    return (function.__doc__ or "").partition("\n")[0]


AT_WORKERS = {f: at_worker(f) for f in STAGES if not stage_of(f).in_the_flow}
"""Tasks by the function whose parts they do."""

IN_THE_FLOW = {f: in_the_flow(f) for f in STAGES if stage_of(f).in_the_flow}
"""Tasks by their function; the search is a sub-flow instead."""
