"""The graph-attention network of the filter stage: GATGNN in plain PyTorch.

In: crystal graphs as tensors. Out: one energy a crystal. It follows Louis et al. (Phys. Chem. Chem.
Phys. 22, 18141, 2020) with composition attention: 122,874 parameters. Atoms carry our own 92
features, see `models.properties.atom_features`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import leaky_relu, softplus

from models.properties.atom_features import N_FEATURES, atom_features
from structure.composition import N_ELEMENTS, fractions_of
from structure.crystals.graphs import CUTOFF, STEP, GraphTable

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


@torch.no_grad()
def predict_table(network: Gatgnn, table: GraphTable, batch: int = 256) -> np.ndarray:
    """Predict energies of packed graphs, eV/atom, float64, shape (g,)."""
    network.eval()
    parts = [
        network.energies(graph_batch(table.take(np.arange(i, min(i + batch, len(table))))))
        for i in range(0, len(table), batch)
    ]
    return torch.cat(parts).double().numpy() if parts else np.zeros(0)
