"""Workers: where the parts of a campaign run that need no ledger.

In: the setting ``workers`` of a configuration. Out: an object that runs a stage function on its
inputs and gives back what it returns, in a thread, a process or at a Dask cluster. Who does a part
decides nothing of what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

from pydantic import Field, model_validator

from structure.errors import AgdError
from structure.records import Settings
from tasks.campaign.place import Place

Output = TypeVar("Output")

FEWER = (
    "Give it fewer workers (`--set workers.n=1`), smaller shards or more memory, and run the same "
    "command again: finished parts are kept."
)


class WorkersConfig(Settings):
    """Where sampling, screening, templates and energies run.

    Nothing of it decides a result, so a campaign may go on with other workers than it began with.
    """

    kind: Literal["processes", "threads", "dask"] = "processes"
    """Processes of this machine, threads of the run's own process, or a Dask cluster."""

    n: int | None = Field(default=None, ge=1)
    """Parts done at a time; null for one a core that the run may use, or as many as a running Dask
    cluster has threads."""

    threads: int = Field(default=1, ge=1)
    """Threads that each process computes with."""

    address: str | None = None
    """Of a running Dask scheduler, e.g. ``tcp://login1:8786``; null begins one on this machine."""

    @model_validator(mode="after")
    def _address_is_of_dask(self) -> WorkersConfig:
        if self.address is not None and self.kind != "dask":
            raise ValueError("`address` names a Dask scheduler, so `kind` must be dask")
        return self


class WorkerDied(AgdError):
    """A worker ended without an answer; the part can be done again."""


class WorkersClosed(AgdError):
    """The run is being stopped."""


class Workers(Protocol):
    """Who does the parts of a campaign."""

    def at_once(self) -> int:
        """Return how many parts are done at a time."""
        ...

    def expect(self, parts: int) -> None:
        """Get ready for so many parts: whoever takes long to start begins now."""
        ...

    def run(self, name: str, function: Callable[..., Output], place: Place, *inputs: Any) -> Output:
        """Return what a function of a place and inputs returns; called from several threads.

        Parameters
        ----------
        name : str
            Of the part, for errors.
        function : callable
            Of a module, so that a worker can import it.
        place : Place
        *inputs
            Can be pickled, as what the function returns.

        Raises
        ------
        WorkerDied
            If whoever did it ended before it answered.
        WorkersClosed
            If `close` was called meanwhile.
        """
        ...

    def close(self) -> None:
        """End them all, at work or not."""
        ...


class Threads:
    """Runs parts in the threads that ask for them."""

    def __init__(self, n: int):
        self._n = n

    def at_once(self) -> int:
        """Return how many parts are done at a time."""
        return self._n

    def expect(self, parts: int) -> None:
        """Do nothing: threads are always ready."""

    def run(self, name: str, function: Callable[..., Output], place: Place, *inputs: Any) -> Output:
        """Call the function."""
        return function(place, *inputs)

    def close(self) -> None:
        """Do nothing: a thread ends with its part."""
