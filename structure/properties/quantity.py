"""One property of a compound: serves every step, which all ask it for its name, unit and column.

In: what is to be known of a property, written once. Out: a frozen `Property`. The instances lie
beside this module; no other module spells a property's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from structure.sources.quantities import QUANTITIES, Quantity

OfComposition = Callable[[np.ndarray], np.ndarray]
"""Reduced compositions ``counts (n, 103)`` to values (n,); NaN where there is none."""


@dataclass(frozen=True)
class Property:
    """A number that a compound has.

    Attributes
    ----------
    name : str
        As a configuration spells it, e.g. ``"band_gap"``.
    words : str
        As a person says it: ``"band gap"``.
    unit : str
        Of every value in the pipeline; empty where it has none.
    short : str
        In tables and half sentences: ``"gap"``; default: `words`.
    lowest, highest : float
        No compound has less or more.
    tolerance : float
        Difference that decides nothing, in `unit`: how blurred the edge of a window is where values
        come without an uncertainty.
    more, most, least : str
        What a large value is called: ``"wider"``, ``"widest"``, ``"narrowest"``.
    steps : tuple of str or None
        Optional steps of a recipe that measure it, by the end of their name (``"elastic"``); empty
        where every recipe does; None where no calculation does.
    result : str
        Its name in the result of a job; default: `column`.
    model : str or None
        Shipped weights that predict it from a composition.
    of_composition : callable or None
        Computes it exactly, where the composition decides it.
    source : str
        Where numbers that a composition decides come from, for the report.
    """

    name: str
    words: str
    unit: str
    short: str = ""
    lowest: float = -math.inf
    highest: float = math.inf
    tolerance: float = 0.0
    more: str = "more"
    most: str = "highest"
    least: str = "lowest"
    steps: tuple[str, ...] | None = None
    result: str = ""
    model: str | None = None
    of_composition: OfComposition | None = None
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "short", self.short or self.words)
        object.__setattr__(self, "result", self.result or self.column)

    @cached_property
    def quantity(self) -> Quantity:
        """What the numbers of a table can be, for those who read them."""
        if self.name in QUANTITIES:
            return QUANTITIES[self.name]
        return Quantity(
            self.name,
            self.unit,
            words=self.words,
            short=self.short,
            positive=self.lowest == 0,
            largest=self.highest if math.isfinite(self.highest) else None,
        )

    @property
    def _suffix(self) -> str:
        """The unit as it stands in the names of columns."""
        return "_" + self.unit.replace("/", "_per_").replace(" ", "_") if self.unit else ""

    @property
    def column(self) -> str:
        """Column of its values in every table and ledger, with the unit: ``"band_gap_eV"``."""
        return f"{self.name}{self._suffix}"

    @property
    def sigma_column(self) -> str:
        """Column of their standard uncertainties: ``"band_gap_sigma_eV"``."""
        return f"{self.name}_sigma{self._suffix}"

    @property
    def short_column(self) -> str:
        """Name without spaces for files about the search: ``"gap_eV"``."""
        return f"{self.short.replace(' ', '_')}{self._suffix}"

    @property
    def code(self) -> str:
        """Reason code of compositions outside the window: ``"gap-window"``."""
        return f"{self.short.replace(' ', '-')}-window"

    @property
    def head(self) -> str:
        """Head of a table's column: ``"gap / eV"``."""
        return f"{self.short} / {self.unit}" if self.unit else self.short

    @property
    def axis(self) -> str:
        """The same for a figure: ``"band gap / eV"``."""
        return f"{self.words} / {self.unit}" if self.unit else self.words

    @property
    def decimals(self) -> int:
        """Decimals that people read: two for eV, fewer where `tolerance` is large."""
        return 2 if self.tolerance < 1 else 1 if self.tolerance < 10 else 0

    def number(self, value: float) -> str:
        """Return a value as people read it, without its unit."""
        return f"{value:.{self.decimals}f}"

    def precisely(self, value: float) -> str:
        """Return a difference or an error with one more decimal, and its unit."""
        return f"{value:.{self.decimals + 1}f} {self.unit}".rstrip()

    def amount(self, value: float) -> str:
        """Return a value with its unit: ``"5.20 eV"``."""
        return f"{self.number(value)} {self.unit}".rstrip()
