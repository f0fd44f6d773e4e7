"""The exception tree and the record of a rejection, shared by every stage of the pipeline.

An `AgdError` stops a stage: it says what is wrong, where, and what to do next. A single bad row
or candidate does not raise; it becomes a `Rejection`, which is data and is counted and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class AgdError(Exception):
    """Base of every error this product raises on purpose.

    Parameters
    ----------
    what : str
        One sentence on what is wrong.
    where : str or Path, optional
        The file, column, key or stage at fault.
    fix : str, optional
        What the reader can do next, as an imperative sentence or a command.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None):
        self.what, self.where, self.fix = what, where, fix
        super().__init__(self.__str__())

    def __str__(self) -> str:
        text = self.what
        if self.where is not None:
            text += f"\n  where: {self.where}"
        if self.fix:
            text += f"\n  next:  {self.fix}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the three fields, so that worker processes can send the error home."""
        return (_rebuild, (type(self), self.what, self.where, self.fix))


def _rebuild(cls: type[AgdError], what: str, where: str | Path | None, fix: str | None) -> AgdError:
    return cls(what, where=where, fix=fix)


class ConfigError(AgdError):
    """A configuration key or value that cannot be used."""

    exit_code = 2


class DataError(AgdError):
    """Input data that is missing, unreadable or of the wrong shape or unit."""

    exit_code = 3


class ModelError(AgdError):
    """Weights that are missing, damaged or made for something else."""

    exit_code = 4


class CampaignError(AgdError):
    """A campaign directory that is locked, foreign, damaged or of another version."""

    exit_code = 5


class CalculationError(AgdError):
    """A DFT job directory or result that cannot be written, run or taken in."""

    exit_code = 6


class PluginError(AgdError):
    """A part of another installed package that cannot be imported or is not what it must be."""

    exit_code = 7


@dataclass(frozen=True)
class Rejection:
    """Why one row or candidate left the pipeline.

    Attributes
    ----------
    code : str
        Short, stable and greppable, e.g. ``"charge"``; counted in funnels and manifests.
    sentence : str
        The reason for a person, with the numbers that decided it.
    """

    code: str
    sentence: str
