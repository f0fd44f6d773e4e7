"""Oracles of other installed packages: found by name, and held to what an oracle must answer.

In: ``kind`` and ``settings`` of a campaign's oracle. Out: an `Oracle` whose every answer is
checked. ``docs/extend/oracle.md`` shows how to write one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from pydantic import ValidationError

from structure.errors import AgdError, ConfigError, ModelError
from structure.plugins import found, named
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property
from tasks.ledger.ledger import Origin
from tasks.oracles.answer import Answer, Asked, Oracle

ORACLES = "agd.oracles"


class MakesOracle(Protocol):
    """What an entry point of ``agd.oracles`` names, as a rule a class of oracles."""

    def from_settings(self, settings: Mapping[str, Any]) -> Oracle:
        """Make the oracle of a campaign file.

        Called before a campaign begins, so that wrong settings are named at once, and again in
        each process that asks.

        Parameters
        ----------
        settings : mapping
            ``explore.oracle.settings`` of the campaign file.

        Raises
        ------
        AgdError, ValueError
            If the settings cannot be used.
        """
        ...


def names() -> list[str]:
    """Return the kinds of oracles that other packages bring."""
    return sorted(found(ORACLES, {}))


def brought_oracle(kind: str, settings: Mapping[str, Any], sought: Property = BAND_GAP) -> Oracle:
    """Make the oracle of another package.

    Raises
    ------
    ConfigError
        If no package brings the kind, or its settings cannot be used.
    ModelError
        If it is no oracle of what the search needs.
    PluginError
        If the package is broken.
    """
    maker = named(ORACLES, {}, kind).load("from_settings")
    try:
        oracle = maker.from_settings(settings)
    except AgdError:
        raise
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"the oracle {kind!r} cannot use its settings: {' '.join(str(error).split())}",
            where="explore.oracle.settings",
            fix="Correct them as the package that brings this oracle describes.",
        ) from error
    return _Checked(kind, oracle, sought)


class _Checked:
    """An oracle of another package whose answers are looked at before they are used."""

    property: str
    origin: Origin
    source: str
    later: bool

    def __init__(self, kind: str, oracle: Oracle, sought: Property):
        self._kind, self._oracle = kind, oracle
        for name in ("property", "origin", "source", "later", "accepts", "room", "label"):
            if not hasattr(oracle, name):
                raise self._wrong(f"has no {name!r}")
        if oracle.property != sought.column:
            raise self._wrong(f"labels {oracle.property!r}, and the search needs {sought.column!r}")
        if oracle.origin not in ("ml", "table"):
            raise self._wrong(f"has origin {oracle.origin!r}, not 'ml' or 'table'")
        self.property, self.origin = oracle.property, oracle.origin
        self.source, self.later = str(oracle.source), bool(oracle.later)

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions it can be asked for. See `Oracle`."""
        accepted = np.asarray(self._oracle.accepts(counts))
        if accepted.shape != (len(counts),) or accepted.dtype != np.bool_:
            raise self._wrong(
                f"accepts() gave {accepted.dtype} of shape {accepted.shape}, not one bool for each "
                f"of {len(counts)} compositions"
            )
        return accepted

    def room(self) -> int | None:
        """Return how many more it may be asked for. See `Oracle`."""
        return self._oracle.room()

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Label compositions. See `Oracle`."""
        answer: Any = self._oracle.label(counts, asked)
        if not isinstance(answer, Answer):
            raise self._wrong(f"label() gave a {type(answer).__name__}, not an Answer")
        if len(answer.values) != len(counts):
            raise self._wrong(f"gave {len(answer.values)} answers to {len(counts)} compositions")
        refused = np.array([one is not None for one in answer.refusals], dtype=bool)
        silent = ~(answer.known | answer.pending | refused)
        if silent.any():
            raise self._wrong(
                f"gave neither a value nor a job nor a refusal for {silent.sum()} of "
                f"{len(counts)} compositions"
            )
        if answer.pending.any() and not self.later:
            raise self._wrong("answers at once, by its `later`, and gave a job")
        return answer

    def _wrong(self, what: str) -> ModelError:
        kind = type(self._oracle)
        return ModelError(
            f"the oracle {self._kind!r} {what}",
            where=f"{kind.__module__}.{kind.__qualname__}",
            fix="It must follow `tasks.oracles.answer.Oracle`; see docs/extend/oracle.md.",
        )
