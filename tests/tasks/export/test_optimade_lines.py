from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition, Lattice, Structure

from structure.errors import DataError
from tasks.export.optimade_lines import Entry, attributes_of, lines
from tasks.fetch.crystals import from_optimade

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@settings(deadline=None, max_examples=30)
@given(
    atoms=st.lists(st.sampled_from(["Li", "Fe", "O", "Cl"]), min_size=1, max_size=9),
    lengths=st.tuples(*[st.floats(2.0, 9.0)] * 3),
    angles=st.tuples(*[st.floats(75.0, 105.0)] * 3),
    seed=st.integers(0, 99),
)
def test_a_crystal_comes_back_from_optimade_as_it_was(
    atoms: list[str],
    lengths: tuple[float, float, float],
    angles: tuple[float, float, float],
    seed: int,
) -> None:
    places = np.random.default_rng(seed).random((len(atoms), 3))
    structure = Structure(Lattice.from_parameters(*lengths, *angles), atoms, places)
    found = attributes_of(Entry("x", structure.as_dict(), {}), NOW)
    back = from_optimade(found)
    assert isinstance(back, dict)
    assert back["species"] == atoms
    assert back["lattice"] == pytest.approx([*lengths, *angles], abs=1e-6)
    assert np.array(back["frac_coords"]) == pytest.approx(places, abs=1e-6)
    reduced = Composition(found["chemical_formula_reduced"])
    assert reduced.fractional_composition.almost_equals(
        Composition(Counter(atoms)).fractional_composition
    )
    assert math.gcd(*(int(n) for n in reduced.values())) == 1
    assert sum(found["elements_ratios"]) == pytest.approx(1.0)
    assert found["elements"] == sorted(set(atoms))


def test_a_disordered_crystal_is_refused() -> None:
    mixed = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    with pytest.raises(DataError, match="disordered"):
        list(lines([Entry("x", mixed.as_dict(), {})], NOW))
