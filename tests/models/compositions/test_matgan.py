from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.compositions.generator import load_generator
from models.compositions.matgan import (
    MatGAN,
    MatGANConfig,
    build_critic,
    build_generator,
    published,
    slots_of,
)
from models.compositions.matgan_networks import LATENT, OQMD_CRITIC, SMALL_CRITIC, SlotGenerator
from models.compositions.matgan_training import fit_matgan
from models.fitting.checkpoints import save_model_folder
from models.fitting.loop import FitBudget, seeded
from structure.composition import counts_from, keys_of
from structure.elements import INDEX, MATGAN_ELEMENTS
from structure.errors import ModelError
from structure.rules.validity import matched_random, valid

SMALL_FIT = MatGANConfig(
    hidden=32, batch=16, likelihood_steps=2, warm_up=1, budget=FitBudget(steps=6, probe_every=3)
)


def salts() -> np.ndarray:
    """Charge-neutral halides and oxides with their true charges."""
    rows = []
    for metal, charge in {"Li": 1, "Na": 1, "K": 1, "Mg": 2, "Ca": 2, "Sr": 2, "Al": 3}.items():
        rows += [{metal: 1, halogen: charge} for halogen in ("F", "Cl", "Br")]
        rows += [{metal: 2, "O": charge}]
    return counts_from(rows)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("variant", "generator_parameters"), [("small", 630_753), ("oqmd", 1_911_393)]
)
def test_published_generators_have_the_papers_layers(
    variant: str, generator_parameters: int
) -> None:
    config = MatGANConfig(variant=variant)  # type: ignore[arg-type]
    generator = build_generator(config).eval()
    assert parameters(generator) == generator_parameters
    heights: list[tuple[int, ...]] = []
    for layer in generator.modules():
        if isinstance(layer, torch.nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _m, _i, out: heights.append(tuple(out.shape[1:])))
    with torch.no_grad():
        values = generator(torch.randn(3, LATENT))
    assert values.shape == (3, 85, 8)
    assert ((values >= 0) & (values <= 1)).all()
    small = [(64, 11, 8), (32, 22, 8), (16, 43, 8), (1, 85, 8)]
    oqmd = [
        (128, 11, 8),
        (128, 22, 8),
        (64, 22, 8),
        (64, 43, 8),
        (32, 43, 8),
        (32, 85, 8),
        (1, 85, 8),
    ]
    assert heights == (small if variant == "small" else oqmd)


def test_published_critics_end_in_the_papers_map() -> None:
    for variant, layers, count in (("small", SMALL_CRITIC, 231_745), ("oqmd", OQMD_CRITIC, None)):
        critic = build_critic(MatGANConfig(variant=variant)).eval()  # type: ignore[arg-type]
        shapes: list[tuple[int, ...]] = []
        for layer in critic.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(
                    lambda _m, _i, out, s=shapes: s.append(tuple(out.shape[1:]))
                )
        with torch.no_grad():
            assert critic(torch.zeros(2, 85, 8)).shape == (2,)
        assert shapes[-1] == (layers[-1][0], 6, 4)
        assert [s[0] for s in shapes] == [filters for filters, _, _ in layers]
        if count is not None:
            assert parameters(critic) == count


def test_published_settings_are_the_papers() -> None:
    mp, oqmd = published("mp"), published("oqmd", "clipping")
    assert (mp.variant, mp.batch, mp.rate_generator, mp.rate_critic) == ("small", 32, 1e-3, 1e-2)
    assert (mp.penalty, mp.betas, mp.critic_steps, mp.loss) == (
        10.0,
        (0.5, 0.9),
        1,
        "gradient-penalty",
    )
    assert (oqmd.variant, oqmd.batch, oqmd.loss) == ("oqmd", 512, "clipping")
    assert mp.budget.steps == 1000 * (57_530 // 32)


def test_the_slot_generator_gives_one_hot_matrices_and_passes_gradients() -> None:
    with seeded(0):
        generator = build_generator(MatGANConfig(hidden=32))
        assert isinstance(generator, SlotGenerator)
        latent = torch.randn(40, LATENT)
        matrices = generator(latent)
    assert set(matrices.unique().tolist()) <= {0.0, 1.0}
    assert (matrices.sum(dim=2) <= 1).all()
    sizes = matrices.sum(dim=(1, 2))
    assert (sizes >= 2).all()
    assert (sizes <= 6).all()
    matrices[:, 3].sum().backward()
    assert all(p.grad is not None for p in generator.element.parameters())


def test_an_untrained_slot_generator_has_the_marginals_of_the_data() -> None:
    counts = salts()
    config = MatGANConfig(hidden=32)
    with seeded(1):
        model = MatGAN(config)
    generator = model.generator
    assert isinstance(generator, SlotGenerator)
    generator.start_from(*slots_of(counts, config))
    drawn = model.sample(4000, seed=0)
    share = (drawn > 0).mean(axis=0)
    seen = (counts > 0).any(axis=0)
    others = [INDEX[e] for e in MATGAN_ELEMENTS if not seen[INDEX[e]]]
    assert share[seen].mean() > 3 * share[others].mean()
    assert share[INDEX["F"]] > share[INDEX["Al"]]


def test_samples_are_a_function_of_number_and_seed() -> None:
    with seeded(2):
        model = MatGAN(MatGANConfig(hidden=32))
    first = model.sample(500, seed=7)
    assert first.dtype == np.int16
    assert first.shape == (500, 103)
    np.testing.assert_array_equal(first, model.sample(500, seed=7))
    assert (first != model.sample(500, seed=8)).any()
    known = [INDEX[e] for e in MATGAN_ELEMENTS]
    assert first[:, known].sum() == first.sum()
    assert first.max() <= 8


def test_slots_hold_the_whole_composition_in_order() -> None:
    config = MatGANConfig()
    counts = counts_from([{"Na": 1, "Cl": 1}, {"Sr": 1, "Y": 1, "F": 5}, {"K": 2, "O": 1}])
    line, place = slots_of(counts, config)
    np.testing.assert_array_equal(MatGAN(config)._counts(line, place), counts)
    names = [*MATGAN_ELEMENTS, ""]
    assert [names[i] for i in line[1]] == ["Sr", "Y", "F", "", "", ""]


def test_the_likelihood_is_that_of_the_draws() -> None:
    config = MatGANConfig(elements=("Na", "Cl"), maximum=2, slots=2, hidden=8)
    with seeded(3):
        model = MatGAN(config)
        latent = torch.randn(1, LATENT)
    generator = model.generator
    assert isinstance(generator, SlotGenerator)
    source = torch.Generator().manual_seed(0)
    line, place = generator.draw(latent.expand(20_000, -1), source)
    rows, seen = np.unique(model._counts(line, place), axis=0, return_counts=True)
    slots = [torch.from_numpy(a) for a in slots_of(rows, config)]
    with torch.no_grad():
        expected = generator.log_likelihood(latent.expand(len(rows), -1), *slots).exp().numpy()
    assert expected.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(seen / 20_000, expected, atol=0.015)


@pytest.mark.parametrize("loss", ["gradient-penalty", "clipping"])
@pytest.mark.parametrize("variant", ["slot", "small"])
def test_a_short_fit_runs_and_draws(tmp_path: Path, variant: str, loss: str) -> None:
    config = SMALL_FIT.model_copy(update={"variant": variant, "loss": loss, "average": 0.0})
    model, fitted = fit_matgan(salts(), config, 0, tmp_path, "salts")
    assert fitted.steps == 6
    assert model.sample(10, seed=0).shape == (10, 103)


def test_a_fit_that_was_interrupted_gives_the_same_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = fit_matgan(salts(), SMALL_FIT, 3, tmp_path / "whole", "salts")
    saving = SMALL_FIT.model_copy(
        update={"budget": SMALL_FIT.budget.model_copy(update={"checkpoint_seconds": 0.0})}
    )

    def interrupt(share: float, _line: str) -> None:
        if share > 0.6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("models.fitting.loop._Run.reportable", lambda self: True)
        with pytest.raises(KeyboardInterrupt):
            fit_matgan(salts(), saving, 3, tmp_path / "cut", "salts", interrupt)
    again, fitted = fit_matgan(salts(), saving, 3, tmp_path / "cut", "salts")
    assert fitted.steps == 6
    np.testing.assert_array_equal(whole.sample(200, seed=1), again.sample(200, seed=1))


@pytest.mark.slow
def test_training_on_salts_beats_random_compositions_with_their_marginals(tmp_path: Path) -> None:
    config = MatGANConfig(
        hidden=64,
        batch=32,
        likelihood_steps=200,
        warm_up=20,
        average=0.9,
        budget=FitBudget(steps=400, probe_every=20),
    )
    _, fitted = fit_matgan(salts(), config, 0, tmp_path, "salts")
    by_chance = valid(matched_random(salts(), 2_000, np.random.default_rng(0))).mean()
    assert max(p.metrics["valid"] for p in fitted.probes) > by_chance + 0.1


def test_a_saved_generator_draws_the_same_after_loading(tmp_path: Path) -> None:
    model, _ = fit_matgan(salts(), SMALL_FIT, 0, tmp_path / "work", "salts")
    about = model.about("salts", "0" * 64, 0, {"strict": 0.5})
    save_model_folder(tmp_path / "a", model.arrays(), about, "# card")
    loaded = load_generator(tmp_path / "a")
    assert loaded.name == "matgan"
    save_model_folder(tmp_path / "b", MatGAN.load(tmp_path / "a").arrays(), about, "# card")
    again = load_generator(tmp_path / "b")
    np.testing.assert_array_equal(loaded.sample(300, seed=5), again.sample(300, seed=5))


def test_only_what_the_model_can_hold_and_the_rules_allow_is_learnt() -> None:
    counts = counts_from(
        [{"Na": 1, "Cl": 1}, {"Na": 1, "Cl": 2}, {"Na": 1}, {"Mg": 1, "F": 9}, {"Kr": 1, "F": 2}]
    )
    assert MatGANConfig().usable(counts).tolist() == [True, False, False, False, False]
    assert MatGANConfig(valid_only=False).usable(counts).tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_nothing_to_learn_from_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing to train on"):
        fit_matgan(counts_from([{"Na": 1}]), SMALL_FIT, 0, tmp_path, "x")


def test_salts_are_distinct() -> None:
    assert len(set(keys_of(salts()).tolist())) == len(salts())
