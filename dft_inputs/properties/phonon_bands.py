"""Phonon bands along the standard path, and their picture: serves collect.

In: a cell, and frequencies as a function of the wave vector. Out: `Segment` after `Segment` of the
path of Setyawan and Curtarolo in the setting of that cell, and an SVG of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dft_inputs.job.symmetry import standard_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pymatgen.core import Structure

POINTS_PER_INVERSE_A = 60.0
"""Density of the path in points per 1/A, with 2 pi (chosen: smooth in a figure)."""

GAMMA = "Γ"

BAND, IMAGINARY = "#2f6fb0", "#d1603d"
"""Colours of the bands, as in the report."""

UNSEEN_THZ = 0.01
"""A frequency less below zero is drawn as zero (chosen: a fraction of a line's width)."""

Frequencies = Callable[[np.ndarray], np.ndarray]
"""Wave vectors, shape (n, 3), to frequencies in THz, shape (n, 3 atoms)."""


@dataclass(frozen=True)
class Segment:
    """A straight part of the band path.

    Attributes
    ----------
    labels : (str, str)
        Names of its ends.
    qpoints : ndarray, shape (n, 3)
        In units of the cell's reciprocal vectors.
    distances : ndarray, shape (n,)
        From the start of the path in 1/A, with 2 pi.
    frequencies : ndarray, shape (n, 3 atoms)
        THz; imaginary ones are negative.
    """

    labels: tuple[str, str]
    qpoints: np.ndarray = field(repr=False)
    distances: np.ndarray = field(repr=False)
    frequencies: np.ndarray = field(repr=False)


def band_path(cell: Structure) -> Iterator[tuple[tuple[str, str], np.ndarray, np.ndarray]]:
    """Yield the straight parts of the standard path (Setyawan and Curtarolo 2010).

    Yields
    ------
    labels : (str, str)
    start, end : ndarray, shape (3,)
        In units of the reciprocal vectors of `cell`, also where relaxing has changed which setting
        is the standard one.
    """
    path = standard_path(cell)
    if path.kpath is None:
        raise ValueError("the cell has no standard path")
    turn = _to_setting(cell, path.prim)
    corners = {name: np.asarray(q) @ turn for name, q in path.kpath["kpoints"].items()}
    for line in path.kpath["path"]:
        for a, b in itertools.pairwise(line):
            yield (_letter(a), _letter(b)), corners[a], corners[b]


def _to_setting(cell: Structure, standard: Structure) -> np.ndarray:
    """Return the matrix that turns wave vectors of the standard cell, as rows, into the cell's."""
    if np.allclose(cell.lattice.parameters, standard.lattice.parameters, rtol=1e-3):
        return np.eye(3)
    mapping = cell.lattice.find_mapping(standard.lattice, ltol=0.01, atol=1.0)
    if mapping is None:
        raise ValueError("the cell is no setting of its standard cell")
    # Rows of the standard cell are mapping[2] @ rows of ours, so that q goes with the inverse.
    return np.linalg.inv(mapping[2]).T


def _letter(name: str) -> str:
    """Write a corner's name without TeX."""
    for word, letter in (("\\Gamma", GAMMA), ("\\Sigma", "Σ"), ("_", "")):
        name = name.replace(word, letter)
    return name


def bands(cell: Structure, frequencies: Frequencies) -> Iterator[Segment]:
    """Yield the bands of a cell along its standard path."""
    travelled = 0.0
    reciprocal = cell.lattice.reciprocal_lattice.matrix
    for labels, start, end in band_path(cell):
        length = float(np.linalg.norm((end - start) @ reciprocal))
        share = np.linspace(0, 1, max(2, 1 + math.ceil(length * POINTS_PER_INVERSE_A)))
        qpoints = start + share[:, None] * (end - start)
        yield Segment(labels, qpoints, travelled + share * length, frequencies(qpoints))
        travelled += length


def band_picture(segments: Sequence[Segment], title: str) -> str:
    """Draw the bands as one ``<svg>`` element; imaginary frequencies lie below zero, in red.

    Parameters
    ----------
    segments : sequence of Segment
        The whole path, at least one.
    title : str
        Stands above the bands.
    """
    from structure.figure import GRID, INK, QUIET, axes_of, svg_text

    figure, axes = axes_of(7.2, 4.2)
    ticks: dict[float, str] = {}
    for segment in segments:
        start, end = (round(float(x), 6) for x in segment.distances[[0, -1]])
        before = ticks.get(start, segment.labels[0])
        same = before == segment.labels[0]
        ticks[start] = before if same else f"{before}|{segment.labels[0]}"
        ticks[end] = segment.labels[1]
        for branch in segment.frequencies.T:
            _draw(axes, segment.distances, branch)
    for place in ticks:
        axes.axvline(place, color=GRID, lw=0.8, zorder=0)
    axes.axhline(0, color=QUIET, lw=0.8, zorder=0)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.tick_params(axis="x", labelcolor=INK, length=0)
    axes.set_xlim(0, max(ticks))
    axes.set_ylabel("frequency / THz", fontsize=9)
    axes.set_title(title, fontsize=10, color=INK)
    return svg_text(figure, f"Phonon bands of {title}")


def _draw(axes: Axes, distances: np.ndarray, branch: np.ndarray) -> None:
    """Draw a branch, in red from where it crosses zero."""
    before = np.flatnonzero(np.diff(np.sign(branch)))
    share = branch[before] / (branch[before] - branch[before + 1])
    crossings = distances[before] + share * (distances[before + 1] - distances[before])
    x = np.insert(distances, before + 1, crossings)
    y = np.insert(branch, before + 1, 0.0)
    if y.min() > -UNSEEN_THZ:
        axes.plot(x, y, color=BAND, lw=1.1)
        return
    axes.plot(x, np.where(y >= 0, y, np.nan), color=BAND, lw=1.1)
    axes.plot(x, np.where(y <= 0, y, np.nan), color=IMAGINARY, lw=1.4)
