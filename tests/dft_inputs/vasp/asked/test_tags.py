from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp import Incar

from dft_inputs.recipes.shipped import MATERIALS_PROJECT, PAPER
from dft_inputs.vasp.asked.tags import ALIASES, DEFAULTS, HARMLESS, read_incar, same, words_of
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import wurtzite

NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=8)
VALUES = st.text("ABC0123456789.-* ", min_size=1, max_size=12).map(str.strip).filter(bool)


@given(st.dictionaries(NAMES, VALUES), st.sampled_from(["\n", "\r\n", " ; ", "\t\n\n", " ! x\n"]))
def test_what_is_written_is_read_again_whatever_parts_the_lines(tags, end):
    text = "".join(f"  {tag.lower()} = {value}{end}" for tag, value in tags.items())
    assert dict(read_incar(text)) == tags


def test_comments_continuations_and_quotes_are_read_as_vasp_does():
    text = (
        'ENCUT = 400 # eV\n! NSW = 5\nMAGMOM = 1 \\\n 2 3\nSYSTEM = "a b"\nwords without a sign\n'
    )
    assert read_incar(text) == [("ENCUT", "400"), ("MAGMOM", "1   2 3"), ("SYSTEM", "a b")]


def test_both_of_two_values_are_seen():
    assert [value for _, value in read_incar("ENCUT = 300\nENCUT = 400\n")] == ["300", "400"]


def test_an_incar_of_every_step_is_read_as_pymatgen_reads_it():
    for recipe in (PAPER, MATERIALS_PROJECT):
        job = vasp_job(wurtzite("Fe", "O"), recipe, formula="FeO")
        for name in (n for n in job.files if n.endswith("/INCAR")):
            ours, theirs = dict(read_incar(job.files[name])), Incar.from_str(job.files[name])
            assert set(ours) == set(theirs)
            assert all(same(tag, ours[tag], theirs[tag]) for tag in ours)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (".TRUE.", ["T"]),
        (False, ["F"]),
        ("2*5.0 0.6", ["5.0", "5.0", "0.6"]),
        ("2*3*1", ["1"] * 6),
        ([1, 2.5], ["1", "2.5"]),
        ("Auto", ["AUTO"]),
        ("", []),
    ],
)
def test_words_of_a_value(value, words):
    assert words_of(value) == words


@pytest.mark.parametrize(
    ("tag", "wanted", "used", "alike"),
    [
        ("EDIFF", "1e-5", 1e-6, True),
        ("EDIFF", "1e-5", 1e-4, False),
        ("EDIFF", "1e-5", -1e-6, False),
        ("EDIFFG", "-0.01", -0.005, True),
        ("EDIFFG", "-0.01", -0.02, False),
        ("EDIFFG", "-0.01", 0.001, False),
        ("EDIFFG", "0.002", 0.001, True),
        ("EDIFFG", "0.002", -0.05, False),
        ("PREC", "Accurate", "accura", True),
        ("PREC", "Accurate", "Normal", False),
        ("LREAL", "Auto", False, True),
        ("LREAL", "Auto", True, True),
        ("LREAL", "Auto", "On", False),
        ("LREAL", "False", True, False),
        ("ENCUT", "400", float("nan"), False),
        ("MAGMOM", "2*5.0 2*0.6", [5.0, 5.0, 0.6, 0.6], True),
        ("MAGMOM", "2*5.0 2*0.6", [5.0, -5.0, 0.6, 0.6], False),
        ("MAGMOM", "2*5.0 2*0.6", [5.0, 5.0, 0.6], False),
    ],
)
def test_values_that_mean_the_same_or_are_more_exact(tag, wanted, used, alike):
    assert same(tag, wanted, used) is alike


def test_no_tag_is_harmless_and_has_a_value_it_must_have():
    assert not HARMLESS & set(DEFAULTS)
    assert not HARMLESS & set(ALIASES.values())
