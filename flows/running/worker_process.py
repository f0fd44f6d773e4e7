"""A worker process: ``python -m flows.running.worker_process``, started by `processes`.

In: stage functions with their inputs, pickled, over a socket. Out: their outputs or errors, and
every line they log. It ends as soon as the process that started it is gone, also in the middle of
a part, and leaves stopping to it: Ctrl-C is not heard here.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

LOGGERS = ("flows", "tasks", "models")
"""Packages whose lines belong in the log of a campaign."""


class Task(NamedTuple):
    """A function and what to call it with."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Done(NamedTuple):
    """What a function returned."""

    output: Any


class Failed(NamedTuple):
    """What a function raised, and the lines of its traceback."""

    error: BaseException
    trace: str


class _Sender(logging.Handler):
    """Gives every record, made fit for a pickle, to a function."""

    def __init__(self, send: Callable[[logging.LogRecord], None]):
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        record.exc_info = record.exc_text = None
        self._send(record)


@contextmanager
def sending_logs(send: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Send what our packages log instead of showing it."""
    sender = _Sender(send)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for one in loggers:
        one.addHandler(sender)
        one.setLevel(logging.INFO)
        one.propagate = False
    try:
        yield
    finally:
        for one in loggers:
            one.removeHandler(sender)
            one.propagate = True


def answer(task: Task) -> Done | Failed:
    """Call a function; an error is part of the answer."""
    try:
        return Done(task.function(*task.arguments))
    except Exception as error:
        return Failed(error, traceback.format_exc())


def _packed(message: Any) -> bytes:
    """Pickle an answer; an error that cannot be pickled is told in words."""
    try:
        return pickle.dumps(message)
    except Exception as unfit:
        trace = message.trace if isinstance(message, Failed) else ""
        return pickle.dumps(Failed(RuntimeError(f"{unfit}: {message!r}"), trace))


def _read(connection: Connection, tasks: queue.SimpleQueue[bytes]) -> None:
    """Hand tasks over; end the process when the other side is gone."""
    while True:
        try:
            tasks.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def main(descriptor: int) -> None:
    """Serve tasks until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, tasks), daemon=True).start()
    sending = threading.Lock()

    def send(packed: bytes) -> None:
        with sending:
            connection.send_bytes(packed)

    with sending_logs(lambda record: send(pickle.dumps(record))):
        while True:
            packed = tasks.get()
            try:
                task = pickle.loads(packed)
            except Exception as error:
                given: Done | Failed = Failed(error, traceback.format_exc())
            else:
                given = answer(task)
            send(_packed(given))


def ready() -> None:
    """Import what takes long to import, before there is anything to do."""
    import lightgbm
    import torch

    import tasks.handoff
    import tasks.sample
    import tasks.screen.stage
    import tasks.template

    assert all((lightgbm, torch, tasks))


if __name__ == "__main__":
    # Under its own name, so that what is pickled here is the same class on the other side.
    from flows.running.worker_process import main as serve

    serve(int(sys.argv[1]))
