"""The short way to say which band gaps are wanted: serves configurations, old ones too.

In: ``window: {minimum_eV: 5.0}``. Out: the same as `Targets`.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from structure.properties.band_gap import BAND_GAP
from structure.properties.target import Target, Targets
from structure.records import Settings


class Window(Settings):
    """The band gaps a campaign is after, where it is after nothing else."""

    minimum_eV: float = Field(default=5.0, allow_inf_nan=False)
    """Smallest gap wanted."""
    maximum_eV: float | None = Field(default=None, allow_inf_nan=False)
    """None leaves the window open: the wider the gap the better."""

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.minimum_eV < 0:
            raise ValueError("minimum_eV is below zero")
        if self.maximum_eV is not None and self.maximum_eV <= self.minimum_eV:
            raise ValueError("maximum_eV must lie above minimum_eV")
        return self

    def targets(self) -> Targets:
        """Return the window as targets."""
        gap = Target(property=BAND_GAP.name, minimum=self.minimum_eV, maximum=self.maximum_eV)
        return Targets((gap,))


def band_gaps(minimum_eV: float = 5.0, maximum_eV: float | None = None) -> Targets:
    """Return the target of band gaps from a minimum on, or between two ends; both in eV."""
    return Window(minimum_eV=minimum_eV, maximum_eV=maximum_eV).targets()
