"""Bayesian optimisation over a pool of points: serves the explore stage.

A point is what the surrogate sees of a candidate: by default descriptors of its composition
(`models.search.surrogate_inputs`), in AGD its latent vector. In: labelled points with the value to
maximise, points whose label is still to come, and a pool of candidates that were made in the latent
space (`models.search.latent_pool`). Out: which candidates to label next, a batch at a time.
AGD sec. 2.3: a Gaussian process with an upper confidence bound or expected improvement, 20
suggestions an iteration. Within a batch each choice is conditioned on those before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.search.gaussian_process import (
    REFIT_EVERY,
    Belief,
    MaternProcess,
    Observations,
    Surrogate,
)
from structure.errors import ConfigError, DataError

KAPPA = 2.0
"""Exploration weight (chosen: with a surrogate that predicts, AGD's weights look away from what it
knows; measured in ``docs/results/latent_search.md``)."""

KAPPA_AGD_BEST = 10.0
"""Exploration weight that found most wide-gap compounds in AGD (sec. 3.3.2, Fig. 5b)."""

KAPPA_AGD_EXPERIMENTS = 100.0
"""Exploration weight of AGD's experiments 2 to 4 (sec. 3.2)."""

BATCH = 20
"""Suggestions an iteration (AGD sec. 2.3)."""

XI = 0.01
"""Margin of expected improvement, in the unit of the values (AGD Eq. 1; the paper gives none;
chosen: the default of the bayesian-optimization package)."""

Backend = Literal["batch", "bayesian-optimization"]
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Acquisition:
    """What makes a candidate worth labelling.

    Attributes
    ----------
    kind : {"ucb", "ei"}
        Upper confidence bound (AGD Eq. 3) or expected improvement (Eq. 1 and 2).
    kappa : float
        Weight of the standard deviation in the upper confidence bound.
    xi : float
        Margin of expected improvement.
    """

    kind: Literal["ucb", "ei"] = "ucb"
    kappa: float = KAPPA
    xi: float = XI

    def __post_init__(self) -> None:
        if self.kind not in ("ucb", "ei"):
            raise ConfigError(f"unknown acquisition {self.kind!r}", fix="Use 'ucb' or 'ei'.")
        if self.kappa < 0 or self.xi < 0:
            raise ConfigError("kappa and xi cannot be negative", where=repr(self))

    def score(self, best: float) -> Score:
        """Return the function of mean and standard deviation, given the best value so far."""
        if self.kind == "ucb":
            return lambda mean, sigma: mean + self.kappa * sigma
        return lambda mean, sigma: expected_improvement(mean, sigma, best, self.xi)

    def package_score(self, best: float) -> Score:
        """Return the same from the `bayesian-optimization` package."""
        from bayes_opt.acquisition import ExpectedImprovement, UpperConfidenceBound

        if self.kind == "ucb":
            return UpperConfidenceBound(kappa=self.kappa).base_acq
        improvement: Any = ExpectedImprovement(xi=self.xi)
        improvement.y_max = best
        # Equation 1 is zero where nothing is uncertain; the package divides by zero there.
        return lambda mean, sigma: np.where(
            sigma > 0, improvement.base_acq(mean, np.where(sigma > 0, sigma, 1.0)), 0.0
        )


def expected_improvement(
    mean: np.ndarray, sigma: np.ndarray, best: float, xi: float = XI
) -> np.ndarray:
    """Return expected improvement over `best` (AGD Eq. 1 and 2); zero where `sigma` is zero."""
    from scipy.stats import norm

    gain = mean - best - xi
    certain = sigma <= 0
    with np.errstate(over="ignore"):
        z = np.divide(gain, sigma, out=np.zeros_like(gain), where=~certain).clip(-40, 40)
    return np.where(certain, 0.0, gain * norm.cdf(z) + sigma * norm.pdf(z))


class LatentSearch:
    """Remembers labelled and pending points and chooses the next batch from a pool.

    A point registered twice is one point with the mean of its values, so that compositions which
    decode alike never make the covariance matrix singular. Nothing in it is random, and its
    choices are a function of the sequence of calls to `register`, so a search rebuilt by repeating
    them suggests the same, to the bit.

    Parameters
    ----------
    box : ndarray of float, shape (2, d)
        Least and greatest value of each dimension of a point.
    acquisition : Acquisition
    backend : {"batch", "bayesian-optimization"}
        Our own process, or scikit-learn's with the container and the acquisition functions of the
        package the paper used. The package's optimiser is run by neither.
    refit_every : int
        Points between fits of the kernel.
    """

    def __init__(
        self,
        box: np.ndarray,
        acquisition: Acquisition | None = None,
        backend: Backend = "batch",
        refit_every: int = REFIT_EVERY,
    ):
        if backend not in ("batch", "bayesian-optimization"):
            raise ConfigError(
                f"unknown search backend {backend!r}",
                fix="Use 'batch' or 'bayesian-optimization'.",
            )
        self.dimensions = box.shape[1]
        self.acquisition = acquisition or Acquisition()
        self.backend = backend
        self._surrogate = _surrogate(backend, box, refit_every)
        self._row: dict[bytes, int] = {}
        self._latents: list[np.ndarray] = []
        self._sums: list[float] = []
        self._times: list[int] = []
        self._ends: list[int] = []
        self._pending: dict[bytes, np.ndarray] = {}

    def __len__(self) -> int:
        """Return the number of distinct labelled points."""
        return len(self._latents)

    @property
    def pending(self) -> int:
        """Number of points whose label is still to come."""
        return len(self._pending)

    def register(self, z: np.ndarray, y: np.ndarray | None = None, pending: bool = False) -> None:
        """Add labelled points, or points whose label is still to come.

        Parameters
        ----------
        z : ndarray of float, shape (n, d)
        y : ndarray of float, shape (n,), optional
            The value to maximise. Not given for pending points. A label that arrives for a
            pending point ends its pending.
        pending : bool, default False

        Raises
        ------
        DataError
            If a shape does not fit or a number is not finite.
        """
        z = self._points(z)
        if pending:
            for point in z:
                if point.tobytes() not in self._row:
                    self._pending[point.tobytes()] = point
            return
        values = np.asarray(y, dtype=np.float64) if y is not None else np.empty(0)
        if values.shape != (len(z),) or not np.isfinite(values).all():
            raise DataError(
                f"{len(z)} points came with {values.shape} values, all of which must be finite",
                where="latent search",
            )
        for point, value in zip(z, values.tolist(), strict=True):
            name = point.tobytes()
            self._pending.pop(name, None)
            if name in self._row:
                self._sums[self._row[name]] += value
                self._times[self._row[name]] += 1
            else:
                self._row[name] = len(self._latents)
                self._latents.append(point)
                self._sums.append(value)
                self._times.append(1)
        self._ends.append(len(self._latents))

    def withdraw(self, z: np.ndarray) -> None:
        """Forget pending points whose label will never come, ``z (n, d)``."""
        for point in self._points(z):
            self._pending.pop(point.tobytes(), None)

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation at ``z (m, d)``, pending points left out."""
        belief = self._surrogate.belief(self._observed(), self._points(z))
        return belief.mean, belief.sigma

    def suggest(self, pool: np.ndarray, n: int = BATCH) -> np.ndarray:
        """Choose the next points to label.

        Parameters
        ----------
        pool : ndarray of float, shape (m, d)
        n : int, default `BATCH`

        Returns
        -------
        ndarray of int, shape (k,)
            Rows of the pool, best first. Points that are labelled or pending are never chosen and
            equal rows at most once, so `k` is less than `n` where the pool is poor.

        Raises
        ------
        DataError
            If nothing has been labelled yet.
        """
        pool = self._points(pool)
        rows = self._new_rows(pool)
        if not len(rows) or n < 1:
            return np.empty(0, dtype=np.intp)
        observed = self._observed()
        waiting = list(self._pending.values())
        points = np.vstack([pool[rows], *waiting])
        belief = self._surrogate.belief(observed, points)
        for j in range(len(rows), len(points)):
            belief.condition(j)
        best = float(observed.values.max())
        named = self.backend == "bayesian-optimization"
        score = (self.acquisition.package_score if named else self.acquisition.score)(best)
        return rows[_greedy(belief, score, len(rows), n)]

    def _observed(self) -> Observations:
        if not self._latents:
            raise DataError(
                "the search has no labelled point to start from",
                where="latent search",
                fix="Register initial labels first.",
            )
        values = np.array(self._sums) / np.array(self._times)
        return Observations(np.array(self._latents), values, tuple(self._ends))

    def _points(self, z: np.ndarray) -> np.ndarray:
        points = np.ascontiguousarray(z, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.dimensions:
            raise DataError(
                f"points have shape {points.shape}, expected (n, {self.dimensions})",
                where="latent search",
            )
        if not np.isfinite(points).all():
            raise DataError("a point of the search is not finite", where="latent search")
        return points

    def _new_rows(self, pool: np.ndarray) -> np.ndarray:
        seen = self._row.keys() | self._pending.keys()
        rows = []
        for i, point in enumerate(pool):
            name = point.tobytes()
            if name not in seen:
                seen.add(name)
                rows.append(i)
        return np.array(rows, dtype=np.intp)


def _surrogate(backend: Backend, box: np.ndarray, refit_every: int) -> Surrogate:
    if backend == "batch":
        return MaternProcess(refit_every)
    from models.search.package_surrogate import PackageProcess

    return PackageProcess(box, refit_every)


def _greedy(belief: Belief, score: Score, candidates: int, n: int) -> np.ndarray:
    """Choose up to `n` of the first `candidates` points, each given those before it."""
    open_ = np.ones(candidates, dtype=bool)
    chosen = []
    for _ in range(min(n, candidates)):
        worth = score(belief.mean[:candidates], belief.sigma[:candidates])
        j = int(np.argmax(np.where(open_, worth, -np.inf)))
        open_[j] = False
        chosen.append(j)
        belief.condition(j)
    return np.array(chosen, dtype=np.intp)
