"""What the search's surrogate sees of a composition: serves the explore stage.

In: reduced ``counts (n, 103)``. Out: descriptors on one scale, so that Euclidean distance between
two compositions says how differently they behave. A Gaussian process on them predicts unseen gaps
nearly as well as a forest does, and far better than one on the autoencoder's latents, whose
distances say little about chemistry (`docs/decisions/latent-search.md`).
"""

from __future__ import annotations

import numpy as np

from models.properties.descriptors import descriptors

LEAST_SPREAD = 0.02
"""Chosen: a descriptor that hardly varies over the first labels is scaled as if it varied by this
much; it makes an element they lack one clear step away."""

FARTHEST = 5.0
"""Chosen: standardised descriptors are cut at ± this many standard deviations."""


class StandardDescriptors:
    """Descriptors shifted and scaled by their mean and spread over a reference set.

    Parameters
    ----------
    reference : ndarray of int, shape (m, 103)
        Reduced compositions, m at least 1.

    Attributes
    ----------
    box : ndarray of float64, shape (2, d)
        Bounds of what `__call__` returns.
    """

    def __init__(self, reference: np.ndarray):
        values = np.nan_to_num(descriptors(reference).astype(np.float64))
        self._mean = values.mean(axis=0)
        self._spread = np.maximum(values.std(axis=0), LEAST_SPREAD)
        self.box = np.outer([-FARTHEST, FARTHEST], np.ones(len(self._mean)))

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return standardised descriptors of ``counts (n, 103)``, shape (n, d), float64."""
        values = np.nan_to_num(descriptors(counts).astype(np.float64))
        return ((values - self._mean) / self._spread).clip(-FARTHEST, FARTHEST)
