from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structure.composition import formulas_of
from structure.errors import DataError
from structure.sources.quantities import FORMATION_ENERGY, Quantity, ValueColumn, quantity
from structure.sources.table_schema import TableRows, TableSchema, read_by_schema

MODULUS = Quantity("bulk_modulus", "GPa", positive=True, largest=600, median=(1, 500))


def schema(*values: tuple[Quantity, str, str], required: str = "") -> TableSchema:
    """Want columns given as (quantity, column, unit)."""
    columns = [
        ValueColumn(
            quantity=what,
            column=column,
            unit=unit,
            setting=f"'mine.{what.name}'",
            unit_setting=f"'mine.{what.name}.unit'",
            required=what.name == required,
        )
        for what, column, unit in values
    ]
    return TableSchema(values=tuple(columns), formula_setting="'mine.formula'")


def read(folder: Path, text: str, wanted: TableSchema) -> TableRows:
    (folder / "t.csv").write_text(text)
    return read_by_schema(folder / "t.csv", wanted)


def test_a_property_that_nobody_described_is_read_by_its_name_and_unit(tmp_path: Path) -> None:
    curie = quantity("curie_temperature", "K")
    found = read(tmp_path, "formula,Tc\nFe,1043\nGd,292\nNaCl,\n", schema((curie, "Tc", "K")))
    assert formulas_of(found.counts) == ["Fe", "Gd", "NaCl"]
    assert found.values["curie_temperature"][:2].tolist() == [1043.0, 292.0]
    assert np.isnan(found.values["curie_temperature"][2])
    assert not found.refused


@settings(deadline=None, max_examples=20)
@given(modulus=st.floats(2.0, 400.0), unit=st.sampled_from(["GPa", "MPa", "kbar", "Mbar", "Pa"]))
def test_a_modulus_is_the_same_from_its_number_and_from_its_logarithm(
    tmp_path_factory: pytest.TempPathFactory, modulus: float, unit: str
) -> None:
    folder = tmp_path_factory.mktemp("t")
    in_unit = modulus / {"GPa": 1, "MPa": 1e-3, "kbar": 0.1, "Mbar": 100, "Pa": 1e-9}[unit]
    text = f"formula,k,logk\nMgO,{in_unit!r},{math.log10(in_unit)!r}\n"
    for column, named in (("k", unit), ("logk", f"log10({unit})")):
        found = read(folder, text, schema((MODULUS, column, named)))
        assert found.values["bulk_modulus"] == pytest.approx([modulus], rel=1e-9)


def test_a_column_of_logarithms_declared_as_plain_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="says decimal logarithms") as refused:
        read(tmp_path, "formula,log10_K\nMgO,2.2\n", schema((MODULUS, "log10_K", "GPa")))
    assert "'mine.bulk_modulus.unit'" in str(refused.value)


def test_moduli_in_another_unit_than_declared_are_refused_with_the_likely_one(
    tmp_path: Path,
) -> None:
    text = "formula,K (GPa)\nMgO,160\n"
    with pytest.raises(DataError, match="says GPa"):
        read(tmp_path, text, schema((MODULUS, "K (GPa)", "kbar")))
    with pytest.raises(DataError, match=r"cannot be in GPa.*would be 1600 GPa"):
        read(tmp_path, "formula,K\nMgO,1600\n", schema((MODULUS, "K", "GPa")))


def test_bounds_give_codes_with_the_quantitys_name(tmp_path: Path) -> None:
    text = "formula,K\nMgO,160\nNaCl,-3\nC,5000\nAl2O3,hard\nFe,1e999\nKCl,17\nLiF,70\n"
    found = read(tmp_path, text, schema((MODULUS, "K", "GPa")))
    assert [(r.record, r.why.code) for r in found.refused] == [
        (4, "value"),
        (5, "value"),
        (2, "negative-bulk-modulus"),
        (3, "large-bulk-modulus"),
    ]
    known = np.isfinite(found.values["bulk_modulus"])
    assert found.values["bulk_modulus"][known].tolist() == [160, 17, 70]


def test_a_logarithm_too_large_for_any_number_is_turned_down(tmp_path: Path) -> None:
    text = "formula,k\nMgO,2.2\nNaCl,400\n"
    found = read(tmp_path, text, schema((MODULUS, "k", "log10(GPa)")))
    assert [r.why.code for r in found.refused] == ["value"]
    assert np.isnan(found.values["bulk_modulus"][1])


def test_energies_of_a_formula_become_energies_of_an_atom_as_the_table_writes_it(
    tmp_path: Path,
) -> None:
    wanted = schema((FORMATION_ENERGY, "e", "eV/formula"))
    found = read(tmp_path, "formula,e\nNa4Cl4,-16\nNaCl,-4\n", wanted)
    assert found.values["formation_energy"].tolist() == [-2.0, -2.0]


def test_a_bad_entry_beside_a_required_value_takes_that_away(tmp_path: Path) -> None:
    wanted = schema(
        (MODULUS, "K", "GPa"), (FORMATION_ENERGY, "e", "eV/atom"), required=MODULUS.name
    )
    found = read(tmp_path, "formula,K,e\nMgO,160,-3\nNaCl,24,bad\nKCl,,-2\n", wanted)
    assert np.isfinite(found.values["bulk_modulus"]).tolist() == [True, False, False]
    assert [(r.record, r.why.code) for r in found.refused] == [(3, "no-label"), (2, "value")]
    assert found.refused[0].why.sentence == "there is no bulk modulus"


def test_a_source_without_a_required_value_names_the_setting(tmp_path: Path) -> None:
    wanted = schema((MODULUS, "K", "GPa"), required=MODULUS.name)
    with pytest.raises(DataError, match="none of the 1 records has a bulk modulus") as refused:
        read(tmp_path, "formula,K\nMgO,hard\n", wanted)
    assert "Check 'mine.bulk_modulus'" in str(refused.value)


def test_a_missing_column_names_the_setting_that_declared_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'K' for bulk_modulus") as refused:
        read(tmp_path, "formula,k_vrh\nMgO,160\n", schema((MODULUS, "K", "GPa")))
    assert "'mine.bulk_modulus'" in str(refused.value)
    with pytest.raises(DataError, match="no column 'formula'") as refused:
        read(tmp_path, "compound,K\nMgO,160\n", schema((MODULUS, "K", "GPa")))
    assert "'mine.formula'" in str(refused.value)


def test_a_unit_of_something_else_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match="unknown unit 'eV'"):
        schema((MODULUS, "K", "eV"))


def test_a_source_without_a_formula_names_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no formula of the source can be used") as refused:
        read(tmp_path, "formula\nFe0.95O\n", schema())
    assert "round" not in (refused.value.fix or "")
    assert "'mine.formula'" in (refused.value.fix or "")
