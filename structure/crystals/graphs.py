"""Crystal graphs: serves the filter stage and the training of the formation-energy network.

In: a pymatgen structure. Out: its atoms, and for each atom the nearest neighbours with their
distances, as numpy arrays. Many graphs are packed into one `GraphTable` for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

CUTOFF = 8.0
"""Largest distance of a neighbour, Å (GATGNN, CGCNN)."""

NEIGHBOURS = 12
"""Most neighbours of an atom (GATGNN, CGCNN)."""

STEP = 0.2
"""Spacing and width of the distance expansion, Å (GATGNN, CGCNN)."""

_TIE = 1e-3
"""Chosen: distances closer than this, Å, are a tie, broken by atomic number; so the graph of a
symmetric crystal does not depend on rounding or on the order of its atoms."""


@dataclass(frozen=True)
class CrystalGraph:
    """One crystal.

    Attributes
    ----------
    numbers : ndarray of int16, shape (n,)
        Atomic numbers.
    neighbours : ndarray of int32, shape (n, k)
        Nearest atoms, nearest first; -1 where there is none within the cutoff.
    distances : ndarray of float32, shape (n, k)
        In Å; 0 where there is no neighbour.
    """

    numbers: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray


def crystal_graph(
    structure: Structure, cutoff: float = CUTOFF, neighbours: int = NEIGHBOURS
) -> CrystalGraph:
    """Find the nearest neighbours of every atom, periodic images included.

    Atoms with fewer than `neighbours` neighbours keep empty places; the reference code invents an
    edge to atom 0 there, which is not copied.

    Parameters
    ----------
    structure : pymatgen Structure
        Ordered: one element a site.
    cutoff : float, Å
    neighbours : int

    Returns
    -------
    CrystalGraph
    """
    numbers = np.array(structure.atomic_numbers, dtype=np.int16)
    n = len(numbers)
    centre, other, _, distance = structure.get_neighbor_list(cutoff)
    order = np.lexsort((other, numbers[other], np.round(distance / _TIE), centre))
    centre, other, distance = centre[order], other[order], distance[order]
    place = np.arange(len(centre)) - np.searchsorted(centre, centre)
    keep = place < neighbours
    nearest = np.full((n, neighbours), -1, dtype=np.int32)
    lengths = np.zeros((n, neighbours), dtype=np.float32)
    nearest[centre[keep], place[keep]] = other[keep]
    lengths[centre[keep], place[keep]] = distance[keep]
    return CrystalGraph(numbers, nearest, lengths)


def gaussian_expansion(
    distances: np.ndarray, cutoff: float = CUTOFF, step: float = STEP
) -> np.ndarray:
    """Expand distances in Gaussians on a grid: ``exp(-(d - centre)² / step²)``.

    Parameters
    ----------
    distances : ndarray, shape (...)
        In Å.

    Returns
    -------
    ndarray of float32, shape (..., 41)
        With the default cutoff and step.
    """
    centres = np.arange(round(cutoff / step) + 1, dtype=np.float32) * np.float32(step)
    difference = distances[..., None].astype(np.float32) - centres
    return np.exp(-((difference / np.float32(step)) ** 2))


@dataclass(frozen=True)
class GraphTable:
    """Many graphs end to end; neighbours count from the first atom of their own graph.

    Attributes
    ----------
    starts : ndarray of int64, shape (g + 1,)
        First atom of each graph, and the number of atoms.
    numbers : ndarray of int16, shape (n,)
    neighbours : ndarray of int32, shape (n, k)
    distances : ndarray of float32, shape (n, k)
    """

    starts: np.ndarray
    numbers: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def pack(cls, graphs: Sequence[CrystalGraph]) -> GraphTable:
        """Put graphs end to end; at least one is needed."""
        sizes = [len(g.numbers) for g in graphs]
        return cls(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.concatenate([g.numbers for g in graphs]),
            np.concatenate([g.neighbours for g in graphs]),
            np.concatenate([g.distances for g in graphs]),
        )

    def take(self, indices: np.ndarray) -> GraphTable:
        """Return the graphs at `indices`, in that order."""
        sizes = (self.starts[1:] - self.starts[:-1])[indices]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        atoms = np.arange(starts[-1]) + np.repeat(self.starts[indices] - starts[:-1], sizes)
        return GraphTable(
            starts, self.numbers[atoms], self.neighbours[atoms], self.distances[atoms]
        )

    def owners(self) -> np.ndarray:
        """Return the graph of each atom, int64, shape (n,)."""
        return np.repeat(np.arange(len(self)), self.starts[1:] - self.starts[:-1])

    def absolute_neighbours(self) -> np.ndarray:
        """Return neighbours counted from the first atom of the table; -1 stays -1."""
        first = self.starts[:-1][self.owners()][:, None]
        return np.where(self.neighbours >= 0, self.neighbours + first, -1)

    def counts(self) -> np.ndarray:
        """Return the cell compositions, not reduced: int16, shape (g, 103)."""
        from structure.composition import N_ELEMENTS

        out = np.zeros((len(self), N_ELEMENTS), dtype=np.int16)
        np.add.at(out, (self.owners(), self.numbers.astype(np.intp) - 1), 1)
        return out
