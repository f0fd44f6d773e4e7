"""Which lists of sites can balance their charges: the arithmetic behind the validity rules.

In: elements and amounts of many compositions, one after another, and a list of oxidation states.
Out: a verdict for each composition. The charges a group of sites can reach are a set of bits in
64-bit words, one column a composition; a site with amount n and state s moves the set by n * s.
No combination of states is enumerated, so the time does not depend on how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from structure.composition import N_ELEMENTS
from structure.rules.oxidation_states import OxidationStates, electronegativities

_CHUNK = 8_192  # compositions at a time: their bit sets stay in the processor's cache
_UNREACHABLE = 1 << 24  # a shift beyond every bit set


@dataclass(frozen=True)
class Sites:
    """Sites of many compositions, one composition after another.

    Attributes
    ----------
    elements : ndarray of int, shape (s,)
        Column of each site's element.
    amounts : ndarray of int64, shape (s,)
    lengths : ndarray of int, shape (n,)
        Sites of each composition.
    """

    elements: np.ndarray
    amounts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray) -> Sites:
        """List the elements of compositions, amounts reduced, by rising electronegativity.

        Parameters
        ----------
        counts : ndarray of int, shape (n, 103)
        """
        order = electronegativity_order()
        present = np.take(counts > 0, order, axis=1)
        rows, places = np.divmod(np.flatnonzero(present), N_ELEMENTS)
        elements = order[places]
        amounts = counts[rows, elements].astype(np.int64)
        lengths = np.bincount(rows, minlength=len(counts))
        filled = lengths > 0
        if filled.any():
            divisors = np.gcd.reduceat(amounts, (np.cumsum(lengths) - lengths)[filled])
            amounts //= np.repeat(divisors, lengths[filled])
        return cls(elements, amounts, lengths)

    @property
    def rows(self) -> np.ndarray:
        """Composition of each site; shape (s,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def how_many(self, elements: np.ndarray) -> np.ndarray:
        """Count the sites of each composition whose element is in a mask of shape (103,)."""
        rows = self.rows[elements[self.elements]]
        return np.bincount(rows, minlength=len(self.lengths))

    def take(self, keep: np.ndarray) -> Sites:
        """Return the compositions chosen by a mask of shape (n,)."""
        sites = np.repeat(keep, self.lengths)
        return Sites(self.elements[sites], self.amounts[sites], self.lengths[keep])

    def split(self, elements: np.ndarray) -> Sites:
        """Turn n atoms of each element in a mask of shape (103,) into n sites of one atom."""
        single = elements[self.elements]
        repeats = np.where(single, self.amounts, 1)
        lengths = np.bincount(self.rows, weights=repeats, minlength=len(self.lengths))
        return Sites(
            np.repeat(self.elements, repeats),
            np.repeat(np.where(single, 1, self.amounts), repeats),
            lengths.astype(np.intp),
        )


@lru_cache(maxsize=1)
def electronegativity_order() -> np.ndarray:
    """Return the columns by rising electronegativity, those without one last."""
    return np.argsort(electronegativities(), kind="stable")


@dataclass(frozen=True)
class _Shifts:
    """The states of each element as moves of a bit set, padded with moves beyond it.

    Attributes
    ----------
    table : ndarray of uint64, shape (slots, 103)
    slots : ndarray of int, shape (103,)
        How many of them are real.
    largest : ndarray of int64, shape (103,)
    """

    table: np.ndarray
    slots: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, moves: list[list[int]]) -> _Shifts:
        slots = np.array([len(m) for m in moves])
        table = np.full((slots.max(), N_ELEMENTS), _UNREACHABLE, dtype=np.uint64)
        for e, row in enumerate(moves):
            table[: len(row), e] = row
        return cls(table, slots, np.array([max(m, default=0) for m in moves], dtype=np.int64))


@lru_cache(maxsize=8)
def _cation_shifts(listed: OxidationStates) -> _Shifts:
    return _Shifts.of([[s for s in row if s >= 0] for row in listed.states])


@lru_cache(maxsize=8)
def _anion_shifts(listed: OxidationStates) -> _Shifts:
    return _Shifts.of([[-s for s in row if s <= 0] for row in listed.states])


@lru_cache(maxsize=8)
def _all_shifts(listed: OxidationStates) -> _Shifts:
    return _Shifts.of([[s - row[0] for s in row] for row in listed.states])


def balanced(sites: Sites, listed: OxidationStates, pauling: bool) -> np.ndarray:
    """Return which compositions can balance their charges.

    Parameters
    ----------
    sites : Sites
        By rising electronegativity within each composition if `pauling`. Every element must have
        states, and an electronegativity if `pauling`.
    listed : OxidationStates
    pauling : bool
        Cations must be less electronegative than anions in the same assignment.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    last = _last_bit(sites, listed, pauling)
    words = 1 << np.ceil(np.log2(np.maximum(last, 0) // 64 + 1)).astype(np.int64)
    groups = sites.lengths.astype(np.int64) << 32 | words
    groups[last < 0] = -1
    order = np.argsort(groups, kind="stable")
    names, first = np.unique(groups[order], return_index=True)
    starts = np.cumsum(sites.lengths) - sites.lengths
    verdict = np.zeros(len(last), dtype=bool)
    for name, a, b in zip(names.tolist(), first, np.append(first, len(order))[1:], strict=True):
        for at in range(a, b, _CHUNK) if name >= 0 else ():
            some = order[at : min(at + _CHUNK, b)]
            places = starts[some][None] + np.arange(name >> 32)[:, None]
            elements, amounts = sites.elements[places], sites.amounts[places].astype(np.uint64)
            width = name & 0xFFFFFFFF
            verdict[some] = (
                _with_border(elements, amounts, width, listed)
                if pauling
                else _neutral(elements, amounts, width, listed, last[some])
            )
    return verdict


def _last_bit(sites: Sites, listed: OxidationStates, pauling: bool) -> np.ndarray:
    """Return the last bit that matters to each composition; below zero if none can balance."""
    rows, n = sites.rows, len(sites.lengths)

    def total(per_element: np.ndarray) -> np.ndarray:
        weights = per_element[sites.elements] * sites.amounts
        return np.bincount(rows, weights=weights, minlength=n).astype(np.int64)

    if not pauling:
        return total(np.array([-row[0] if row else 0 for row in listed.states], dtype=np.int64))
    result: np.ndarray = np.minimum(
        total(_cation_shifts(listed).largest), total(_anion_shifts(listed).largest)
    )
    return result


def _with_border(
    elements: np.ndarray, amounts: np.ndarray, words: int, listed: OxidationStates
) -> np.ndarray:
    """Decide compositions whose cations must all be less electronegative than their anions.

    With sites by rising electronegativity an assignment passes exactly if some border between
    different electronegativities has no anion before it and no cation after it. The charges that
    can be reached before the border are one set, those after it, with the sign turned, another:
    they balance if the sets meet.
    """
    size, n = elements.shape
    after = [_only_zero(words, n)]
    for j in range(size - 1, 0, -1):
        after.append(_extend(after[-1], elements[j], amounts[j], _anion_shifts(listed)))
    after.reverse()
    values = electronegativities()[elements]
    verdict = np.zeros(n, dtype=bool)
    before = _only_zero(words, n)
    for j in range(size):
        before = _extend(before, elements[j], amounts[j], _cation_shifts(listed))
        meet = (before & after[j]).any(axis=0)
        verdict |= meet if j == size - 1 else meet & (values[j] != values[j + 1])
    return verdict


def _neutral(
    elements: np.ndarray,
    amounts: np.ndarray,
    words: int,
    listed: OxidationStates,
    target: np.ndarray,
) -> np.ndarray:
    """Decide compositions whose charges must only add up to zero.

    Each charge is counted from its element's lowest state, so zero is the bit `target`.
    """
    sums = _only_zero(words, elements.shape[1])
    for element, amount in zip(elements, amounts, strict=True):
        sums = _extend(sums, element, amount, _all_shifts(listed))
    word = np.take_along_axis(sums, (target >> 6)[None], axis=0)[0]
    result: np.ndarray = (word >> (target & 63).astype(np.uint64) & np.uint64(1)).astype(bool)
    return result


def _only_zero(words: int, n: int) -> np.ndarray:
    """Make sets that hold the sum zero; uint64, shape (words, n)."""
    sums = np.zeros((words, n), dtype=np.uint64)
    sums[0] = 1
    return sums


def _extend(
    sums: np.ndarray, elements: np.ndarray, amounts: np.ndarray, shifts: _Shifts
) -> np.ndarray:
    """Add one site to each set of sums; sums beyond the last bit are dropped.

    Parameters
    ----------
    sums : ndarray of uint64, shape (words, n)
    elements : ndarray of int, shape (n,)
    amounts : ndarray of uint64, shape (n,)
    shifts : _Shifts
    """
    out = np.zeros_like(sums)
    for slot in range(int(shifts.slots[elements].max(initial=0))):
        shift = shifts.table[slot].take(elements)
        shift *= amounts
        if len(sums) == 1:
            out[0] |= sums[0] << shift  # numpy gives 0 from 64 bits on
        else:
            _add_shifted(out, sums, shift)
    return out


def _add_shifted(out: np.ndarray, sums: np.ndarray, shift: np.ndarray) -> None:
    """Join `out` with `sums` moved by `shift` bits, across words of 64 bits."""
    words, n = sums.shape
    bits = shift & np.uint64(63)
    carry = np.uint64(64) - bits
    whole = np.minimum(shift >> np.uint64(6), np.uint64(words)).astype(np.intp)
    padded = np.zeros((words + 1, n), dtype=np.uint64)
    padded[1:] = sums
    columns = np.arange(n)
    for word in range(words):
        source = np.maximum(word + 1 - whole, 0)
        out[word] |= padded[source, columns] << bits
        out[word] |= padded[np.maximum(source - 1, 0), columns] >> carry
