"""One command for a whole campaign through Prefect: serves ``agd run`` and ``make campaign``.

In: a configuration and a campaign directory. Out: the campaign, run as deployment ``agd-bandgap``
by a worker, its log on the screen, and an exit status that follows the run. Server and worker are
started for it and stopped after it, unless `agd serve` is up: then they do the work.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from flows import services

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

DEPLOYMENT = "agd/agd-bandgap"
POLL_S = 1.0


def launch(parameters: Mapping[str, Any], log: Path, say: Callable[[str], None]) -> int:
    """Run flow ``agd`` through Prefect and wait for it.

    Parameters
    ----------
    parameters : mapping
        Of the flow.
    log : Path
        The campaign's log, shown as it grows.
    say : callable
        Prints one line.

    Returns
    -------
    int
        0 if the run completed, 1 otherwise, 130 if we were told to stop.
    """
    project = services.find_project()
    with _told_to_stop():
        try:
            if url := services.served(project):
                say(f"using the server at {url}")
                services.deploy(services.environment(project, url), project, "agd-bandgap")
                return _run(url, parameters, log, say, queue=None)
            return _run_alone(project, parameters, log, say)
        except KeyboardInterrupt:
            say("stopped; the same command goes on from here")
            return 130


def serve(port: int, overnight: bool, say: Callable[[str], None]) -> int:
    """Keep server, web pages, worker and all deployments up until told to stop."""
    project = services.find_project()
    with _told_to_stop():
        try:
            say("starting the Prefect server")
            with services.server(project, port, ui=True) as env:
                url = env["PREFECT_API_URL"]
                _close_leftovers(url)
                services.make_pool(env)
                services.deploy(env, project)
                if overnight:
                    _activate_schedules(url)
                with services.worker(env, project) as worker:
                    say(f"web pages: {url.removesuffix('/api')}")
                    say("start a campaign with `prefect deployment run agd-bandgap`; Ctrl-C stops")
                    status = worker.wait()
            say(f"the worker ended with status {status}:\n{services.tail(_worker_log(project))}")
            return 1
        except KeyboardInterrupt:
            say("stopped")
            return 0


def _run_alone(
    project: Path, parameters: Mapping[str, Any], log: Path, say: Callable[[str], None]
) -> int:
    say("starting the Prefect server")
    with services.server(project) as env:
        _close_leftovers(env["PREFECT_API_URL"])
        services.make_pool(env)
        with services.worker(env, project, services.QUEUE):
            services.deploy(env, project, "agd-bandgap")
            return _run(env["PREFECT_API_URL"], parameters, log, say, services.QUEUE)


def _run(
    url: str,
    parameters: Mapping[str, Any],
    log: Path,
    say: Callable[[str], None],
    queue: str | None,
) -> int:
    """Start a run, show its log until it ends, cancel it if we are interrupted."""
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(url) as client:
        shown = log.stat().st_size if log.exists() else 0
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters=dict(parameters), work_queue_name=queue
        )
        say(f"flow run {run.name}")
        try:
            while not (run.state and run.state.is_final()):
                time.sleep(POLL_S)
                run = client.read_flow_run(run.id)
                shown = _show(log, shown, say)
        except BaseException:
            _end(client, run.id)
            raise
        _show(log, shown, say)
        return _verdict(run, say)


def _verdict(run: FlowRun, say: Callable[[str], None]) -> int:
    state = run.state
    if state is None or not state.is_completed():
        say(f"the run ended as {state.name if state else 'unknown'}: {state and state.message}")
        return 1
    return 0


def _show(log: Path, shown: int, say: Callable[[str], None]) -> int:
    """Print the whole lines of the log beyond `shown` bytes; return how far it was shown."""
    if not log.exists():
        return shown
    with log.open("rb") as handle:
        handle.seek(shown)
        fresh = handle.read()
    whole = fresh[: fresh.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        say(line)
    return shown + len(whole)


def _end(client: SyncPrefectClient, run_id: UUID) -> None:
    """Ask Prefect to cancel a run; the worker then stops its process."""
    from prefect.states import Cancelling

    with contextlib.suppress(Exception):
        client.set_flow_run_state(run_id, Cancelling())


def _close_leftovers(url: str) -> None:
    """Mark runs that were going when an earlier server was killed as crashed.

    The lock on the server makes sure that nothing runs them any more; scheduled runs stay.
    """
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    alive = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.SCHEDULED]
    going = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=alive)),
    )
    with SyncPrefectClient(url) as client:
        for run in client.read_flow_runs(flow_run_filter=going):
            if not run.auto_scheduled or run.state_type != StateType.SCHEDULED:
                state: State[Any] = Crashed(message="its server and worker were stopped")
                client.set_flow_run_state(run.id, state, force=True)


def _activate_schedules(url: str) -> None:
    """Switch on the schedules that prefect.yaml ships switched off."""
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(url) as client:
        for deployment in client.read_deployments():
            for schedule in deployment.schedules:
                client.update_deployment_schedule(
                    deployment.id, schedule.id, active=True, parameters=schedule.parameters
                )


def _worker_log(project: Path) -> Path:
    return project / ".prefect" / "worker.log"


@contextlib.contextmanager
def _told_to_stop() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that every `finally` runs."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
