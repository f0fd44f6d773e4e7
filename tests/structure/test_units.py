from __future__ import annotations

import pytest

from structure.units import energy_unit, gap_unit


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1.0, "eV"),
        (1000.0, "meV"),
        (96.48533212331, "kJ/mol"),
        (23.060547830619, "kcal/mol"),
        (1 / 13.6056931229905, "Ry"),
        (1 / 27.211386245981, "Hartree"),
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
