"""Stages as plain functions: serves every step, and `agd stages`.

In: a module-level function of (place, own configuration, handles) that gives a model of handles.
Out: the same function, and a `Stage` that says what the ledger calls its parts, what it takes and
gives, and whether it needs the ledger. A function without need of the ledger can run in any
process that sees the campaign directory.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel

Function = TypeVar("Function", bound=Callable[..., BaseModel])
Hook = Callable[..., None]


@dataclass(frozen=True)
class Stage:
    """What is known of a stage function.

    Attributes
    ----------
    function : callable
    name : str
        Of the stage in the ledger; several functions may serve one stage.
    part : str
        Pattern of the part's name in the ledger, filled in from the function's inputs, e.g.
        ``"{shard:05d}"``.
    takes, gives : str
        In words, for `agd stages`.
    in_the_flow : bool
        The function takes the open `Campaign` instead of a `Place` and runs in the process that
        has it open: it asks the ledger, or gives pieces of its work to workers itself
        (`Campaign.spread`).
    keeps_own_record : bool
        The function has parts of its own and records each itself.
    tell : callable, optional
        Called as ``tell(campaign, output)`` before a new output is recorded: tells the ledger what
        the stage found.
    check : callable, optional
        Called as ``check(campaign, output)`` with every output, new or recorded earlier.
    """

    function: Callable[..., BaseModel]
    name: str
    part: str
    takes: str
    gives: str
    in_the_flow: bool
    keeps_own_record: bool
    tell: Hook | None
    check: Hook | None

    @cached_property
    def kind(self) -> type[BaseModel]:
        """Model of the output."""
        kind = get_type_hints(self.function)["return"]
        assert issubclass(kind, BaseModel)
        return kind

    def part_of(self, inputs: tuple[Any, ...]) -> str:
        """Return the part's name, given the inputs that follow the place."""
        named = inspect.signature(self.function).bind(None, *inputs).arguments
        return self.part.format(**named)


_STAGES: dict[Callable[..., BaseModel], Stage] = {}


def stage(
    name: str,
    *,
    takes: str,
    gives: str,
    part: str = "all",
    in_the_flow: bool = False,
    keeps_own_record: bool = False,
    tell: Hook | None = None,
    check: Hook | None = None,
) -> Callable[[Function], Function]:
    """Declare a stage function; see `Stage`. The function itself stays as it is."""

    def declare(function: Function) -> Function:
        _STAGES[function] = Stage(
            function, name, part, takes, gives, in_the_flow, keeps_own_record, tell, check
        )
        return function

    return declare


def stage_of(function: Callable[..., BaseModel]) -> Stage:
    """Return what is known of a stage function."""
    return _STAGES[function]
