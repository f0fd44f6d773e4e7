from __future__ import annotations

import numpy as np
import pytest

from models.compositions.autoencoder import Autoencoder, decodable
from models.compositions.generation_metrics import element_histogram
from models.compositions.generator import load_generator
from models.fitting.checkpoints import read_config
from models.pretrained import shipped
from structure.composition import counts_of, keys_of, reduce
from structure.rules.validity import valid

SHIPPED = shipped("")
DRAWS = 5_000


@pytest.mark.parametrize("name", ["matgan", "sequence"])
def test_a_shipped_generator_draws_as_its_card_says(name: str) -> None:
    metrics = read_config(SHIPPED / name).metrics
    drawn = reduce(load_generator(SHIPPED / name).sample(DRAWS, seed=123))
    compound = (drawn > 0).sum(axis=1) >= 2
    assert (compound & valid(drawn)).mean() == pytest.approx(metrics["strict"], abs=0.03)
    assert metrics["strict"] > metrics["baseline_strict"] + 0.25
    told = [metrics[f"elements_{k}"] for k in range(9)]
    assert np.abs(element_histogram(drawn) - told).max() < 0.03
    assert len(np.unique(keys_of(drawn))) / DRAWS > 0.9


@pytest.mark.parametrize("name", ["matgan", "sequence"])
def test_a_shipped_generator_does_not_merely_remember(name: str) -> None:
    metrics = read_config(SHIPPED / name).metrics
    assert metrics["recovered_held_out"] > 0.5 * metrics["recovered_training"]
    assert metrics["novel_strict"] > metrics["baseline_strict"] + 0.2


def test_the_shipped_autoencoder_copies_well_known_compounds() -> None:
    model = Autoencoder.load(SHIPPED / "autoencoder")
    formulas = ("SrYF5", "CaTiO3", "NaCl", "Al2O3", "SiO2", "LiFePO4", "YBa2Cu3O7", "Mg3Al2Si3O12")
    counts = np.stack([counts_of(f) for f in formulas])
    assert model.exact(counts).all()
    low, high = model.box
    latents = model.encode(counts)
    assert ((latents >= low) & (latents <= high)).mean() > 0.98


def test_points_of_the_shipped_box_decode_as_often_as_the_card_says() -> None:
    model = Autoencoder.load(SHIPPED / "autoencoder")
    metrics = read_config(SHIPPED / "autoencoder").metrics
    low, high = model.box
    latents = np.random.default_rng(5).uniform(low, high, (2_000, len(low)))
    drawn = model.decode(latents)
    assert drawn.any(axis=1).mean() == pytest.approx(metrics["box_not_empty"], abs=0.04)
    assert decodable(drawn).mean() == pytest.approx(metrics["box_decodable"], abs=0.04)
