from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dft_inputs.vasp.energies import EV_PER_KBAR_A3
from dft_inputs.vasp.outputs import StepOutput, read_step
from structure.errors import Rejection
from tests.dft_inputs.vaspruns import Calculation, Energies, vasprun, written


def energy_of(folder: Path, *calculations: Calculation, **parameters: object) -> float:
    output = read_step(written(folder, vasprun(calculations, parameters)))
    assert isinstance(output, StepOutput), output
    return output.energy


@settings(max_examples=40, deadline=None)
@given(
    free=st.floats(-2000, 50).filter(lambda e: abs(e) > 0.1),
    entropy=st.floats(-0.05, 0.05),
    order=st.integers(0, 2),
    added=st.sampled_from([0.0, -0.3]),
    old=st.booleans(),
    cycles=st.integers(1, 12),
)
def test_both_layouts_give_the_energy_extrapolated_to_zero_smearing(
    free, entropy, order, added, old, cycles
):
    energies = Energies(free, entropy, order, added)
    with tempfile.TemporaryDirectory() as folder:
        found = energy_of(Path(folder), Calculation(energies, cycles=cycles, old=old))
    assert found == pytest.approx(free - entropy / (2 + order) + added, abs=3e-8)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("calculation", "parameters"),
    [
        ({"cycles": 0}, {}),
        ({"cycles": 1}, {"NELM": 1}),
        ({}, {"ICHARG": 11}),
        ({"response": 110}, {"IBRION": 8, "LEPSILON": True, "NSW": 1}),
        ({"response": 110}, {"IBRION": 7, "NSW": 1}),
        ({}, {"IBRION": 6, "NSW": 1}),
    ],
    ids=["no cycles", "one cycle", "fixed density", "fields", "perturbed", "displaced"],
)
def test_the_energy_is_that_of_the_ground_state_in_every_kind_of_run(
    tmp_path, old, calculation, parameters
):
    last = Calculation(Energies(-7.0, -0.01), old=old, **calculation)
    assert energy_of(tmp_path, last, **parameters) == pytest.approx(-6.995)


@pytest.mark.parametrize("old", [False, True])
def test_a_relaxation_has_the_energy_of_its_last_step(tmp_path, old):
    steps = [Calculation(Energies(e, -0.002), old=old) for e in (-5.0, -6.0, -6.5)]
    assert energy_of(tmp_path, *steps, IBRION=2, NSW=9) == pytest.approx(-6.499)


@pytest.mark.parametrize("old", [False, True])
def test_an_atom_whose_energy_is_nearly_zero_keeps_it(tmp_path, old):
    helium = Calculation(Energies(-0.0017), old=old)
    assert energy_of(tmp_path, helium) == pytest.approx(-0.0017, abs=1e-8)


def test_under_pressure_the_work_against_it_is_no_part_of_the_energy(tmp_path):
    enthalpy = Energies(-10.0, added=2.0 * 64.0 * EV_PER_KBAR_A3)
    assert energy_of(tmp_path, Calculation(enthalpy), PSTRESS=2.0) == pytest.approx(-10.0)


@pytest.mark.parametrize(
    ("written_as", "sentence"),
    [('<i name="other">0.0</i>', "no total energy"), ('<i name="e_0_energy">*****</i>', "finite")],
)
def test_a_step_without_a_total_energy_is_a_reason(tmp_path, written_as, sentence):
    before, block, after = vasprun().rpartition('<i name="e_0_energy">-10.00000000</i>')
    assert block
    found = read_step(written(tmp_path, before + written_as + after))
    assert isinstance(found, Rejection)
    assert sentence in found.sentence
