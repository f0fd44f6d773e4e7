from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from structure.errors import PluginError
from structure.properties import registry
from structure.properties.of_elements import CRUSTAL_ABUNDANCE, HHI_PRODUCTION
from structure.properties.target import Target, Targets


def test_an_open_window_wants_the_widest_gap() -> None:
    gaps = Target(property="band_gap", minimum=5.0)
    np.testing.assert_array_equal(gaps.contains(np.array([4.9, 5.0, 9.0])), [False, True, True])
    assert gaps.utility(np.array([9.0])) > gaps.utility(np.array([5.0]))
    assert gaps.words() == "5 eV and wider"


def test_below_a_maximum_the_smallest_comes_first() -> None:
    gaps = Target(property="band_gap", maximum=2.0)
    np.testing.assert_array_equal(gaps.contains(np.array([1.0, 2.0, 2.1])), [True, True, False])
    assert gaps.utility(np.array([0.5])) > gaps.utility(np.array([1.5]))


@given(st.floats(0, 12))
def test_a_closed_window_wants_its_centre(gap: float) -> None:
    gaps = Target(property="band_gap", minimum=2.0, maximum=4.0)
    assert gaps.utility(np.array([gap]))[0] <= gaps.utility(np.array([3.0]))[0]
    assert gaps.contains(np.array([gap]))[0] == (2.0 <= gap <= 4.0)


@given(st.floats(0, 30), st.floats(0, 30), st.sampled_from(["maximise", "minimise"]))
def test_a_direction_orders_all_values(one: float, other: float, way: str) -> None:
    target = Target(property="band_gap", direction=way)
    assert target.contains(np.array([one, other])).all()
    worth = target.utility(np.array([one, other]))
    assert (worth[0] > worth[1]) == (one > other if way == "maximise" else one < other)


def test_no_value_lies_in_no_window() -> None:
    assert not Target(property="band_gap", minimum=1.0).contains(np.array([np.nan]))[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"property": "band_gpa", "minimum": 1}, "did you mean 'band_gap'"),
        ({"property": "band_gap"}, "say what of band_gap"),
        ({"property": "band_gap", "minimum": -1}, "-1 is no band gap: it lies from 0 to 30 eV"),
        ({"property": "band_gap", "minimum": 5, "maximum": 3}, "maximum must lie above minimum"),
        ({"property": "band_gap", "minimum": 5, "unit": "meV"}, "band_gap is in eV here, not meV"),
        ({"property": "band_gap", "minimum": float("nan")}, "finite"),
    ],
)
def test_a_target_that_cannot_be_says_why(words: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Target.model_validate(words)


def test_targets_travel_to_a_worker() -> None:
    targets = Targets()
    assert targets.first.sought.column == "band_gap_eV"
    assert pickle.loads(pickle.dumps(targets)) == targets


@given(st.floats(0, 30), st.floats(0, 5), st.booleans())
def test_a_probability_lies_between_0_and_1(value: float, sigma: float, blurred: bool) -> None:
    target = Target(property="band_gap", minimum=2.0, maximum=4.0)
    chance = target.probability(np.array([value]), np.array([sigma]), blurred=blurred)
    assert 0.0 <= chance[0] <= 1.0


@given(st.floats(0, 29), st.floats(0.01, 5), st.floats(0, 1))
def test_above_a_minimum_more_is_never_less_probable(v: float, sigma: float, more: float) -> None:
    target = Target(property="band_gap", minimum=5.0)
    chance = target.probability(np.array([v, v + more]), np.array([sigma, sigma]))
    assert chance[1] >= chance[0]


def test_an_exact_value_holds_or_does_not_and_a_missing_one_does_not() -> None:
    target = Target(property="hhi_production", maximum=2500.0)
    chance = target.probability(np.array([2400.0, 2600.0, np.nan]), np.zeros(3))
    np.testing.assert_array_equal(chance, [1.0, 0.0, 0.0])


GAP_FROM_5 = {"property": "band_gap", "minimum": 5}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"property": "band_gap", "maximum": 3}, "exclude"),
        ({"property": "band_gap", "maximum": 9}, "one window"),
        ({"property": "bulk_modulus", "direction": "maximise"}, "each needs"),
    ],
)
def test_targets_that_cannot_stand_together_say_why(other: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Targets.model_validate([GAP_FROM_5, other])


def test_a_property_of_ones_own_needs_a_name_and_a_unit() -> None:
    own = Target(property="my_number", unit="GPa", minimum=1.0).sought
    assert (own.column, own.sigma_column, own.words) == (
        "my_number_GPa",
        "my_number_sigma_GPa",
        "my number",
    )


def test_elements_decide_supply_risk_and_abundance() -> None:
    from structure.composition import parse_formulas

    counts = parse_formulas(["LiF", "PtAu"]).counts
    risk, share = HHI_PRODUCTION.of_composition, CRUSTAL_ABUNDANCE.of_composition
    assert risk is not None and share is not None
    np.testing.assert_allclose(risk(counts)[0], 1874.6, rtol=2e-3)  # pymatgen's HHIModel
    np.testing.assert_allclose(share(counts), [20.0, 0.004])


def test_an_entry_point_that_brings_no_property_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[agd.properties]\nstrange = math:pi\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry.properties.cache_clear()
    try:
        with pytest.raises(PluginError, match=r"'strange' brings 3\.14"):
            registry.properties()
    finally:
        monkeypatch.undo()
        registry.properties.cache_clear()


ROOT = Path(__file__).parents[3]
SPELLS = ("band_gap", "gap_eV", "bulk_modulus", "hhi_")
MAY_SPELL = (
    "structure/properties/", "structure/sources/", "dft_inputs/", "models/fitting/",
    "models/properties/", "tasks/fetch/", "tasks/dft_jobs/gpaw_results.py",
    "tasks/dft_jobs/results.py", "tasks/dft_jobs/extra_steps.py", "tasks/ingest/sources.py",
    "flows/cli/data.py",
)  # fmt: skip
"""Instances, readers of other people's tables, what learns from them, and DFT's own gaps."""


def test_no_stage_and_no_flow_spells_the_name_of_a_property() -> None:
    import ast

    wrong = []
    for package in ("structure", "models", "dft_inputs", "tasks", "flows"):
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place.startswith(MAY_SPELL):
                continue
            tree = ast.parse(path.read_text())
            prose = {
                id(node.value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            }
            wrong += [
                f"{place}:{node.lineno}: {node.value}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in prose
                and any(word in node.value for word in SPELLS)
            ]
    assert not wrong
