"""Parts of the `bayesian-optimization` package as the search's surrogate (AGD sec. 2.3).

In: registered points: descriptors by default, latent vectors in AGD. Out: a `Belief` from the
package's `TargetSpace`, bounded by the box of the points, its kernel wrapper and acquisition
functions, and the scikit-learn Matern 5/2 process that the package itself uses. Its optimiser,
`BayesianOptimization`, is not run, so that 1,000 points stay affordable: its `suggest()` climbs the
acquisition function with numerical gradients in 128 dimensions, 129 predictions a step, and its
`register()` rebuilds every earlier record; here the acquisition function is evaluated over a pool,
points go straight into the `TargetSpace`, and the kernel is fitted again only every so many points.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from models.search.gaussian_process import (
    KERNEL_POINTS,
    LENGTH_FACTORS,
    NOISE_FLOOR,
    REFIT_EVERY,
    Belief,
    Observations,
    median_distance,
    spread,
)


class PackageProcess:
    """Gaussian process set up as the package does: Matern 5/2, values normalised; no restarts.

    Parameters
    ----------
    box : ndarray of float, shape (2, d)
        Least and greatest value of each dimension of a point; for latent vectors, the bounds of the
        search in AGD (sec. 2.3).
    refit_every : int, default `REFIT_EVERY`
    """

    def __init__(self, box: np.ndarray, refit_every: int = REFIT_EVERY):
        self.refit_every = refit_every
        self._bounds = {
            f"z{i:03d}": (float(low), float(high))
            for i, (low, high) in enumerate(zip(box[0], box[1], strict=True))
        }
        self._fitted = 0
        self._empty()

    def _empty(self) -> None:
        from bayes_opt.target_space import TargetSpace

        self.space = TargetSpace(None, self._bounds)

    def belief(self, observed: Observations, points: np.ndarray) -> Belief:
        """Return the posterior over `points`. See `models.search.gaussian_process.Surrogate`."""
        self._register(observed)
        fit_on = observed.kernel_points(self.refit_every)
        if fit_on != self._fitted:
            self._kernel = self._fit_kernel(self.space.params[:fit_on], self.space.target[:fit_on])
            self._fitted = fit_on
        process = self._process(self._kernel, optimizer=None)
        process.fit(self.space.params, self.space.target)
        between = process.kernel_(self.space.params, points)
        whitened = solve_triangular(process.L_, between, lower=True)
        scale = float(np.std(self.space.target)) or 1.0
        mean = self.space.target.mean() + scale * (between.T @ process.alpha_)
        return Belief(mean, whitened, points, process.kernel_, NOISE_FLOOR, scale)

    def _register(self, observed: Observations) -> None:
        """Bring the package's record of points up to date."""
        held = len(self.space)
        same = np.array_equal(self.space.params, observed.latents[:held]) and np.array_equal(
            self.space.target, observed.values[:held]
        )
        if not same:
            self._empty()
            self._fitted = held = 0
        with warnings.catch_warnings():
            # Encoded compositions that the autoencoder never saw may lie just outside the box.
            warnings.simplefilter("ignore", UserWarning)
            for i in range(held, len(observed.values)):
                self.space.register(observed.latents[i], float(observed.values[i]))

    def _fit_kernel(self, latents: np.ndarray, values: np.ndarray) -> Any:
        """Fit the length scale, starting from the median distance.

        The package starts from a length scale of one, wherever the points lie. Where they lie ten
        apart the likelihood is flat there, and a search that steps that far never comes back, so
        the bounds keep it near the data.
        """
        from bayes_opt.parameter import wrap_kernel
        from sklearn.gaussian_process.kernels import Matern

        chosen = spread(len(latents), KERNEL_POINTS)
        start = median_distance(latents[chosen])
        bounds = (LENGTH_FACTORS[0] * start, LENGTH_FACTORS[-1] * start)
        matern = Matern(length_scale=start, length_scale_bounds=bounds, nu=2.5)
        process = self._process(
            wrap_kernel(matern, transform=self.space.kernel_transform), optimizer="fmin_l_bfgs_b"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            process.fit(latents[chosen], values[chosen])
        return process.kernel_

    @staticmethod
    def _process(kernel: Any, optimizer: str | None) -> Any:
        from sklearn.gaussian_process import GaussianProcessRegressor

        return GaussianProcessRegressor(
            kernel=kernel,
            alpha=NOISE_FLOOR,
            normalize_y=True,
            n_restarts_optimizer=0,
            optimizer=optimizer,
        )
