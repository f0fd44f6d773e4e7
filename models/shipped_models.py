"""Fit the models that are shipped: serves ``agd train`` and a campaign's train stage.

In: a folder of training data and the names of models. Out: one folder of weights a model, each with
a card; properties that the folder has a table of have a model too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.properties.boosting import BoostingConfig

if TYPE_CHECKING:
    from models.fitting.checkpoints import ModelConfig
    from models.fitting.datasets import TrainingData
    from models.fitting.progress import Report

ModelName = Literal["oracle", "matgan", "sequence", "autoencoder", "gatgnn"]
SHIPPED: tuple[ModelName, ...] = ("oracle", "matgan", "sequence", "autoencoder", "gatgnn")
"""The weights a campaign needs; all of them are shipped."""


def console(name: str) -> AbstractContextManager[Report]:
    """Return a progress report that writes to the terminal or the log."""
    from models.fitting.progress import console_report

    return console_report(name)


def fit_models(
    data: Path,
    out: Path,
    names: Sequence[str] = SHIPPED,
    *,
    seed: int = 0,
    work: Path | None = None,
    progress: bool = True,
) -> dict[str, ModelConfig]:
    """Fit shipped models from a folder of training data, one after the other.

    Parameters
    ----------
    data : Path
        See `models.fitting.data_mapping`.
    out : Path
        Gets one folder a model.
    names : sequence of str
        Of shipped models, or of properties that the folder's mapping has a table of.
    seed : int
    work : Path, optional
        Keeps checkpoints, so that the same call goes on after a kill; ``out/.work`` by default.
    progress : bool
        Show progress on the terminal or in the log.

    Returns
    -------
    dict of str to ModelConfig
        What was written, by name.

    Raises
    ------
    ConfigError, DataError, ModelError
        If the data cannot be used or a fit fails.
    """
    from models.fitting.data_mapping import mapping_of
    from models.fitting.datasets import load_training_data
    from models.properties.table_training import train_from_table
    from structure.properties.registry import property_named

    tables = mapping_of(data).properties

    shipped = [name for name in names if name in SHIPPED]
    loaded = load_training_data(data) if shipped else None
    place = work or out / ".work"
    written: dict[str, ModelConfig] = {}
    for name in names:
        with console(name) if progress else nullcontext() as report:
            if name in SHIPPED and loaded is not None:
                written[name] = fit_model(loaded, name, out / name, seed, place / name, report)
            else:
                sought = property_named(name, tables[name].unit or "")
                written[name] = train_from_table(data, sought, seed, out / name, report)
    return written


def fit_model(
    data: TrainingData, name: str, folder: Path, seed: int, work: Path, report: Report | None
) -> ModelConfig:
    """Fit one shipped model with its default configuration; see `fit_models`."""
    from models.compositions import generator_training as generators
    from models.properties import property_training as properties

    work.mkdir(parents=True, exist_ok=True)
    if name == "oracle":
        return properties.train_oracle(data, BoostingConfig(), seed, folder, report)
    if name == "gatgnn":
        from models.properties.gatgnn import GatgnnConfig

        return properties.train_gatgnn(data, GatgnnConfig(), seed, work, folder, report)
    tables = [source for kind, source in data.sources.items() if kind != "structures"]
    split = generators.CompositionSet.split(data.counts, tables, seed)
    if name == "matgan":
        from models.compositions.matgan import MatGANConfig

        return generators.train_matgan(split, MatGANConfig(), seed, work, folder, report)
    if name == "sequence":
        from models.compositions.sequence import SequenceConfig

        return generators.train_sequence(split, SequenceConfig(), seed, work, folder, report)
    from models.compositions.autoencoder import AutoencoderConfig

    return generators.train_autoencoder(split, AutoencoderConfig(), seed, work, folder, report)
