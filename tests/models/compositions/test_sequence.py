from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.compositions.generator import load_generator
from models.compositions.sequence import (
    SequenceConfig,
    SequenceGenerator,
    fit_sequence,
    sequences_of,
)
from models.fitting.checkpoints import save_model_folder
from models.fitting.loop import FitBudget, seeded
from structure.composition import counts_from, counts_of, reduce
from structure.elements import ELEMENTS, MATGAN_ELEMENTS
from structure.errors import ModelError
from structure.rules.validity import matched_random, valid

SMALL = SequenceConfig(hidden=24, embedding=8, batch=16, budget=FitBudget(steps=6, probe_every=3))


def salts() -> np.ndarray:
    rows = []
    for metal, charge in {"Li": 1, "Na": 1, "K": 1, "Mg": 2, "Ca": 2, "Sr": 2, "Al": 3}.items():
        rows += [{metal: 1, halogen: charge} for halogen in ("F", "Cl", "Br")]
        rows += [{metal: 2, "O": charge}]
    return counts_from(rows)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(MATGAN_ELEMENTS), st.integers(1, 8), min_size=1, max_size=7
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_sequence_holds_the_whole_composition(rows: list[dict[str, int]]) -> None:
    counts = counts_from(rows)
    config = SequenceConfig()
    element, number, length = sequences_of(counts, config)
    back = np.zeros((len(counts), len(ELEMENTS) + 1), dtype=np.int16)
    column_of = np.append(config.order, len(ELEMENTS))
    back[np.arange(len(counts))[:, None], column_of[element]] = number + 1
    np.testing.assert_array_equal(back[:, :-1], counts)
    np.testing.assert_array_equal(length - 1, (counts > 0).sum(axis=1))
    assert all((np.diff(e[: n - 1]) > 0).all() for e, n in zip(element, length, strict=True))


def test_cations_come_before_anions() -> None:
    config = SequenceConfig()
    element, number, _ = sequences_of(counts_of("SrYF5")[None], config)
    assert [ELEMENTS[config.order[e]] for e in element[0, :3]] == ["Sr", "Y", "F"]
    assert (number[0, :3] + 1).tolist() == [1, 1, 5]


def test_even_an_untrained_model_draws_well_formed_compositions() -> None:
    with seeded(0):
        model = SequenceGenerator(SMALL)
    drawn = model.sample(2_000, seed=3)
    assert drawn.dtype == np.int16
    assert drawn.max() <= 8
    sizes = (drawn > 0).sum(axis=1)
    assert sizes.min() >= 1
    assert sizes.max() <= SMALL.longest
    np.testing.assert_array_equal(drawn, model.sample(2_000, seed=3))
    assert (drawn != model.sample(2_000, seed=4)).any()


def test_the_likelihood_of_all_short_compositions_sums_to_one() -> None:
    config = SequenceConfig(
        elements=("Na", "Cl", "O"), maximum=2, longest=3, hidden=8, embedding=4, valid_only=False
    )
    with seeded(5):
        model = SequenceGenerator(config)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[1:]
    counts = np.zeros((len(grid), len(ELEMENTS)), dtype=np.int16)
    counts[:, [ELEMENTS.index(e) for e in config.elements]] = grid
    assert np.exp(model.log_likelihood(counts)).sum() == pytest.approx(1.0, abs=1e-5)


def test_draws_follow_the_likelihood() -> None:
    config = SequenceConfig(
        elements=("Na", "Cl"), maximum=2, longest=2, hidden=8, embedding=4, valid_only=False
    )
    with seeded(5):
        model = SequenceGenerator(config)
    drawn = model.sample(40_000, seed=1)
    rows, seen = np.unique(drawn, axis=0, return_counts=True)
    expected = np.exp(model.log_likelihood(rows))
    np.testing.assert_allclose(seen / len(drawn), expected, atol=0.012)


def test_a_finished_fit_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, fitted = fit_sequence(salts(), SMALL, 1, tmp_path / "a", "salts")
    again, _ = fit_sequence(salts(), SMALL, 1, tmp_path / "b", "salts")
    assert fitted.best.metrics["validation_loss"] > 0
    np.testing.assert_array_equal(first.sample(100, seed=0), again.sample(100, seed=0))


@pytest.mark.slow
def test_training_on_salts_beats_random_compositions_with_their_marginals(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"hidden": 64, "budget": FitBudget(steps=300, probe_every=50)})
    model, _ = fit_sequence(salts(), config, 0, tmp_path, "salts")
    learnt = valid(reduce(model.sample(2_000, seed=0))).mean()
    by_chance = valid(matched_random(salts(), 2_000, np.random.default_rng(0))).mean()
    assert learnt > by_chance + 0.1


def test_a_saved_model_draws_the_same_after_loading(tmp_path: Path) -> None:
    model, _ = fit_sequence(salts(), SMALL, 0, tmp_path / "work", "salts")
    about = model.about("salts", "0" * 64, 0, {"strict": 0.5})
    save_model_folder(tmp_path / "a", model.arrays(), about, "# card")
    loaded = load_generator(tmp_path / "a")
    assert loaded.name == "sequence"
    again = SequenceGenerator.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.sample(300, seed=5), again.sample(300, seed=5))


def test_what_is_too_long_or_has_too_many_atoms_is_left_out(tmp_path: Path) -> None:
    counts = counts_from([{"Na": 1, "Cl": 1}, {"Na": 1, "Cl": 9}, dict.fromkeys(ELEMENTS[:1], 1)])
    config = SequenceConfig(valid_only=False)
    assert config.usable(counts).tolist() == [True, False, False]
    with pytest.raises(ModelError, match="nothing to train on"):
        fit_sequence(counts, config, 0, tmp_path, "x")
