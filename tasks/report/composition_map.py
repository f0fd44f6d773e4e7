"""A two-dimensional map of known, visited and generated compositions for the report.

In: compositions of each group. Out: t-SNE points (as in AGD Fig. 8 and MatGAN Fig. 3).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from structure.composition import fractions_of

logger = logging.getLogger(__name__)

PERPLEXITY = 30.0
"""Chosen: scikit-learn's default, also when a group is as small as the paper's 300."""

ITERATIONS = 500
"""Of t-SNE (chosen: its divergence on 950 compositions is 0.87, and 0.85 after 1,000)."""


def tsne_points(groups: Sequence[np.ndarray], limit: int, seed: int) -> list[np.ndarray]:
    """Place compositions in a plane so that similar ones lie together.

    Distances are taken between square roots of element fractions (Hellinger), which keep minority
    elements visible.

    Parameters
    ----------
    groups : sequence of ndarray of int, each of shape (n_i, 103)
    limit : int
        Most points a group; larger groups are thinned at random.
    seed : int

    Returns
    -------
    list of ndarray of float, each of shape (m_i, 2), with m_i <= limit
        All empty when there are fewer than five compositions in total.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rng = np.random.default_rng(seed)
    kept = [
        g if len(g) <= limit else g[np.sort(rng.choice(len(g), limit, replace=False))]
        for g in groups
    ]
    sizes = [len(g) for g in kept]
    total = sum(sizes)
    if total < 5:
        return [np.zeros((0, 2)) for _ in kept]
    logger.info("report: placing %d compositions on the map", total)
    roots = np.sqrt(np.vstack([fractions_of(g) for g in kept if len(g)]))
    flat = PCA(n_components=min(40, total - 1), random_state=seed).fit_transform(roots)
    points = TSNE(
        perplexity=min(PERPLEXITY, (total - 1) / 3),
        max_iter=ITERATIONS,
        init="pca",
        random_state=seed,
        n_jobs=1,
    ).fit_transform(flat)
    return np.split(points, np.cumsum(sizes)[:-1])
