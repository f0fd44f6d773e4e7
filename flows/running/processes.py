"""Worker processes on this machine: the default of ``workers``.

In: how many, and how many threads each. Out: `flows.running.workers.Workers` over processes that
are begun when there is work for them, are told their threads before anything reads that setting,
and whose death is known with the part it had. They are not forked and import no ``__main__``, so
they can be used from a script, a notebook or a test.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from flows.running.worker_process import Done, Failed, Task, ready
from flows.running.workers import FEWER, WorkerDied, WorkersClosed
from tasks.campaign.place import Place
from tasks.campaign.surroundings import of_workers

Output = TypeVar("Output")

MODULE = "flows.running.worker_process"


class Processes:
    """Worker processes.

    Parameters
    ----------
    n : int
        Most processes.
    threads : int
        Threads of each.
    """

    def __init__(self, n: int, threads: int = 1):
        self._n, self._threads = n, threads
        self._all: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._changed = threading.Condition()
        self._closed = False

    def at_once(self) -> int:
        """Return how many parts are done at a time."""
        return self._n

    def expect(self, parts: int) -> None:
        """Start as many processes as there will be work for, without waiting for them."""
        with self._changed:
            while len(self._all) < min(parts, self._n) and not self._closed:
                worker = self._begun()
                worker.send(Task(ready, ()))
                self._idle.append(worker)

    def run(self, name: str, function: Callable[..., Output], place: Place, *inputs: Any) -> Output:
        """Have a process do a part; see `flows.running.workers.Workers.run`."""
        worker = self._free()
        try:
            output: Output = worker.ask(Task(function, (place, *inputs)))
        except _Ended as end:
            self._lose(worker)
            if self._closed:
                raise WorkersClosed("the run was stopped") from end
            what = f"the worker that did {name} {end}"
            raise WorkerDied(what, where=place.root, fix=FEWER) from end
        except BaseException:
            self._give_back(worker)
            raise
        self._give_back(worker)
        return output

    def close(self) -> None:
        """End all processes, at work or not."""
        with self._changed:
            self._closed = True
            for worker in self._all:
                worker.kill()
            for worker in self._idle:
                worker.close()
            self._all, self._idle = [], []
            self._changed.notify_all()

    def _begun(self) -> _Worker:
        worker = _Worker(self._threads)
        self._all.append(worker)
        return worker

    def _free(self) -> _Worker:
        with self._changed:
            while not self._closed:
                if self._idle:
                    return self._idle.pop()
                if len(self._all) < self._n:
                    return self._begun()
                self._changed.wait()
        raise WorkersClosed("the run was stopped")

    def _give_back(self, worker: _Worker) -> None:
        with self._changed:
            if self._closed:
                worker.close()
                return
            self._idle.append(worker)
            self._changed.notify()

    def _lose(self, worker: _Worker) -> None:
        with self._changed:
            worker.close()
            if worker in self._all:
                self._all.remove(worker)
            self._changed.notify()


def _search_path() -> str:
    """Return where this process looks for modules, so that a worker finds the same."""
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)


class _Ended(Exception):
    """A worker process is gone; says how it ended."""


class _Worker:
    """One process and the socket to it."""

    def __init__(self, threads: int):
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=of_workers(os.environ, threads) | {"PYTHONPATH": _search_path()},
            )
        self._connection = Connection(ours.detach())
        self._owed = 0

    def send(self, task: Task) -> None:
        """Send a task; its answer is owed."""
        packed = pickle.dumps(task)
        try:
            self._connection.send_bytes(packed)
        except OSError as error:
            raise _Ended(self._how()) from error
        self._owed += 1

    def ask(self, task: Task) -> Any:
        """Send a task, log what it logs, and return its output or raise its error."""
        self.send(task)
        while self._owed:
            message = self._received()
            if isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
                continue
            self._owed -= 1
            if isinstance(message, Failed) and not self._owed:
                message.error.add_note(f"In a worker process:\n{message.trace}")
                raise message.error
        assert isinstance(message, Done)
        return message.output

    def _received(self) -> Any:
        try:
            packed = self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise _Ended(self._how()) from error
        return pickle.loads(packed)

    def _how(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        code = self._process.poll()
        if code == -signal.SIGKILL:
            return "was killed (signal 9), as the system does where memory runs out"
        if code is not None and code < 0:
            return f"ended by signal {-code}"
        return f"ended with status {code}"

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and close the socket, which nobody else may be using."""
        self.kill()
        self._connection.close()
