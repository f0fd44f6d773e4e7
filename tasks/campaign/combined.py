"""All targets of a campaign over one set of compositions: serves explore and screen.

In: values of the first target's property, and compositions. Out: values of the further properties,
computed from the composition or predicted by a model; which compositions hold all targets, and how
probable it is that they do. Errors of different properties are taken as independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from structure.errors import ConfigError
from structure.properties.target import Target, Targets
from tasks.campaign.handles import ModelHandle

if TYPE_CHECKING:
    from models.properties.prediction import PropertyModel

CHUNK = 20_000
"""Rows predicted at a time: descriptors of so many take a few tens of MB."""


def weights_name(target: Target) -> str:
    """Return the name, among a campaign's weights, of the model of a further target."""
    return f"target-{target.property}"


@dataclass(frozen=True)
class Combined:
    """The targets with what tells the further ones.

    Attributes
    ----------
    targets : Targets
    models : mapping of str to PropertyModel
        By the property's name, of further targets that no composition decides.
    """

    targets: Targets
    models: Mapping[str, PropertyModel]

    @classmethod
    def load(cls, root: Path, targets: Targets, weights: Mapping[str, ModelHandle]) -> Combined:
        """Load the models that further targets need, given the campaign directory.

        Raises
        ------
        ConfigError, ModelError
            If a model is missing or damaged, or predicts something else.
        """
        from models.properties.prediction import load_property_model

        models = {}
        for target in targets.further:
            if target.sought.of_composition is not None:
                continue
            name = weights_name(target)
            if name not in weights:
                raise ConfigError(
                    f"the campaign has no model of the {target.sought.words}",
                    where="targets",
                    fix="Begin a new campaign directory with these targets.",
                )
            model = load_property_model(weights[name].folder(root))
            if model.property != target.sought.column:
                raise ConfigError(
                    f"the model of the {target.sought.words} predicts {model.property}",
                    where="targets",
                    fix=f"Name a folder of weights that predict {target.sought.column}.",
                )
            models[target.property] = model
        return cls(targets, models)

    def columns(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return values and uncertainties of the further properties, by column; each (n,)."""
        found: dict[str, np.ndarray] = {}
        for target in self.targets.further:
            sought = target.sought
            if sought.of_composition is not None:
                found[sought.column] = sought.of_composition(counts)
                continue
            mean, sigma = predicted(self.models[target.property], counts)
            found[sought.column], found[sought.sigma_column] = mean, sigma
        return found

    def hold(self, values: np.ndarray, further: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return which compositions lie inside every window; bool, shape (n,)."""
        inside = self.targets.first.contains(values)
        for target in self.targets.further:
            inside = inside & target.contains(further[target.sought.column])
        return inside

    def failed(self, values: np.ndarray, further: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the code of the first window that each misses; empty where all hold."""
        codes = np.full(len(values), "", dtype="<U40")
        for target in reversed(self.targets.root):
            first = target is self.targets.first
            own = values if first else further[target.sought.column]
            codes[~target.contains(own)] = target.sought.code
        return codes

    def utility(self, values: np.ndarray, sigmas: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return what the search maximises, shape (n,).

        For one target its own utility. For several the probability that all hold, with edges
        blurred by the properties' tolerances: a step would not tell the search which way to go.
        """
        if not self.targets.further:
            return self.targets.first.utility(values)
        return self._probability(values, sigmas, self.columns(counts), blurred=True)

    def score(
        self,
        values: np.ndarray,
        sigmas: np.ndarray,
        further: Mapping[str, np.ndarray],
        caution: float,
    ) -> np.ndarray:
        """Return by what candidates are ranked, shape (n,).

        For one target its utility less `caution` uncertainties, for several the probability that
        all hold.
        """
        if not self.targets.further:
            return self.targets.first.utility(values) - caution * np.nan_to_num(sigmas)
        return self._probability(values, sigmas, further, blurred=False)

    def _probability(
        self,
        values: np.ndarray,
        sigmas: np.ndarray,
        further: Mapping[str, np.ndarray],
        blurred: bool,
    ) -> np.ndarray:
        all_hold = self.targets.first.probability(values, sigmas, blurred=blurred)
        for target in self.targets.further:
            own = further[target.sought.column]
            spread = further.get(target.sought.sigma_column, np.zeros(len(own)))
            all_hold = all_hold * target.probability(own, spread, blurred=blurred)
        return all_hold


def predicted(model: PropertyModel, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict values and uncertainties, a chunk of rows at a time."""
    from models.properties.prediction import predict

    if not len(counts):
        return np.zeros(0), np.zeros(0)
    starts = range(0, len(counts), CHUNK)
    chunks = [predict(model, counts[start : start + CHUNK]) for start in starts]
    return np.concatenate([c.mean for c in chunks]), np.concatenate([c.sigma for c in chunks])
