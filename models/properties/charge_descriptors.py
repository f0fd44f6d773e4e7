"""Charge-balance descriptors: serve the composition models beside the Magpie statistics.

In: reduced ``counts (n, 103)``. Out: 14 numbers that say how near a formula is to closed shells
and to charge neutrality. Trees cannot learn these from averages: whether a total is exactly zero,
or odd, is lost in them. Our own addition; on band gaps they cut the error by more than a quarter
(``docs/results/oracle.md``).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from models.properties.element_table import PROPERTIES, element_properties
from structure.composition import N_ELEMENTS, fractions_of
from structure.elements import INDEX

NAMES: tuple[str, ...] = (
    "odd electrons",
    "odd valence electrons",
    "charge highest common",
    "charge lowest common",
    "charge highest icsd",
    "charge lowest icsd",
    "charge cations highest",
    "charge cations lowest",
    "neutral cations highest",
    "neutral cations lowest",
    "neutral within range",
    "charge anions",
    "ionic character",
    "electronegativity difference",
)
"""Column names of `charge_features`. Charges are per atom; anions sit at their lowest state."""

ANION_ELECTRONEGATIVITY = 2.0
"""Chosen: an element is taken for an anion from this Pauling electronegativity on, if it has a
common negative state."""


class _Tables(NamedTuple):
    atomic_numbers: np.ndarray
    valence_electrons: np.ndarray
    highest_common: np.ndarray
    lowest_common: np.ndarray
    highest_icsd: np.ndarray
    lowest_icsd: np.ndarray
    anion_state: np.ndarray
    cation_highest: np.ndarray
    cation_lowest: np.ndarray
    ionic_character: np.ndarray
    difference: np.ndarray


@cache
def _tables() -> _Tables:
    """Read the oxidation states (pymatgen's element data, kept here so that they never change)."""
    common: list[tuple[int, ...]] = [(0,)] * N_ELEMENTS
    icsd: list[tuple[int, ...]] = [(0,)] * N_ELEMENTS
    with (
        files("models.properties").joinpath("oxidation_states.csv").open(encoding="utf-8") as handle
    ):
        for row in csv.DictReader(handle):
            place = INDEX[row["element"]]
            common[place] = tuple(map(int, row["common"].split())) or (0,)
            icsd[place] = tuple(map(int, row["icsd"].split())) or common[place]
    properties = dict(zip(PROPERTIES, np.nan_to_num(element_properties()).T, strict=True))
    chi = properties["Electronegativity"]
    lowest = np.array([min(s) for s in common])
    anion = (lowest < 0) & (chi >= ANION_ELECTRONEGATIVITY)
    positive = np.array([min((x for x in s if x > 0), default=0) for s in common])
    difference = np.abs(chi[:, None] - chi)
    return _Tables(
        np.arange(1, N_ELEMENTS + 1),
        properties["NValence"].astype(int),
        np.array([max(s) for s in common]),
        lowest,
        np.array([max(s) for s in icsd]),
        np.array([min(s) for s in icsd]),
        np.where(anion, lowest, 0),
        np.where(anion, 0, [max(s) for s in common]),
        np.where(anion, 0, positive),
        1.0 - np.exp(-0.25 * difference**2),
        difference,
    )


def charge_features(counts: np.ndarray) -> np.ndarray:
    """Return the charge-balance descriptors.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
        Reduced.

    Returns
    -------
    ndarray of float64, shape (n, 14)
        Columns as in `NAMES`.
    """
    t = _tables()
    whole = counts.astype(np.float64)
    atoms = np.maximum(whole.sum(axis=1), 1.0)
    anions = whole @ t.anion_state
    high, low = anions + whole @ t.cation_highest, anions + whole @ t.cation_lowest
    fractions = fractions_of(counts)
    columns = [
        (whole @ t.atomic_numbers) % 2,
        (whole @ t.valence_electrons) % 2,
        whole @ t.highest_common / atoms,
        whole @ t.lowest_common / atoms,
        whole @ t.highest_icsd / atoms,
        whole @ t.lowest_icsd / atoms,
        high / atoms,
        low / atoms,
        high == 0,
        low == 0,
        (low <= 0) & (high >= 0),
        anions / atoms,
        ((fractions @ t.ionic_character) * fractions).sum(axis=1),
        ((fractions @ t.difference) * fractions).sum(axis=1),
    ]
    return np.stack(columns, axis=1).astype(np.float64)
