"""What a property model must keep."""

from __future__ import annotations

import numpy as np

from models.properties.prediction import PropertyModel, predict
from structure.composition import N_ELEMENTS, parse_formulas

FORMULAS = ["NaCl", "MgO", "SiO2", "Al2O3", "BaTiO3", "GaAs", "LiF", "CaZrO3"]


def keeps_the_contract(model: PropertyModel) -> None:
    """Fail where a property model breaks what the oracle and the screen stage rely on."""
    assert isinstance(model.property, str) and model.property
    counts = parse_formulas(FORMULAS).counts
    mean, sigma = predict(model, counts)
    assert np.isfinite(mean).all() and (sigma >= 0).all()
    order = np.random.default_rng(0).permutation(len(counts))
    again = predict(model, counts[order])
    assert np.allclose(again.mean, mean[order]), "a prediction depends on the rows beside it"
    assert np.allclose(again.sigma, sigma[order])
    one = predict(model, counts[:1])
    assert np.allclose(one.mean, mean[:1])
    nothing = predict(model, np.zeros((0, N_ELEMENTS), dtype=np.int16))
    assert len(nothing.mean) == len(nothing.sigma) == 0
