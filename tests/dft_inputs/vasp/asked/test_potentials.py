from __future__ import annotations

from dataclasses import replace

import pytest

from dft_inputs.vasp.asked.potentials import other_release, potentials_differ, releases_mixed
from tests.dft_inputs.vasp.test_judgement import GOOD, STEP, TICKET

PBE = {"titel": ["PAW_PBE Mg 13Apr2007", "PAW_PBE O 08Apr2002"], "sha256_each": ["a", "b"]}


@pytest.mark.parametrize(
    "titles",
    [
        ("PAW Mg 05Jan2001", "PAW O 31May2000"),
        ("PAW_GGA Mg 05Jan2001", "PAW_GGA O 05Jan2001"),
        ("PAW_PBE Mg 13Apr2007", "PAW O 31May2000"),
        ("US Mg", "US O"),
        ("NC Mg", "NC O"),
        ("PAW_RPBE Mg 13Apr2007", "PAW_RPBE O 08Apr2002"),
    ],
)
def test_a_potential_of_another_functional_is_code_310(titles):
    found = potentials_differ(TICKET, STEP, replace(GOOD, titles=titles))
    assert found.code == "310"
    assert "PAW_PBE" in found.sentence


@pytest.mark.parametrize(
    "titles",
    [
        (),
        ("PAW_PBE Mg 13Apr2007",),
        ("", ""),
        ("PAW_PBE O 08Apr2002", "PAW_PBE Mg 13Apr2007"),
        ("PAW_PBE Mg_sv 12Apr2007", "PAW_PBE O 08Apr2002"),
        ("PAW_PBE Mg 13Apr2007", "PAW_PBE O_GW 19Mar2012"),
        ("PAW_PBE Mg 13Apr2007", "PAW_PBE O 08Apr2002", "PAW_PBE O 08Apr2002"),
    ],
)
def test_other_symbols_or_another_order_are_code_310(titles):
    assert potentials_differ(TICKET, STEP, replace(GOOD, titles=titles)).code == "310"


def test_steps_by_two_releases_are_code_310():
    outputs = {"00-relax1": GOOD, STEP.name: GOOD}
    assert releases_mixed(STEP, outputs) is None
    old = replace(GOOD, titles=("PAW_PBE Mg 05Jan2001", GOOD.titles[1]))
    found = releases_mixed(STEP, {"earlier": old, STEP.name: GOOD})
    assert found.code == "310"
    assert "05Jan2001" in found.sentence


@pytest.mark.parametrize(
    ("reference", "differs"),
    [
        ({"titel": ["PAW_PBE Mg 13Apr2007"], "sha256_each": ["a"]}, False),
        ({"titel": ["PAW_PBE   Mg 13Apr2007 "]}, False),
        ({"titel": ["PAW_PBE Mg 05Jan2001"]}, True),
        ({"titel": ["PAW_PBE Mg_pv 13Apr2007"]}, True),
        ({"titel": ["PAW_PBE Mg 13Apr2007"], "sha256_each": ["c"]}, True),
        ({}, False),
        ({"titel": "PAW_PBE Mg"}, False),
        ({"titel": [None, 5], "sha256_each": 7}, False),
    ],
)
def test_a_compound_and_its_reference_are_compared_as_far_as_both_are_known(reference, differs):
    found = other_release(PBE, reference, "Mg")
    assert (found is not None) is differs
    assert found is None or (found.code == "410" and "Mg was calculated with" in found.sentence)
