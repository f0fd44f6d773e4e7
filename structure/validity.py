"""Chemical validity of compositions, for the explore and screen steps and for reports.

In: composition matrices and a named rule set. Out: for each row whether its oxidation states can
balance and agree with the electronegativities, and a sentence on why not. Verdicts equal those of
smact's ``smact_validity`` with the same settings; the sums of charges are kept as sets of bits, so
that no combination of states is ever enumerated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from structure.composition import N_ELEMENTS, reduce
from structure.errors import Rejection
from structure.oxidation import (
    MAX_MIXED_VALENCE_COMBINATIONS,
    OxidationStates,
    StateList,
    electronegativities,
    metals,
    mixed_valence_elements,
)

_CHUNK = 16_384  # rows at a time: the bit sets of a chunk stay in the processor's cache
_UNREACHABLE = 1 << 24  # a shift beyond every bit set


@dataclass(frozen=True)
class RuleSet:
    """What makes a composition valid.

    Attributes
    ----------
    oxidation_states : {"default", "smact14", "icsd16", "icsd24", "pymatgen_sp", "wiki"}
        List of oxidation states; MatGAN (2020) used ``"smact14"``.
    pauling : bool
        Every cation must be less electronegative than every anion.
    alloys : bool
        Compositions of metals only are valid without further test. With it two random formulas
        out of three pass, so it is off here and on in smact.
    mixed_valence : bool
        Atoms of one element may differ in state, for smact's list of elements.
    """

    oxidation_states: StateList = "default"
    pauling: bool = True
    alloys: bool = False
    mixed_valence: bool = False


STRICT = RuleSet()
"""Charge neutral and electronegativity balanced, no pass for alloys."""


def valid(counts: np.ndarray, rules: RuleSet = STRICT) -> np.ndarray:
    """Return which compositions are valid.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
        Need not be reduced.
    rules : RuleSet

    Returns
    -------
    ndarray of bool, shape (n,)
        Pure elements are valid, as in smact; rows without atoms are not.

    Examples
    --------
    >>> from structure.composition import parse_formulas
    >>> valid(parse_formulas(["SrYF5", "NaCl2", "Fe3O4"]).counts).tolist()
    [True, False, False]
    """
    counts = reduce(np.asarray(counts))
    present = counts > 0
    sizes = present.sum(axis=1)
    verdict = sizes == 1
    if rules.alloys:
        verdict |= (sizes > 0) & ~present[:, ~metals()].any(axis=1)
    listed = OxidationStates.named(rules.oxidation_states)
    hopeless = present[:, ~listed.known()].any(axis=1)
    if rules.pauling:
        hopeless |= present[:, np.isnan(electronegativities())].any(axis=1)
    asked = np.flatnonzero(~verdict & ~hopeless & (sizes > 0))
    tables = _tables(rules.oxidation_states)
    elements, amounts, lengths = _sites(counts[asked])
    verdict[asked] = _balanced(elements, amounts, lengths, tables, rules.pauling)
    if rules.mixed_valence:
        failed = asked[~verdict[asked]]
        failed = failed[_may_mix(counts[failed], listed)]
        sites = _split_mixed(*_sites(counts[failed]), listed)
        verdict[failed] = _balanced(*sites, tables, rules.pauling)
    return verdict


def neutral(counts: np.ndarray, rules: RuleSet = STRICT) -> np.ndarray:
    """Return which compositions can be charge neutral, whatever the electronegativities.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
    rules : RuleSet
        Its `pauling` is ignored.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    return valid(counts, RuleSet(rules.oxidation_states, False, rules.alloys, rules.mixed_valence))


def matched_random(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random compositions with the marginals of given ones: the baseline for validity rates.

    The number of elements, the elements and the counts follow their own frequencies and are
    independent of each other, so whatever validity these rows reach owes nothing to chemistry.

    Parameters
    ----------
    counts : ndarray of int, shape (m, 103)
        At least one row with atoms.
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int16, shape (n, 103)
        Reduced; duplicates kept.
    """
    present = counts > 0
    weights = present.sum(axis=0) / max(present.sum(), 1)
    sizes = rng.choice(present.sum(axis=1), size=n)
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=(n, N_ELEMENTS))
    ranks = np.empty_like(keys, dtype=np.intp)
    np.put_along_axis(ranks, np.argsort(-keys, axis=1), np.arange(N_ELEMENTS)[None], axis=1)
    chosen = ranks < sizes[:, None]
    drawn = np.zeros((n, N_ELEMENTS), dtype=np.int16)
    drawn[chosen] = rng.choice(counts[present], size=int(chosen.sum()))
    return reduce(drawn)


@dataclass(frozen=True)
class _Tables:
    """States of each element as shifts of a bit set, padded with shifts beyond it.

    ``up`` holds states of zero and above, ``down`` the absolute values of those of zero and below,
    ``any_state`` all states less the lowest one; each int64, shape (103, slots).
    """

    up: np.ndarray
    down: np.ndarray
    any_state: np.ndarray
    lowest: np.ndarray


@lru_cache(maxsize=8)
def _tables(name: StateList) -> _Tables:
    states = OxidationStates.named(name).states

    def padded(rows: list[list[int]]) -> np.ndarray:
        table = np.full((N_ELEMENTS, max(len(r) for r in rows)), _UNREACHABLE, dtype=np.int64)
        for e, row in enumerate(rows):
            table[e, : len(row)] = row
        return table

    return _Tables(
        up=padded([[s for s in row if s >= 0] for row in states]),
        down=padded([[-s for s in reversed(row) if s <= 0] for row in states]),
        any_state=padded([[s - row[0] for s in row] for row in states]),
        lowest=np.array([row[0] if row else 0 for row in states], dtype=np.int64),
    )


@lru_cache(maxsize=1)
def _by_electronegativity() -> np.ndarray:
    """Columns by rising electronegativity, those without one last."""
    return np.argsort(electronegativities(), kind="stable")


def _sites(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List elements and amounts of all rows one after another, by rising electronegativity."""
    ordered = counts[:, _by_electronegativity()]
    rows, places = np.nonzero(ordered)
    lengths = np.bincount(rows, minlength=len(counts))
    return _by_electronegativity()[places], ordered[rows, places].astype(np.int64), lengths


def _may_mix(counts: np.ndarray, listed: OxidationStates) -> np.ndarray:
    """Return for which rows smact tries mixed valence: it gives up on too many combinations."""
    mixing = mixed_valence_elements()
    choices = np.array([max(len(s), 1) for s in listed.states], dtype=np.float64)
    powers = np.where(mixing, counts, counts > 0)
    with np.errstate(over="ignore"):
        combinations = np.prod(choices**powers, axis=1)
    few = combinations <= MAX_MIXED_VALENCE_COMBINATIONS
    return few & (counts[:, mixing] > 0).any(axis=1)


def _split_mixed(
    elements: np.ndarray, amounts: np.ndarray, lengths: np.ndarray, listed: OxidationStates
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn n atoms of an element that mixes into n sites of one atom."""
    several = np.array([len(s) > 1 for s in listed.states]) & mixed_valence_elements()
    repeats = np.where(several[elements], amounts, 1)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return (
        np.repeat(elements, repeats),
        np.repeat(np.where(several[elements], 1, amounts), repeats),
        np.bincount(rows, weights=repeats, minlength=len(lengths)).astype(np.intp),
    )


def _balanced(
    elements: np.ndarray,
    amounts: np.ndarray,
    lengths: np.ndarray,
    tables: _Tables,
    pauling: bool,
) -> np.ndarray:
    """Decide rows of sites given one after another, in groups of equal size and bit-set width."""
    starts = np.cumsum(lengths) - lengths
    rows = np.repeat(np.arange(len(lengths)), lengths)
    highest = _highest_charge(elements, amounts, rows, len(lengths), tables, pauling)
    words = np.maximum(highest, 0) // 64 + 1
    words = 1 << np.ceil(np.log2(words)).astype(np.int64)
    verdict = np.zeros(len(lengths), dtype=bool)
    groups = lengths.astype(np.int64) << 32 | words
    groups[highest < 0] = -1
    order = np.argsort(groups, kind="stable")
    names, first = np.unique(groups[order], return_index=True)
    for name, a, b in zip(names.tolist(), first, np.append(first, len(order))[1:], strict=True):
        if name < 0:
            continue
        for at in range(a, b, _CHUNK):
            some = order[at : min(at + _CHUNK, b)]
            sites = starts[some][None] + np.arange(name >> 32)[:, None]
            decide = _pauling_group if pauling else _neutral_group
            verdict[some] = decide(
                elements[sites], amounts[sites], highest[some], name & 0xFFFFFFFF, tables
            )
    return verdict


def _highest_charge(
    elements: np.ndarray,
    amounts: np.ndarray,
    rows: np.ndarray,
    n: int,
    tables: _Tables,
    pauling: bool,
) -> np.ndarray:
    """Return the last bit that matters to each row; below zero where no balance is possible."""

    def total(per_element: np.ndarray) -> np.ndarray:
        weights = per_element[elements] * amounts
        return np.bincount(rows, weights=weights, minlength=n).astype(np.int64)

    if not pauling:
        return total(-tables.lowest)
    reachable = [np.where(t < _UNREACHABLE, t, 0).max(axis=1) for t in (tables.up, tables.down)]
    return np.minimum(total(reachable[0]), total(reachable[1]))


def _pauling_group(
    elements: np.ndarray,
    amounts: np.ndarray,
    _highest: np.ndarray,
    words: int,
    tables: _Tables,
) -> np.ndarray:
    """Decide rows whose cations must all be less electronegative than their anions.

    With sites by rising electronegativity an assignment passes exactly if some border between
    different electronegativities has no anion before it and no cation after it. Before the border
    the possible charges are a set of sums, after it another: they balance if the sets meet.
    """
    size, n = elements.shape
    after = [_only_zero(words, n)]
    for j in range(size - 1, 0, -1):
        after.append(_extend(after[-1], tables.down[elements[j]], amounts[j]))
    after.reverse()
    values = electronegativities()[elements]
    verdict = np.zeros(n, dtype=bool)
    before = _only_zero(words, n)
    for j in range(size):
        before = _extend(before, tables.up[elements[j]], amounts[j])
        meet = (before & after[j]).any(axis=0)
        verdict |= meet if j == size - 1 else meet & (values[j] != values[j + 1])
    return verdict


def _neutral_group(
    elements: np.ndarray,
    amounts: np.ndarray,
    highest: np.ndarray,
    words: int,
    tables: _Tables,
) -> np.ndarray:
    """Decide rows whose charges must only add up to zero."""
    sums = _only_zero(words, elements.shape[1])
    for element, amount in zip(elements, amounts, strict=True):
        sums = _extend(sums, tables.any_state[element], amount)
    word = np.take_along_axis(sums, (highest >> 6)[None], axis=0)[0]
    return (word >> (highest & 63).astype(np.uint64) & np.uint64(1)).astype(bool)


def _only_zero(words: int, n: int) -> np.ndarray:
    """Bit sets that hold the sum zero; uint64, shape (words, n)."""
    sums = np.zeros((words, n), dtype=np.uint64)
    sums[0] = 1
    return sums


def _extend(sums: np.ndarray, states: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Add one site to sets of sums; sums beyond the last bit are dropped.

    Parameters
    ----------
    sums : ndarray of uint64, shape (words, n)
    states : ndarray of int64, shape (n, slots)
    amounts : ndarray of int64, shape (n,)
    """
    words, n = sums.shape
    out = np.zeros_like(sums)
    for slot in range(int((states < _UNREACHABLE).sum(axis=1).max(initial=0))):
        shift = states[:, slot] * amounts
        if words == 1:
            out[0] |= sums[0] << shift.astype(np.uint64)  # numpy gives 0 from 64 bits on
            continue
        bits = (shift & 63).astype(np.uint64)
        carry = np.uint64(64) - bits
        whole = np.minimum(shift >> 6, words)
        padded = np.zeros((words + 1, n), dtype=np.uint64)
        padded[1:] = sums
        for word in range(words):
            source = np.maximum(word + 1 - whole, 0)
            low = np.maximum(source - 1, 0)
            columns = np.arange(n)
            out[word] |= padded[source, columns] << bits | padded[low, columns] >> carry
    return out
