from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.properties.charge_descriptors import NAMES as CHARGE_NAMES
from models.properties.charge_descriptors import charge_features
from models.properties.descriptors import (
    MAGPIE_NAMES,
    NAMES,
    descriptors,
    magpie,
    stoichiometry_norms,
)
from models.properties.element_table import PROPERTIES, element_properties
from structure.composition import counts_from, parse_formulas
from structure.elements import ELEMENTS

compositions = st.dictionaries(
    st.sampled_from(ELEMENTS[:97]), st.integers(1, 20), min_size=1, max_size=7
)


def of(*formulas: str) -> np.ndarray:
    return parse_formulas(formulas).counts


def by_definition(counts: np.ndarray) -> np.ndarray:
    """The six statistics of each property, written out element by element."""
    places = np.flatnonzero(counts)
    share = counts[places] / counts.sum()
    out = []
    for values in element_properties()[places].T:
        mean = float((share * values).sum())
        mode = values[counts[places] == counts.max()].min()
        spread = float((share * np.abs(values - mean)).sum())
        out += [values.min(), values.max(), values.max() - values.min(), mean, spread, mode]
    return np.array(out)


@given(compositions)
def test_the_features_are_the_statistics_of_ward_et_al(amounts: dict[str, int]) -> None:
    counts = counts_from([amounts])
    assert np.allclose(magpie(counts)[0], by_definition(counts[0]), rtol=0, atol=1e-9)


@given(st.lists(compositions, min_size=2, max_size=6))
def test_a_row_does_not_depend_on_the_rows_beside_it(rows: list[dict[str, int]]) -> None:
    counts = counts_from(rows)
    together = descriptors(counts)
    for row, alone in zip(together, counts, strict=True):
        assert np.array_equal(row, descriptors(alone[None])[0])


def test_values_of_matminer_are_reproduced() -> None:
    # matminer 0.10.1, ElementProperty.from_preset("magpie"), Fe2O3 and SrYF5.
    found = dict(zip(MAGPIE_NAMES, magpie(of("Fe2O3"))[0], strict=True))
    assert found["mean Number"] == pytest.approx(15.2)
    assert found["mean MendeleevNumber"] == pytest.approx(74.2)
    assert found["avg_dev Electronegativity"] == pytest.approx(0.7728)
    assert found["mode CovalentRadius"] == 66.0
    assert magpie(of("SrYF5"))[0, 3] == pytest.approx((38 + 39 + 5 * 9) / 7)


def test_without_atoms_or_beyond_the_table_a_row_is_nan_and_its_neighbours_are_not() -> None:
    counts = np.concatenate([of("NaCl"), np.zeros((1, 103), np.int16), of("Cf2O3")])
    finite = np.isfinite(magpie(counts)).all(axis=1)
    assert finite.tolist() == [True, False, False]
    assert np.isnan(element_properties()[97:]).all()


def test_the_norm_of_order_zero_counts_elements_and_large_orders_find_the_largest_share() -> None:
    norms = stoichiometry_norms(of("NaCl", "SrYF5"))
    assert norms[:, 0].tolist() == [2.0, 3.0]
    assert norms[0, 1] == pytest.approx(np.sqrt(0.5))
    assert norms[1, -1] == pytest.approx(5 / 7, abs=1e-3)


def test_every_column_has_its_own_name() -> None:
    assert descriptors(of("NaCl")).shape == (1, len(NAMES))
    assert len(set(NAMES)) == len(NAMES) == 256
    assert len(PROPERTIES) * 6 == len(MAGPIE_NAMES) == 132


def charge(formula: str, name: str) -> float:
    return float(charge_features(of(formula))[0, CHARGE_NAMES.index(name)])


def test_neutral_salts_are_told_from_unbalanced_ones() -> None:
    assert [charge(f, "neutral within range") for f in ("NaCl", "SrYF5", "TiO2")] == [1, 1, 1]
    assert [charge(f, "neutral within range") for f in ("NaCl2", "SrF3")] == [0, 0]
    assert charge("NaCl", "charge cations highest") == 0


def test_odd_numbers_of_electrons_are_seen_in_the_reduced_formula() -> None:
    assert charge("NaCl", "odd electrons") == 0
    assert charge("NaCl2", "odd electrons") == 1


def test_ionic_character_grows_with_the_difference_of_electronegativity() -> None:
    series = [charge(f, "ionic character") for f in ("Na", "NaI", "NaCl", "NaF")]
    assert series == sorted(series)
    assert series[0] == 0
