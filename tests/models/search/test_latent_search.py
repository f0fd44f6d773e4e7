from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.search.latent_search import Acquisition, Backend, LatentSearch, expected_improvement
from structure.errors import ConfigError, DataError

BOX = np.stack([np.full(6, -3.0), np.full(6, 3.0)])
BACKENDS: list[Backend] = ["batch", "bayesian-optimization"]


def target(z: np.ndarray) -> np.ndarray:
    return -((z - 0.7) ** 2).sum(axis=1)


@pytest.fixture(params=BACKENDS)
def started(request: pytest.FixtureRequest) -> Callable[..., LatentSearch]:
    def start(n: int = 60, **options: object) -> LatentSearch:
        search = LatentSearch(BOX, backend=request.param, **options)  # type: ignore[arg-type]
        z = np.random.default_rng(1).uniform(-3, 3, (n, 6))
        search.register(z, target(z))
        return search

    return start


@pytest.fixture
def pool() -> np.ndarray:
    return np.random.default_rng(2).uniform(-3, 3, (300, 6))


def test_suggestions_are_distinct(started, pool) -> None:  # type: ignore[no-untyped-def]
    assert len(set(started().suggest(pool, 20).tolist())) == 20


def test_the_search_finds_the_top_of_a_hill(started) -> None:  # type: ignore[no-untyped-def]
    search = started(acquisition=Acquisition(kappa=1.0))
    rng = np.random.default_rng(3)
    random = target(rng.uniform(-3, 3, (260, 6))).max()
    best = -np.inf
    for _ in range(10):
        pool = rng.uniform(-3, 3, (500, 6))
        z = pool[search.suggest(pool, 20)]
        search.register(z, target(z))
        best = max(best, target(z).max())
    assert best > random


def test_without_exploration_the_best_mean_is_chosen(started, pool) -> None:  # type: ignore[no-untyped-def]
    search = started(acquisition=Acquisition(kappa=0.0))
    mean, _ = search.predict(pool)
    assert search.suggest(pool, 5).tolist() == np.argsort(-mean)[:5].tolist()


def test_with_much_exploration_a_batch_does_not_clump(started, pool) -> None:  # type: ignore[no-untyped-def]
    crowd = np.vstack([pool[:1] + 0.01 * np.random.default_rng(0).normal(size=(50, 6)), pool[1:]])
    chosen = started(acquisition=Acquisition(kappa=1000.0)).suggest(crowd, 20)
    assert (chosen < 50).sum() <= 1


def test_labelled_and_repeated_points_are_not_suggested(started, pool) -> None:  # type: ignore[no-untyped-def]
    search = started()
    search.register(pool[:10], target(pool[:10]))
    twice = np.vstack([pool[:30], pool[:30]])
    chosen = search.suggest(twice, 60)
    assert sorted(chosen.tolist()) == list(range(10, 30))


def test_pending_points_are_avoided_until_their_label_arrives(started, pool) -> None:  # type: ignore[no-untyped-def]
    search = started(acquisition=Acquisition(kappa=1000.0))
    first = search.suggest(pool, 5)
    search.register(pool[first], pending=True)
    assert search.pending == 5
    assert not set(first.tolist()) & set(search.suggest(pool, 5).tolist())
    search.register(pool[first], target(pool[first]))
    assert search.pending == 0
    assert len(search) == 65


def test_a_pending_point_lowers_the_worth_of_its_neighbours(started, pool) -> None:  # type: ignore[no-untyped-def]
    search = started(acquisition=Acquisition(kappa=1000.0))
    first = search.suggest(pool, 1)
    beside = pool[first] + 1e-3
    search.register(pool[first], pending=True)
    crowd = np.vstack([beside, pool])
    assert search.suggest(crowd, 1)[0] != 0


def test_a_withdrawn_point_can_be_suggested_again(started, pool) -> None:  # type: ignore[no-untyped-def]
    search = started()
    first = search.suggest(pool, 3)
    search.register(pool[first], pending=True)
    search.withdraw(pool[first])
    assert search.pending == 0
    assert np.array_equal(search.suggest(pool, 3), first)


def test_a_point_registered_twice_is_one_point_with_the_mean_value(started) -> None:  # type: ignore[no-untyped-def]
    search = started(n=30)
    z = np.full((1, 6), 0.1)
    search.register(z, np.array([0.0]))
    search.register(z, np.array([2.0]))
    assert len(search) == 31
    assert search._observed().values[-1] == 1.0


def test_a_search_rebuilt_by_the_same_calls_suggests_the_same(started) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    search, calls = started(refit_every=25), []
    for _ in range(6):
        pool = rng.uniform(-3, 3, (200, 6))
        z = pool[search.suggest(pool, 7)]
        search.register(z, target(z))
        calls.append(z)
    rebuilt = started(refit_every=25)
    for z in calls:
        rebuilt.register(z, target(z))
    pool = rng.uniform(-3, 3, (200, 6))
    assert np.array_equal(search.suggest(pool, 20), rebuilt.suggest(pool, 20))
    assert np.array_equal(search.predict(pool)[0], rebuilt.predict(pool)[0])


def test_expected_improvement_is_the_same_from_the_package() -> None:
    rng = np.random.default_rng(0)
    mean, sigma = rng.normal(size=50), np.abs(rng.normal(size=50))
    sigma[:3] = 0
    own = Acquisition("ei").score(0.4)(mean, sigma)
    named = Acquisition("ei").package_score(0.4)(mean, sigma)
    assert own == pytest.approx(named)


@given(st.floats(-5, 5), st.floats(0, 3), st.floats(-5, 5), st.floats(0, 1))
def test_expected_improvement_is_never_negative_and_zero_when_certain(
    mean: float, sigma: float, best: float, xi: float
) -> None:
    worth = expected_improvement(np.array([mean]), np.array([sigma]), best, xi)[0]
    assert worth >= -1e-12
    if sigma == 0:
        assert worth == 0


def test_expected_improvement_matches_its_equation() -> None:
    # Z = 1, so EI = 0.5 * Phi(1) + 0.5 * phi(1).
    worth = expected_improvement(np.array([1.5]), np.array([0.5]), 1.0, 0.0)[0]
    assert worth == pytest.approx(0.5 * 0.8413447461 + 0.5 * 0.2419707245)


def test_a_value_that_is_not_finite_is_refused(started) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="finite"):
        started().register(np.zeros((1, 6)), np.array([np.nan]))


def test_points_of_another_dimension_are_refused(started) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="shape"):
        started().suggest(np.zeros((4, 5)))


def test_a_search_without_labels_says_so() -> None:
    with pytest.raises(DataError, match="no labelled point"):
        LatentSearch(BOX).suggest(np.zeros((3, 6)))


def test_an_unknown_backend_or_acquisition_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="backend"):
        LatentSearch(BOX, backend="botorch")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="acquisition"):
        Acquisition("poi")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="negative"):
        Acquisition(kappa=-1.0)
