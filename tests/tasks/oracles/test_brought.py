"""Oracles of other packages: made from their settings, and held to what an oracle must answer."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from structure.composition import parse_formulas
from structure.errors import ConfigError, ModelError, PluginError, Rejection
from structure.properties.band_gap import BAND_GAP
from tasks.oracles.answer import Answer
from tasks.oracles.brought import _Checked, brought_oracle
from tasks.oracles.oracle import OracleConfig, check_ready
from tests.contracts import oracle as contract
from tests.structure.installed import install

COUNTS = parse_formulas(["NaCl", "MgO"]).counts
NOTHING = (None, None)
LAB = """
import numpy as np
from tasks.oracles.answer import Answer
class Lab:
    property, origin, source, later = "band_gap_eV", "table", "bench 3", False
    def __init__(self, value):
        self.value = value
    @classmethod
    def from_settings(cls, settings):
        return cls(float(settings["value_eV"]))
    def accepts(self, counts):
        return np.ones(len(counts), dtype=bool)
    def room(self):
        return None
    def label(self, counts, asked=None):
        none = (None,) * len(counts)
        return Answer(np.full(len(counts), self.value), np.full(len(counts), np.nan), none, none)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "lab", {"lab_package.py": LAB}, {"agd.oracles": {"lab": "lab_package:Lab"}})
    yield tmp_path
    sys.modules.pop("lab_package", None)


def test_an_installed_oracle_answers_under_its_own_name_and_settings(lab):
    config = OracleConfig(kind="lab", settings={"value_eV": 3})
    check_ready(config)
    oracle = brought_oracle(config.kind, config.settings)
    assert (oracle.origin, oracle.source, oracle.later) == ("table", "bench 3", False)
    assert oracle.label(COUNTS).values.tolist() == [3.0, 3.0]
    contract.keeps_the_contract(oracle)


@pytest.mark.parametrize("settings", [{}, {"value_eV": "much"}, {"value_eV": None}])
def test_settings_it_cannot_use_are_named_before_the_campaign_begins(lab, settings):
    with pytest.raises(ConfigError, match="'lab' cannot use its settings"):
        check_ready(OracleConfig(kind="lab", settings=settings))


def test_a_kind_nobody_brings_lists_those_there_are(lab):
    with pytest.raises(ValidationError, match=r"no oracle 'lap'; choose one of ml, table.*lab"):
        OracleConfig(kind="lap")


def test_settings_are_only_for_oracles_of_other_packages():
    with pytest.raises(ValidationError, match="`settings` are for oracles of other packages"):
        OracleConfig(settings={"value_eV": 3})


def test_a_package_that_brings_no_maker_is_refused(lab):
    (lab / "lab_package.py").write_text("Lab = 3\n")
    with pytest.raises(PluginError, match="no 'from_settings'"):
        check_ready(OracleConfig(kind="lab", settings={"value_eV": 3}))


class Says:
    property, origin, source, later = "band_gap_eV", "ml", "says", False

    def __init__(self, answer=None, accepted=None):
        self.answer, self.accepted = answer, accepted

    def accepts(self, counts):
        return self.accepted

    def room(self):
        return None

    def label(self, counts, asked=None):
        return self.answer


GOOD = Answer(np.array([1.0, 2.0]), np.array([0.1, 0.1]), NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ([1.0, 2.0], "gave a list, not an Answer"),
        (Answer(np.ones(1), np.ones(1), (None,), (None,)), "1 answers to 2 compositions"),
        (replace(GOOD, values=np.array([1.0, np.nan])), "neither a value nor a job nor a refusal"),
        (replace(GOOD, values=np.array([1.0, np.nan]), jobs=(None, "j1")), "gave a job"),
    ],
)
def test_an_answer_that_is_none_stops_with_the_oracles_name(answer, what):
    with pytest.raises(ModelError) as caught:
        _Checked("says", Says(answer), BAND_GAP).label(COUNTS)
    assert "the oracle 'says'" in str(caught.value) and what in str(caught.value)


def test_a_refusal_is_an_answer():
    refusals = (None, Rejection("no", "it is too far away"))
    answer = replace(GOOD, values=np.array([1.0, np.nan]), refusals=refusals)
    assert _Checked("says", Says(answer), BAND_GAP).label(COUNTS) is answer


@pytest.mark.parametrize("accepted", [True, np.ones(3, dtype=bool), np.ones(2)])
def test_accepting_without_one_bool_a_composition_is_refused(accepted):
    with pytest.raises(ModelError, match="not one bool for each"):
        _Checked("says", Says(accepted=accepted), BAND_GAP).accepts(COUNTS)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("property", "hardness", "'hardness'"), ("origin", "dft-vasp", "'dft-vasp'")],
)
def test_an_oracle_of_something_else_is_refused(name, value, what):
    oracle = Says()
    setattr(oracle, name, value)
    with pytest.raises(ModelError, match=what):
        _Checked("says", oracle, BAND_GAP)


def test_an_oracle_without_a_part_is_refused():
    class Half:
        property, origin, source = "band_gap_eV", "ml", "half"

    with pytest.raises(ModelError, match="has no 'later'"):
        _Checked("half", Half(), BAND_GAP)
