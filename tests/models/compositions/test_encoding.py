from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.compositions.encoding import (
    AGD_ENCODING,
    MATGAN_ENCODING,
    MATGAN_THRESHOLD,
    Encoding,
    counts_from_one_hot,
)
from structure.composition import counts_from, counts_of, formulas_of
from structure.elements import AGD_ELEMENTS, ELEMENTS, INDEX, MATGAN_ELEMENTS
from structure.errors import ConfigError, DataError


@st.composite
def encodings_and_counts(draw: st.DrawFn) -> tuple[Encoding, np.ndarray]:
    elements = tuple(draw(st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=9, unique=True)))
    encoding = Encoding(elements, draw(st.integers(1, 21)), draw(st.booleans()))
    rows = draw(
        st.lists(
            st.dictionaries(st.sampled_from(elements), st.integers(1, encoding.maximum)), max_size=6
        )
    )
    counts = np.zeros((len(rows), len(ELEMENTS)), dtype=np.int16)
    for i, row in enumerate(rows):
        for element, number in row.items():
            counts[i, INDEX[element]] = number
    return encoding, counts


@given(encodings_and_counts())
def test_every_composition_comes_back_from_its_matrix(case: tuple[Encoding, np.ndarray]) -> None:
    encoding, counts = case
    matrices = encoding.encode(counts)
    assert matrices.shape == (len(counts), *encoding.shape)
    np.testing.assert_array_equal(
        counts_from_one_hot(matrices, encoding.elements, encoding.zero_row), counts
    )
    soft = matrices * np.float32(0.9) + np.float32(0.01)
    np.testing.assert_array_equal(encoding.decode(soft), counts)
    np.testing.assert_array_equal(encoding.decode(soft, "last", MATGAN_THRESHOLD), counts)


@given(encodings_and_counts())
def test_a_line_has_one_one_for_a_present_element(case: tuple[Encoding, np.ndarray]) -> None:
    encoding, counts = case
    ones = encoding.encode(counts).sum(axis=2)
    present = counts[:, [INDEX[e] for e in encoding.elements]] > 0
    np.testing.assert_array_equal(ones, np.ones_like(present) if encoding.zero_row else present)


def test_chunks_meet_without_a_seam() -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros((40_001, len(ELEMENTS)), dtype=np.int16)
    chosen = rng.choice([INDEX[e] for e in MATGAN_ELEMENTS], size=(len(counts), 3))
    counts[np.arange(len(counts))[:, None], chosen] = rng.integers(1, 9, size=chosen.shape)
    matrices = MATGAN_ENCODING.encode(counts)
    np.testing.assert_array_equal(counts_from_one_hot(matrices, MATGAN_ELEMENTS), counts)


def test_the_papers_matrices_have_the_papers_shapes() -> None:
    assert MATGAN_ENCODING.shape == (85, 8)
    assert AGD_ENCODING.shape == (87, 20)
    assert set(MATGAN_ELEMENTS) < set(AGD_ELEMENTS)
    matrix = MATGAN_ENCODING.encode(counts_of("SrYF5")[None])[0]
    assert matrix[MATGAN_ELEMENTS.index("F")].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


def test_the_zero_row_shifts_places_by_one() -> None:
    encoding = Encoding(("Na", "Cl"), 3, zero_row=True)
    matrix = encoding.encode(counts_of("NaCl3")[None])[0]
    assert matrix.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    absent = Encoding(("Na", "Cl", "K"), 3, zero_row=True).encode(counts_of("NaCl3")[None])[0]
    assert absent[2].tolist() == [1, 0, 0, 0]


def test_what_does_not_fit_is_told_and_refused() -> None:
    counts = counts_from([{"Na": 1, "Cl": 1}, {"Na": 1, "O": 9}, {"Xe": 1, "F": 2}, {"He": 1}])
    counts = np.concatenate([counts, np.zeros((1, len(ELEMENTS)), np.int16)])
    assert MATGAN_ENCODING.fits(counts).tolist() == [True, False, True, False, False]
    assert AGD_ENCODING.fits(counts).tolist() == [True, True, True, True, False]
    with pytest.raises(DataError, match="85 elements with at most 8") as caught:
        MATGAN_ENCODING.encode(counts)
    assert "row 1" in str(caught.value)


def test_decoding_takes_the_likeliest_count_only_above_the_threshold() -> None:
    encoding = Encoding(("Na", "Cl", "O"), 3)
    values = np.array([[[0.1, 0.6, 0.3], [0.2, 0.5, 0.1], [0.9, 0.95, 0.9]]], dtype=np.float32)
    assert formulas_of(encoding.decode(values)) == ["Na2O2"]
    assert formulas_of(encoding.decode(values, threshold=0.4)) == ["Na2Cl2O2"]


def test_the_published_matgan_rule_takes_the_last_place_that_fires() -> None:
    encoding = Encoding(("Na", "Cl"), 4)
    values = np.array([[[0.9, 0.1, 0.2, 0.19], [0.1, 0.1, 0.1, 0.1]]], dtype=np.float64)
    decoded = encoding.decode(values, "last", MATGAN_THRESHOLD)
    assert decoded[0, INDEX["Na"]] == 3
    assert decoded[0].sum() == 3


def test_an_impossible_encoding_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError):
        Encoding(("Na", "Na"), 3)
    with pytest.raises(ConfigError):
        Encoding(("Na",), 0)
