"""The papers' rules for making a data set from a database, for ingest.

In: labelled compositions. Out: which stay, and one sentence for each that goes. Each rule is a
small frozen model that a configuration names: ``{rule: energy_within_sigma, sigmas: 5}``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from structure.composition import keys_of
from structure.elements import INDEX
from structure.records import Settings

ROUNDING_EV = 1e-9
"""Chosen: energies are compared no finer, so that rounding removes no row of a narrow set."""


@dataclass(frozen=True)
class LabelledRows:
    """Compositions with values, one row a record of a source.

    Attributes
    ----------
    counts : ndarray of int16, shape (n, 103)
        Reduced.
    cell_max, cell_atoms : ndarray of int, shape (n,)
        Most atoms of one element, and all atoms, in the formula as written.
    value : ndarray of float64, shape (n,)
        Of the property that is sought, in its unit; NaN where unknown.
    formation_energy : ndarray of float64, shape (n,)
        eV/atom; NaN where unknown.
    source : ndarray of int, shape (n,)
        Which source the row is of.
    record : ndarray of int, shape (n,)
        Where it stands in the source, from 1.
    """

    counts: np.ndarray
    cell_max: np.ndarray
    cell_atoms: np.ndarray
    value: np.ndarray
    formation_energy: np.ndarray
    source: np.ndarray
    record: np.ndarray

    def __len__(self) -> int:
        return len(self.record)

    def take(self, rows: np.ndarray) -> LabelledRows:
        """Return the rows given by position or mask."""
        return LabelledRows(**{name: values[rows] for name, values in vars(self).items()})

    @staticmethod
    def concat(parts: list[LabelledRows]) -> LabelledRows:
        """Put tables one after another."""
        return LabelledRows(
            **{name: np.concatenate([vars(p)[name] for p in parts]) for name in vars(parts[0])}
        )


class Judged(NamedTuple):
    """What a rule decided.

    Attributes
    ----------
    keep : ndarray of bool, shape (n,)
    sentence : callable
        Row position of a removed row to the reason.
    """

    keep: np.ndarray
    sentence: Callable[[int], str]


class LowestEnergyPerFormula(Settings):
    """Keep the record of lowest formation energy of each reduced formula (MatGAN sec. 2.3).

    Records without an energy give way to one that has it; among records without any, or of equal
    energy, the first stays.
    """

    rule: Literal["lowest_energy_per_formula"] = "lowest_energy_per_formula"
    """Name of the rule."""

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        energy = np.where(np.isnan(rows.formation_energy), np.inf, rows.formation_energy)
        chosen = _one_per_key(keys_of(rows.counts), energy)

        def sentence(i: int) -> str:
            best = chosen[i]
            why = f"record {rows.record[best]} of the same formula is kept"
            if np.isfinite(energy[best]):
                return f"{why}: {energy[best]:.4f} eV/atom is the lowest energy"
            return f"{why}: it is the first, and none has an energy"

        return Judged(chosen == np.arange(len(rows)), sentence)


class MedianGapPerFormula(Settings):
    """Keep the record whose gap is the lower median of its formula: for tables without energies."""

    rule: Literal["median_gap_per_formula"] = "median_gap_per_formula"
    """Name of the rule."""

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        keys = keys_of(rows.counts)
        gap = np.where(np.isnan(rows.value), np.inf, rows.value)
        order = np.lexsort((np.arange(len(rows)), gap, keys))
        starts, group = _groups(keys[order])
        finite = np.bincount(group, np.isfinite(gap[order]), minlength=len(starts)).astype(np.intp)
        middle = order[starts + (np.maximum(finite, 1) - 1) // 2]
        chosen = np.empty(len(rows), dtype=np.intp)
        chosen[order] = middle[group]

        def sentence(i: int) -> str:
            kept = chosen[i]
            return (
                f"record {rows.record[kept]} of the same formula is kept: "
                f"its gap, {rows.value[kept]:.3f} eV, is the median"
            )

        return Judged(chosen == np.arange(len(rows)), sentence)


class NoSingleElements(Settings):
    """Remove elements (MatGAN sec. 2.3)."""

    rule: Literal["no_single_elements"] = "no_single_elements"
    """Name of the rule."""

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        return Judged((rows.counts > 0).sum(axis=1) > 1, lambda i: "it is a single element")


class EnergyWithinSigma(Settings):
    """Remove formation energies far from the mean (MatGAN sec. 2.3); rows without one stay."""

    rule: Literal["energy_within_sigma"] = "energy_within_sigma"
    """Name of the rule."""
    sigmas: float = Field(default=5.0, gt=0)
    """Allowed distance from the mean in standard deviations."""

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        energy = rows.formation_energy
        known = energy[np.isfinite(energy)]
        mean, sigma = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        keep = ~(np.abs(energy - mean) > self.sigmas * sigma + ROUNDING_EV)

        def sentence(i: int) -> str:
            return (
                f"its formation energy, {energy[i]:.3f} eV/atom, is more than {self.sigmas:g} "
                f"standard deviations ({sigma:.3f}) from the mean ({mean:.3f})"
            )

        return Judged(keep, sentence)


class MaxAtomsPerElement(Settings):
    """Remove formulas with many atoms of one element (MatGAN sec. 2.3: 8 in the unit cell)."""

    rule: Literal["max_atoms_per_element"] = "max_atoms_per_element"
    """Name of the rule."""
    count: int = Field(default=8, ge=1)
    """Most atoms of one element."""
    of: Literal["cell", "reduced"] = "reduced"
    """The formula as the table writes it, or reduced as the paper's code takes it."""

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        most: np.ndarray = (
            rows.cell_max if self.of == "cell" else rows.counts.max(axis=1, initial=0)
        )
        return Judged(
            most <= self.count,
            lambda i: f"it has {most[i]} atoms of one element (limit {self.count}, {self.of})",
        )


class ExcludeElements(Settings):
    """Remove formulas with certain elements (MatGAN sec. 2.3: He and Kr)."""

    rule: Literal["exclude_elements"] = "exclude_elements"
    """Name of the rule."""
    elements: tuple[str, ...] = ("He", "Kr")
    """Symbols; compounds that have one of them are dropped."""

    @field_validator("elements")
    @classmethod
    def _known(cls, elements: tuple[str, ...]) -> tuple[str, ...]:
        for element in elements:
            if element not in INDEX:
                raise ValueError(f"unknown element {element!r}")
        return elements

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        columns = [INDEX[e] for e in self.elements]
        present = rows.counts[:, columns] > 0

        def sentence(i: int) -> str:
            found = [e for e, there in zip(self.elements, present[i], strict=True) if there]
            return f"it contains {', '.join(found)}"

        return Judged(present.sum(axis=1) == 0, sentence)


class SizeLimits(Settings):
    """Remove large formulas (AGD sec. 2.3: 20 atoms, 5 elements, 7 atoms of each)."""

    rule: Literal["size_limits"] = "size_limits"
    """Name of the rule."""
    atoms: int = Field(default=20, ge=1)
    """Most atoms."""
    elements: int = Field(default=5, ge=1)
    """Most elements."""
    of_each: int = Field(default=7, ge=1)
    """Most atoms of one element."""
    of: Literal["cell", "reduced"] = "reduced"
    """Whether atoms are counted in the formula as the table writes it or reduced."""

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        cell = self.of == "cell"
        atoms = rows.cell_atoms if cell else rows.counts.sum(axis=1, dtype=np.intp)
        most = rows.cell_max if cell else rows.counts.max(axis=1, initial=0)
        elements = (rows.counts > 0).sum(axis=1)
        keep = (atoms <= self.atoms) & (elements <= self.elements) & (most <= self.of_each)

        def sentence(i: int) -> str:
            return (
                f"it has {atoms[i]} atoms (limit {self.atoms}), {elements[i]} elements "
                f"({self.elements}), {most[i]} of one element ({self.of_each}), {self.of}"
            )

        return Judged(keep, sentence)


class GapRange(Settings):
    """Keep gaps in a range (MatGAN's band-gap set: above 0; AGD's Exp4: below 3 eV)."""

    rule: Literal["gap_range"] = "gap_range"
    """Name of the rule."""
    above_eV: float | None = None
    """Keep gaps larger than this."""
    maximum_eV: float | None = None
    """Keep gaps up to this."""

    def judge(self, rows: LabelledRows) -> Judged:
        """Decide which rows stay."""
        low = -np.inf if self.above_eV is None else self.above_eV
        high = np.inf if self.maximum_eV is None else self.maximum_eV
        gap = rows.value

        def sentence(i: int) -> str:
            return f"its gap, {gap[i]:.3f} eV, is not above {low:g} and up to {high:g} eV"

        return Judged((gap > low) & (gap <= high), sentence)


Rule = Annotated[
    LowestEnergyPerFormula
    | MedianGapPerFormula
    | NoSingleElements
    | EnergyWithinSigma
    | MaxAtomsPerElement
    | ExcludeElements
    | SizeLimits
    | GapRange,
    Field(discriminator="rule"),
]
"""Any of the rules, told apart by ``rule`` in a configuration."""


def _groups(sorted_keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each run of equal keys starts, and the run of each row."""
    new = np.ones(len(sorted_keys), dtype=bool)
    new[1:] = sorted_keys[1:] != sorted_keys[:-1]
    starts = np.flatnonzero(new)
    return starts, np.cumsum(new) - 1


def _one_per_key(keys: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return for each row the row of its key with the lowest cost, first of equals."""
    order = np.lexsort((np.arange(len(keys)), cost, keys))
    starts, group = _groups(keys[order])
    chosen = np.empty(len(keys), dtype=np.intp)
    chosen[order] = order[starts][group]
    return chosen
