"""One command for a whole campaign through Prefect: serves ``agd run`` and ``make campaign``.

In: a configuration and a campaign directory. Out: the campaign, run as deployment ``agd-bandgap``
by a worker, its log on the screen, and an exit status that follows the run. Server and worker are
started for it and stopped after it, unless `agd serve` is up: then they do the work.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.running import secret, services

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
        0 if the run completed, 1 otherwise.
    """
    project = services.find_project()
    if env := services.served(project):
        say(f"using the server at {env['PREFECT_API_URL']}")
        services.deploy(env, project, "agd-bandgap")
        return _run(env, parameters, log, say, queue=None)
    return _run_alone(project, parameters, log, say)


def serve(port: int, overnight: bool, say: Callable[[str], None]) -> int:
    """Keep server, web pages, worker and all deployments up until told to stop."""
    project = services.find_project()
    try:
        say("starting the Prefect server")
        with services.server(project, port, ui=True) as env:
            url = env["PREFECT_API_URL"]
            _close_leftovers(env)
            services.make_pool(env)
            services.deploy(env, project)
            if overnight:
                _activate_schedules(env)
            with services.worker(env, project) as worker:
                key = Path(".prefect") / secret.FILE
                say(f"web pages: {url.removesuffix('/api')} (they ask for the line in {key})")
                say("start a campaign with `prefect deployment run agd-bandgap`; Ctrl-C stops")
                while worker.poll() is None and not services.gone(url):
                    time.sleep(POLL_S)
                ended = "server" if worker.poll() is None else "worker"
        say(f"the {ended} ended:\n{services.tail(project / '.prefect' / f'{ended}.log')}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 0


def _run_alone(
    project: Path, parameters: Mapping[str, Any], log: Path, say: Callable[[str], None]
) -> int:
    say("starting the Prefect server")
    with services.server(project) as env:
        _close_leftovers(env)
        services.make_pool(env)
        with services.worker(env, project, services.QUEUE):
            services.deploy(env, project, "agd-bandgap")
            return _run(env, parameters, log, say, services.QUEUE)


def _run(
    env: Mapping[str, str],
    parameters: Mapping[str, Any],
    log: Path,
    say: Callable[[str], None],
    queue: str | None,
) -> int:
    """Start a run, show its log until it ends, cancel it if we are interrupted."""
    with services.client(env) as client:
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


def _close_leftovers(env: Mapping[str, str]) -> None:
    """Mark runs that were going when an earlier server was killed as crashed.

    The lock on the server makes sure that nothing runs them any more; scheduled runs stay.
    """
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
    with services.client(env) as client:
        for run in client.read_flow_runs(flow_run_filter=going):
            if not run.auto_scheduled or run.state_type != StateType.SCHEDULED:
                state: State[Any] = Crashed(message="its server and worker were stopped")
                client.set_flow_run_state(run.id, state, force=True)


def _activate_schedules(env: Mapping[str, str]) -> None:
    """Switch on the schedules that prefect.yaml ships switched off."""
    with services.client(env) as client:
        for deployment in client.read_deployments():
            for schedule in deployment.schedules:
                client.update_deployment_schedule(
                    deployment.id, schedule.id, active=True, parameters=schedule.parameters
                )
