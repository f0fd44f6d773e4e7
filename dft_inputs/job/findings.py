"""Reason codes, and what was found in a finished job: serve every DFT engine and collect.

In: what an engine notices. Out: a `Judgement`: findings with a code and a sentence each, and what
they lead to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What a code leads to, mildest first."""

    LEAVE = "leave"
    KEEP = "keep"
    WAIT = "wait"
    STALE = "stale"
    REJECT = "reject"
    BREAK = "break"
    QUARANTINE = "quarantine"


CODES: dict[str, tuple[str, Action]] = {
    "20": ("POTCAR is missing or another one", Action.BREAK),
    "21": ("something around the calculation is broken", Action.BREAK),
    "100": ("the folder is incomplete and its heartbeat fresh", Action.LEAVE),
    "110": ("no marker and no heartbeat", Action.STALE),
    "200": ("a result is missing, cut off or damaged", Action.BREAK),
    "210": ("electrons of the ground state not converged", Action.REJECT),
    "220": ("ions not converged, or stopped before they were", Action.REJECT),
    "230": ("volume changed by more than 20 %, or atoms too close", Action.KEEP),
    "240": ("the crystal fell apart", Action.REJECT),
    "250": ("a band gap that no solid has", Action.REJECT),
    "260": ("an energy, or formation energy, that no crystal has", Action.REJECT),
    "270": ("the static energy is not that of the relaxed crystal", Action.REJECT),
    "300": ("settings differ from the recipe", Action.QUARANTINE),
    "310": ("another potential was used", Action.QUARANTINE),
    "320": ("another composition or geometry than the one asked for", Action.QUARANTINE),
    "330": ("another program than the one asked for gave the answer", Action.REJECT),
    "400": ("gaps from mesh and path disagree", Action.KEEP),
    "410": ("formation energy without all references", Action.WAIT),
    "900": ("the same content was ingested before", Action.LEAVE),
}
"""Every reason code: its meaning, and what we do."""


@dataclass(frozen=True)
class Finding:
    """One reason code found in one step."""

    code: str
    sentence: str
    step: str = ""

    @property
    def action(self) -> Action:
        """What the code leads to."""
        return CODES[self.code][1]


@dataclass(frozen=True)
class Judgement:
    """What was found in a job.

    Attributes
    ----------
    findings : tuple of Finding
    outputs : dict
        What the engine read of each step that could be read, by the step's name; its own class.
    corrections : tuple of dict
        What custodian or the runner changed.
    remarks : tuple of str
        Why an optional step was left out, or what is not known of one, one sentence each.
    """

    findings: tuple[Finding, ...]
    outputs: Mapping[str, Any]
    corrections: tuple[dict[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def worst(self) -> Finding | None:
        """The finding with the gravest action; None if nothing was found."""
        order = list(Action)
        return max(self.findings, key=lambda f: order.index(f.action), default=None)

    @property
    def usable(self) -> bool:
        """Whether labels may be taken from the job."""
        kept = (Action.LEAVE, Action.KEEP, Action.WAIT)
        return all(finding.action in kept for finding in self.findings)
