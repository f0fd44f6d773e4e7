"""Properties that the elements of a compound decide: supply risk and abundance.

In: reduced compositions. Out: exact values, from the element tables of smact. An
element without an entry gives no value, which lies in no window.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from structure.elements import ELEMENTS
from structure.properties.quantity import Property


@cache
def element_table(name: str) -> np.ndarray:
    """Return one number an element, shape (103,); NaN where the source has none.

    Parameters
    ----------
    name : {"mass", "HHI_p", "HHI_r", "crustal_abundance"}
        As smact names them; masses in u.
    """
    from smact import Element as SmactElement

    values = [getattr(SmactElement(symbol), name, None) for symbol in ELEMENTS]
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)


def by_mass(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the average of an element's number, weighted by mass; shape (n,)."""
    mass = counts * element_table("mass")
    share = np.nan_to_num(mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-300))
    known = np.where(share > 0, table, 0.0)
    return np.asarray((share * known).sum(axis=1))


def hhi_of_production(counts: np.ndarray) -> np.ndarray:
    """Return the Herfindahl-Hirschman index of the elements' production."""
    return by_mass(counts, element_table("HHI_p"))


def hhi_of_reserves(counts: np.ndarray) -> np.ndarray:
    """Return the Herfindahl-Hirschman index of the elements' known reserves."""
    return by_mass(counts, element_table("HHI_r"))


def scarcest_abundance(counts: np.ndarray) -> np.ndarray:
    """Return the share of the scarcest element in the earth's crust, in ppm by mass."""
    table = np.where(counts > 0, element_table("crustal_abundance"), np.inf)
    return np.where(np.isnan(table).any(axis=1), np.nan, table.min(axis=1))


HHI_PRODUCTION = Property(
    name="hhi_production",
    words="HHI of production",
    unit="",
    lowest=0.0,
    highest=10_000.0,
    tolerance=250.0,
    of_composition=hhi_of_production,
    source="Gaultois et al., Chem. Mater. 25, 2911 (2013), in smact; average by mass",
)
"""How few countries an element's production lies with: above 2,500 counts as concentrated."""

HHI_RESERVE = Property(
    name="hhi_reserve",
    words="HHI of reserves",
    unit="",
    lowest=0.0,
    highest=10_000.0,
    tolerance=250.0,
    of_composition=hhi_of_reserves,
    source="Gaultois et al., Chem. Mater. 25, 2911 (2013), in smact; average by mass",
)
"""The same of the known reserves."""

CRUSTAL_ABUNDANCE = Property(
    name="crustal_abundance",
    words="abundance of the scarcest element",
    short="abundance",
    unit="ppm",
    lowest=0.0,
    highest=1e6,
    tolerance=1.0,
    of_composition=scarcest_abundance,
    source="CRC Handbook of Chemistry and Physics, in smact",
)
"""In the earth's crust, by mass."""

OF_ELEMENTS = (HHI_PRODUCTION, HHI_RESERVE, CRUSTAL_ABUNDANCE)
