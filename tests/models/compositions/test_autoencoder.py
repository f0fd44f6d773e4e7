from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compositions.autoencoder import (
    PUBLISHED,
    Autoencoder,
    AutoencoderConfig,
    decodable,
    fit_autoencoder,
    random_compositions,
)
from models.compositions.autoencoder_networks import LATENT
from models.fitting.checkpoints import save_model_folder
from models.fitting.loop import FitBudget, seeded
from structure.composition import counts_from
from structure.elements import AGD_ELEMENTS, ELEMENTS, INDEX
from structure.errors import DataError, ModelError

SMALL = AutoencoderConfig(
    elements=("Li", "Na", "K", "F", "Cl", "O"),
    maximum=4,
    hidden=48,
    batch=32,
    rate=5e-3,
    validation_share=0.2,
    budget=FitBudget(steps=6, probe_every=3),
)


def compounds() -> np.ndarray:
    rows = [
        {metal: a, anion: b}
        for metal in ("Li", "Na", "K")
        for anion in ("F", "Cl", "O")
        for a, b in ((1, 1), (1, 2), (2, 1), (1, 3), (3, 2))
    ]
    return counts_from(rows)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_published_network_has_two_and_three_convolutions() -> None:
    network = Autoencoder(PUBLISHED).network
    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    for name, convolutions in (("encoder", 2), ("decoder", 3)):
        layers = list(network[name].modules())
        assert sum(isinstance(layer, kinds) for layer in layers) == convolutions
        assert sum(isinstance(layer, torch.nn.Linear) for layer in layers) == 1
    with torch.no_grad():
        latent = network["encoder"](torch.zeros(2, 87, 20))
        assert latent.shape == (2, LATENT)
        assert network["decoder"](latent).shape == (2, 87, 20)
    assert (PUBLISHED.batch, PUBLISHED.rate) == (128, 1e-3)


def test_the_dense_network_has_the_stated_size() -> None:
    network = Autoencoder(AutoencoderConfig()).network
    assert parameters(network["encoder"]) == 1740 * 256 + 256 + 256 * 128 + 128
    assert parameters(network["decoder"]) == 128 * 256 + 256 + 256 * 1740 + 1740


@pytest.mark.parametrize("variant", ["dense", "conv"])
def test_vectors_and_compositions_have_their_shapes(variant: str) -> None:
    with seeded(0):
        model = Autoencoder(AutoencoderConfig(variant=variant))  # type: ignore[arg-type]
    latents = model.encode(compounds())
    assert latents.shape == (len(compounds()), LATENT)
    assert latents.dtype == np.float32
    decoded = model.decode(latents)
    assert decoded.shape == compounds().shape
    assert decoded.dtype == np.int16
    assert model.encode(compounds()[:0]).shape == (0, LATENT)
    assert model.decode(latents[:0]).shape == (0, len(ELEMENTS))


def test_only_known_elements_and_counts_are_accepted() -> None:
    model = Autoencoder(AutoencoderConfig())
    counts = counts_from([{"Na": 1, "Cl": 1}, {"C": 20, "H": 21}, {"Fr": 1, "Cl": 1}])
    assert model.accepts(counts).tolist() == [True, False, False]
    with pytest.raises(DataError, match="87 elements with at most 20"):
        model.encode(counts)
    with pytest.raises(DataError, match="128 numbers"):
        model.decode(np.zeros((2, 3)))


def test_a_single_element_is_not_decodable() -> None:
    counts = counts_from([{"Na": 1, "Cl": 1}, {"Na": 1}, {}])
    assert decodable(counts).tolist() == [True, False, False]


@settings(max_examples=20)
@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_random_compositions_can_always_be_encoded(n: int, seed: int) -> None:
    config = AutoencoderConfig()
    drawn = random_compositions(compounds(), config, n, np.random.default_rng(seed))
    assert len(drawn) == n
    assert config.encoding.fits(drawn).all()


def test_some_random_compositions_have_elements_the_data_lack() -> None:
    drawn = random_compositions(compounds(), AutoencoderConfig(), 1000, np.random.default_rng(0))
    seen = compounds().any(axis=0)
    foreign = (drawn[:, ~seen] > 0).any(axis=1).mean()
    assert 0.2 < foreign < 0.32
    known = [INDEX[e] for e in AGD_ELEMENTS]
    assert drawn[:, known].sum() == drawn.sum()


def test_training_learns_to_copy_and_fills_the_box(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"budget": FitBudget(steps=600, probe_every=100)})
    model, fitted = fit_autoencoder(compounds(), config, 0, tmp_path, "compounds")
    assert fitted.probes[0].score < fitted.best.score
    assert model.exact(compounds()).mean() > 0.8
    low, high = model.box
    assert (low < high).all()
    encoded = model.encode(compounds())
    assert ((encoded >= low) & (encoded <= high)).mean() > 0.95


def test_a_fit_that_was_interrupted_gives_the_same_autoencoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SMALL.model_copy(
        update={"budget": FitBudget(steps=12, probe_every=4, checkpoint_seconds=0.0)}
    )
    whole, _ = fit_autoencoder(compounds(), config, 2, tmp_path / "whole", "x")

    def interrupt(share: float, _line: str) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("models.fitting.loop._Run.reportable", lambda self: True)
        with pytest.raises(KeyboardInterrupt):
            fit_autoencoder(compounds(), config, 2, tmp_path / "cut", "x", interrupt)
    again, _ = fit_autoencoder(compounds(), config, 2, tmp_path / "cut", "x")
    np.testing.assert_array_equal(whole.encode(compounds()), again.encode(compounds()))
    np.testing.assert_array_equal(whole.box, again.box)


def test_a_saved_autoencoder_encodes_the_same_after_loading(tmp_path: Path) -> None:
    model, _ = fit_autoencoder(compounds(), SMALL, 0, tmp_path / "work", "x")
    about = model.about("compounds", "0" * 64, 0, {"exact_training": 0.5})
    save_model_folder(tmp_path / "a", model.arrays(), about, "# card")
    loaded, again = Autoencoder.load(tmp_path / "a"), Autoencoder.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.box, model.box)
    np.testing.assert_array_equal(loaded.encode(compounds()), again.encode(compounds()))
    np.testing.assert_allclose(
        loaded.encode(compounds()), model.encode(compounds()), atol=0.02, rtol=0.01
    )


def test_weights_without_a_box_are_refused(tmp_path: Path) -> None:
    model = Autoencoder(SMALL)
    arrays = model.arrays()
    del arrays["box"]
    save_model_folder(tmp_path, arrays, model.about("x", "0" * 64, 0, {}), "# card")
    with pytest.raises(ModelError, match="latent box"):
        Autoencoder.load(tmp_path)


def test_too_few_compositions_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing to train on"):
        fit_autoencoder(compounds()[:1], SMALL, 0, tmp_path, "x")
