"""Train the property models and write their folders: what the train stage and `agd train` call.

In: training data. Out: a folder of weights for the band-gap oracle or the formation-energy network,
judged on compositions it never saw, with a model card.
"""

from __future__ import annotations

from pathlib import Path

from models.fitting.cards import DataSource
from models.fitting.checkpoints import ModelConfig, data_hash
from models.fitting.datasets import TrainingData
from models.fitting.progress import Report
from models.properties.boosting import BoostingConfig, BoostingModel
from models.properties.gatgnn import (
    FormationEnergyModel,
    GatgnnConfig,
    energy_set,
    fit_gatgnn,
    judged,
)
from models.properties.property_cards import gatgnn_card, oracle_card
from structure.errors import DataError


def _source(data: TrainingData, name: str) -> DataSource:
    try:
        return data.sources[name]
    except KeyError:
        raise DataError(
            f"the data folder names no {name.replace('_', ' ')}",
            where=data.folder,
            fix="Name them in agd-data.json, or leave this model out with --only.",
        ) from None


def train_oracle(
    data: TrainingData,
    config: BoostingConfig,
    seed: int,
    folder: Path,
    report: Report | None = None,
) -> ModelConfig:
    """Fit the band-gap oracle and write its folder.

    Parameters
    ----------
    data : TrainingData
    config : BoostingConfig
    seed : int
    folder : Path
        Where the weights go.
    report : Report, optional

    Returns
    -------
    ModelConfig
        As written, with metrics.

    Raises
    ------
    DataError, ModelError
        If there are no band gaps, or too few.
    """
    source, gaps = _source(data, "band_gaps"), data.band_gaps
    model = BoostingModel.fit(gaps.counts, gaps.values, config, seed=seed, report=report)
    card = oracle_card(model.metrics, [source], len(gaps), data_hash(gaps.counts, gaps.values))
    return model.save(
        folder,
        trained_on=f"{len(gaps):,} compositions: {source.name}",
        counts=gaps.counts,
        values=gaps.values,
        seed=seed,
        card=card.text(),
    )


def train_gatgnn(
    data: TrainingData,
    config: GatgnnConfig,
    seed: int,
    work: Path,
    folder: Path,
    report: Report | None = None,
) -> ModelConfig:
    """Fit the formation-energy network and write its folder; parameters as in `train_oracle`.

    A fit whose checkpoint is found in `work` goes on.

    Raises
    ------
    DataError, ModelError
        If there are no structures with formation energies, or training fails.
    """
    source, structures = _source(data, "structures"), data.mapping.structures
    assert structures is not None
    learnt = energy_set(data, config.max_sites)
    network, train, test = fit_gatgnn(learnt, config, seed, work, learnt.sha256(), report)
    settings = config.model_dump(mode="json")
    metrics = judged(network, train, test, seed)
    model = FormationEnergyModel(network, structures.energy_scheme, settings, metrics)
    card = gatgnn_card(metrics, [source], len(train.energies), train.sha256(), settings)
    return model.save(
        folder,
        trained_on=f"{len(train.energies):,} structures: {source.name}",
        data=train,
        seed=seed,
        card=card.text(),
    )
