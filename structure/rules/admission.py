"""The rules between a drawn composition and a candidate, without any model: for the screen step.

In: reduced compositions and sorted keys of known formulas. Out: for each row the code of the first
rule that it fails, or an empty one. Whole arrays at a time: a million rows take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from structure.composition import keys_of
from structure.elements import columns
from structure.rules.known_formulas import contains
from structure.rules.validity import STRICT, RuleSet, neutral, valid

EMPTY, KNOWN, SINGLE = "empty", "known", "single-element"
TOO_MANY_ATOMS, TOO_MANY_ELEMENTS = "too-many-atoms", "too-many-elements"
TOO_MANY_OF_ONE, EXCLUDED = "too-many-of-one", "excluded-element"
CHARGE, ELECTRONEGATIVITY = "charge", "electronegativity"

CODES: tuple[str, ...] = (
    EMPTY,
    KNOWN,
    SINGLE,
    EXCLUDED,
    TOO_MANY_ELEMENTS,
    TOO_MANY_ATOMS,
    TOO_MANY_OF_ONE,
    CHARGE,
    ELECTRONEGATIVITY,
)
"""Codes in the order in which the rules are asked."""


@dataclass(frozen=True)
class SizeLimit:
    """Compositions that go on: not too large (AGD sec. 2.3), and without elements nobody wants.

    Attributes
    ----------
    atoms, elements, of_each : int
        Most atoms, elements, and atoms of one element in the reduced formula.
    excluded : tuple of str
        Elements that may not occur.
    """

    atoms: int = 20
    elements: int = 5
    of_each: int = 7
    excluded: tuple[str, ...] = ()


def sift(
    counts: np.ndarray, known: np.ndarray, limit: SizeLimit, rules: RuleSet = STRICT
) -> np.ndarray:
    """Ask every composition the rules in order and note the first it fails.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
        Reduced.
    known : ndarray of uint64, shape (m,)
        Sorted keys of known formulas.
    limit : SizeLimit
    rules : RuleSet
        Charge neutrality is asked first, then the whole of it, so that a row fails
        ``electronegativity`` only if its charges balance.

    Returns
    -------
    ndarray of str, shape (n,)
        A code of `CODES`; empty text where no rule fails.
    """
    verdict = np.zeros(len(counts), dtype=f"<U{max(map(len, CODES))}")
    atoms = counts.sum(axis=1, dtype=np.intp)
    elements = (counts > 0).sum(axis=1)
    failures = (
        (EMPTY, atoms == 0),
        (KNOWN, contains(known, keys_of(counts))),
        (SINGLE, elements == 1),
        (EXCLUDED, counts[:, columns(limit.excluded)].any(axis=1)),
        (TOO_MANY_ELEMENTS, elements > limit.elements),
        (TOO_MANY_ATOMS, atoms > limit.atoms),
        (TOO_MANY_OF_ONE, counts.max(axis=1, initial=0) > limit.of_each),
    )
    for code, failed in failures:
        verdict[(verdict == "") & failed] = code
    for code, passes in ((CHARGE, neutral), (ELECTRONEGATIVITY, valid)):
        asked = np.flatnonzero(verdict == "")
        verdict[asked[~passes(counts[asked], rules)]] = code
    return verdict
