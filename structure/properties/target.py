"""What a campaign is after: serves the configuration, search, screen and report.

In: a property, and the values of it that are wanted. Out: for values, which lie inside, what the
search maximises, and how probable it is that a value lies inside.
"""

from __future__ import annotations

import builtins
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field, RootModel, model_validator

from structure.errors import ConfigError
from structure.properties.quantity import Property
from structure.properties.registry import DEFAULT, property_named
from structure.records import Settings


class Target(Settings):
    """Values of a property that are wanted."""

    property: str
    """Its name."""
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    """Lower end of the window, in the property's unit; None leaves it open."""
    maximum: float | None = Field(default=None, allow_inf_nan=False)
    """Upper end of the window, in the property's unit; None leaves it open."""
    direction: Literal["maximise", "minimise"] | None = None
    """Which of the values inside come first. Default: the larger ones above a minimum, the smaller
    ones below a maximum, the nearest to the centre between the two."""
    unit: str | None = None
    """Of a property of one's own, which this defines; empty where it has none."""
    model: str | None = None
    """Folder of weights that predict the property, made by `agd train`; None: the shipped ones."""

    @model_validator(mode="after")
    def _possible(self) -> Target:
        try:
            sought = self.sought
        except ConfigError as error:
            raise ValueError(f"{error.what}. {error.fix}") from error
        if self.unit is not None and self.unit != sought.unit:
            raise ValueError(
                f"{sought.name} is in {sought.unit or 'no unit'} here, not {self.unit}"
            )
        if (self.minimum, self.maximum, self.direction) == (None, None, None):
            raise ValueError(f"say what of {sought.name}: 'minimum', 'maximum' or 'direction'")
        for name, value in (("minimum", self.minimum), ("maximum", self.maximum)):
            if value is not None and not sought.lowest <= value <= sought.highest:
                raise ValueError(
                    f"{name} {value:g} is no {sought.words}: it lies from {sought.lowest:g} to "
                    f"{sought.highest:g} {sought.unit}".rstrip()
                )
        if None not in (self.minimum, self.maximum) and self.maximum <= self.minimum:  # type: ignore[operator]
            raise ValueError("maximum must lie above minimum")
        return self

    @cached_property
    def sought(self) -> Property:
        """The property."""
        return property_named(self.property, self.unit)

    @builtins.property
    def window(self) -> tuple[float, float]:
        """Both ends, infinite where open."""
        low = -np.inf if self.minimum is None else self.minimum
        return low, np.inf if self.maximum is None else self.maximum

    @builtins.property
    def has_window(self) -> bool:
        """Whether any value is not wanted."""
        return self.minimum is not None or self.maximum is not None

    @builtins.property
    def way(self) -> Literal["up", "down", "centre"]:
        """Which values come first."""
        if self.direction is not None:
            return "up" if self.direction == "maximise" else "down"
        if self.minimum is not None and self.maximum is not None:
            return "centre"
        return "up" if self.maximum is None else "down"

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return which values lie inside; shape of `values`, bool; NaN does not."""
        low, high = self.window
        return (values >= low) & (values <= high)

    def utility(self, values: np.ndarray) -> np.ndarray:
        """Return how good values are, in the property's unit; shape of `values`.

        Upwards it is the value itself, as in the paper's search for wide gaps, downwards its
        negative. For the centre (chosen) it is minus the distance from there.
        """
        if self.way == "up":
            return np.asarray(values, dtype=np.float64)
        if self.way == "down":
            return -np.asarray(values, dtype=np.float64)
        return -np.abs(values - 0.5 * (self.window[0] + self.window[1]))

    def probability(
        self, values: np.ndarray, sigmas: np.ndarray, *, blurred: bool = False
    ) -> np.ndarray:
        """Return how probable it is that true values lie inside; 0 for NaN; shape of `values`.

        Errors are taken as normal. A missing uncertainty counts as the property's tolerance, one of
        zero as exact.

        Parameters
        ----------
        values, sigmas : ndarray of float, shape (n,)
        blurred : bool
            Add the tolerance to every uncertainty, so that the probability rises towards the
            window from afar.
        """
        from scipy.special import ndtr

        tolerance = self.sought.tolerance
        spread = np.where(np.isnan(sigmas), tolerance, sigmas)
        if blurred:
            spread = np.hypot(spread, tolerance)
        exact = spread <= 0
        width = np.where(exact, 1.0, spread)
        low, high = self.window
        inside = ndtr((high - values) / width) - ndtr((low - values) / width)
        inside = np.where(exact, self.contains(values), inside)
        return np.where(np.isnan(values), 0.0, np.clip(inside, 0.0, 1.0))

    def words(self) -> str:
        """Say which values are wanted: ``"5 eV and wider"``."""
        sought = self.sought
        low, high = self.window
        unit = f" {sought.unit}" if sought.unit else ""
        if self.minimum is not None and self.maximum is not None:
            return f"{low:g} to {high:g}{unit}"
        if self.minimum is not None:
            return f"{low:g}{unit} and {sought.more}"
        if self.maximum is not None:
            return f"{high:g}{unit} at most"
        return "as high as possible" if self.way == "up" else "as low as possible"


class Targets(RootModel[tuple[Target, ...]]):
    """All that a campaign is after; the first is what the oracle is asked for."""

    model_config = ConfigDict(frozen=True)

    root: tuple[Target, ...] = Field(default=(Target(property=DEFAULT, minimum=5.0),), min_length=1)

    @model_validator(mode="after")
    def _together(self) -> Targets:
        """Refuse what cannot hold together, or has no probability of holding."""
        seen: dict[str, Target] = {}
        for target in self.root:
            before = seen.setdefault(target.property, target)
            if before is not target:
                low = max(before.window[0], target.window[0])
                high = min(before.window[1], target.window[1])
                why = (
                    f"their windows exclude each other ({before.words()}; {target.words()})"
                    if low > high
                    else "give one window with 'minimum' and 'maximum'"
                )
                raise ValueError(f"{target.property} is sought twice: {why}")
            if len(self.root) > 1 and not target.has_window:
                raise ValueError(
                    f"of several targets each needs a 'minimum' or a 'maximum'; "
                    f"{target.property} has none"
                )
        return self

    @builtins.property
    def first(self) -> Target:
        """What is searched, labelled and calculated."""
        return self.root[0]

    @builtins.property
    def further(self) -> tuple[Target, ...]:
        """What the composition decides or a model predicts."""
        return self.root[1:]


DEFAULT_TARGETS = Targets()
"""What a campaign is after that names nothing."""
