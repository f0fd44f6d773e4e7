"""Formation energy from a crystal structure: serves the filter stage.

In: crystal graphs. Out: formation energies in eV/atom on a named scale. The network is GATGNN
(Louis et al., Phys. Chem. Chem. Phys. 22, 18141, 2020) with composition attention, as AGD uses it
(sec. 2.5), in plain PyTorch: 122,874 parameters. Atoms carry our own 92 features, see
`models.atom_features`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import leaky_relu, smooth_l1_loss, softplus

from models.atom_features import N_FEATURES, atom_features
from models.datasets import TrainingData, split_by_formula
from models.progress import Report
from models.training import Batches, FitBudget, fit, seeded
from structure.composition import N_ELEMENTS, fractions_of, keys_of
from structure.errors import DataError
from structure.graphs import CUTOFF, STEP, GraphTable, crystal_graph

WIDTH = 64
"""Neurons of every layer (GATGNN)."""

HEADS = 4
"""Attention heads, averaged (GATGNN)."""

LAYERS = 3
"""Graph attention layers (GATGNN)."""

EDGE_FEATURES = round(CUTOFF / STEP) + 1


class GraphBatch(NamedTuple):
    """Graphs as tensors, atoms end to end.

    Attributes
    ----------
    numbers : int64, shape (n,)
        Atomic number less one.
    neighbours : int64, shape (n, k)
        Atom of each edge; 0 where there is none.
    distances : float32, shape (n, k)
    present : bool, shape (n, k)
        Which edges there are.
    owners : int64, shape (n,)
        Graph of each atom.
    fractions : float32, shape (g, 103)
    """

    numbers: torch.Tensor
    neighbours: torch.Tensor
    distances: torch.Tensor
    present: torch.Tensor
    owners: torch.Tensor
    fractions: torch.Tensor


def graph_batch(table: GraphTable) -> GraphBatch:
    """Turn packed graphs into tensors."""
    neighbours = torch.from_numpy(table.absolute_neighbours().astype(np.int64))
    return GraphBatch(
        torch.from_numpy(table.numbers.astype(np.int64) - 1),
        neighbours.clamp(min=0),
        torch.from_numpy(table.distances),
        neighbours >= 0,
        torch.from_numpy(table.owners().astype(np.int64)),
        torch.from_numpy(fractions_of(table.counts()).astype(np.float32)),
    )


class GraphAttention(nn.Module):
    """One layer: every atom attends to its edges (GATGNN eq. 2-5).

    The product ``W [x; e]`` is taken as ``Wx x + We e``: the first part once an atom, not once
    an edge.
    """

    def __init__(self) -> None:
        super().__init__()
        self.atom_weight = nn.Linear(WIDTH, HEADS * WIDTH, bias=False)
        self.edge_weight = nn.Linear(WIDTH, HEADS * WIDTH, bias=False)
        self.attention = nn.Parameter(torch.empty(HEADS, 2 * WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH))
        self.norm = nn.BatchNorm1d(HEADS)
        nn.init.xavier_uniform_(self.attention)

    def forward(self, atoms: torch.Tensor, edges: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        """Map atoms (n, 64) and edges (n, k, 64) to atoms (n, 64)."""
        n, k, _ = edges.shape
        of_atom = self.atom_weight(atoms)
        of_edge = self.edge_weight(edges)
        centre = softplus(of_edge + of_atom[:, None])
        other = softplus(of_edge + of_atom[batch.neighbours])
        score = softplus(centre @ self._by_head(0) + other @ self._by_head(WIDTH))
        normed = softplus(self.norm(score[batch.present]))
        weights = torch.full_like(score, -torch.inf).masked_scatter(
            batch.present[..., None], normed
        )
        weights = torch.nan_to_num(torch.softmax(weights, dim=1))
        pulled = torch.bmm(weights.view(n, 1, k * HEADS), other.view(n, k * HEADS, WIDTH))
        return pulled[:, 0] / HEADS + self.bias

    def _by_head(self, start: int) -> torch.Tensor:
        """Attention vectors on the diagonal of a (256, 4) matrix: all heads in one product."""
        return torch.block_diag(*self.attention[:, start : start + WIDTH, None])


class CompositionAttention(nn.Module):
    """Weight of each atom in its crystal, from its state and the composition (GATGNN "GI-M1")."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(WIDTH + N_ELEMENTS, 32)
        self.score = nn.Linear(32, 1)

    def forward(self, atoms: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        """Map atoms (n, 64) to weights (n, 1) that sum to one over each crystal."""
        seen = torch.cat([atoms, batch.fractions[batch.owners]], dim=1)
        score = self.score(softplus(self.hidden(seen)))[:, 0]
        highest = score.new_full((len(batch.fractions),), -torch.inf)
        highest = highest.scatter_reduce(0, batch.owners, score, "amax")
        weight = torch.exp(score - highest.detach()[batch.owners])
        total = weight.new_zeros(len(batch.fractions)).index_add(0, batch.owners, weight)
        return (weight / total[batch.owners])[:, None]


class Gatgnn(nn.Module):
    """The network; predicts standardised energies, which `shift` and `scale` turn into eV/atom."""

    elements: torch.Tensor
    centres: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("elements", torch.tensor(atom_features()), persistent=False)
        self.register_buffer("centres", torch.arange(EDGE_FEATURES) * STEP, persistent=False)
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.atom_embedding = nn.Linear(N_FEATURES, WIDTH)
        self.edge_embedding = nn.Linear(EDGE_FEATURES, WIDTH)
        self.layers = nn.ModuleList(GraphAttention() for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.BatchNorm1d(WIDTH) for _ in range(LAYERS))
        self.pooling = CompositionAttention()
        self.head = nn.Sequential(
            nn.Linear(WIDTH, WIDTH),
            nn.Softplus(),
            nn.Linear(WIDTH, WIDTH),
            nn.Softplus(),
            nn.Linear(WIDTH, 1),
        )

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Predict standardised energies, shape (g,)."""
        expanded = torch.exp(-(((batch.distances[..., None] - self.centres) / STEP) ** 2))
        edges = leaky_relu(self.edge_embedding(expanded), 0.2)
        atoms = self.atom_embedding(self.elements[batch.numbers])
        for layer, norm in zip(self.layers, self.norms, strict=True):
            atoms = softplus(norm(layer(atoms, edges, batch)))
        weighted = atoms * self.pooling(atoms, batch)
        crystal = weighted.new_zeros(len(batch.fractions), WIDTH)
        crystal = crystal.index_add(0, batch.owners, weighted)
        return self.head(crystal)[:, 0]

    def energies(self, batch: GraphBatch) -> torch.Tensor:
        """Predict energies in eV/atom, shape (g,)."""
        return self(batch) * self.scale + self.shift


class GatgnnConfig(BaseModel):
    """How the network is trained; sizes and rates the reference code leaves open are chosen.

    Attributes
    ----------
    epochs : int
        Chosen for the CPU: the reference trains for 200.
    batch : int
    learning_rate : float
        Peak of a one-cycle schedule; the reference's constant rate.
    weight_decay : float
    smooth_l1_beta : float
        Where the loss turns from square to linear, in standard deviations of the energies.
    max_sites : int
        Larger cells are left out of training: AGD's formulas have at most 20 atoms.
    validation_share, test_share : float
        Shares of the formulas that choose the best epoch, and that are never trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=30, gt=0)
    batch: int = Field(default=64, gt=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    smooth_l1_beta: float = Field(default=0.1, gt=0)
    max_sites: int = Field(default=20, gt=0)
    validation_share: float = Field(default=0.02, gt=0, lt=0.5)
    test_share: float = Field(default=0.08, gt=0, lt=0.5)


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


def _learning_rate(step: int, steps: int, peak: float) -> float:
    """One-cycle schedule: a linear rise over the first tenth, then half a cosine down (chosen)."""
    rise = max(1, steps // 10)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@torch.no_grad()
def predict_table(network: Gatgnn, table: GraphTable, batch: int = 256) -> np.ndarray:
    """Predict energies of packed graphs, eV/atom, float64, shape (g,)."""
    network.eval()
    parts = [
        network.energies(graph_batch(table.take(np.arange(i, min(i + batch, len(table))))))
        for i in range(0, len(table), batch)
    ]
    return torch.cat(parts).double().numpy() if parts else np.zeros(0)


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
