"""Gaussian process over points: the surrogate of the explore stage's search.

In: points (descriptors of compositions, or latent vectors) with the value to maximise, in the order
in which they were registered. Out: a `Belief` about a pool of candidates, which can be conditioned
on points whose label is not there yet. The process here is our own numpy one (Matern 5/2, factor
extended a batch at a time); the one with parts of the `bayesian-optimization` package gives a
`Belief` too (`models.search.package_surrogate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cholesky, solve_triangular

NOISE_FLOOR = 1e-4
"""Chosen: least noise variance, relative to the signal's. Two latents a rounding error apart then
leave the covariance matrix well conditioned."""

LENGTH_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Chosen: length scales tried, in units of the median distance between registered points."""

NOISE_LEVELS = (NOISE_FLOOR, 1e-3, 1e-2, 1e-1, 3e-1)
"""Chosen: noise variances tried, relative to the signal's."""

KERNEL_POINTS = 500
"""Chosen: the kernel is fitted to at most this many points, evenly spread over those registered."""

REFIT_EVERY = 50
"""Chosen: the kernel is fitted again each time this many points have been added."""

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Observations:
    """What has been registered so far.

    Attributes
    ----------
    latents : ndarray of float64, shape (n, d)
    values : ndarray of float64, shape (n,)
    ends : tuple of int
        Number of points after each registration; the last is n. It fixes the order of floating
        point operations, so that a search rebuilt from tables is equal to the one that was killed.
    """

    latents: np.ndarray
    values: np.ndarray
    ends: tuple[int, ...]

    def kernel_points(self, refit_every: int) -> int:
        """Return how many of the first points the kernel is fitted to: a function of n alone."""
        n = len(self.values)
        return n if n < refit_every else n - n % refit_every


class Belief:
    """Posterior over a set of points, to be conditioned on some of them.

    Conditioning a point on its own posterior mean ("Kriging believer") leaves every mean as it is
    and lowers the variances; that is all a pending label can tell.

    Parameters
    ----------
    mean : ndarray of float64, shape (m,)
        In the unit of the registered values.
    whitened : ndarray of float64, shape (n, m)
        ``L^-1 k(registered, points)``.
    points : ndarray of float64, shape (m, d)
    kernel : callable
        Prior covariance of two sets of points, one on its diagonal.
    noise : float
        Relative to the prior variance.
    scale : float
        Prior standard deviation, in the unit of the registered values.
    """

    def __init__(
        self,
        mean: np.ndarray,
        whitened: np.ndarray,
        points: np.ndarray,
        kernel: Kernel,
        noise: float,
        scale: float,
    ):
        self.mean = mean
        self._whitened = whitened
        self._points = points
        self._kernel = kernel
        self._noise = noise
        self._scale = scale
        self._variance = np.maximum(1.0 - np.einsum("nm,nm->m", whitened, whitened), 0.0)
        self._extra = np.empty((0, len(mean)))

    @property
    def sigma(self) -> np.ndarray:
        """Posterior standard deviation of each point, shape (m,), in the unit of the values."""
        return self._scale * np.sqrt(self._variance)

    def condition(self, j: int) -> None:
        """Lower the variances as if point `j` had been labelled with its posterior mean."""
        prior = self._kernel(self._points, self._points[j : j + 1])[:, 0]
        known = self._whitened.T @ self._whitened[:, j] + self._extra.T @ self._extra[:, j]
        row = (prior - known) / np.sqrt(self._variance[j] + self._noise)
        self._variance = np.maximum(self._variance - row * row, 0.0)
        self._extra = np.vstack([self._extra, row])


class Surrogate(Protocol):
    """A Gaussian process that can be asked about a pool."""

    def belief(self, observed: Observations, points: np.ndarray) -> Belief:
        """Return the posterior over ``points (m, d)`` given what was registered."""
        ...


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances between rows, shape (len(a), len(b))."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    return np.sqrt(np.maximum(squared, 0.0))


def median_distance(latents: np.ndarray) -> float:
    """Return the median distance between distinct points, 1 if there is none."""
    apart = distances(latents, latents)[np.triu_indices(len(latents), 1)]
    apart = apart[apart > 0]
    return float(np.median(apart)) if len(apart) else 1.0


def spread(n: int, most: int) -> np.ndarray:
    """Return at most `most` of the numbers 0 to n - 1, evenly spread."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.intp)


def matern52(apart: np.ndarray, length: float) -> np.ndarray:
    """Return the Matern 5/2 covariance at distances `apart`."""
    x = np.sqrt(5.0) * apart / length
    return (1.0 + x + x * x / 3.0) * np.exp(-x)


class MaternProcess:
    """Matern 5/2 process with one length scale whose Cholesky factor grows with the data.

    Length scale and noise maximise the likelihood, with the amplitude profiled out, over a small
    grid (chosen: a grid gives the same answer on every machine and has no restarts).

    Parameters
    ----------
    refit_every : int, default `REFIT_EVERY`
    """

    def __init__(self, refit_every: int = REFIT_EVERY):
        self.refit_every = refit_every
        self.length = 0.0
        self.noise = NOISE_FLOOR
        self._fitted_values = np.empty(0)
        self._latents = np.empty((0, 0))
        self._factor = np.empty((0, 0))

    def belief(self, observed: Observations, points: np.ndarray) -> Belief:
        """Return the posterior over `points`. See `Surrogate`."""
        self._follow(observed)
        centre = observed.values.mean()
        residual = solve_triangular(self._factor, observed.values - centre, lower=True)
        scale = float(np.sqrt(residual @ residual / len(residual))) or 1.0
        between = matern52(distances(observed.latents, points), self.length)
        whitened = solve_triangular(self._factor, between, lower=True)
        return Belief(
            centre + whitened.T @ residual, whitened, points, self._kernel, self.noise, scale
        )

    def _kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return matern52(distances(a, b), self.length)

    def _follow(self, observed: Observations) -> None:
        """Bring kernel and factor up to date, in the same steps whatever was computed before."""
        fit_on = observed.kernel_points(self.refit_every)
        values = observed.values[:fit_on]
        same = np.array_equal(self._latents, observed.latents[: len(self._latents)])
        if not same or not np.array_equal(values, self._fitted_values):
            self._fit(observed.latents[:fit_on], values)
            self._fitted_values = values
            self._latents = np.empty((0, observed.latents.shape[1]))
            self._factor = np.empty((0, 0))
            self._extend(observed.latents[:fit_on])
        for end in observed.ends:
            if end > len(self._latents):
                self._extend(observed.latents[len(self._latents) : end])

    def _fit(self, latents: np.ndarray, values: np.ndarray) -> None:
        chosen = spread(len(latents), KERNEL_POINTS)
        apart, y = distances(latents[chosen], latents[chosen]), values[chosen]
        median = median_distance(latents[chosen])
        best = -np.inf
        for length in (median * factor for factor in LENGTH_FACTORS):
            prior = matern52(apart, length)
            for noise in NOISE_LEVELS:
                likelihood = _profile_likelihood(prior, noise, y - y.mean())
                if likelihood > best:
                    best, self.length, self.noise = likelihood, length, noise

    def _extend(self, more: np.ndarray) -> None:
        """Add points to the factor: ``n^2 k`` operations for k points instead of ``n^3 / 3``."""
        n, k = len(self._latents), len(more)
        own = self._kernel(more, more)
        own[np.diag_indices(k)] = 1.0 + self.noise
        grown = np.zeros((n + k, n + k))
        if n:
            below = solve_triangular(self._factor, self._kernel(self._latents, more), lower=True)
            grown[:n, :n] = self._factor
            grown[n:, :n] = below.T
            own -= below.T @ below
        grown[n:, n:] = cholesky(own, lower=True)
        self._factor = grown
        self._latents = np.vstack([self._latents, more])


def _profile_likelihood(prior: np.ndarray, noise: float, y: np.ndarray) -> float:
    """Return the log likelihood with the best amplitude, up to a constant."""
    covariance = prior.copy()
    covariance[np.diag_indices(len(y))] = 1.0 + noise
    factor = cholesky(covariance, lower=True)
    residual = solve_triangular(factor, y, lower=True)
    amplitude = max(float(residual @ residual) / len(y), 1e-12)
    return float(-0.5 * len(y) * np.log(amplitude) - np.log(np.diagonal(factor)).sum())
