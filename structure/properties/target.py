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
        return property_named(self.property)

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

    root: tuple[Target, ...] = Field(
        default=(Target(property=DEFAULT, minimum=5.0),), min_length=1, max_length=1
    )

    @builtins.property
    def first(self) -> Target:
        """What is searched, labelled and calculated."""
        return self.root[0]
