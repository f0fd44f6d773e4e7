from __future__ import annotations

import math

import pytest

from dft_inputs.job.plausible import (
    implausible_change,
    implausible_energy,
    implausible_formation_energy,
    implausible_gap,
)


@pytest.mark.parametrize(
    ("gap", "elements", "code"),
    [
        (0.0, "Cu", None),
        (9.6, "Li F", None),
        (10.4, "C F", None),
        (17.9, "He", None),
        (217.8, "Mg O", "250"),
        (17.9, "Mg O", "250"),
        (25.0, "He", "250"),
        (-0.1, "Mg O", "250"),
        (math.nan, "Mg O", "250"),
    ],
)
def test_gaps_of_solids_and_others(gap, elements, code):
    found = implausible_gap(gap, elements.split())
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("energy", "elements", "code"),
    [
        (-0.3, "Hg", None),
        (-12.96, "W", None),
        (-14.1, "Gd", None),
        (0.02, "Ar", None),
        (0.0, "Mg O", "260"),
        (0.02, "Xe F", "260"),
        (2.23, "Mg O", "260"),
        (-129.0, "Mg O", "260"),
        (math.inf, "Mg O", "260"),
        (math.nan, "Ar", "260"),
    ],
)
def test_energies_of_bound_atoms_and_others(energy, elements, code):
    found = implausible_energy(energy, elements.split())
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("energy", "code"),
    [(-4.6, None), (0.9, None), (2.23, "260"), (-7.0, "260"), (math.nan, "260")],
)
def test_formation_energies_of_crystals_and_others(energy, code):
    found = implausible_formation_energy(energy)
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("relaxed", "static", "code"),
    [(-6.0, -6.02, None), (-6.0, -5.95, None), (-6.0, -5.8, "270"), (-6.0, math.nan, "270")],
)
def test_a_static_energy_is_that_of_the_relaxed_crystal(relaxed, static, code):
    found = implausible_change(relaxed, static)
    assert (found.code if found else None) == code
