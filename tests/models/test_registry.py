"""Models of other packages: found by the kind of their weights, and what they give is checked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from models.compositions.generator import draw, load_generator
from models.fitting.checkpoints import ModelConfig, save_model_folder
from models.properties.prediction import Prediction, load_property_model, predict
from models.registry import check_kind
from structure.composition import N_ELEMENTS, parse_formulas
from structure.elements import ELEMENTS
from structure.errors import ConfigError, ModelError, PluginError
from tests.structure.installed import install

COUNTS = parse_formulas(["NaCl", "MgO", "SiO2"]).counts
GENERATOR = """
import numpy as np
class Salt:
    name = "salt"
    @classmethod
    def load(cls, folder):
        return cls()
    def sample(self, n, seed):
        counts = np.zeros((n, 103), dtype=np.int64)
        counts[:, [10, 16]] = 1
        return counts
"""


def weights(folder: Path, kind: str) -> Path:
    about = ModelConfig(
        kind=kind,
        settings={},
        elements=ELEMENTS,
        trained_on="nothing",
        data_sha256="",
        seed=0,
        metrics={},
    )
    save_model_folder(folder, {}, about, "# Card")
    return folder


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("salt_package", None)


def test_weights_of_another_packages_kind_are_loaded_by_its_class(site, tmp_path):
    install(
        site,
        "salt",
        {"salt_package.py": GENERATOR},
        {"agd.generators": {"salt": "salt_package:Salt"}},
    )
    check_kind("salt")
    drawn = draw(load_generator(weights(tmp_path / "w", "salt")), 4, seed=0)
    assert drawn.shape == (4, N_ELEMENTS) and drawn.dtype == np.int16 and (drawn.sum(1) == 2).all()


def test_weights_of_a_kind_nobody_brings_say_which_there_are(tmp_path):
    with pytest.raises(ModelError, match="draws no compositions") as caught:
        load_generator(weights(tmp_path / "w", "salt"))
    assert "matgan, sequence" in str(caught.value)
    with pytest.raises(ModelError, match="predicts no property"):
        load_property_model(weights(tmp_path / "p", "salt"))
    with pytest.raises(ConfigError, match="'salt'"):
        check_kind("salt")


def test_a_package_that_raises_on_import_is_named_before_its_weights_are_used(site):
    install(
        site,
        "salt",
        {"salt_package.py": "import not_there_at_all\n"},
        {"agd.generators": {"salt": "salt_package:Salt"}},
    )
    with pytest.raises(PluginError, match="not_there_at_all") as caught:
        check_kind("salt")
    assert "salt 1.0" in str(caught.value)


def test_a_generator_class_without_sample_is_refused(site):
    install(
        site,
        "salt",
        {"salt_package.py": "class Salt:\n    load = None\n"},
        {"agd.generators": {"salt": "salt_package:Salt"}},
    )
    with pytest.raises(PluginError, match="no 'sample'"):
        check_kind("salt")


class Draws:
    name = "odd"

    def __init__(self, drawn):
        self.drawn = drawn

    def sample(self, n, seed):
        return self.drawn


ONES = np.ones((3, N_ELEMENTS), dtype=np.int16)


@pytest.mark.parametrize(
    ("drawn", "what"),
    [
        ([[1, 2]], "a list, no array"),
        (ONES[:2], "shape (2, 103), not (3, 103)"),
        (ONES[:, :100], "shape (3, 100)"),
        (ONES * 0.5, "float64, not whole numbers"),
        (ONES.astype(bool), "bool, not whole numbers"),
        (-ONES, "-1 atoms"),
        (ONES.astype(np.int64) * 40_000, "40000 atoms"),
    ],
)
def test_what_is_no_composition_stops_with_the_generators_name(drawn, what):
    with pytest.raises(ModelError) as caught:
        draw(Draws(drawn), 3, seed=0)
    assert "generator 'odd' returned" in str(caught.value) and what in str(caught.value)
    assert "test_registry.Draws.sample" in str(caught.value)


class Predicts:
    property = "band_gap_eV"

    def __init__(self, given):
        self.given = given

    def predict(self, counts):
        return self.given


NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (np.ones(3), "no two arrays"),
        ((["a"] * 3, [1.0] * 3), "no two arrays of numbers"),
        ((np.ones(2), np.ones(2)), "mean of shape (2,), not (3,)"),
        ((np.ones(3), np.ones((3, 1))), "sigma of shape (3, 1)"),
        (([1, 2, np.inf], [1, 1, 1]), "infinite mean"),
        (([1, 2, 3], [1, 1, NAN]), "NaN as one"),
        (([1, 2, 3], [1, -1, 1]), "sigma below zero"),
        (([NAN] * 3, [NAN] * 3), "nothing but NaN for 3 compositions"),
    ],
)
def test_what_is_no_prediction_stops_with_the_models_name(given, what):
    with pytest.raises(ModelError) as caught:
        predict(Predicts(given), COUNTS)
    assert "the model of 'band_gap_eV' returned" in str(caught.value) and what in str(caught.value)
    assert "test_registry.Predicts.predict" in str(caught.value)


def test_one_composition_may_be_beyond_a_model():
    given = predict(Predicts(([1, 2, NAN], [1, 1, NAN])), COUNTS)
    assert isinstance(given, Prediction) and np.isnan(given.mean).tolist() == [False, False, True]
