from __future__ import annotations

import numpy as np

from models.search.surrogate_inputs import FARTHEST, StandardDescriptors
from structure.composition import parse_formulas

REFERENCE = parse_formulas(["NaCl", "MgO", "CaF2", "SrTiO3", "LiFePO4", "GaAs", "ZnS"]).counts


def test_inputs_are_centred_and_of_unit_spread_over_the_reference() -> None:
    inputs = StandardDescriptors(REFERENCE)(REFERENCE)
    inner = (np.abs(inputs) < FARTHEST).all(axis=0)
    varied = inner & (inputs.std(axis=0) > 0.99)
    assert varied.sum() > 100
    assert np.abs(inputs[:, inner].mean(axis=0)).max() < 1e-9
    assert inputs.std(axis=0).max() < 1 + 1e-9


def test_inputs_stay_in_the_box_for_compositions_unlike_the_reference() -> None:
    standard = StandardDescriptors(REFERENCE)
    inputs = standard(parse_formulas(["Pu19Xe", "H2", "Cs2NaYbF6"]).counts)
    assert standard.box.shape == (2, inputs.shape[1])
    assert (inputs >= standard.box[0]).all() and (inputs <= standard.box[1]).all()


def test_different_compositions_have_different_inputs() -> None:
    inputs = StandardDescriptors(REFERENCE)(parse_formulas(["NaF", "Na2F", "NaCl", "KF"]).counts)
    assert len(np.unique(inputs, axis=0)) == 4


def test_elements_without_descriptors_do_not_spread_nan() -> None:
    inputs = StandardDescriptors(REFERENCE)(parse_formulas(["EsCl3", "NaCl"]).counts)
    assert np.isfinite(inputs).all()


def test_inputs_follow_chemistry_more_than_the_alphabet() -> None:
    near, far, base = StandardDescriptors(REFERENCE)(parse_formulas(["KBr", "FeP", "NaCl"]).counts)
    assert np.linalg.norm(near - base) < np.linalg.norm(far - base)
