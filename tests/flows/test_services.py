"""The project's own server, worker and deployments, and Prefect's command line against them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import launch, services
from structure.errors import CampaignError, ConfigError

pytestmark = [pytest.mark.flow, pytest.mark.slow]

ATTEMPTS = 240


@pytest.fixture(scope="module")
def server(project):
    """A real server of a project, with all deployments on it."""
    with services.server(project) as env:
        services.make_pool(env)
        services.deploy(env, project)
        yield env


@pytest.fixture
def client(server):
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(server["PREFECT_API_URL"]) as one:
        yield one


def prefect(server, project, *words):
    return subprocess.run(
        [Path(sys.executable).parent / "prefect", *words],
        env=server,
        cwd=project,
        capture_output=True,
        text=True,
    )


def until(condition):
    """Ask every half second; the number of attempts only keeps a broken test from hanging."""
    for _ in range(ATTEMPTS):
        if found := condition():
            return found
        time.sleep(0.5)
    return condition()


def test_the_command_of_the_readme_starts_a_run(server, project, client):
    done = prefect(server, project, "deployment", "run", "agd-bandgap")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agd/agd-bandgap" in done.stdout
    (run,) = client.read_flow_runs()
    assert client.read_deployment(run.deployment_id).name == "agd-bandgap"
    assert run.parameters["config"] == "agd-bandgap"


def test_the_portable_name_works_too(server, project):
    done = prefect(server, project, "deployment", "run", "agd/agd-semiconductor")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bare_name_nobody_deployed_is_not_found(server, project):
    done = prefect(server, project, "deployment", "run", "agd-bandgpa")
    assert done.returncode == 1
    assert "not found" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["agd-bandgap", "agd/agd-bandgap"])
def test_without_a_server_the_command_says_how_to_start_one(server, project, name):
    nowhere = f"http://127.0.0.1:{services._checked_port(None)}/api"
    done = prefect(server | {"PREFECT_API_URL": nowhere}, project, "deployment", "run", name)
    assert done.returncode == 1
    assert "make serve" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_without_the_plugin_prefect_wants_the_portable_name(server, project):
    done = prefect(
        server | {"PREFECT_PLUGINS_ENABLED": "false"}, project, "deployment", "run", "agd-bandgap"
    )
    assert done.returncode == 1
    assert "Invalid deployment name format" in done.stdout + done.stderr


def test_a_schedule_that_is_switched_on_plans_its_nights(server, client):
    """Versions of SQLAlchemy that Prefect cannot use break this, and nothing else shows it."""
    from prefect.client.schemas.objects import StateType

    launch._activate_schedules(server["PREFECT_API_URL"])
    deployment = client.read_deployment_by_name("agd/agd-bandgap-overnight")
    nights = until(
        lambda: [run for run in client.read_flow_runs() if run.deployment_id == deployment.id]
    )
    assert nights
    assert all(run.auto_scheduled and run.state_type == StateType.SCHEDULED for run in nights)
    assert {run.parameters["hours"] for run in nights} == {9}
    assert {run.expected_start_time.minute for run in nights} == {0}


def test_runs_left_open_by_a_kill_are_closed_but_planned_nights_stay(server, client):
    from prefect.client.schemas.objects import StateType
    from prefect.states import Running

    deployment = client.read_deployment_by_name("agd/agd-bandgap")
    run = client.create_flow_run_from_deployment(deployment.id)
    client.set_flow_run_state(run.id, Running(), force=True)
    planned = {r.id for r in client.read_flow_runs() if r.auto_scheduled}
    launch._close_leftovers(server["PREFECT_API_URL"])
    assert client.read_flow_run(run.id).state_type == StateType.CRASHED
    still = {r.id for r in client.read_flow_runs() if r.state_type == StateType.SCHEDULED}
    assert planned <= still


def test_a_second_server_of_the_project_is_refused(server, project):
    with pytest.raises(CampaignError, match="another Prefect server"), services.server(project):
        pass


def test_a_server_without_pages_is_not_used_by_other_runs(server, project):
    assert services.served(project) is None


def test_a_taken_port_is_named(tmp_path, server):
    port = int(server["PREFECT_API_URL"].split(":")[-1].split("/")[0])
    with (
        pytest.raises(CampaignError, match=f"port {port} is taken"),
        services.server(tmp_path, port),
    ):
        pass


def test_deployments_prefect_cannot_read_are_reported_in_its_words(server, tmp_path):
    (tmp_path / "prefect.yaml").write_text("deployments:\n- name: x\n  entrypoint: no.such.flow\n")
    with pytest.raises(CampaignError, match="did not take"):
        services.deploy(server, tmp_path)


def test_a_server_that_dies_is_reported_with_its_last_words(tmp_path, monkeypatch):
    words = [sys.executable, "-c", "print('no database today'); raise SystemExit(3)"]
    monkeypatch.setattr(services, "_prefect", lambda *_: words)
    with pytest.raises(CampaignError, match="no database today"), services.server(tmp_path):
        pass


def test_a_directory_that_is_no_project_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no prefect\.yaml"):
        services.find_project()


def test_children_end_with_the_process_that_started_them_even_if_it_is_killed(tmp_path):
    """Kill a parent with SIGKILL; its child must go by itself."""
    code = (
        "import sys, time; from pathlib import Path; from flows import services\n"
        "with services.process([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "__import__('os').environ, Path(sys.argv[1])) as child:\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    assert until(lambda: not alive(child))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
