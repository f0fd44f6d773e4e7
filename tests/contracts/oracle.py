"""What an oracle must keep."""

from __future__ import annotations

import numpy as np

from structure.composition import N_ELEMENTS, parse_formulas
from tasks.oracles.answer import Answer, Oracle

FORMULAS = ["NaCl", "MgO", "SiO2", "Al2O3", "BaTiO3", "GaAs", "LiF", "CaZrO3"]


def keeps_the_contract(oracle: Oracle) -> None:
    """Fail where an oracle breaks what the search relies on."""
    assert oracle.property and oracle.origin and oracle.source
    counts = parse_formulas(FORMULAS).counts
    accepted = oracle.accepts(counts)
    assert accepted.shape == (len(counts),) and accepted.dtype == np.bool_
    room = oracle.room()
    assert room is None or room >= 0
    answer = oracle.label(counts)
    assert isinstance(answer, Answer) and len(answer.values) == len(counts)
    refused = np.array([one is not None for one in answer.refusals])
    assert (answer.known | answer.pending | refused).all(), "a composition got no answer at all"
    assert not (answer.known & refused).any(), "a composition got a value and a refusal"
    assert oracle.later or not answer.pending.any()
    again = oracle.label(counts)
    assert np.array_equal(again.values, answer.values, equal_nan=True), "asking again changes it"
    assert again.jobs == answer.jobs, "asking again makes new jobs"
    nothing = oracle.label(np.zeros((0, N_ELEMENTS), dtype=np.int16))
    assert len(nothing.values) == 0
