"""The project's own Prefect server and worker: serve ``agd run`` and ``agd serve``.

In: the project directory. Out: a server with its database under ``.prefect/``, a worker and the
deployments of ``prefect.yaml``, alive inside a ``with`` block and gone after it, however it ends.
The server takes orders only with the secret of `flows.running.secret`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from flows.running import secret
from flows.running.shadows import HOME, hiding
from structure.errors import CampaignError, ConfigError
from structure.files import write_json
from tasks.campaign.surroundings import settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "agd-local"
QUEUE = "agd-run"
"""Work queue of `agd run`: its worker takes the one run it was started for, never a late one."""

LOCK = "server.lock"
"""Held, in ``.prefect``, while a server of the project is up or coming up."""

RECORD = "server.json"
"""What a server that is up says of itself, in ``.prefect``."""

SERVE_PORT = 4200
"""Port of `agd serve`, as ``[tool.prefect.api]`` in pyproject.toml tells Prefect's CLI."""

START_LIMIT_S = 600.0
"""How long a server may take to come up (chosen: 7 to 20 s is usual, minutes on a busy machine)."""

STOP_LIMIT_S = 15.0


def find_project() -> Path:
    """Return the current directory if it is the project's.

    Raises
    ------
    ConfigError
        If there is no ``prefect.yaml`` here, or a file here hides a package of the product.
    """
    here = Path.cwd()
    if not (here / "prefect.yaml").exists():
        home = f" ({HOME})" if (HOME / "prefect.yaml").exists() else ""
        raise ConfigError(
            "there is no prefect.yaml here",
            where=here,
            fix=f"Change to the project directory{home}, or add `--local` to run without Prefect.",
        )
    if found := hiding([here]):
        raise ConfigError(
            f"Prefect's processes would take {found[0].name} for a package of the product",
            where=found[0],
            fix="Rename it, or run in another directory; `--local` works here.",
        )
    return here


def environment(project: Path, url: str, key: str) -> dict[str, str]:
    """Return the environment of every process that talks to the project's server.

    What the user has set for another server, such as its database, does not reach ours.

    Parameters
    ----------
    project : Path
    url : str
        Of the server's API.
    key : str
        Its secret. The kernel shows the environment of a process to its owner only.
    """
    others = ("PREFECT_API_", "PREFECT_SERVER_", "PREFECT_UI_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(others)},
        **settings(os.environ),
        **secret.without_proxy(os.environ),
        "PREFECT_HOME": str(project / ".prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": key,
        "PREFECT_PROFILES_PATH": str(project / ".prefect" / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_API_URL": url,
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,models",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def server(project: Path, port: int | None = None, ui: bool = False) -> Iterator[dict[str, str]]:
    """Run a Prefect server of this project; give the environment of its clients.

    Parameters
    ----------
    project : Path
    port : int, optional
        A free one when not given.
    ui : bool
        Serve the web pages too.

    Raises
    ------
    CampaignError
        If another server of this project is up, the port is taken, the server does not start, or
        its folder cannot be closed to others.
    """
    home = secret.private(project / ".prefect")
    try:
        lock = FileLock(home / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise CampaignError(
            "another Prefect server of this project is up",
            where=home,
            fix="Stop the other `agd run` or `agd serve`, or add `--local`.",
        ) from error
    try:
        port = _checked_port(port)
        url = f"http://{secret.HOST}:{port}/api"
        key = secret.made(home)
        env = environment(project, url, key)
        words = ["server", "start", "--host", secret.HOST, "--port", str(port)]
        words.append("--ui" if ui else "--no-ui")
        own = {**env, "PREFECT_SERVER_API_AUTH_STRING": key}
        with process(_prefect(*words), own, home / "server.log") as running:
            _wait_until_healthy(url, running, home / "server.log")
            write_json(home / RECORD, {"url": url, "ui": ui})
            try:
                yield env
            finally:
                (home / RECORD).unlink(missing_ok=True)
    finally:
        lock.release()


def served(project: Path) -> dict[str, str] | None:
    """Return the environment of clients of this project's `agd serve`; None if none is up.

    One that is just starting, or too busy to answer at once, is waited for.

    Raises
    ------
    CampaignError
        If the server is another user's, or does not take the secret that is in its file.
    """
    home, began = project / ".prefect", time.monotonic()
    if not home.exists():
        return None
    secret.private(home)
    while _locked(home):
        record = _record(home)
        if record is not None and not record["ui"]:
            return None
        if record is not None and _healthy(record["url"]):
            env = environment(project, str(record["url"]), secret.known(home))
            with client(env) as one:
                one.hello()
            return env
        if time.monotonic() - began > START_LIMIT_S:
            return None
        time.sleep(0.5)
    return None


@contextlib.contextmanager
def client(env: Mapping[str, str]) -> Iterator[SyncPrefectClient]:
    """Give a client of the server.

    Raises
    ------
    CampaignError
        If the server does not take our secret.
    """
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectHTTPStatusError

    url, key = env["PREFECT_API_URL"], env["PREFECT_API_AUTH_STRING"]
    try:
        with SyncPrefectClient(url, auth_string=key, httpx_settings={"trust_env": False}) as one:
            yield one
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 401:
            raise
        path = Path(env["PREFECT_HOME"]) / secret.FILE
        raise secret.unusable(path, "is not the one it was started with") from error


def address(home: Path) -> str | None:
    """Return the address of the API of the project's own server, if one is up."""
    record = _record(home) if secret.ours(home) and _locked(home) else None
    return None if record is None else str(record["url"])


def _locked(home: Path) -> bool:
    path = home / LOCK
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _record(home: Path) -> dict[str, Any] | None:
    """Return what a server that is up wrote of itself; None before it did."""
    try:
        record = json.loads((home / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def deploy(env: Mapping[str, str], project: Path, *names: str) -> None:
    """Put deployments of ``prefect.yaml`` on the server: the named ones, or all.

    Raises
    ------
    CampaignError
        With Prefect's own words, if it refuses.
    """
    chosen = [word for name in names for word in ("--name", name)] or ["--all"]
    done = subprocess.run(
        _prefect("--no-prompt", "deploy", *chosen),
        env={**env, "PWD": str(project)},
        cwd=project,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CampaignError(
            f"Prefect did not take the deployments: {(done.stdout + done.stderr).strip()[-800:]}",
            where=project / "prefect.yaml",
            fix="Correct prefect.yaml, then run the same command again.",
        )


def make_pool(env: Mapping[str, str]) -> None:
    """Make the work pool of this project's deployments unless the server has it."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    pool = WorkPoolCreate(
        name=POOL,
        type="process",
        base_job_template=ProcessWorker.get_default_base_job_template(),
    )
    with client(env) as one, contextlib.suppress(ObjectAlreadyExists):
        one.create_work_pool(pool)


def worker(env: Mapping[str, str], project: Path, queue: str | None = None) -> Any:
    """Run a worker inside a ``with`` block: of one queue, or of the whole pool."""
    words = ["worker", "start", "--pool", POOL, "--type", "process"]
    if queue:
        words += ["--work-queue", queue]
    return process(_prefect(*words), env, project / ".prefect" / "worker.log")


@contextlib.contextmanager
def process(
    command: list[str], env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child process that ends with the block, and with us if we are killed."""
    with log.open("wb") as output:
        child = _start(command, env, output)
        try:
            yield child
        finally:
            _stop(child)


def tail(log: Path, lines: int = 8) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def _prefect(*words: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *words]


def _start(
    command: list[str], env: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


def _end_with_parent() -> None:
    """In the child: take SIGINT as usual, and SIGTERM from the kernel when the parent dies."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in sys/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a child: ask it, and after a while end its whole session."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_LIMIT_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _checked_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((secret.HOST, port or 0))
        except OSError as error:
            raise CampaignError(
                f"port {port} is taken by another program",
                where=f"{secret.HOST}:{port}",
                fix="Stop that program, or give another one with `agd serve --port 4300`.",
            ) from error
        return int(probe.getsockname()[1])


def _wait_until_healthy(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while not _healthy(url):
        if running.poll() is not None or time.monotonic() - began > START_LIMIT_S:
            raise CampaignError(
                f"the Prefect server did not start; its last words:\n{tail(log)}",
                where=log,
                fix="Run `agd doctor`: it names packages of a version Prefect cannot use. "
                "`agd run --local` needs no server.",
            )
        time.sleep(0.25)


def _healthy(url: str) -> bool:
    import httpx

    try:
        answer = httpx.get(f"{url}/health", timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and not secret.foreign(url)


def gone(url: str) -> bool:
    """Return whether nobody listens at the address of a server any more."""
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex((secret.HOST, urlsplit(url).port or 0)) == errno.ECONNREFUSED
