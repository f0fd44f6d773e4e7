"""Distances between compositions, for the template step: which known compound is most alike.

In: composition matrices. Out: earth mover's distances on the modified Pettifor scale. On a scale of
one dimension the distance is the L1 norm of the difference of the cumulative fractions, so no
transport problem has to be solved.
"""

from __future__ import annotations

import numpy as np

from structure.composition import N_ELEMENTS
from structure.elements import INDEX

# Glawe, Sanna, Gross and Marques, "The optimal one dimensional periodic table: a modified Pettifor
# chemical scale from data mining", New J. Phys. 18, 093011 (2016), order of their Fig. 3.
MODIFIED_PETTIFOR: tuple[str, ...] = tuple(
    """He Ne Ar Kr Xe Rn Fr Cs Rb K Na Li Ra Ba Sr Ca Eu Yb Lu Tm Y Er Ho Dy Tb Gd Sm Pm Nd Pr Ce La
    Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Sc Zr Hf Ti Ta Nb V Cr Mo W Re Tc Os Ru Ir Rh Pt Pd
    Au Ag Cu Ni Co Fe Mn Mg Zn Cd Hg Be Al Ga In Tl Pb Sn Ge Si B C N P As Sb Bi Po Te Se S O At I
    Br Cl F H""".split()
)
"""The 103 elements from the first to the last place of the scale."""

POSITION: np.ndarray = np.empty(N_ELEMENTS, dtype=np.intp)
"""Place on the scale, 0 to 102, of each column of a composition matrix."""

_COLUMNS = np.array([INDEX[e] for e in MODIFIED_PETTIFOR], dtype=np.intp)
POSITION[_COLUMNS] = np.arange(N_ELEMENTS)

TIE = 1e-9
"""Chosen: distances that differ by less count as equal, so that rounding decides no ranking."""

_BLOCK = 64  # queries worked on together
_CACHED = 256  # compositions that stay in the processor's cache with them: five times faster
_SEGMENTS = 8  # chosen: fastest of 4 to 26 on 94,447 Materials Project formulas
_FEW_PAIRS = 2_000_000  # below it all distances take less time than building a tree


def cumulative(counts: np.ndarray) -> np.ndarray:
    """Return cumulative atomic fractions along the modified Pettifor scale.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)

    Returns
    -------
    ndarray of float64, shape (n, 103)
        Non-decreasing along each row; the last column is 1 for every row that has atoms.
    """
    return _cumulative_at(counts, np.arange(N_ELEMENTS))


def _cumulative_at(counts: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return cumulative fractions at some places that hold all atoms there are."""
    atoms = np.cumsum(np.take(counts, _COLUMNS[places], axis=1), axis=1, dtype=np.int32)
    return atoms / np.maximum(atoms[:, -1:], 1)


def distances(a_counts: np.ndarray, b_counts: np.ndarray) -> np.ndarray:
    """Return the earth mover's distance between every pair of compositions.

    Parameters
    ----------
    a_counts : ndarray of int, shape (n, 103)
    b_counts : ndarray of int, shape (m, 103)

    Returns
    -------
    ndarray of float64, shape (n, m)
        In places on the scale: 0 for equal compositions, at most 102.

    Examples
    --------
    >>> from structure.composition import parse_formulas
    >>> a = parse_formulas(["SrYF5", "BaYF5"]).counts
    >>> round(float(distances(a[:1], a[1:])[0, 0]), 6)
    0.142857
    """
    from scipy.spatial.distance import cdist

    a, b = _compressed(a_counts, b_counts)
    out = np.empty((len(a), len(b)))
    for i in range(0, len(a), _BLOCK):
        for j in range(0, len(b), _CACHED):
            rows, columns = slice(i, i + _BLOCK), slice(j, j + _CACHED)
            out[rows, columns] = cdist(a[rows], b[columns], "cityblock")
    return out


def _compressed(a_counts: np.ndarray, b_counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cumulative fractions at the places of elements that occur, times the steps between.

    Between two such places the cumulative fractions do not change, so nothing is lost.
    """
    if not len(a_counts) or not len(b_counts):
        return np.zeros((len(a_counts), 1)), np.zeros((len(b_counts), 1))
    occurs = np.logical_or(a_counts.any(axis=0), b_counts.any(axis=0))[_COLUMNS]
    places = np.flatnonzero(occurs) if occurs.any() else np.zeros(1, dtype=np.intp)
    steps = np.diff(np.append(places, N_ELEMENTS))
    a, b = _cumulative_at(a_counts, places), _cumulative_at(b_counts, places)
    return a * steps, b * steps


def nearest(
    query_counts: np.ndarray, library_cumulative: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest compositions of a library, exactly.

    Parameters
    ----------
    query_counts : ndarray of int, shape (n, 103)
    library_cumulative : ndarray of float64, shape (m, 103)
        `cumulative` of the library.
    k : int
        How many to find; at most m are returned.

    Returns
    -------
    indices : ndarray of int, shape (n, min(k, m))
        Rows of the library, nearest first; ties (within `TIE`) by row number.
    emd : ndarray of float64, shape (n, min(k, m))
    """
    k = min(k, len(library_cumulative))
    if k < 1:
        return np.empty((len(query_counts), 0), dtype=np.intp), np.empty((len(query_counts), 0))
    if len(query_counts) * len(library_cumulative) > _FEW_PAIRS:
        return EmdIndex(library_cumulative).nearest(query_counts, k)
    indices = np.empty((len(query_counts), k), dtype=np.intp)
    emd = np.empty((len(query_counts), k))
    for i, query in enumerate(query_counts):
        row = distances_to(query, library_cumulative)
        indices[i] = smallest(row, k)
        emd[i] = row[indices[i]]
    return indices, emd


class EmdIndex:
    """A library prepared for many exact nearest-neighbour queries.

    The scale is cut into segments. Whatever the distance inside a segment, it is at least the
    difference of the segment's summed cumulative fractions; these bounds are themselves an L1
    distance in few dimensions, which a k-d tree searches. Only compositions whose bound is below
    the k-th best distance found so far are measured in full.

    Parameters
    ----------
    library_cumulative : ndarray of float64, shape (m, 103)
        `cumulative` of the library; kept, not copied.
    """

    def __init__(self, library_cumulative: np.ndarray):
        from scipy.spatial import cKDTree

        self._library = library_cumulative
        self._cuts = np.linspace(0, N_ELEMENTS, _SEGMENTS + 1).astype(np.intp)[:-1]
        self._tree = cKDTree(np.add.reduceat(library_cumulative, self._cuts, axis=1), leafsize=32)

    def nearest(self, query_counts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest compositions; arguments and results as of `nearest`."""
        k = min(k, len(self._library))
        indices = np.empty((len(query_counts), k), dtype=np.intp)
        emd = np.empty((len(query_counts), k))
        for start in range(0, len(query_counts), _BLOCK):
            block = slice(start, start + _BLOCK)
            indices[block], emd[block] = self._block(cumulative(query_counts[block]), k)
        return indices, emd

    def _block(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        bounds = np.add.reduceat(queries, self._cuts, axis=1)
        first = min(4 * k, len(self._library))
        _, guesses = self._tree.query(bounds, k=[*range(1, first + 1)], p=1)
        guessed = self._measure(queries, np.arange(len(queries)).repeat(first), guesses.ravel())
        limits = np.partition(guessed.reshape(-1, first), k - 1, axis=1)[:, k - 1] + TIE
        found = self._tree.query_ball_point(bounds, limits + TIE, p=1)
        rows = np.repeat(np.arange(len(queries)), [len(f) for f in found])
        columns = np.concatenate([np.array(f, dtype=np.intp) for f in found])
        emd = self._measure(queries, rows, columns)
        near = emd <= limits[rows]
        rows, columns, emd = rows[near], columns[near], emd[near]
        order = np.lexsort((columns, np.round(emd / TIE), rows))
        best = order[np.searchsorted(rows[order], np.arange(len(queries)))[:, None] + np.arange(k)]
        return columns[best], emd[best]

    def _measure(self, queries: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the distances of pairs of a query and a composition of the library."""
        difference = self._library[columns]
        difference -= queries[rows]
        result: np.ndarray = np.abs(difference, out=difference).sum(axis=1)
        return result


def distances_to(counts_row: np.ndarray, library_cumulative: np.ndarray) -> np.ndarray:
    """Return the distance of one composition to each row of a library.

    Parameters
    ----------
    counts_row : ndarray of int, shape (103,)
    library_cumulative : ndarray of float64, shape (m, 103)

    Returns
    -------
    ndarray of float64, shape (m,)
    """
    from scipy.spatial.distance import cdist

    result: np.ndarray = cdist(cumulative(counts_row[None]), library_cumulative, "cityblock")[0]
    return result


def smallest(values: np.ndarray, k: int, preference: np.ndarray | None = None) -> np.ndarray:
    """Return the positions of the k smallest values, smallest first.

    Parameters
    ----------
    values : ndarray of float64, shape (m,)
    k : int
        At least 1 and at most m.
    preference : ndarray of int, shape (m,), optional
        Which comes first among values within `TIE`; by default the position.

    Returns
    -------
    ndarray of int, shape (k,)
    """
    limit = np.partition(values, k - 1)[k - 1] + TIE
    near = np.flatnonzero(values <= limit)
    second = near if preference is None else preference[near]
    return near[np.lexsort((second, np.round(values[near] / TIE)))][:k]
