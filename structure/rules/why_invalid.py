"""Why a composition is not valid, in a sentence: for the screen step's reasons and `agd why`.

In: one composition that failed a rule set. Out: a `Rejection` with the states and the numbers that
decided it.
"""

from __future__ import annotations

import numpy as np

from structure.composition import formulas_of, reduce
from structure.elements import ELEMENTS
from structure.errors import Rejection
from structure.rules.oxidation_states import OxidationStates, electronegativities


def why_unbalanced(row: np.ndarray, listed: OxidationStates, pauling: bool) -> Rejection:
    """Say why a composition of two or more elements cannot balance its charges.

    Parameters
    ----------
    row : ndarray of int, shape (103,)
    listed : OxidationStates
    pauling : bool
        Whether electronegativities counted.

    Returns
    -------
    Rejection
        Codes: ``empty``, ``states`` (an element has none in the list), ``charge``,
        ``electronegativity``.
    """
    row = reduce(row[None])[0]
    columns = np.flatnonzero(row).tolist()
    if not columns:
        return Rejection("empty", "the composition has no atoms")
    formula = formulas_of(row[None])[0]
    for column in columns:
        if not listed.states[column]:
            return Rejection(
                "states", f"{formula}: {ELEMENTS[column]} has no oxidation state in the list"
            )
    amounts = [int(row[c]) for c in columns]
    sums = _assignments(columns, amounts, listed)
    if 0 not in sums:
        nearest = min(sums, key=lambda q: (abs(q), -q))
        states = ", ".join(
            f"{n} {ELEMENTS[c]} ({' '.join(f'{s:+d}' for s in listed.states[c])})"
            for c, n in zip(columns, amounts, strict=True)
        )
        return Rejection(
            "charge",
            f"{formula} cannot be neutral with one state an element: {states}; "
            f"the nearest total charge is {nearest:+d}",
        )
    values = electronegativities()
    for column in columns:
        if pauling and np.isnan(values[column]):
            return Rejection(
                "electronegativity",
                f"{formula}: {ELEMENTS[column]} has no Pauling electronegativity to compare",
            )
    chosen = dict(zip(columns, sums[0], strict=True))
    cation = max((c for c in columns if chosen[c] > 0), key=lambda c: values[c])
    anion = min((c for c in columns if chosen[c] < 0), key=lambda c: values[c])
    written = " ".join(f"{ELEMENTS[c]}{chosen[c]:+d}" for c in columns)
    return Rejection(
        "electronegativity",
        f"{formula} is neutral only with a cation at least as electronegative as an anion, "
        f"as in {written}: {ELEMENTS[cation]} {values[cation]:.2f}, "
        f"{ELEMENTS[anion]} {values[anion]:.2f}",
    )


def _assignments(
    columns: list[int], amounts: list[int], listed: OxidationStates
) -> dict[int, tuple[int, ...]]:
    """Return each total charge that can be reached, with one choice of states that reaches it."""
    sums: dict[int, tuple[int, ...]] = {0: ()}
    for column, amount in zip(columns, amounts, strict=True):
        grown: dict[int, tuple[int, ...]] = {}
        for total, states in sums.items():
            for state in sorted(listed.states[column], key=lambda s: (abs(s), -s)):
                grown.setdefault(total + state * amount, (*states, state))
        sums = grown
    return sums
