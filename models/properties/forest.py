"""Random forest from composition to a property: AGD's second screening model (sec. 3.2).

In: reduced ``counts (n, 103)`` and values. Out: means with uncertainties from the spread over the
trees, scaled so that it describes the out-of-bag errors. Trees are kept as plain arrays, so a
folder of weights is data and nothing in it is executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from models.fitting.checkpoints import load_model_folder
from models.properties.descriptor_model import (
    ONE_SIGMA,
    DescriptorModel,
    of_this_release,
    refuse_few,
)
from models.properties.descriptors import descriptors, magpie
from models.properties.metrics import coverage, regression_metrics
from models.properties.prediction import Prediction
from structure.records import Settings

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

_CHUNK = 4096


class ForestConfig(Settings):
    """Size of the forest; the papers give none, so all are chosen."""

    trees: int = Field(default=200, gt=1)
    """Trees of the forest."""
    features: float = Field(default=1 / 3, gt=0, le=1)
    """Share of the descriptors tried at each split."""
    min_rows: int = Field(default=1, gt=0)
    """Fewest rows in a leaf."""
    magpie_only: bool = False
    """Learn from the 132 Magpie features alone, as the paper does, not from all descriptors."""
    minimum: float | None = 0.0
    """Physical lower bound of the property."""
    error_floor: float = Field(default=0.02, gt=0)
    """Smallest uncertainty, in the unit of the property."""

    def inputs(self, counts: np.ndarray) -> np.ndarray:
        """Return what the forest learns from, float32, shape (n, 132) or (n, 256)."""
        return magpie(counts).astype(np.float32) if self.magpie_only else descriptors(counts)


class Trees(NamedTuple):
    """All trees of a forest end to end.

    Attributes
    ----------
    roots : ndarray of int32, shape (t,)
        Place of each root.
    feature : ndarray of int32, shape (m,)
        Column that a node looks at; 0 in leaves.
    threshold : ndarray of float64, shape (m,)
        A row goes left if its value is no larger; infinite in leaves.
    left, right : ndarray of int32, shape (m,)
        Children; a leaf is its own child.
    value : ndarray of float64, shape (m,)
    depth : ndarray of int32, shape (t,)
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    depth: np.ndarray

    @classmethod
    def of(cls, forest: RandomForestRegressor) -> Trees:
        """Take the trees out of a fitted scikit-learn forest."""
        roots, depth, parts, start = [], [], [], 0
        for estimator in forest.estimators_:
            tree = estimator.tree_
            leaf = tree.children_left < 0
            own = np.arange(tree.node_count) + start
            parts.append(
                (
                    np.where(leaf, 0, tree.feature).astype(np.int32),
                    np.where(leaf, np.inf, tree.threshold),
                    np.where(leaf, own, tree.children_left + start).astype(np.int32),
                    np.where(leaf, own, tree.children_right + start).astype(np.int32),
                    tree.value[:, 0, 0],
                )
            )
            roots.append(start)
            depth.append(tree.max_depth)
            start += tree.node_count
        feature, threshold, left, right, value = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return cls(
            np.array(roots, np.int32),
            feature,
            threshold,
            left,
            right,
            value,
            np.array(depth, np.int32),
        )

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the value of each tree for each row, float64, shape (t, n)."""
        out = np.empty((len(self.roots), len(inputs)))
        rows = np.arange(len(inputs))
        for t, root in enumerate(self.roots):
            node = np.full(len(inputs), root, dtype=np.int32)
            for _ in range(self.depth[t]):
                goes_left = inputs[rows, self.feature[node]] <= self.threshold[node]
                node = np.where(goes_left, self.left[node], self.right[node])
            out[t] = self.value[node]
        return out


class ForestModel(DescriptorModel):
    """A fitted forest; see `fit` and `load`.

    Attributes
    ----------
    property : str
        What is predicted, with its unit.
    metrics : dict of str to float
        Out of bag: each row is judged by the trees that did not see it.
    """

    kind = "forest"
    config: ForestConfig

    def __init__(
        self,
        trees: Trees,
        config: ForestConfig,
        property: str,
        scale: float,
        metrics: dict[str, float],
    ):
        self.trees, self._scale = trees, scale
        self.config, self.property, self.metrics = config, property, metrics

    @classmethod
    def fit(
        cls,
        counts: np.ndarray,
        values: np.ndarray,
        config: ForestConfig | None = None,
        *,
        seed: int,
        property: str = "band_gap_eV",
    ) -> ForestModel:
        """Fit a forest.

        Parameters
        ----------
        counts : ndarray of int, shape (n, 103)
        values : ndarray, shape (n,)
        config : ForestConfig, optional
        seed : int
        property : str

        Raises
        ------
        ModelError
            If there are fewer than 20 rows.
        """
        from sklearn.ensemble import RandomForestRegressor

        config = config or ForestConfig()
        refuse_few(values)
        inputs = config.inputs(counts)
        forest = RandomForestRegressor(
            config.trees,
            max_features=config.features,
            min_samples_leaf=config.min_rows,
            random_state=seed % (2**32),
            n_jobs=1,
        ).fit(inputs, values)
        trees = Trees.of(forest)
        mean, spread, judged = _out_of_bag(forest, trees, inputs)
        above = np.maximum(spread[judged], config.error_floor)
        scale = float(np.quantile(np.abs(values[judged] - mean[judged]) / above, ONE_SIGMA))
        metrics = regression_metrics(values[judged], mean[judged])
        metrics |= coverage(values[judged], mean[judged], scale * above)
        return cls(trees, config, property, scale, metrics)

    def predict(self, counts: np.ndarray) -> Prediction:
        """Predict for reduced compositions; NaN where there are no descriptors."""
        mean, sigma = np.empty(len(counts)), np.empty(len(counts))
        for start in range(0, len(counts), _CHUNK):
            rows = slice(start, start + _CHUNK)
            inputs = self.config.inputs(counts[rows])
            by_tree = self.trees.predict(inputs)
            mean[rows] = by_tree.sum(axis=0) / len(by_tree)
            sigma[rows] = self._scale * np.maximum(by_tree.std(axis=0), self.config.error_floor)
            unknown = np.isnan(inputs).any(axis=1)
            mean[rows][unknown] = sigma[rows][unknown] = np.nan
        if self.config.minimum is not None:
            mean = np.maximum(mean, self.config.minimum)
        return Prediction(mean, np.maximum(sigma, self.config.error_floor))

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return self.trees._asdict(), {"scale": self._scale}

    @classmethod
    def load(cls, folder: Path) -> ForestModel:
        """Load a folder.

        Raises
        ------
        ModelError
            If it is missing, damaged, or made for other descriptors.
        """
        arrays, saved = load_model_folder(folder, cls.kind)
        settings = saved.settings
        with of_this_release(folder, saved):
            return cls(
                Trees(**arrays),
                ForestConfig.model_validate(settings["config"]),
                settings["property"],
                settings["scale"],
                saved.metrics,
            )


def _out_of_bag(
    forest: RandomForestRegressor, trees: Trees, inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and spread over the trees that did not see each row, and which rows have two."""
    n = len(inputs)
    number, total, square = np.zeros(n), np.zeros(n), np.zeros(n)
    for start in range(0, n, _CHUNK):
        by_tree = trees.predict(inputs[start : start + _CHUNK])
        rows = np.arange(start, start + by_tree.shape[1])
        for values, drawn in zip(by_tree, forest.estimators_samples_, strict=True):
            unseen = ~np.isin(rows, drawn)
            number[rows] += unseen
            total[rows] += unseen * values
            square[rows] += unseen * values**2
    judged = number >= 2
    mean = total / np.maximum(number, 1)
    variance = np.maximum(square / np.maximum(number, 1) - mean**2, 0.0)
    return mean, np.sqrt(variance), judged
