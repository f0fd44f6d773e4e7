from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.search.latent_pool import JITTER, SOURCES, PoolShares, propose

BOX = np.stack([np.linspace(-3, 0, 12), np.linspace(1, 4, 12)])
RNG = np.random.default_rng(0)
LATENTS = BOX[0] + (BOX[1] - BOX[0]) * RNG.random((30, 12))
VALUES = RNG.normal(size=30)


def only(source: str, size: int = 200, latents: np.ndarray = LATENTS) -> np.ndarray:
    shares = PoolShares(**{name: float(name == source) for name in SOURCES})
    values = VALUES[: len(latents)]
    pool = propose(size, shares, BOX, latents, values, np.random.default_rng(1))
    assert len(pool.latents) == size
    assert (pool.sources == SOURCES.index(source)).all()
    return pool.latents


@given(st.integers(1, 500), st.tuples(*[st.floats(0.01, 1)] * 4))
def test_shares_are_kept_to_one_candidate_and_add_to_the_size(
    size: int, weights: tuple[float, float, float, float]
) -> None:
    total = sum(weights)
    shares = PoolShares(**{s: w / total for s, w in zip(SOURCES, weights, strict=True)})
    numbers = shares.numbers(size)
    assert sum(numbers) == size
    for number, weight in zip(numbers, weights, strict=True):
        assert abs(number - size * weight / total) <= 1


def test_candidates_are_a_function_of_the_generator() -> None:
    pools = [
        propose(100, PoolShares(), BOX, LATENTS, VALUES, np.random.default_rng(seed))
        for seed in (3, 3, 4)
    ]
    assert np.array_equal(pools[0].latents, pools[1].latents)
    assert not np.array_equal(pools[0].latents, pools[2].latents)


@pytest.mark.parametrize("source", SOURCES)
def test_candidates_stay_in_the_box(source: str) -> None:
    latents = only(source)
    tolerance = 1e-6
    assert (latents >= BOX[0] - tolerance).all() and (latents <= BOX[1] + tolerance).all()


def test_box_candidates_fill_the_box() -> None:
    spread = only("box", 4000)
    assert spread.min(axis=0) == pytest.approx(BOX[0], abs=0.02)
    assert spread.max(axis=0) == pytest.approx(BOX[1], abs=0.02)


def test_around_candidates_lie_within_a_tenth_of_the_box_of_a_compound() -> None:
    width = BOX[1] - BOX[0]
    steps = np.abs(only("around")[:, None] - LATENTS[None]) / width
    nearest = steps.max(axis=2).min(axis=1)
    assert nearest.max() <= JITTER + 1e-6
    assert nearest.max() > 0.5 * JITTER


def test_between_candidates_lie_on_the_line_of_two_compounds() -> None:
    ends = LATENTS[:2]
    candidates = only("between", latents=ends)
    along = (candidates - ends[0]) @ (ends[1] - ends[0]) / ((ends[1] - ends[0]) ** 2).sum()
    assert candidates == pytest.approx(ends[0] + along[:, None] * (ends[1] - ends[0]), abs=1e-5)
    assert np.isclose(along, 0.5, atol=1e-5).sum() > 20
    assert len(np.unique(np.round(along, 3))) > 50


def test_offspring_descend_from_the_best() -> None:
    many = np.random.default_rng(0).uniform(-0.1, 0.1, (500, 12)) + BOX.mean(axis=0)
    values = np.zeros(500)
    many[:60] += 0.8
    values[:60] = 1.0
    shares = PoolShares(box=0, around=0, between=0, offspring=1)
    pool = propose(100, shares, BOX, many, values, np.random.default_rng(0))
    assert (pool.latents - BOX.mean(axis=0)).mean(axis=1).min() > 0.5


def test_shares_that_do_not_add_to_one_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"add to 0\.5"):
        PoolShares(box=0.5, around=0, between=0, offspring=0)
