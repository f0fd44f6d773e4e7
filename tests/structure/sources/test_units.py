from __future__ import annotations

import pytest

from structure.sources.units import IN_EV, basis_named_in, energy_unit, gap_unit, units_named_in


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
    assert value * gap_unit(unit).factor == pytest.approx(1.0, rel=1e-12)
    for basis in ("atom", "formula"):
        found = energy_unit(f"{unit}/{basis}")
        assert found.per == basis
        assert value * found.factor == pytest.approx(1.0, rel=1e-12)


def test_a_misspelt_unit_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'meV'"):
        gap_unit("mev")


def test_a_formation_energy_must_say_per_what() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'eV/atom'"):
        energy_unit("eV")


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
