"""Train the composition models and write their folders: what the train stage and `agd train` call.

In: unique compositions, split into training and held-out formulas. Out: a folder of weights for
MatGAN, the sequence model or the autoencoder, judged on formulas they never saw, with a model card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from models.compositions.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    decodable,
    fit_autoencoder,
)
from models.compositions.composition_model import CompositionModel
from models.compositions.generation_metrics import generation_metrics
from models.compositions.generator import CompositionGenerator
from models.compositions.generator_cards import (
    CardFacts,
    autoencoder_card,
    matgan_card,
    sequence_card,
)
from models.compositions.matgan import MatGANConfig
from models.compositions.matgan_training import fit_matgan
from models.compositions.sequence import SequenceConfig, fit_sequence
from models.fitting.cards import DataSource, ModelCard
from models.fitting.checkpoints import ModelConfig, data_hash, save_model_folder
from models.fitting.datasets import split_by_formula
from models.fitting.loop import Fitted
from models.fitting.progress import Report
from structure.composition import keys_of, reduce
from structure.rules.validity import valid

HELD_OUT_SHARE = 0.1
"""Share of the formulas that no model is fitted on (MatGAN sec. 2.4 holds out as much)."""

_DRAWN = 100_000  # compositions that a generator is judged on
_LATENTS = 4_000  # random latent vectors that the autoencoder is judged on

Model = TypeVar("Model", bound=CompositionModel[Any])


@dataclass(frozen=True)
class CompositionSet:
    """What composition models learn from.

    Attributes
    ----------
    training, held_out : ndarray of int16, shape (n, 103)
        Reduced, unique; no formula is in both.
    sources : sequence of DataSource
        For the model cards.
    """

    training: np.ndarray
    held_out: np.ndarray
    sources: Sequence[DataSource]

    @classmethod
    def split(
        cls, counts: np.ndarray, sources: Sequence[DataSource], seed: int = 0
    ) -> CompositionSet:
        """Hold out a tenth of unique compositions at random."""
        parts = split_by_formula(keys_of(counts), (HELD_OUT_SHARE,), seed)
        return cls(counts[parts[0]], counts[parts[1]], sources)

    @property
    def sha256(self) -> str:
        """Hash of the training compositions."""
        return data_hash(self.training)

    @property
    def words(self) -> str:
        """The data sets in a phrase."""
        return "; ".join(s.name for s in self.sources)


def train_matgan(
    data: CompositionSet,
    config: MatGANConfig,
    seed: int,
    work: Path,
    folder: Path,
    report: Report | None = None,
) -> ModelConfig:
    """Fit MatGAN and write its folder.

    Parameters
    ----------
    data : CompositionSet
    config : MatGANConfig
    seed : int
    work : Path
        Folder of the fit's checkpoint; a fit found there goes on.
    folder : Path
        Where the weights go.
    report : Report, optional

    Returns
    -------
    ModelConfig
        As written, with metrics.
    """
    model, fitted = fit_matgan(data.training, config, seed, work, data.sha256, report)
    return _judged(model, fitted, data, seed, folder, _generator_metrics, matgan_card)


def train_sequence(
    data: CompositionSet,
    config: SequenceConfig,
    seed: int,
    work: Path,
    folder: Path,
    report: Report | None = None,
) -> ModelConfig:
    """Fit the sequence model and write its folder; parameters as in `train_matgan`."""
    model, fitted = fit_sequence(data.training, config, seed, work, data.sha256, report)
    return _judged(model, fitted, data, seed, folder, _generator_metrics, sequence_card)


def train_autoencoder(
    data: CompositionSet,
    config: AutoencoderConfig,
    seed: int,
    work: Path,
    folder: Path,
    report: Report | None = None,
) -> ModelConfig:
    """Fit the autoencoder and write its folder; parameters as in `train_matgan`."""
    model, fitted = fit_autoencoder(data.training, config, seed, work, data.sha256, report)
    return _judged(model, fitted, data, seed, folder, autoencoder_metrics, autoencoder_card)


def autoencoder_metrics(
    model: Autoencoder, training: np.ndarray, held_out: np.ndarray, seed: int
) -> dict[str, float]:
    """Judge an autoencoder.

    Parameters
    ----------
    model : Autoencoder
    training, held_out : ndarray of int16, shape (n, 103)
        Usable compositions it was fitted on, and others.
    seed : int
        Of the random latent vectors.

    Returns
    -------
    dict of str to float
        ``exact_*``: shares reproduced with every element and number right. For latent vectors
        drawn uniformly in the box (``box_*``), near encoded training compositions
        (``around_*``, 10 % of the box's width either way) and half way between two
        (``between_*``): the share that is not empty, that is `decodable`, that is valid, and that
        is distinct.
    """
    rng = np.random.default_rng(seed)
    few = training[rng.permutation(len(training))[:20_000]]
    metrics = {
        "exact_training": float(model.exact(few).mean()),
        "exact_held_out": float(model.exact(held_out).mean()) if len(held_out) else 0.0,
    }
    low, high = model.box
    some = model.encode(training[rng.integers(len(training), size=_LATENTS)])
    others = model.encode(training[rng.integers(len(training), size=_LATENTS)])
    jitter = 0.1 * (high - low) * rng.uniform(-1, 1, some.shape)
    latents = {
        "box": rng.uniform(low, high, (_LATENTS, len(low))),
        "around": some + jitter,
        "between": 0.5 * (some + others),
    }
    for name, vectors in latents.items():
        drawn = reduce(model.decode(vectors))
        good = decodable(drawn)
        metrics |= {
            f"{name}_not_empty": float(drawn.any(axis=1).mean()),
            f"{name}_decodable": float(good.mean()),
            f"{name}_valid": float((good & valid(drawn)).mean()),
            f"{name}_distinct": len(np.unique(keys_of(drawn))) / len(drawn),
        }
    return metrics


def _judged(
    model: Model,
    fitted: Fitted,
    data: CompositionSet,
    seed: int,
    folder: Path,
    measure: Callable[[Model, np.ndarray, np.ndarray, int], dict[str, float]],
    describe: Callable[[dict[str, float], CardFacts, Any], ModelCard],
) -> ModelConfig:
    """Write the folder, judge the weights as they are stored, and write it again with the card."""
    _written(model, data, seed, folder, {}, None)
    training = data.training[model.config.usable(data.training)]
    held_out = data.held_out[model.config.usable(data.held_out)]
    metrics = measure(type(model).load(folder), training, held_out, seed) | _cost(fitted)
    facts = CardFacts(
        sources=data.sources,
        data_sha256=data.sha256,
        training=len(data.training),
        used=len(training),
        held_out=len(data.held_out),
        held_out_used=len(held_out),
    )
    card = describe(metrics, facts, model.config)
    return _written(model, data, seed, folder, metrics, card)


def _written(
    model: CompositionModel[Any],
    data: CompositionSet,
    seed: int,
    folder: Path,
    metrics: dict[str, float],
    card: ModelCard | None,
) -> ModelConfig:
    """Write weights and card; without a card yet, so that the stored weights can be judged."""
    rounded = {name: round(value, 5) for name, value in metrics.items()}
    about = model.about(data.words, data.sha256, seed, rounded)
    text = card.text() if card else "# Not yet judged"
    return save_model_folder(folder, model.arrays(), about, text)


def _generator_metrics(
    model: CompositionGenerator, training: np.ndarray, held_out: np.ndarray, seed: int
) -> dict[str, float]:
    drawn = model.sample(_DRAWN, seed)
    return generation_metrics(drawn, training, held_out, np.random.default_rng(seed))


def _cost(fitted: Fitted) -> dict[str, float]:
    return {
        "fit_cpu_seconds": round(fitted.cpu_seconds, 1),
        "fit_steps": float(fitted.steps),
        "kept_step": float(fitted.best.step),
    }
