from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from structure.composition import keys_of, parse_formulas
from structure.rules.dataset_rules import (
    EnergyWithinSigma,
    ExcludeElements,
    GapRange,
    LabelledRows,
    LowestEnergyPerFormula,
    MaxAtomsPerElement,
    MedianGapPerFormula,
    NoSingleElements,
    Rule,
    SizeLimits,
)

NAN = float("nan")


def rows(*entries: tuple[str, float, float]) -> LabelledRows:
    parsed = parse_formulas([e[0] for e in entries])
    return LabelledRows(
        parsed.counts,
        parsed.cell_max,
        parsed.cell_atoms,
        np.array([e[1] for e in entries], dtype=float),
        np.array([e[2] for e in entries], dtype=float),
        np.zeros(len(entries), dtype=np.intp),
        np.arange(1, len(entries) + 1),
    )


def test_the_lowest_energy_of_each_formula_stays_in_any_spelling() -> None:
    table = rows(("NaCl", 5, -1.0), ("Na2Cl2", 4, -2.0), ("KCl", 5, NAN), ("KCl", 6, -1.0))
    judged = LowestEnergyPerFormula().judge(table)
    assert judged.keep.tolist() == [False, True, False, True]
    assert judged.sentence(0).startswith("record 2 of the same formula is kept: -2.0000 eV/atom")


def test_without_energies_the_first_of_each_formula_stays() -> None:
    judged = LowestEnergyPerFormula().judge(rows(("NaCl", 5, NAN), ("NaCl", 4, NAN)))
    assert judged.keep.tolist() == [True, False]
    assert "the first" in judged.sentence(1)


def test_the_median_gap_of_each_formula_stays() -> None:
    table = rows(("NaCl", 5, NAN), ("NaCl", 1, NAN), ("NaCl", 2, NAN), ("KCl", 3, NAN))
    judged = MedianGapPerFormula().judge(table)
    assert judged.keep.tolist() == [False, False, True, True]
    assert "2.000 eV, is the median" in judged.sentence(0)


@given(st.lists(st.tuples(st.sampled_from(["NaCl", "KCl", "LiF"]), st.floats(0, 9)), max_size=20))
def test_one_record_a_formula_stays_under_either_rule(entries: list[tuple[str, float]]) -> None:
    table = rows(*((f, g, -g) for f, g in entries))
    for rule in (LowestEnergyPerFormula(), MedianGapPerFormula()):
        kept = keys_of(table.take(rule.judge(table).keep).counts)
        assert len(kept) == len(set(kept.tolist())) == len({f for f, _ in entries})


def test_elements_excluded_elements_and_large_formulas_go() -> None:
    table = rows(("Fe4", 0, 0), ("KrF2", 5, 0), ("K4Mn4O8", 1, 0), ("Na9Cl", 1, 0))
    assert NoSingleElements().judge(table).keep.tolist() == [False, True, True, True]
    excluded = ExcludeElements().judge(table)
    assert excluded.keep.tolist() == [True, False, True, True]
    assert excluded.sentence(1) == "it contains Kr"
    assert MaxAtomsPerElement().judge(table).keep.tolist() == [True, True, True, False]
    strict = MaxAtomsPerElement(count=7, of="cell").judge(table)
    assert strict.keep.tolist() == [True, True, False, False]
    assert strict.sentence(2) == "it has 8 atoms of one element (limit 7, cell)"


def test_size_limits_count_cells_or_reduced_formulas() -> None:
    table = rows(("K4Mn4O8", 1, 0), ("Na2K2Rb2Cs2Li2F2", 1, 0))
    assert SizeLimits().judge(table).keep.tolist() == [True, False]
    assert SizeLimits(of="cell", atoms=15).judge(table).keep.tolist() == [False, False]
    assert "16 atoms (limit 15)" in SizeLimits(of="cell", atoms=15).judge(table).sentence(0)


def test_energies_far_from_the_mean_go_and_unknown_ones_stay() -> None:
    table = rows(*[("NaCl", 1, -1.0 + 0.01 * (i % 3)) for i in range(50)], ("KCl", 1, 40.0))
    judged = EnergyWithinSigma().judge(table)
    assert judged.keep.tolist() == [True] * 50 + [False]
    assert "40.000 eV/atom" in judged.sentence(50)
    assert EnergyWithinSigma().judge(rows(("NaCl", 1, NAN))).keep.tolist() == [True]


def test_gaps_out_of_range_go() -> None:
    table = rows(("NaCl", 0, 0), ("KCl", 2, 0), ("LiF", 3, 0), ("CaF2", 3.1, 0))
    judged = GapRange(above_eV=0, maximum_eV=3).judge(table)
    assert judged.keep.tolist() == [False, True, True, False]


def test_a_configuration_names_rules_and_refuses_unknown_parameters() -> None:
    adapter: TypeAdapter[Rule] = TypeAdapter(Rule)
    assert adapter.validate_python({"rule": "size_limits", "atoms": 12}) == SizeLimits(atoms=12)
    with pytest.raises(ValidationError, match="energy_within_sigma"):
        adapter.validate_python({"rule": "energy_within"})
    with pytest.raises(ValidationError, match="sigma"):
        adapter.validate_python({"rule": "energy_within_sigma", "sigma": 3})
    with pytest.raises(ValidationError, match="unknown element 'Xx'"):
        adapter.validate_python({"rule": "exclude_elements", "elements": ["Xx"]})
