"""One-hot composition matrices: what generators and the autoencoder see, and how they read back.

In: ``counts (n, 103)``. Out: 0/1 matrices with one line an element and one place a number of atoms
(MatGAN sec. 2.1, 85 x 8; AGD sec. 2.2, 87 x 20), and counts again from such matrices or from the
probabilities that a network puts in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from structure.composition import N_ELEMENTS
from structure.elements import AGD_ELEMENTS, MATGAN_ELEMENTS, columns
from structure.errors import ConfigError, DataError

AE_THRESHOLD = 0.5
"""Chosen: an element is present if its most probable number of atoms is likelier than not."""

MATGAN_THRESHOLD = 0.2
"""MatGAN's published code takes every place of at least ``1 - tolerate`` with tolerate 0.8."""

Rule = Literal["argmax", "last"]

_CHUNK = 16_384
"""Rows worked on at a time, so that the indices stay in the processor's cache."""


@dataclass(frozen=True)
class Encoding:
    """What a composition matrix means.

    Attributes
    ----------
    elements : tuple of str
        Line of the matrix for each element, in this order.
    maximum : int
        Most atoms of one element.
    zero_row : bool
        False: place j stands for j + 1 atoms and an absent element is a line of zeros (MatGAN's
        code). True: place j stands for j atoms and every line has exactly one 1.
    """

    elements: tuple[str, ...]
    maximum: int
    zero_row: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.maximum <= 1000:
            raise ConfigError(f"maximum must lie within 1 and 1000, not {self.maximum}")
        columns(self.elements)

    @property
    def places(self) -> int:
        """Places a line: `maximum`, plus one with a zero row."""
        return self.maximum + self.zero_row

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and places of one matrix."""
        return len(self.elements), self.places

    def fits(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions have a matrix: bool, shape (n,)."""
        known = columns(self.elements)
        outside = np.setdiff1d(np.arange(N_ELEMENTS), known)
        return (
            (counts[:, known].max(axis=1, initial=0) <= self.maximum)
            & ~counts[:, outside].any(axis=1)
            & counts.any(axis=1)
        )

    def encode(self, counts: np.ndarray) -> np.ndarray:
        """Return `one_hot` of compositions with this encoding."""
        return one_hot(counts, self.elements, self.maximum, self.zero_row)

    def decode(
        self, values: np.ndarray, rule: Rule = "argmax", threshold: float = AE_THRESHOLD
    ) -> np.ndarray:
        """Return `counts_from_values` with this encoding."""
        return counts_from_values(
            values, self.elements, self.zero_row, rule=rule, threshold=threshold
        )


MATGAN_ENCODING = Encoding(MATGAN_ELEMENTS, 8)
"""MatGAN's 85 x 8 matrix (sec. 2.1); place j means j + 1 atoms, as in its published code."""

AGD_ENCODING = Encoding(AGD_ELEMENTS, 20)
"""AGD's 87 x 20 matrix (sec. 2.2)."""


def one_hot(
    counts: np.ndarray, elements: Sequence[str], maximum: int, zero_row: bool = False
) -> np.ndarray:
    """Write compositions as 0/1 matrices.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
    elements : sequence of str
    maximum : int
        Most atoms of one element.
    zero_row : bool, default False
        See `Encoding`.

    Returns
    -------
    ndarray of uint8, shape (n, len(elements), maximum + zero_row)

    Raises
    ------
    DataError
        If a composition has another element or more atoms of one; `Encoding.fits` tells which.
    """
    lines, places = len(elements), maximum + zero_row
    line_of = np.full(N_ELEMENTS, -1, dtype=np.int64)
    line_of[columns(elements)] = np.arange(lines)
    matrices = np.zeros((len(counts), lines, places), dtype=np.uint8)
    if zero_row:
        matrices[:, :, 0] = 1
    for begin in range(0, len(counts), _CHUNK):
        chunk = np.ascontiguousarray(counts[begin : begin + _CHUNK])
        at = np.flatnonzero(chunk)
        rows, cols = np.divmod(at, N_ELEMENTS)
        number, line = chunk.reshape(-1)[at].astype(np.int64), line_of[cols]
        if len(at) and (line.min() < 0 or number.max() > maximum):
            raise DataError(
                f"a composition does not fit a matrix of {lines} elements with at most {maximum} "
                "atoms of each",
                where=f"row {begin + int(rows[(line < 0) | (number > maximum)][0])}",
                fix="Leave out the rows for which `Encoding.fits` is false.",
            )
        flat = matrices[begin : begin + _CHUNK].reshape(-1)
        start = (rows * lines + line) * places
        if zero_row:
            flat[start] = 0
        flat[start + number - (not zero_row)] = 1
    return matrices


def counts_from_one_hot(
    matrices: np.ndarray, elements: Sequence[str], zero_row: bool = False
) -> np.ndarray:
    """Read 0/1 matrices back: the exact inverse of `one_hot`.

    Parameters
    ----------
    matrices : ndarray of uint8 or bool, shape (n, len(elements), places)
    elements : sequence of str
    zero_row : bool, default False

    Returns
    -------
    ndarray of int16, shape (n, 103)
        Not reduced. Where a line has several ones, the last counts.
    """
    lines, places = matrices.shape[1:]
    column_of = columns(elements)
    counts = np.zeros((len(matrices), N_ELEMENTS), dtype=np.int16)
    for begin in range(0, len(matrices), _CHUNK):
        chunk = np.ascontiguousarray(matrices[begin : begin + _CHUNK])
        at = _nonzero_bytes(chunk.reshape(-1).view(np.uint8))
        line_at, place = np.divmod(at, places)
        rows, line = np.divmod(line_at, lines)
        flat = counts[begin : begin + _CHUNK].reshape(-1)
        flat[rows * N_ELEMENTS + column_of[line]] = place + (not zero_row)
    return counts


def _nonzero_bytes(flat: np.ndarray) -> np.ndarray:
    """Return where a sparse uint8 array is not zero; reads eight bytes at a time."""
    whole = len(flat) // 8 * 8
    words = flat[:whole].view(np.uint64)
    full = np.flatnonzero(words)
    inside = np.flatnonzero(words[full].view(np.uint8))
    at = full[inside >> 3] * 8 + (inside & 7)
    tail = np.flatnonzero(flat[whole:])
    return np.concatenate([at, tail + whole]) if len(tail) else at


def counts_from_values(
    values: np.ndarray,
    elements: Sequence[str],
    zero_row: bool = False,
    *,
    rule: Rule = "argmax",
    threshold: float = AE_THRESHOLD,
) -> np.ndarray:
    """Read the output of a network: probabilities in place of zeros and ones.

    Parameters
    ----------
    values : ndarray of float, shape (n, len(elements), places)
    elements : sequence of str
    zero_row : bool, default False
    rule : {"argmax", "last"}
        ``"argmax"``: an element has its most probable number of atoms if that value is above the
        threshold (with a zero row: always, and place 0 means absent). ``"last"``: every place of
        at least the threshold fires and the last one wins, as in MatGAN's published code.
    threshold : float
        `AE_THRESHOLD` for the autoencoder, `MATGAN_THRESHOLD` for MatGAN.

    Returns
    -------
    ndarray of int16, shape (n, 103)
        Not reduced; a row of zeros where nothing was decoded.
    """
    if rule == "last":
        fired = values >= threshold
        if zero_row:
            fired[:, :, 0] = False
        return counts_from_one_hot(fired, elements, zero_row)
    place = values.argmax(axis=2)
    number = (place + (not zero_row)).astype(np.int16)
    if not zero_row:
        best = np.take_along_axis(values, place[:, :, None], axis=2)[:, :, 0]
        number[best <= threshold] = 0
    counts = np.zeros((len(values), N_ELEMENTS), dtype=np.int16)
    counts[:, columns(elements)] = number
    return counts
