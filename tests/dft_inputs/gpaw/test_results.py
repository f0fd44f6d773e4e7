from __future__ import annotations

import pytest

from dft_inputs.gpaw.results import other_setup

OWN = {"setups": ["Li:abc", "H:def"]}


@pytest.mark.parametrize(
    ("reference", "differs"),
    [
        ({"setups": ["H:def"]}, False),
        ({"setups": ["H:xyz"]}, True),
        ({"setups": ["O:xyz"]}, False),
        ({"setups": 7}, False),
        ({}, False),
    ],
)
def test_setups_are_compared_by_their_fingerprints_as_far_as_both_are_known(reference, differs):
    found = other_setup(OWN, reference, "H")
    assert (found is not None) is differs
    assert found is None or (found.code == "410" and "setup def" in found.sentence)
