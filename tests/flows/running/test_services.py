"""The project's own server, worker and deployments, and Prefect's command line against them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import httpx
import pytest

from flows.running import launch, secret, services
from structure.errors import CampaignError, ConfigError

pytestmark = [pytest.mark.flow, pytest.mark.slow]

ATTEMPTS = 240
STREAMS = (
    "/events/in",
    "/events/out",
    "/logs/out",
    "/task_runs/subscriptions/scheduled",
    f"/work_pools/{services.POOL}/workers/connect",
)


@pytest.fixture(scope="module")
def server(project):
    """A real server of a project, with all deployments on it."""
    with services.server(project) as env:
        services.make_pool(env)
        services.deploy(env, project)
        yield env


@pytest.fixture
def client(server):
    with services.client(server) as one:
        yield one


def prefect(server, project, *words):
    return subprocess.run(
        [Path(sys.executable).parent / "prefect", *words],
        env=server,
        cwd=project,
        capture_output=True,
        text=True,
    )


def basic(key):
    """The header a client with this secret sends."""
    return {} if key is None else {"Authorization": f"Basic {b64encode(key.encode()).decode()}"}


def content(path, folder=None):
    """What a file begins with, or None if it cannot be read."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY, dir_fd=folder), "rb") as handle:
            return handle.read(1 << 16)
    except OSError:
        return None


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


def test_nobody_commands_the_server_without_the_secret(server, client):
    """Every operation of the API, with no secret and with wrong ones; only two say they are up."""
    deployment = client.read_deployment_by_name("agd/agd-bandgap")
    before = len(client.read_flow_runs())
    key = server["PREFECT_API_AUTH_STRING"]
    site = server["PREFECT_API_URL"].removesuffix("/api")
    wrong = [None, key[:-1], f"{key}x", key.partition(":")[2], ":"]
    headers = [basic(one) for one in wrong] + [{"Authorization": f"Bearer {key}"}]
    opened = set()
    with httpx.Client(base_url=site, trust_env=False, timeout=60) as stranger:
        paths = stranger.get("/openapi.json").json()["paths"]
        assert len(paths) > 100
        for number, (path, method) in enumerate((p, m) for p, ms in paths.items() for m in ms):
            place = "/api" + re.sub(r"\{[^}]*\}", str(deployment.id), path)
            one = headers[number % len(headers)]
            if stranger.request(method, place, json={}, headers=one).status_code != 401:
                opened.add((method, path))
        order = {"job_variables": {"command": "touch taken"}}
        place = f"/api/deployments/{deployment.id}/create_flow_run"
        for one in headers:
            assert stranger.post(place, json=order, headers=one).status_code == 401
        assert stranger.post(place, json={}, headers=basic(key)).status_code == 201
    assert opened == {("get", "/health"), ("get", "/ready")}
    assert len(client.read_flow_runs()) == before + 1


@pytest.mark.parametrize("place", STREAMS)
def test_no_stream_opens_without_the_secret(server, place):
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    url = server["PREFECT_API_URL"].replace("http", "ws", 1) + place
    for first in ({"type": "auth", "token": None}, {"type": "auth", "token": "agd:x"}, {}):
        with (
            connect(url, subprotocols=["prefect"], proxy=None) as stream,
            pytest.raises(ConnectionClosed, match="1008"),
        ):
            stream.send(json.dumps(first))
            stream.recv()
    with pytest.raises(InvalidStatus):
        connect(url, proxy=None)
    key = server["PREFECT_API_AUTH_STRING"]
    with connect(url, subprotocols=["prefect"], proxy=None) as stream:
        stream.send(json.dumps({"type": "auth", "token": key}))
        assert json.loads(stream.recv())["type"] == "auth_success"


def test_the_server_is_heard_on_this_machine_s_own_address_only(server):
    port = int(server["PREFECT_API_URL"].split(":")[-1].split("/")[0])
    with socket.socket() as probe:  # another address of the loopback network
        assert probe.connect_ex(("127.0.0.2", port)) != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_cannot_read_the_secret_database_or_environment(server, project):
    key = f"PREFECT_SERVER_API_AUTH_STRING={server['PREFECT_API_AUTH_STRING']}".encode()
    (environ,) = (
        path for path in Path("/proc").glob("[0-9]*/environ") if key in (content(path) or b"")
    )
    names = [f".prefect/{name}" for name in (secret.FILE, "prefect.db", "server.log")]
    assert all(content(project / name) is not None for name in names)
    project.chmod(0o755)
    folder = os.open(project, os.O_RDONLY)
    os.seteuid(65534)
    try:
        assert content("prefect.yaml", folder)
        assert [content(name, folder) for name in [*names, environ]] == [None] * 4
        with pytest.raises(PermissionError):
            os.open(".prefect", os.O_RDONLY, dir_fd=folder)
    finally:
        os.seteuid(0)
        os.close(folder)


def test_the_secret_lies_in_its_file_alone(server, project):
    key = server["PREFECT_API_AUTH_STRING"]
    shown = [key.partition(":")[2].encode(), b64encode(key.encode())]
    found = {
        path.name
        for path in project.rglob("*")
        if path.is_file() and any(words in path.read_bytes() for words in shown)
    }
    assert found == {secret.FILE}
    commands = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.exists()]
    assert not [one for one in commands if shown[0] in one]


def test_with_another_secret_the_clients_say_what_to_do(server, project):
    other = server | {"PREFECT_API_AUTH_STRING": f"agd:{43 * 'x'}"}
    with pytest.raises(CampaignError, match="not the one it was started with"):
        services.make_pool(other)
    done = prefect(other, project, "deployment", "run", "agd-bandgap")
    assert done.returncode == 1
    assert "wants its secret" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_shell_in_the_project_needs_no_secret_typed(server, project):
    """As after `cd`: of our settings only the address, the secret from the file."""
    ours = ("PREFECT_HOME", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILES_PATH")
    shell = {name: value for name, value in server.items() if name not in ours}
    home = {"PREFECT_HOME": str(project / "of-the-shell")}
    done = prefect(shell | home, project, "deployment", "run", "agd-bandgap")
    assert done.returncode == 0, done.stdout + done.stderr
    assert server["PREFECT_API_AUTH_STRING"].partition(":")[2] not in done.stdout + done.stderr
    elsewhere = prefect(shell | home, project.parent, "deployment", "run", "agd/agd-bandgap")
    assert "401" in elsewhere.stdout + elsewhere.stderr


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

    launch._activate_schedules(server)
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
    launch._close_leftovers(server)
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


def test_deploying_to_a_server_without_the_pool_says_how_to_make_it(server, project, tmp_path):
    for name in ("prefect.yaml", "pyproject.toml"):
        text = (project / name).read_text()
        (tmp_path / name).write_text(text.replace(services.POOL, "nobody-made-it"))
    done = prefect(server, tmp_path, "--no-prompt", "deploy", "--name", "agd-bandgap")
    assert done.returncode == 1
    assert "prefect work-pool create nobody-made-it --type process" in done.stderr


def test_training_through_prefect_asks_for_the_folder_of_data(server, project):
    done = prefect(server, project, "deployment", "run", "agd-train")
    assert done.returncode == 1
    assert "'data' is a required" in done.stdout + done.stderr


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
        "import sys, time; from pathlib import Path; from flows.running import services\n"
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
