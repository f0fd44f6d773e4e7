"""Formation energy from a crystal structure: serves the filter stage.

In: pymatgen structures. Out: formation energies in eV/atom on a named scale, as AGD filters by them
(sec. 2.5). `models.properties.gatgnn_network` is the network; here it is trained, saved and asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import smooth_l1_loss

from models.fitting.checkpoints import (
    ModelConfig,
    arrays_of,
    data_hash,
    load_into,
    load_model_folder,
    save_model_folder,
)
from models.fitting.datasets import TrainingData, split_by_formula
from models.fitting.loop import Batches, FitBudget, fit, seeded
from models.fitting.progress import Report
from models.properties.boosting import BoostingConfig, BoostingModel
from models.properties.gatgnn_network import Gatgnn, graph_batch, predict_table
from models.properties.metrics import regression_metrics, sign_metrics
from structure.composition import keys_of
from structure.crystals.graphs import GraphTable, crystal_graph
from structure.elements import ELEMENTS
from structure.errors import DataError, ModelError
from structure.records import Settings

if TYPE_CHECKING:
    from pymatgen.core import Structure

KIND = "gatgnn"


class GatgnnConfig(Settings):
    """How the network is trained; sizes and rates the reference code leaves open are chosen."""

    epochs: int = Field(default=30, gt=0)
    """Chosen for the CPU: the reference trains for 200."""
    batch: int = Field(default=64, gt=1)
    """Crystals a step."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """Peak of a one-cycle schedule; the reference's constant rate."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of the optimiser."""
    smooth_l1_beta: float = Field(default=0.1, gt=0)
    """Where the loss turns from square to linear, in standard deviations of the energies."""
    max_sites: int = Field(default=20, gt=0)
    """Larger cells are left out of training: AGD's formulas have at most 20 atoms."""
    validation_share: float = Field(default=0.02, gt=0, lt=0.5)
    """Share of the formulas that choose the best epoch."""
    test_share: float = Field(default=0.08, gt=0, lt=0.5)
    """Share of the formulas that are never trained on."""


class EnergySet(NamedTuple):
    """Structures to learn from.

    Attributes
    ----------
    graphs : GraphTable of g graphs
    energies : ndarray of float64, shape (g,)
        eV/atom.
    counts : ndarray of int16, shape (g, 103)
        Reduced compositions, by which the split is made.
    """

    graphs: GraphTable
    energies: np.ndarray
    counts: np.ndarray

    def take(self, rows: np.ndarray) -> EnergySet:
        """Return the structures at `rows`."""
        return EnergySet(self.graphs.take(rows), self.energies[rows], self.counts[rows])

    def sha256(self) -> str:
        """Return the hash of everything the network sees."""
        g = self.graphs
        return data_hash(g.starts, g.numbers, g.neighbours, g.distances, self.energies, self.counts)


def energy_set(data: TrainingData, max_sites: int) -> EnergySet:
    """Build the graphs of all structures with a formation energy and at most `max_sites` atoms.

    Raises
    ------
    DataError
        If there are none.
    """
    graphs, energies, counts = [], [], []
    for row in data.structures(max_sites):
        graphs.append(crystal_graph(row.structure()))
        energies.append(row.formation_energy)
        counts.append(row.counts)
    if not graphs:
        raise DataError(
            f"no structure with a formation energy and at most {max_sites} atoms",
            where=data.folder,
            fix="Bring structures with formation energies, or leave this model out.",
        )
    return EnergySet(GraphTable.pack(graphs), np.array(energies), np.array(counts))


class FormationEnergyModel:
    """A trained network.

    Attributes
    ----------
    energy_scheme : str
        What its energies are measured against; energies of two schemes are never mixed.
    settings : dict
        How it was trained.
    metrics : dict of str to float
        On formulas it never saw.
    """

    name = "gatgnn"

    def __init__(
        self,
        network: Gatgnn,
        energy_scheme: str,
        settings: dict[str, Any],
        metrics: dict[str, float],
    ):
        self._network, self.energy_scheme = network.eval(), energy_scheme
        self.settings, self.metrics = settings, metrics

    def predict(self, structures: Sequence[Structure]) -> np.ndarray:
        """Predict formation energies.

        Parameters
        ----------
        structures : sequence of pymatgen Structure, length n
            Ordered, at least one atom each.

        Returns
        -------
        ndarray of float64, shape (n,)
            eV/atom on `energy_scheme`.
        """
        if not len(structures):
            return np.zeros(0)
        return self.predict_graphs(GraphTable.pack([crystal_graph(s) for s in structures]))

    def predict_graphs(self, graphs: GraphTable) -> np.ndarray:
        """Predict for packed graphs; float64, shape (g,), eV/atom."""
        return predict_table(self._network, graphs)

    def save(
        self, folder: Path, *, trained_on: str, data: EnergySet, seed: int, card: str
    ) -> ModelConfig:
        """Write weights, configuration and card; see `save_model_folder`."""
        config = ModelConfig(
            kind=KIND,
            settings={"energy_scheme": self.energy_scheme, **self.settings},
            elements=ELEMENTS,
            trained_on=trained_on,
            data_sha256=data.sha256(),
            seed=seed,
            metrics=self.metrics,
        )
        return save_model_folder(folder, arrays_of(self._network.state_dict()), config, card)

    @classmethod
    def load(cls, folder: Path) -> FormationEnergyModel:
        """Load a folder.

        Raises
        ------
        ModelError
            If it is missing, damaged, or names no energy scheme.
        """
        arrays, config = load_model_folder(folder, KIND)
        scheme = config.settings.get("energy_scheme")
        if not isinstance(scheme, str) or not scheme:
            raise ModelError(
                "the model does not say which energy scheme it predicts on",
                where=folder,
                fix="Train it again with `agd train`.",
            )
        network = Gatgnn()
        load_into(network, arrays, folder)
        settings = {k: v for k, v in config.settings.items() if k != "energy_scheme"}
        return cls(network, scheme, settings, config.metrics)


def judged(network: Gatgnn, train: EnergySet, test: EnergySet, seed: int) -> dict[str, float]:
    """Measure a network on formulas it never saw, beside the two simplest baselines.

    Parameters
    ----------
    network : Gatgnn
    train, test : EnergySet
    seed : int

    Returns
    -------
    dict of str to float
        Errors and sign metrics (`models.properties.metrics`), with ``mae_mean`` (always answering
        the mean of the training set) and ``mae_composition`` (boosting on the composition alone).
    """
    predicted = predict_table(network, test.graphs)
    metrics = regression_metrics(test.energies, predicted) | sign_metrics(test.energies, predicted)
    metrics["mae_mean"] = float(np.abs(test.energies - train.energies.mean()).mean())
    config = BoostingConfig(trees=400, leaves=63, learning_rate=0.08, folds=2, minimum=None)
    composition = BoostingModel.fit(
        train.counts, train.energies, config, seed=seed, property="formation_energy_eV_per_atom"
    )
    guessed = composition.predict(test.counts).mean
    metrics["mae_composition"] = float(np.abs(test.energies - guessed).mean())
    return metrics


def _learning_rate(step: int, steps: int, peak: float) -> float:
    """One-cycle schedule: a linear rise over the first tenth, then half a cosine down (chosen)."""
    rise = max(1, steps // 10)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def fit_gatgnn(
    data: EnergySet,
    config: GatgnnConfig,
    seed: int,
    work: Path,
    fingerprint: str,
    report: Report | None = None,
) -> tuple[Gatgnn, EnergySet, EnergySet]:
    """Train the network; go on from the checkpoint in `work` where there is one.

    Returns
    -------
    network : Gatgnn
        With the weights of the best epoch on the validation formulas.
    train, test : EnergySet
        What it learnt from, and the formulas it never saw.
    """
    parts = split_by_formula(
        keys_of(data.counts), (config.validation_share, config.test_share), seed
    )
    train, validation, test = (data.take(rows) for rows in parts)
    with seeded(seed):
        network = Gatgnn()
    network.shift.fill_(float(train.energies.mean()))
    network.scale.fill_(float(train.energies.std()))
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    batches = Batches(len(train.graphs), config.batch, seed)
    an_epoch = len(train.graphs) // batches.size
    steps = an_epoch * config.epochs
    shift, scale = float(network.shift), float(network.scale)

    def step(done: int) -> dict[str, float]:
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(done, steps, config.learning_rate)
        rows = batches.next()
        target = torch.tensor((train.energies[rows] - shift) / scale, dtype=torch.float32)
        predicted = network(graph_batch(train.graphs.take(rows)))
        loss = smooth_l1_loss(predicted, target, beta=config.smooth_l1_beta)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        return {"loss": loss.item()}

    def probe() -> dict[str, float]:
        errors = np.abs(predict_table(network, validation.graphs) - validation.energies)
        return {"mae": float(errors.mean())}

    fitted = fit(
        {"network": network, "optimiser": optimiser, "batches": batches},
        step,
        probe,
        network.state_dict,
        score="-mae",
        budget=FitBudget(steps=steps, probe_every=an_epoch),
        seed=seed,
        work=work,
        fingerprint=f"gatgnn {fingerprint} {seed} {config.model_dump_json()}",
        report=report,
    )
    network.load_state_dict(fitted.weights)
    return network.eval(), train, test
