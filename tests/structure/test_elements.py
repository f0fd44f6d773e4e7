from __future__ import annotations

import numpy as np
import pytest

from structure.elements import AGD_ELEMENTS, ELEMENTS, INDEX, MATGAN_ELEMENTS, columns
from structure.errors import ConfigError


def test_columns_follow_the_atomic_number() -> None:
    from ase.data import chemical_symbols

    assert list(ELEMENTS) == chemical_symbols[1:104]
    assert all(ELEMENTS[i] == e for e, i in INDEX.items())


def test_the_papers_matrices_have_their_numbers_of_elements() -> None:
    assert (len(MATGAN_ELEMENTS), len(AGD_ELEMENTS)) == (85, 87)
    assert set(AGD_ELEMENTS) - set(MATGAN_ELEMENTS) == {"He", "Kr"}


def test_columns_of_a_list_of_symbols_keep_its_order() -> None:
    assert columns(["O", "H", "Fe"]).tolist() == [7, 0, 25]
    assert np.array_equal(columns(ELEMENTS), np.arange(103))


@pytest.mark.parametrize("symbols", [["Xx"], ["H", "H"], ["fe"]])
def test_an_unknown_or_repeated_symbol_is_refused(symbols: list[str]) -> None:
    with pytest.raises(ConfigError):
        columns(symbols)
