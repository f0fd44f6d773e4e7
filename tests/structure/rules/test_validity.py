from __future__ import annotations

import itertools
import warnings
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from structure.composition import N_ELEMENTS, counts_of, formulas_of, parse_formulas
from structure.errors import ConfigError
from structure.rules.oxidation_states import OxidationStates, StateList, electronegativities
from structure.rules.validity import STRICT, RuleSet, explain, matched_random, neutral, valid

# Simple salts, mixed valence, alloys, elements without states or electronegativity, wide charges.
FORMULAS = [
    *("NaCl", "SrYF5", "NaCl2", "Fe3O4", "Pm2O3", "He", "HeNe", "OHe2", "Si", "C60", "C60H60O3"),
    *("Fe12O18", "LiFe20O30", "U3O8", "Na100Cl99O", "K500Cl499F", "NpO2", "Fe5Mn5O14", "OF2"),
    *("CaMg", "PbAg2", "CuAu", "LiAlSi", "GaAs", "CsAu", "KO2", "Pb3O4", "Cu15O9", "CuEuYbUO8"),
    *("LiMn2O4", "H2O", "NH4NO3", "XeF6", "MgB2", "FeS2", "CaC2", "LrF3", "RnF2", "AsSe", "Sb2S5"),
]
RULES = [
    RuleSet(name, pauling, alloys, mixed)
    for name in get_args(StateList)
    for pauling, alloys, mixed in itertools.product((True, False), repeat=3)
]
COUNTS = arrays(
    np.int16,
    st.tuples(st.integers(0, 5), st.just(N_ELEMENTS)),
    elements=st.sampled_from([0] * 40 + [1, 2, 3, 4, 12]),
)


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    rng = np.random.default_rng(3)
    known = parse_formulas(FORMULAS).counts
    return np.concatenate([known, matched_random(known, 15, rng)])


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_verdicts_are_those_of_smact(rules: RuleSet, counts: np.ndarray) -> None:
    from smact.screening import smact_validity

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [
            smact_validity(
                formula,
                use_pauling_test=rules.pauling,
                include_alloys=rules.alloys,
                oxidation_states_set=(
                    None if rules.oxidation_states == "default" else rules.oxidation_states
                ),
                mixed_valence=rules.mixed_valence,
            )
            for formula in formulas_of(counts)
        ]
    ours = valid(counts, rules)
    wrong = [f for f, a, b in zip(formulas_of(counts), ours, theirs, strict=True) if a != b]
    assert not wrong
    assert 0 < sum(theirs) < len(theirs)
    if not rules.pauling:
        assert (neutral(counts, rules) == ours).all()


@settings(deadline=None, max_examples=60)
@given(COUNTS, st.sampled_from(["default", "smact14", "pymatgen_sp"]))
def test_verdicts_are_those_of_trying_every_combination(counts: np.ndarray, name: str) -> None:
    states = OxidationStates.named(name).states
    values = electronegativities()

    def by_enumeration(row: np.ndarray) -> bool:
        columns = np.flatnonzero(row)
        if len(columns) == 1:
            return True
        for chosen in itertools.product(*(states[c] for c in columns)):
            if sum(s * row[c] for s, c in zip(chosen, columns, strict=True)):
                continue
            pairs = itertools.permutations(zip(chosen, values[columns], strict=True), 2)
            if not any(a > 0 > b and not x < y for (a, x), (b, y) in pairs):
                return len(columns) > 0 and not np.isnan(values[columns]).any()
        return False

    few = counts[(counts > 0).sum(axis=1) <= 4]
    rules = RuleSet(name)
    assert valid(few, rules).tolist() == [by_enumeration(row) for row in few]


@settings(deadline=None)
@given(COUNTS)
def test_valid_compositions_are_neutral_and_wider_rules_accept_more(counts: np.ndarray) -> None:
    strict = valid(counts)
    assert (neutral(counts) >= strict).all()
    assert (valid(counts, RuleSet(alloys=True)) >= strict).all()
    assert (valid(counts, RuleSet(mixed_valence=True)) >= strict).all()


@settings(deadline=None)
@given(COUNTS, st.integers(2, 5))
def test_a_larger_cell_of_the_same_compound_has_the_same_verdict(
    counts: np.ndarray, factor: int
) -> None:
    assert (valid(counts) == valid(counts * np.int16(factor))).all()


def test_a_row_without_atoms_is_not_valid() -> None:
    nothing = np.zeros((1, N_ELEMENTS), dtype=np.int16)
    assert not valid(nothing)[0]
    assert not valid(nothing, RuleSet(alloys=True))[0]
    assert explain(nothing[0]).code == "empty"
    assert valid(nothing[:0]).shape == (0,)


def test_magnetite_needs_mixed_valence() -> None:
    row = counts_of("Fe3O4")[None]
    assert not valid(row)[0]
    assert valid(row, RuleSet(mixed_valence=True))[0]


@pytest.mark.parametrize(
    ("formula", "code", "words"),
    [
        ("NaCl2", "charge", ["1 Na (+1)", "nearest total charge is -1"]),
        ("Pm2O3", "electronegativity", ["Pm has no Pauling electronegativity"]),
        ("PbAg2", "electronegativity", ["Ag 1.93", "Pb 1.80", "Ag+2 Pb-4"]),
        ("He2O", "states", ["He has no oxidation state"]),
    ],
)
def test_a_rejection_names_the_numbers_that_decided(
    formula: str, code: str, words: list[str]
) -> None:
    why = explain(counts_of(formula))
    assert why.code == code
    assert all(word in why.sentence for word in words), why.sentence


@settings(deadline=None, max_examples=50)
@given(COUNTS)
def test_exactly_the_invalid_are_explained(counts: np.ndarray) -> None:
    assert [explain(row) is None for row in counts] == valid(counts).tolist()


def test_an_unknown_list_of_states_is_refused() -> None:
    with pytest.raises(ConfigError, match="smact99"):
        valid(counts_of("NaCl")[None], RuleSet("smact99"))


def test_random_compositions_keep_the_marginals_and_nothing_else() -> None:
    given_counts = parse_formulas(["NaCl", "KCl", "SrTiO3", "BaTiO3"] * 50).counts
    drawn = matched_random(given_counts, 4000, np.random.default_rng(0))
    sizes = (drawn > 0).sum(axis=1)
    assert set(sizes.tolist()) == {2, 3}
    assert abs((sizes == 2).mean() - 0.5) < 0.03
    assert set(np.flatnonzero(drawn.any(axis=0))) == set(np.flatnonzero(given_counts.any(axis=0)))
    assert (np.gcd.reduce(drawn, axis=1) == 1).all()
    assert valid(drawn, STRICT).mean() < 0.6 < valid(given_counts).mean()


def test_random_compositions_follow_the_generator() -> None:
    base = parse_formulas(FORMULAS).counts
    a, b = (matched_random(base, 50, np.random.default_rng(s)) for s in (1, 1))
    assert (a == b).all()
    assert (a != matched_random(base, 50, np.random.default_rng(2))).any()


@pytest.mark.parametrize("formula", ["NaCl", "Fe2O3", "C60"])
def test_published_states_make_textbook_compounds_valid(formula: str) -> None:
    assert valid(counts_of(formula)[None], RuleSet("smact14"))[0]
