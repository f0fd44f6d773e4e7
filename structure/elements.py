"""Element lists: the columns of every composition matrix in the pipeline.

Inside the product a set of compositions is an integer array ``counts (n, 103)`` over `ELEMENTS`.
Models that see fewer elements name their own list and take the matching columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from structure.errors import ConfigError

ELEMENTS: tuple[str, ...] = tuple(
    """H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se
    Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy
    Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf
    Es Fm Md No Lr""".split()
)
"""The 103 elements H to Lr, in order of atomic number: column ``Z - 1`` is element ``Z``."""

INDEX: dict[str, int] = {symbol: i for i, symbol in enumerate(ELEMENTS)}
"""Column of each element symbol in a composition matrix."""

_NOT_IN_MATGAN = frozenset({"He", "Ne", "Ar", "Kr", "Po", "At", "Rn", "Fr", "Ra"})

MATGAN_ELEMENTS: tuple[str, ...] = tuple(e for e in ELEMENTS[:94] if e not in _NOT_IN_MATGAN)
"""The 85 elements of MatGAN's matrices (its code's list: H to Pu less nine)."""

AGD_ELEMENTS: tuple[str, ...] = tuple(
    e for e in ELEMENTS[:94] if e not in _NOT_IN_MATGAN - {"He", "Kr"}
)
"""The 87 elements of AGD's matrices (sec. 2.2).

The paper gives the number only. The Materials Project's compounds of two or more elements hold
exactly 87 elements: MatGAN's 85 with He and Kr.
"""


def columns(elements: Sequence[str]) -> np.ndarray:
    """Return the `ELEMENTS` columns of a list of symbols.

    Parameters
    ----------
    elements : sequence of str

    Returns
    -------
    ndarray of int, shape (len(elements),)

    Raises
    ------
    ConfigError
        If a symbol is not one of the 103 elements or is repeated.
    """
    unknown = [e for e in elements if e not in INDEX]
    if unknown:
        raise ConfigError(
            f"unknown element {unknown[0]!r}", fix="Use symbols from H to Lr, as in 'Fe'."
        )
    if len(set(elements)) != len(elements):
        raise ConfigError("an element list names an element twice", where=" ".join(elements))
    return np.array([INDEX[e] for e in elements], dtype=np.intp)
