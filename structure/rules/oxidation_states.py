"""Oxidation states and electronegativities of the elements, for the validity rules.

In: the name of one of smact's lists. Out: arrays over `structure.elements.ELEMENTS`. The numbers
are smact's, read from the installed package, so that the verdicts are the ones it gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from structure.composition import N_ELEMENTS
from structure.elements import ELEMENTS
from structure.errors import ConfigError

StateList = Literal["default", "smact14", "icsd16", "icsd24", "pymatgen_sp", "wiki"]
"""Named lists; ``"default"`` is smact's ICSD 2024 list with at least three reports a state."""

MAX_MIXED_VALENCE_COMBINATIONS = 1_000_000
"""Beyond this many combinations of states smact 4.0 does not try mixed valence."""

_ATTRIBUTES = {
    "smact14": "oxidation_states_smact14",
    "icsd16": "oxidation_states_icsd16",
    "icsd24": "oxidation_states_icsd24",
    "pymatgen_sp": "oxidation_states_sp",
    "wiki": "oxidation_states_wiki",
}


@dataclass(frozen=True)
class OxidationStates:
    """One list of oxidation states.

    Attributes
    ----------
    states : tuple of tuple of int, length 103
        Sorted states of each element; empty where the list has none.
    """

    states: tuple[tuple[int, ...], ...]

    @classmethod
    @lru_cache(maxsize=len(get_args(StateList)))
    def named(cls, name: str) -> OxidationStates:
        """Return a named list.

        Raises
        ------
        ConfigError
            If there is no such list.
        """
        if name not in get_args(StateList):
            raise ConfigError(
                f"there is no list of oxidation states called {name!r}",
                fix=f"Choose one of {', '.join(get_args(StateList))}.",
            )
        if name == "default":
            from smact.screening import _get_icsd24_oxidation_dict

            known = _get_icsd24_oxidation_dict(include_zero=False, consensus=3, commonality="low")
            return cls(tuple(tuple(sorted(known.get(e, ()))) for e in ELEMENTS))
        from smact import Element

        return cls(
            tuple(tuple(sorted(getattr(Element(e), _ATTRIBUTES[name]) or ())) for e in ELEMENTS)
        )

    def known(self) -> np.ndarray:
        """Return which elements have states; bool, shape (103,)."""
        return np.array([bool(s) for s in self.states])


@lru_cache(maxsize=1)
def electronegativities() -> np.ndarray:
    """Return Pauling electronegativities as smact has them.

    Returns
    -------
    ndarray of float64, shape (103,)
        NaN for He, Ne, Ar, Pm, Rn and Lr, which have none.
    """
    from smact import Element

    values = [Element(e).pauling_eneg for e in ELEMENTS]
    return np.array([np.nan if v is None else float(v) for v in values])


@lru_cache(maxsize=1)
def metals() -> np.ndarray:
    """Return which elements smact counts as metals; bool, shape (103,)."""
    from smact import metals as names

    return np.array([e in set(names) for e in ELEMENTS])


@lru_cache(maxsize=1)
def mixed_valence_elements() -> np.ndarray:
    """Return which elements may take several states in one compound; bool, shape (103,)."""
    from smact.screening import MIXED_VALENCE_ELEMENTS

    mixed = np.zeros(N_ELEMENTS, dtype=bool)
    mixed[[i for i, e in enumerate(ELEMENTS) if e in MIXED_VALENCE_ELEMENTS]] = True
    return mixed
