from __future__ import annotations

import pytest

from structure.properties.gap_window import Window, band_gaps
from structure.properties.target import Targets


def test_a_window_is_short_for_a_target_of_band_gaps() -> None:
    assert Window().targets() == Targets()
    first = band_gaps(2.0, 4.0).first
    assert (first.property, first.window, first.way) == ("band_gap", (2.0, 4.0), "centre")


@pytest.mark.parametrize("low, high", [(-1.0, None), (4.0, 2.0), (3.0, 3.0)])
def test_an_impossible_window_is_refused(low: float, high: float | None) -> None:
    with pytest.raises(ValueError, match=r"minimum_eV|maximum_eV"):
        Window(minimum_eV=low, maximum_eV=high)
