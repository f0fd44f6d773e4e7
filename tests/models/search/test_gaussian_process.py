from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve

from models.search.gaussian_process import (
    Belief,
    MaternProcess,
    Observations,
    distances,
    matern52,
)
from models.search.package_surrogate import PackageProcess

RNG = np.random.default_rng(5)
LATENTS = RNG.normal(size=(130, 8))
VALUES = np.sin(LATENTS[:, 0]) + LATENTS[:, 1]
POOL = RNG.normal(size=(40, 8))
BOX = np.stack([np.full(8, -4.0), np.full(8, 4.0)])


def observed(n: int, ends: tuple[int, ...] | None = None) -> Observations:
    return Observations(LATENTS[:n], VALUES[:n], ends or (n,))


def exact_posterior(
    process: MaternProcess, known: Observations, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    prior = matern52(distances(known.latents, known.latents), process.length)
    prior[np.diag_indices(len(prior))] = 1 + process.noise
    factor = cho_factor(prior)
    centred = known.values - known.values.mean()
    between = matern52(distances(known.latents, points), process.length)
    scale = centred @ cho_solve(factor, centred) / len(centred)
    mean = known.values.mean() + between.T @ cho_solve(factor, centred)
    variance = scale * (1 - np.einsum("nm,nm->m", between, cho_solve(factor, between)))
    return mean, np.sqrt(variance)


def test_distances_agree_with_the_definition() -> None:
    expected = np.linalg.norm(LATENTS[:5, None] - POOL[None, :7], axis=2)
    assert distances(LATENTS[:5], POOL[:7]) == pytest.approx(expected)


def test_a_factor_grown_in_batches_gives_the_exact_posterior() -> None:
    process = MaternProcess(refit_every=50)
    known = observed(130, (60, 80, 93, 130))
    for ends in ((60,), (60, 80), (60, 80, 93), known.ends):
        belief = process.belief(observed(ends[-1], ends), POOL)
    mean, sigma = exact_posterior(process, known, POOL)
    assert belief.mean == pytest.approx(mean)
    assert belief.sigma == pytest.approx(sigma)


def test_a_rebuilt_process_is_equal_to_one_that_grew_to_the_bit() -> None:
    ends = (60, 80, 93, 130)
    grown, rebuilt = MaternProcess(50), MaternProcess(50)
    for i in range(len(ends)):
        after = grown.belief(observed(ends[i], ends[: i + 1]), POOL)
    fresh = rebuilt.belief(observed(130, ends), POOL)
    assert np.array_equal(after.mean, fresh.mean)
    assert np.array_equal(after.sigma, fresh.sigma)


def test_the_process_learns_the_function() -> None:
    belief = MaternProcess().belief(observed(130), POOL)
    truth = np.sin(POOL[:, 0]) + POOL[:, 1]
    assert np.corrcoef(belief.mean, truth)[0, 1] > 0.8


def test_conditioning_on_a_point_equals_adding_it_with_its_mean() -> None:
    process = MaternProcess(refit_every=1000)
    known = observed(100)
    belief = process.belief(known, POOL)
    belief.condition(3)
    more = np.vstack([known.latents, POOL[3:4]])
    prior = matern52(distances(more, more), process.length)
    prior[np.diag_indices(len(prior))] = 1 + process.noise
    between = matern52(distances(more, POOL), process.length)
    variance = 1 - np.einsum("nm,nm->m", between, np.linalg.solve(prior, between))
    before = process.belief(known, POOL)
    assert (belief.sigma / before._scale) ** 2 == pytest.approx(variance, abs=1e-9)
    assert np.array_equal(belief.mean, before.mean)


def test_the_package_process_gives_what_its_own_predict_gives() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor

    known = observed(90)
    process = PackageProcess(BOX, refit_every=50)
    belief = process.belief(known, POOL)
    peer = GaussianProcessRegressor(
        process._kernel, alpha=1e-4, normalize_y=True, optimizer=None
    ).fit(known.latents, known.values)
    mean, sigma = peer.predict(POOL, return_std=True)
    assert belief.mean == pytest.approx(mean)
    assert belief.sigma == pytest.approx(sigma)


def test_the_package_process_holds_the_points_in_the_packages_own_space() -> None:
    process = PackageProcess(BOX)
    process.belief(observed(30), POOL)
    process.belief(observed(50, (30, 50)), POOL)
    assert len(process.space) == 50
    assert process.space.bounds == pytest.approx(BOX.T)


@pytest.mark.parametrize("make", [MaternProcess, lambda: PackageProcess(BOX)])
def test_points_a_rounding_error_apart_do_not_break_it(make) -> None:  # type: ignore[no-untyped-def]
    near = np.vstack([LATENTS[:40], LATENTS[:40] + 1e-12])
    values = np.concatenate([VALUES[:40], VALUES[:40] + 0.3])
    belief: Belief = make().belief(Observations(near, values, (80,)), POOL)
    assert np.isfinite(belief.mean).all() and np.isfinite(belief.sigma).all()


@pytest.mark.parametrize("make", [MaternProcess, lambda: PackageProcess(BOX)])
def test_equal_values_give_a_flat_mean(make) -> None:  # type: ignore[no-untyped-def]
    belief = make().belief(Observations(LATENTS[:20], np.full(20, 2.5), (20,)), POOL)
    assert belief.mean == pytest.approx(np.full(len(POOL), 2.5))
    assert np.isfinite(belief.sigma).all()
