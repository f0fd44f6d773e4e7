"""What a generator must keep."""

from __future__ import annotations

import numpy as np

from models.compositions.generator import CompositionGenerator, draw
from structure.composition import N_ELEMENTS


def keeps_the_contract(generator: CompositionGenerator) -> None:
    """Fail where a generator breaks what the sample stage relies on."""
    assert isinstance(generator.name, str) and generator.name
    drawn = draw(generator, 200, seed=7)
    assert drawn.shape == (200, N_ELEMENTS) and drawn.dtype == np.int16
    assert (draw(generator, 200, seed=7) == drawn).all(), "the same seed draws something else"
    assert (draw(generator, 200, seed=8) != drawn).any(), "another seed draws the same"
    assert (drawn.sum(axis=1) > 0).mean() > 0.5, "most rows are empty"
    assert draw(generator, 0, seed=7).shape == (0, N_ELEMENTS)
