from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from models.compositions import generator_training
from models.compositions.autoencoder import Autoencoder, AutoencoderConfig
from models.compositions.generator import load_generator
from models.compositions.generator_training import (
    CompositionSet,
    train_autoencoder,
    train_matgan,
    train_sequence,
)
from models.compositions.matgan import MatGANConfig
from models.compositions.sequence import SequenceConfig
from models.fitting.cards import DataSource, ModelCard
from models.fitting.checkpoints import ModelConfig
from models.fitting.loop import FitBudget
from structure.composition import counts_from, keys_of

SHORT = FitBudget(steps=8, probe_every=4)
SOURCES = (DataSource("Table of salts", "CC0", 123),)


def compounds() -> np.ndarray:
    metals = {"Li": 1, "Na": 1, "K": 1, "Rb": 1, "Mg": 2, "Ca": 2, "Sr": 2, "Al": 3, "Sc": 3}
    anions = {"F": 1, "Cl": 1, "Br": 1, "O": 2, "S": 2}
    rows = [{m: b, a: q} for m, q in metals.items() for a, b in anions.items()]
    for (m, p), (n, q) in combinations(metals.items(), 2):
        rows += [{m: b, n: b, a: p + q} for a, b in anions.items() if p + q <= 8]
    counts = counts_from(rows)
    return counts[np.unique(keys_of(counts), return_index=True)[1]]


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator_training, "_LATENTS", 200)
    monkeypatch.setattr(generator_training, "_DRAWN", 3_000)


def test_a_split_holds_out_a_tenth_and_shares_no_formula() -> None:
    data = CompositionSet.split(compounds(), SOURCES, seed=4)
    assert len(data.held_out) == round(0.1 * len(compounds()))
    assert not set(keys_of(data.training).tolist()) & set(keys_of(data.held_out).tolist())
    assert data.words == "Table of salts"
    assert data.sha256 == CompositionSet.split(compounds(), SOURCES, seed=4).sha256
    assert data.sha256 != CompositionSet.split(compounds(), SOURCES, seed=5).sha256


def test_each_model_gets_a_folder_that_loads_with_its_card(tmp_path: Path) -> None:
    data = CompositionSet.split(compounds(), SOURCES)
    matgan = MatGANConfig(hidden=16, batch=16, likelihood_steps=3, warm_up=1, budget=SHORT)
    sequence = SequenceConfig(hidden=16, embedding=8, batch=16, budget=SHORT)
    autoencoder = AutoencoderConfig(hidden=16, batch=16, budget=SHORT)
    work, out = tmp_path / "work", tmp_path / "out"
    written: list[ModelConfig] = [
        train_matgan(data, matgan, 0, work / "m", out / "matgan"),
        train_sequence(data, sequence, 0, work / "s", out / "sequence"),
        train_autoencoder(data, autoencoder, 0, work / "a", out / "autoencoder"),
    ]
    for about in written:
        folder = out / about.kind
        card = (folder / "CARD.md").read_text()
        assert "Table of salts" in card
        assert "CC0" in card
        assert data.sha256 in card
        assert f"agd train --data DIR --only {about.kind}" in card
        assert about.data_sha256 == data.sha256
        assert json.loads((folder / "config.json").read_text())["metrics"] == about.metrics
        assert about.metrics["fit_steps"] == 8
    for name in ("matgan", "sequence"):
        drawn = load_generator(out / name).sample(3_000, seed=0)
        assert written[("matgan", "sequence").index(name)].metrics["elements_2"] == pytest.approx(
            ((drawn > 0).sum(axis=1) == 2).mean(), abs=1e-5
        )
    loaded = Autoencoder.load(out / "autoencoder")
    used = data.held_out[loaded.config.usable(data.held_out)]
    assert written[2].metrics["exact_held_out"] == pytest.approx(
        loaded.exact(used).mean(), abs=1e-5
    )


def test_a_card_reads_like_a_page() -> None:
    card = ModelCard(
        title="A model",
        purpose="Does something.",
        sources=SOURCES,
        data_note="All of it.",
        data_sha256="abc",
        method="By a method.",
        tables={"Numbers:": (("what", "value"), [("error", "0.1 eV")])},
        limits=("It is small.",),
        command="agd train",
    )
    assert card.text() == (
        "# A model\n\nDoes something.\n\n## Data\n\n"
        "| data set | licence | rows |\n| --- | --- | --- |\n| Table of salts | CC0 | 123 |\n\n"
        "All of it.\n\nSHA-256 of the training compositions: `abc`.\n\n"
        "## Method\n\nBy a method.\n\n## Results\n\nNumbers:\n\n"
        "| what | value |\n| --- | --- |\n| error | 0.1 eV |\n\n"
        "## Limits\n\n- It is small.\n\n## Train it again\n\n```\nagd train\n```\n"
    )
