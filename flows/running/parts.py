"""Runs the stages of one campaign: those that need no ledger at workers, several parts at a time.

In: an open campaign, workers, stage functions with their inputs. Out: their outputs, each recorded
in the ledger by this process as soon as it is there. What the ledger has as finished is taken from
it.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from flows.running.workers import WorkerDied, Workers
from tasks.campaign.directory import BudgetUsed, Campaign
from tasks.campaign.place import Place
from tasks.campaign.stage import stage_of

logger = logging.getLogger(__name__)
Output = TypeVar("Output", bound=BaseModel)
T = TypeVar("T")

ATTEMPTS = 2
"""A part whose worker died is done once more; a part that takes two workers down is given up."""


class Awaited(Protocol):
    """A part under way, as `concurrent.futures.Future` and Prefect's futures are."""

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Have a function called when the part has ended."""
        ...

    def result(self) -> Any:
        """Return its output, or raise its error."""
        ...


class Parts:
    """Runs stages with plain calls; see `flows.campaign.AsTasks` for Prefect's way.

    Parameters
    ----------
    campaign : Campaign
        Open in this process.
    workers : Workers
    """

    def __init__(self, campaign: Campaign, workers: Workers):
        self.campaign = campaign
        self.workers = workers
        self._callers = ThreadPoolExecutor(max(workers.at_once(), 1), thread_name_prefix="part")
        campaign.spread = self.spread

    def __call__(self, stage: Callable[..., Output], *inputs: Any) -> Output:
        """Run one stage function; return its output."""
        return self.each(stage, [inputs])[0]

    def expect(self, stage: Callable[..., BaseModel], rows: int) -> None:
        """Have workers start for a stage that is soon to run, unless it has run."""
        name = stage_of(stage).name
        done = sum(one["stage"] == name for one in self.campaign.ledger.stages())
        self.workers.expect(max(rows - done, 0))

    def each(self, stage: Callable[..., Output], rows: Iterable[tuple[Any, ...]]) -> list[Output]:
        """Run a stage function on each row of inputs; return the outputs in order.

        Raises
        ------
        BudgetUsed
            If the wall time is used up; parts under way are finished and recorded before.
        """
        about, listed = stage_of(stage), list(rows)
        if about.in_the_flow:
            return [self._counted(stage, self.here(stage, *row)) for row in listed]
        names = [about.part_of(row) for row in listed]
        outputs: dict[int, Output] = {}
        for i, name in enumerate(names):
            found = self.campaign.finished(stage, name)
            if found is not None:
                outputs[i] = self._counted(stage, found)
        waiting = deque(i for i in range(len(listed)) if i not in outputs)
        self.workers.expect(len(waiting))
        ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        under_way: dict[int, tuple[Awaited, float]] = {}
        late: BudgetUsed | None = None
        while waiting or under_way:
            while waiting and late is None and len(under_way) < self.workers.at_once():
                i = waiting[0]
                try:
                    self.campaign.in_time(about.name, names[i])
                except BudgetUsed as budget:
                    late = budget
                    break
                waiting.popleft()
                part = self.submit(stage, names[i], *listed[i])
                under_way[i] = part, time.monotonic()
                part.add_done_callback(partial(_say, ended, i))
            if not under_way and late is not None:
                raise late
            i = ended.get()
            part, began = under_way.pop(i)
            output = part.result()
            self.campaign.record(stage, names[i], output, time.monotonic() - began)
            outputs[i] = self._counted(stage, output)
        return [outputs[i] for i in range(len(listed))]

    def here(self, stage: Callable[..., Output], *inputs: Any) -> Output:
        """Run a stage function that needs the ledger, in this process."""
        return self.campaign.run(stage, *inputs)

    def submit(self, stage: Callable[..., Output], part: str, *inputs: Any) -> Awaited:
        """Begin a part at a worker."""
        name = f"{stage_of(stage).name} {part}"
        return self._callers.submit(again, self.workers, name, stage, self.campaign.place, inputs)

    def spread(
        self, name: str, function: Callable[..., T], rows: Sequence[tuple[Any, ...]]
    ) -> list[T]:
        """Run a function at workers on each row of inputs; see `Campaign.spread`."""
        self.workers.expect(len(rows))
        numbers = [f"{name} {i + 1} of {len(rows)}" for i in range(len(rows))]
        begun = [
            self._callers.submit(again, self.workers, n, function, self.campaign.place, row)
            for n, row in zip(numbers, rows, strict=True)
        ]
        try:
            return [one.result() for one in begun]
        finally:
            for one in begun:
                one.cancel()

    def done(self, stage: Callable[..., Output], output: Output) -> None:
        """Take note that a stage function has ended."""

    def _counted(self, stage: Callable[..., Output], output: Output) -> Output:
        self.done(stage, output)
        return output


def _say(ended: queue.SimpleQueue[int], i: int, _part: object) -> None:
    ended.put(i)


def again(
    workers: Workers, name: str, function: Callable[..., T], place: Place, inputs: tuple[Any, ...]
) -> T:
    """Do a part, once more if its worker dies.

    Raises
    ------
    WorkerDied
        If the second worker dies too.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return workers.run(name, function, place, *inputs)
        except WorkerDied as death:
            if attempt == ATTEMPTS:
                raise
            logger.warning("%s; it is done once more", death.what)
    raise AssertionError
