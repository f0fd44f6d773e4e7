"""Measures of property models: serve model cards, benchmarks and the report.

In: true values, predictions and uncertainties. Out: named numbers, in the unit of the values.
"""

from __future__ import annotations

import numpy as np


def regression_metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return errors of predictions.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n,)

    Returns
    -------
    dict of str to float
        ``n``, ``r2`` (one minus the mean squared error over the variance; negative when worse than
        the mean), ``mae``, ``rmse``.
    """
    error = predicted - truth
    spread = float(((truth - truth.mean()) ** 2).mean())
    square = float((error**2).mean())
    return {
        "n": float(len(truth)),
        "r2": 1.0 - square / spread if spread > 0 else float("nan"),
        "mae": float(np.abs(error).mean()),
        "rmse": square**0.5,
    }


def coverage(truth: np.ndarray, predicted: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
    """Return how well uncertainties describe the errors.

    Returns
    -------
    dict of str to float
        ``within_1_sigma`` and ``within_2_sigma``: shares of errors no larger than one and two
        uncertainties (0.683 and 0.954 for a normal error); ``mean_sigma``.
    """
    error = np.abs(predicted - truth)
    return {
        "within_1_sigma": float((error <= sigma).mean()),
        "within_2_sigma": float((error <= 2 * sigma).mean()),
        "mean_sigma": float(sigma.mean()),
    }


def sign_metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return how well the sign of a formation energy is told.

    Returns
    -------
    dict of str to float
        ``sign_accuracy``; ``base_rate``: the share of negative values, which is the accuracy of
        always answering "negative"; ``positives_caught``: the share of the values that are not
        negative and are predicted so (NaN if there are none).
    """
    negative, told = truth < 0, predicted < 0
    return {
        "sign_accuracy": float((negative == told).mean()),
        "base_rate": float(negative.mean()),
        "positives_caught": float((~told[~negative]).mean()) if (~negative).any() else float("nan"),
    }
