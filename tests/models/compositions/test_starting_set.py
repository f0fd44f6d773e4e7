from __future__ import annotations

import numpy as np

from models.compositions.starting_set import known_compositions
from structure.composition import formulas_of, keys_of, parse_formulas


class Draws:
    """A generator that draws fixed formulas, not reduced and with repeats."""

    name = "fixed"

    def sample(self, n: int, seed: int) -> np.ndarray:
        counts = 2 * parse_formulas(["NaCl", "KCl", "Fe", "SrYF5", "NaCl"]).counts
        return np.concatenate([counts, np.zeros((n - len(counts), 103), dtype=counts.dtype)])


def test_only_known_compounds_of_two_elements_or_more_are_kept_once() -> None:
    known = np.unique(keys_of(parse_formulas(["NaCl", "Fe", "KCl"]).counts))
    prototypes = parse_formulas(["CaF2", "Mg", "NaCl"]).counts
    found = known_compositions(Draws(), 8, 0, known, prototypes)
    assert formulas_of(found) == ["CaF2", "NaCl", "KCl"]
    assert found.dtype == np.int16


def test_a_filter_that_knows_nothing_leaves_the_prototypes() -> None:
    nothing = np.zeros(0, dtype=np.uint64)
    found = known_compositions(Draws(), 8, 0, nothing, parse_formulas(["CaF2"]).counts)
    assert formulas_of(found) == ["CaF2"]
