"""Descriptors of compositions: serve the oracle, the screening model and the filter network.

In: reduced ``counts (n, 103)``. Out: the 132 Magpie statistics of Ward et al. (npj Comput. Mater.
2, 16028, 2016), equal to matminer's ``ElementProperty.from_preset("magpie")``, with stoichiometry
norms, the number of atoms, charge-balance descriptors and the element fractions.
"""

from __future__ import annotations

import numpy as np

from models.properties import charge_descriptors as charges
from models.properties.element_table import PROPERTIES, element_properties
from structure.composition import fractions_of
from structure.elements import ELEMENTS

STATISTICS: tuple[str, ...] = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
"""The six statistics of each property; ``mode`` is the smallest value among the elements of
largest fraction."""

NORMS: tuple[int, ...] = (0, 2, 3, 5, 7, 10)
"""Orders of the stoichiometry norms (Ward et al.); order 0 is the number of elements."""

MAGPIE_NAMES: tuple[str, ...] = tuple(f"{s} {p}" for p in PROPERTIES for s in STATISTICS)
NAMES: tuple[str, ...] = (
    *MAGPIE_NAMES,
    *(f"{p}-norm" for p in NORMS),
    "atoms",
    *charges.NAMES,
    *(f"fraction {e}" for e in ELEMENTS),
)
"""Column names of `descriptors`."""

_CHUNK = 4096
_MAGPIE_WIDTH = len(MAGPIE_NAMES)


def magpie(counts: np.ndarray) -> np.ndarray:
    """Return the 132 Magpie features.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)

    Returns
    -------
    ndarray of float64, shape (n, 132)
        Columns as in `MAGPIE_NAMES`. A row is NaN where it has no atoms or an element after
        berkelium.
    """
    out = np.full((len(counts), _MAGPIE_WIDTH), np.nan)
    arity = (counts > 0).sum(axis=1)
    for k in np.unique(arity):
        if k == 0:
            continue
        rows = np.flatnonzero(arity == k)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            out[chunk] = _magpie_of_arity(counts[chunk], int(k))
    return out


def _magpie_of_arity(counts: np.ndarray, k: int) -> np.ndarray:
    """Magpie features of compositions that all have `k` elements; no masks are needed then."""
    elements = np.nonzero(counts)[1].reshape(-1, k)
    amounts = np.take_along_axis(counts, elements, axis=1).astype(np.float64)
    fractions = amounts / amounts.sum(axis=1, keepdims=True)
    table = element_properties()
    values = [table[elements[:, i]] for i in range(k)]
    shares = [fractions[:, i, None] for i in range(k)]
    out = np.empty((len(counts), len(PROPERTIES), len(STATISTICS)))
    low, high = values[0].copy(), values[0].copy()
    mean = values[0] * shares[0]
    for value, share in zip(values[1:], shares[1:], strict=True):
        np.minimum(low, value, out=low)
        np.maximum(high, value, out=high)
        mean += value * share
    deviation = np.abs(values[0] - mean) * shares[0]
    largest = amounts.max(axis=1, keepdims=True)
    mode = np.where(amounts[:, :1] == largest, values[0], np.inf)
    for i in range(1, k):
        deviation += np.abs(values[i] - mean) * shares[i]
        np.minimum(mode, np.where(amounts[:, i, None] == largest, values[i], np.inf), out=mode)
    for column, statistic in enumerate((low, high, high - low, mean, deviation, mode)):
        out[:, :, column] = statistic
    out[np.isnan(mean).any(axis=1)] = np.nan
    return out.reshape(len(counts), _MAGPIE_WIDTH)


def stoichiometry_norms(counts: np.ndarray) -> np.ndarray:
    """Return p-norms of the atomic fractions for each order in `NORMS`.

    Returns
    -------
    ndarray of float64, shape (n, 6)
    """
    fractions = fractions_of(counts)
    columns = [(counts > 0).sum(axis=1).astype(np.float64)]
    power = fractions * fractions
    powers = {2: power}
    for p in range(3, max(NORMS) + 1):
        power = power * fractions
        powers[p] = power
    columns += [powers[p].sum(axis=1) ** (1.0 / p) for p in NORMS[1:]]
    return np.stack(columns, axis=1)


def descriptors(counts: np.ndarray) -> np.ndarray:
    """Return what the composition models learn from: this module and `charge_descriptors`.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)

    Returns
    -------
    ndarray of float32, shape (n, 256)
        Columns as in `NAMES`.
    """
    out = np.empty((len(counts), len(NAMES)), dtype=np.float32)
    norms = _MAGPIE_WIDTH + len(NORMS)
    balance = norms + 1 + len(charges.NAMES)
    out[:, :_MAGPIE_WIDTH] = magpie(counts)
    out[:, _MAGPIE_WIDTH:norms] = stoichiometry_norms(counts)
    out[:, norms] = counts.sum(axis=1, dtype=np.int64)
    out[:, norms + 1 : balance] = charges.charge_features(counts)
    out[:, balance:] = fractions_of(counts)
    return out
