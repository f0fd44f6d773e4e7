"""Dask workers: on this machine, or wherever the workers of a running scheduler are.

In: ``workers`` settings of kind dask. Out: `flows.running.workers.Workers` over a Dask client. Dask
moves inputs, handles and log lines; tables stay in the campaign directory, which every worker must
see under the same path. Needs the extra ``dask``.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from flows.running.worker_process import Done, Failed, Task, answer, sending_logs
from flows.running.workers import FEWER, WorkerDied, WorkersClosed, WorkersConfig
from structure.errors import CampaignError, ConfigError
from tasks.campaign.place import Place
from tasks.campaign.surroundings import cores, of_workers

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

logger = logging.getLogger(__name__)
Output = TypeVar("Output")

CONNECT_S = 20.0
"""How long a scheduler may take to answer (chosen)."""

QUIET = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.admin.log-format": "%(name)s: %(message)s",
}
"""A death is told to us at once: whether the part is done again is decided in one place."""


class Told(NamedTuple):
    """The answer of a Dask worker with what it logged."""

    answer: Done | Failed
    records: list[logging.LogRecord]


class DaskWorkers:
    """Workers of a Dask cluster.

    Parameters
    ----------
    config : WorkersConfig
    root : Path
        The campaign directory.

    Raises
    ------
    ConfigError
        If Dask is not installed, or no scheduler answers at the address.
    """

    def __init__(self, config: WorkersConfig, root: Path):
        try:
            import distributed
        except ImportError as error:
            raise ConfigError(
                "Dask is not installed",
                where="workers.kind",
                fix="Install the extra (`pip install -e '.[dask]'`), or set it to processes.",
            ) from error
        self._config, self._root = config, root
        self._distributed = distributed
        self._starting = threading.Lock()
        self._client: Client | None = None
        self._cluster: LocalCluster | None = None
        self._closed = False
        if config.address is not None:
            self._client = self._connected(config.address)

    def at_once(self) -> int:
        """Return how many parts are done at a time: a running cluster may grow and shrink."""
        if self._config.n is not None:
            return self._config.n
        if self._config.address is None:
            return cores()
        return max(sum(self._begun().nthreads().values()), 1)

    def expect(self, parts: int) -> None:
        """Begin the cluster of this machine, if there is anything to do."""
        if parts and not self._closed:
            self._begun()

    def run(self, name: str, function: Callable[..., Output], place: Place, *inputs: Any) -> Output:
        """Have a Dask worker do a part; see `flows.running.workers.Workers.run`."""
        place = replace(place, root=place.root.resolve())
        future = self._begun().submit(at_dask_worker, Task(function, (place, *inputs)), pure=False)
        try:
            told: Told = future.result()
        except Exception as error:
            raise self._failure(name, error) from error
        for record in told.records:
            logging.getLogger(record.name).handle(record)
        if isinstance(told.answer, Failed):
            told.answer.error.add_note(f"At a Dask worker:\n{told.answer.trace}")
            raise told.answer.error
        output: Output = told.answer.output
        return output

    def close(self) -> None:
        """Give up what is under way and end the cluster if it is ours."""
        self._closed = True
        client, cluster = self._client, self._cluster
        with suppress(Exception):
            if client is not None:
                client.close(timeout=5)
        with suppress(Exception):
            if cluster is not None:
                cluster.close(timeout=10)

    def _begun(self) -> Client:
        with self._starting:
            if self._closed:
                raise WorkersClosed("the run was stopped")
            if self._client is None:
                self._client = self._own()
            return self._client

    def _own(self) -> Client:
        """Begin a cluster on this machine."""
        import dask

        with dask.config.set(QUIET):
            self._cluster = self._distributed.LocalCluster(
                n_workers=self._config.n or cores(),
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                worker_dashboard_address=None,
                env=of_workers({}, self._config.threads),
                silence_logs=logging.ERROR,
            )
            return self._distributed.Client(self._cluster, set_as_default=False)

    def _connected(self, address: str) -> Client:
        try:
            client = self._distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise ConfigError(
                f"no Dask scheduler answers: {error}",
                where=f"workers.address: {address}",
                fix="Start one (`dask scheduler`), correct the address, or leave it out: then a "
                "cluster is begun on this machine.",
            ) from error
        if not client.nthreads():
            logger.info("the Dask scheduler at %s has no workers yet; parts wait for one", address)
        return client

    def _failure(self, part: str, error: Exception) -> Exception:
        """Return the error to raise where Dask gave none of ours."""
        if self._closed:
            return WorkersClosed("the run was stopped")
        if isinstance(error, self._distributed.KilledWorker):
            return WorkerDied(
                f"the Dask worker that did {part} ended before it answered, as where memory runs "
                "out or its job ends",
                where=self._root,
                fix=FEWER,
            )
        if isinstance(error, ModuleNotFoundError):
            return ConfigError(
                f"a Dask worker has no module {error.name!r}",
                where=self._config.address or "workers",
                fix="Start the workers with the Python environment of this product.",
            )
        if isinstance(error, self._lost()):
            return CampaignError(
                f"the Dask scheduler went away while it had {part}: {error}",
                where=self._config.address or "a cluster on this machine",
                fix="Start it again and run the same command again: finished parts are kept.",
            )
        return error

    def _lost(self) -> tuple[type[BaseException], ...]:
        from concurrent.futures import CancelledError

        return (CancelledError, OSError, self._distributed.CancelledError)


def at_dask_worker(task: Task) -> Told:
    """Do a part at a Dask worker; runs there."""
    place = task.arguments[0]
    if not (place.root / "campaign.json").exists():
        missing = CampaignError(
            "a Dask worker does not see the campaign directory",
            where=f"{socket.gethostname()}: {place.root}",
            fix="Keep campaigns on a file system that all workers mount under the same path.",
        )
        return Told(Failed(missing, ""), [])
    records: list[logging.LogRecord] = []
    with sending_logs(records.append):
        return Told(answer(task), records)
