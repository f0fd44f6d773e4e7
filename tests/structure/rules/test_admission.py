from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from structure.composition import counts_from, keys_of, parse_formulas
from structure.rules.admission import CODES, SizeLimit, sift
from structure.rules.validity import RuleSet, valid

NOTHING = np.zeros(0, dtype=np.uint64)


def _sift(formulas: list[str], known: tuple[str, ...] = (), **limit: int) -> list[str]:
    keys = np.unique(keys_of(parse_formulas(known).counts)) if known else NOTHING
    return sift(parse_formulas(formulas).counts, keys, SizeLimit(**limit)).tolist()


def test_each_rule_has_its_code_and_the_first_that_fails_is_named() -> None:
    verdicts = {
        "SrYF5": "",
        "NaCl": "known",
        "Fe": "single-element",
        "NaKRbCsLiF5": "too-many-elements",
        "Na6K6Rb6F6Cl": "too-many-atoms",
        "Na8Cl9K": "too-many-of-one",
        "NaCl3": "charge",
        "PCl5O": "electronegativity",
    }
    assert _sift(list(verdicts), known=("NaCl",)) == list(verdicts.values())


def test_limits_are_the_ones_given() -> None:
    assert _sift(["SrYF5"], of_each=4) == ["too-many-of-one"]
    assert _sift(["SrYF5"], atoms=6) == ["too-many-atoms"]
    assert _sift(["SrYF5"], elements=2) == ["too-many-elements"]


def test_an_excluded_element_is_named_as_the_reason() -> None:
    without_fluorine = SizeLimit(excluded=("H", "F"))
    counts = parse_formulas(["SrYF5", "SrTiO3"]).counts
    assert sift(counts, NOTHING, without_fluorine).tolist() == ["excluded-element", ""]


def test_a_row_without_atoms_is_empty() -> None:
    assert sift(np.zeros((1, 103), dtype=np.int16), NOTHING, SizeLimit()).tolist() == ["empty"]


amounts = st.dictionaries(
    st.sampled_from("Na Cl O Fe F Ti Al S".split()), st.integers(1, 9), min_size=1, max_size=6
)


@given(st.lists(amounts, min_size=1, max_size=30), st.booleans())
def test_what_passes_is_valid_and_small_and_verdicts_do_not_depend_on_neighbours(
    rows: list[dict[str, int]], alloys: bool
) -> None:
    counts, rules, limit = counts_from(rows), RuleSet(alloys=alloys), SizeLimit()
    verdict = sift(counts, NOTHING, limit, rules)
    assert set(verdict.tolist()) <= {*CODES, ""}
    passed = counts[verdict == ""]
    assert valid(passed, rules).all()
    assert (passed.sum(axis=1) <= limit.atoms).all()
    alone = [sift(counts[i : i + 1], NOTHING, limit, rules)[0] for i in range(len(counts))]
    assert alone == verdict.tolist()
