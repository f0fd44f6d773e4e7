from __future__ import annotations

import math

import pytest

from structure.sources.units import (
    IN_EV,
    basis_named_in,
    is_logarithm_named,
    unit_named,
    units_named_in,
)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1.0, "eV"),
        (1000.0, "meV"),
        (96.48533212331, "kJ/mol"),
        (23.060547830619, "kcal/mol"),
        (1 / 13.6056931229905, "Ry"),
        (1 / 27.211386245981, "Hartree"),
        (8065.543937349212, "cm-1"),
    ],
)
def test_one_electronvolt_is_one_electronvolt_in_every_unit(value: float, unit: str) -> None:
    assert value * unit_named(unit, "eV").factor == pytest.approx(1.0, rel=1e-12)
    for basis in ("atom", "formula"):
        found = unit_named(f"{unit}/{basis}", "eV/atom")
        assert found.per == basis
        assert value * found.factor == pytest.approx(1.0, rel=1e-12)


def test_a_misspelt_unit_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'meV'"):
        unit_named("mev", "eV")


def test_a_formation_energy_must_say_per_what() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'eV/atom'"):
        unit_named("eV", "eV/atom")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Eg (meV)", "meV"),
        ("gap_meV", "meV"),
        ("band_gap_eV", "eV"),
        ("Eg/eV", "eV"),
        ("E_g [kJ/mol]", "kJ/mol"),
        ("gap (kJ mol⁻¹)", "kJ/mol"),
        ("Hf_kcal_mol", "kcal/mol"),
        ("gap (Rydberg)", "Ry"),
        ("gap (a.u.)", "Hartree"),
        ("ν (cm⁻¹)", "cm-1"),
    ],
)
def test_the_unit_in_a_columns_name_is_found(name: str, unit: str) -> None:
    assert units_named_in(name) == {unit}
    assert unit in IN_EV


@pytest.mark.parametrize("name", ["band_gap", "Level", "everything", "Harry", "gap (µeV)", "keV"])
def test_letters_inside_words_are_no_unit(name: str) -> None:
    assert not units_named_in(name)


@pytest.mark.parametrize(
    ("name", "basis"),
    [
        ("E (eV/atom)", "atom"),
        ("e_per_cell", "formula"),
        ("H (kJ/f.u.)", "formula"),
        ("E (eV)", ""),
    ],
)
def test_what_a_value_counts_for_is_found(name: str, basis: str) -> None:
    assert basis_named_in(name) == basis


@pytest.mark.parametrize(
    ("number", "unit"),
    [(100.0, "GPa"), (1e5, "MPa"), (1000.0, "kbar"), (1.0, "Mbar"), (1e11, "Pa")],
)
def test_a_hundred_gigapascals_are_the_same_in_every_unit(number: float, unit: str) -> None:
    assert number * unit_named(unit, "GPa").factor == pytest.approx(100.0, rel=1e-12)
    logarithm = unit_named(f"log10({unit})", "GPa")
    assert logarithm.logarithm
    assert 10 ** math.log10(number) * logarithm.factor == pytest.approx(100.0, rel=1e-12)


def test_one_electronvolt_a_cubic_angstrom_is_a_pressure() -> None:
    assert unit_named("eV/Å3", "GPa").factor == pytest.approx(160.2176634)


def test_a_unit_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown unit 'GPa'"):
        unit_named("GPa", "eV")


def test_a_property_of_an_unknown_kind_has_its_own_unit_and_no_other() -> None:
    assert unit_named("K", "K").factor == 1.0
    with pytest.raises(ValueError, match="known: K"):
        unit_named("mK", "K")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("log10(K_VRH)", True), ("log10_K_VRH", True), ("lg K", True), ("catalogue", False)],
)
def test_a_logarithm_in_a_columns_name_is_found(name: str, is_one: bool) -> None:
    assert is_logarithm_named(name) == is_one
