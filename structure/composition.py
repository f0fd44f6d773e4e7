"""Compositions: formulas parsed once into an integer matrix, and written once for people.

Serves every stage. In: formula strings (``"K4Mn4O8"``, ``"Ca(OH)2"``). Out: ``counts (n, 103)``
int16 over `structure.elements.ELEMENTS`, reduced by the greatest common divisor of each row, with
a 64-bit key for de-duplication, and formulas again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from structure.elements import ELEMENTS, INDEX
from structure.errors import DataError, Rejection

N_ELEMENTS = len(ELEMENTS)
MAX_COUNT = 1000
"""Chosen: most atoms of one element in a formula; above it a formula is taken for a misprint."""

MAX_DENOMINATOR = 24
"""Chosen: with rounding on, fractional amounts become ratios with denominators up to this."""

# Pauling electronegativities order a written formula as chemists expect (NaCl, not ClNa).
_PAULING = dict(
    zip(
        ELEMENTS[:103],
        [
            float(x)
            for x in """2.20 9 0.98 1.57 2.04 2.55 3.04 3.44 3.98 9 0.93 1.31 1.61 1.90 2.19 2.58
            3.16 9 0.82 1.00 1.36 1.54 1.63 1.66 1.55 1.83 1.88 1.91 1.90 1.65 1.81 2.01 2.18 2.55
            2.96 3.00 0.82 0.95 1.22 1.33 1.6 2.16 1.9 2.2 2.28 2.20 1.93 1.69 1.78 1.96 2.05 2.1
            2.66 2.6 0.79 0.89 1.10 1.12 1.13 1.14 1.13 1.17 1.2 1.2 1.1 1.22 1.23 1.24 1.25 1.1
            1.27 1.3 1.5 2.36 1.9 2.2 2.20 2.28 2.54 2.00 1.62 2.33 2.02 2.0 2.2 9 0.7 0.9 1.1 1.3
            1.5 1.38 1.36 1.28 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3""".split()
        ],
        strict=True,
    )
)
WRITING_ORDER: np.ndarray = np.array(
    sorted(range(N_ELEMENTS), key=lambda i: (_PAULING[ELEMENTS[i]], i)), dtype=np.intp
)
"""Columns in the order in which a formula names its elements."""

_TOKEN = re.compile(r"([A-Z][a-z]?)|([(\[{])|([)\]}])|(\d+(?:\.\d+)?|\.\d+)|([·.*])")
_SIMPLE = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_PAIR = re.compile(r"([A-Z][a-z]?)(\d*)")
_ISOTOPES = {"D": "H", "T": "H"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class ParsedFormulas:
    """What became of a list of formulas.

    Attributes
    ----------
    counts : ndarray of int16, shape (m, 103)
        Reduced compositions of the formulas that parsed.
    rows : ndarray of int, shape (m,)
        Position of each in the input.
    rejections : tuple of (int, str, Rejection)
        Position, text and reason of each formula that did not parse.
    cell_max : ndarray of int, shape (m,)
        Most atoms of one element in the formula as written, before reduction.
    cell_atoms : ndarray of int, shape (m,)
        All atoms of the formula as written, before reduction.
    """

    counts: np.ndarray
    rows: np.ndarray
    rejections: tuple[tuple[int, str, Rejection], ...]
    cell_max: np.ndarray
    cell_atoms: np.ndarray


def _amounts(formula: str) -> dict[str, Fraction] | Rejection:
    """Parse one formula with brackets and hydrate dots into element amounts."""
    stack: list[tuple[dict[str, Fraction], str]] = [({}, "")]
    position, end = 0, len(formula)
    dot_scale = Fraction(1)
    after_dot = False
    total: dict[str, Fraction] = {}

    def bad(why: str) -> Rejection:
        return Rejection(
            "formula", f"{formula!r} is not a formula: {why} at character {position + 1}"
        )

    def multiplier(at: int) -> tuple[Fraction, int]:
        found = re.compile(r"\d+(?:\.\d+)?|\.\d+").match(formula, at)
        return (Fraction(found.group()), found.end()) if found else (Fraction(1), at)

    while position < end:
        if after_dot:
            dot_scale, position = multiplier(position)
            after_dot = False
            continue
        match = _TOKEN.match(formula, position)
        if not match:
            return bad(f"unexpected {formula[position]!r}")
        symbol, opening, closing, number, dot = match.groups()
        if symbol:
            known = _ISOTOPES.get(symbol, symbol)
            if known not in INDEX:
                return Rejection("element", f"{formula!r} names the unknown element {symbol!r}")
            amount, position = multiplier(match.end())
            level = stack[-1][0]
            level[known] = level.get(known, Fraction(0)) + amount
        elif opening:
            stack.append(({}, opening))
            position = match.end()
        elif closing:
            if len(stack) == 1 or _CLOSING[stack[-1][1]] != closing:
                return bad(f"unmatched {closing!r}")
            inner, _ = stack.pop()
            amount, position = multiplier(match.end())
            for element, inside in inner.items():
                stack[-1][0][element] = stack[-1][0].get(element, Fraction(0)) + inside * amount
        elif dot:
            if len(stack) > 1 or not stack[0][0]:
                return bad("misplaced dot")
            for element, amount in stack[0][0].items():
                total[element] = total.get(element, Fraction(0)) + amount * dot_scale
            stack = [({}, "")]
            position, after_dot = match.end(), True
        else:
            return bad(f"number {number!r} without an element")
    if len(stack) > 1:
        return bad(f"bracket {stack[-1][1]!r} is never closed")
    for element, amount in stack[0][0].items():
        total[element] = total.get(element, Fraction(0)) + amount * dot_scale
    return {e: a for e, a in total.items() if a}


def _whole(
    formula: str, amounts: dict[str, Fraction], round_fractions: bool
) -> dict[str, int] | Rejection:
    """Turn amounts into whole atoms, by scaling only if rounding was asked for."""
    if not amounts:
        return Rejection("empty", f"{formula!r} names no atoms")
    if any(a.denominator != 1 for a in amounts.values()):
        if not round_fractions:
            return Rejection(
                "fractional", f"{formula!r} has fractional amounts; allow rounding to take it in"
            )
        near = {e: a.limit_denominator(MAX_DENOMINATOR) for e, a in amounts.items()}
        scale = math.lcm(*(a.denominator for a in near.values()))
        amounts = {e: a * scale for e, a in near.items() if a}
        if not amounts:
            return Rejection("empty", f"{formula!r} rounds to no atoms")
    whole = {e: int(a) for e, a in amounts.items()}
    largest = max(whole.values())
    if largest > MAX_COUNT:
        return Rejection(
            "count", f"{formula!r} has {largest} atoms of one element (limit {MAX_COUNT})"
        )
    return whole


def parse_formula(formula: object, *, round_fractions: bool = False) -> dict[str, int] | Rejection:
    """Parse one formula into whole numbers of atoms, not reduced.

    Parameters
    ----------
    formula : object
        A string; anything else (None, NaN) is rejected.
    round_fractions : bool, default False
        Scale fractional amounts to the nearest whole-number ratio with denominators up to
        `MAX_DENOMINATOR` instead of refusing them.

    Returns
    -------
    dict of str to int, or Rejection
        Codes: ``formula`` (not a formula), ``element`` (unknown), ``fractional``, ``empty``,
        ``count`` (more than `MAX_COUNT` atoms of one element).

    Examples
    --------
    >>> parse_formula("Ca(OH)2")
    {'Ca': 1, 'O': 2, 'H': 2}
    >>> parse_formula("Fe0.95O").code
    'fractional'
    """
    if not isinstance(formula, str):
        return Rejection("formula", f"{formula!r} is not a formula: it is not text")
    text = "".join(formula.split())
    if not text:
        return Rejection("empty", "the formula is empty")
    if _SIMPLE.fullmatch(text):
        counts: dict[str, int] = {}
        for symbol, digits in _PAIR.findall(text):
            known = _ISOTOPES.get(symbol, symbol)
            if known not in INDEX or len(digits) > 4:
                break
            counts[known] = counts.get(known, 0) + (int(digits) if digits else 1)
        else:
            if all(0 < n <= MAX_COUNT for n in counts.values()):
                return counts
    amounts = _amounts(text)
    return amounts if isinstance(amounts, Rejection) else _whole(text, amounts, round_fractions)


def parse_formulas(formulas: Iterable[object], *, round_fractions: bool = False) -> ParsedFormulas:
    """Parse formulas into reduced compositions, keeping a reason for each that fails.

    Parameters
    ----------
    formulas : iterable of str
    round_fractions : bool, default False
        See `parse_formula`.

    Returns
    -------
    ParsedFormulas
    """
    flat: list[tuple[int, int, int]] = []
    rows: list[int] = []
    rejections: list[tuple[int, str, Rejection]] = []
    for i, formula in enumerate(formulas):
        parsed = parse_formula(formula, round_fractions=round_fractions)
        if isinstance(parsed, Rejection):
            rejections.append((i, str(formula), parsed))
            continue
        flat.extend((len(rows), INDEX[e], n) for e, n in parsed.items())
        rows.append(i)
    counts = np.zeros((len(rows), N_ELEMENTS), dtype=np.int16)
    if flat:
        table = np.array(flat, dtype=np.intp)
        counts[table[:, 0], table[:, 1]] = table[:, 2]
    cell_max = counts.max(axis=1, initial=0).astype(np.intp)
    atoms, where = counts.sum(axis=1, dtype=np.intp), np.array(rows, dtype=np.intp)
    return ParsedFormulas(reduce(counts), where, tuple(rejections), cell_max, atoms)


def reduce(counts: np.ndarray) -> np.ndarray:
    """Divide each row by the greatest common divisor of its counts.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)

    Returns
    -------
    ndarray of int, shape (n, 103)
        Same dtype; rows of zeros stay zeros.
    """
    divisor = np.gcd.reduce(counts, axis=1)
    if not (divisor > 1).any():
        return counts
    return counts // np.maximum(divisor, 1)[:, None].astype(counts.dtype)


def counts_of(formula: str) -> np.ndarray:
    """Return the reduced composition of one formula.

    Returns
    -------
    ndarray of int16, shape (103,)

    Raises
    ------
    DataError
        If the formula does not parse; the message is the rejection's sentence.
    """
    parsed = parse_formulas([formula])
    if parsed.rejections:
        raise DataError(
            parsed.rejections[0][2].sentence, fix="Write it as in 'SrYF5' or 'Ca(OH)2'."
        )
    return parsed.counts[0]


def formulas_of(counts: np.ndarray) -> list[str]:
    """Write compositions as formulas, elements by rising electronegativity.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)

    Returns
    -------
    list of str, length n

    Examples
    --------
    >>> formulas_of(counts_of("F5YSr")[None])
    ['SrYF5']
    """
    ordered = counts[:, WRITING_ORDER]
    rows, places = np.nonzero(ordered)
    numbers = ordered[rows, places].tolist()
    names = [ELEMENTS[c] for c in WRITING_ORDER[places].tolist()]
    words = [e if n == 1 else f"{e}{n}" for e, n in zip(names, numbers, strict=True)]
    ends = np.searchsorted(rows, np.arange(len(counts)), side="right").tolist()
    starts = [0, *ends[:-1]]
    return ["".join(words[a:b]) for a, b in zip(starts, ends, strict=True)]


def _weights() -> np.ndarray:
    """Fixed 64-bit weights, one an element (splitmix64 of the atomic number)."""
    mask = (1 << 64) - 1
    out = []
    for z in range(1, N_ELEMENTS + 1):
        x = (z * 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        out.append((x ^ (x >> 31)) | 1)
    return np.array(out, dtype=np.uint64)


_KEY_WEIGHTS = _weights()


def keys_of(counts: np.ndarray) -> np.ndarray:
    """Return a stable 64-bit key for each composition; equal rows have equal keys.

    Different compositions share a key with probability about 2**-64 a pair, so a campaign of a
    million formulas against a million known ones expects 5e-8 false matches.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
        Reduced compositions.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    keys = np.zeros(len(counts), dtype=np.uint64)
    for column in np.flatnonzero(counts.any(axis=0)):
        keys += counts[:, column].astype(np.uint64) * _KEY_WEIGHTS[column]
    keys ^= keys >> np.uint64(32)
    keys *= np.uint64(0xD6E8FEB86659FD93)
    keys ^= keys >> np.uint64(32)
    return keys


def first_of_each(keys: np.ndarray) -> np.ndarray:
    """Return the positions at which each distinct key first occurs, in order of occurrence."""
    _, first = np.unique(keys, return_index=True)
    return np.sort(first)


def anonymous_formulas(counts: np.ndarray) -> list[str]:
    """Write compositions without their elements: counts sorted, lettered A, B, C.

    Two compounds share a structure type only if these agree (SrYF5 and BaYF5: ``"ABC5"``).

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)

    Returns
    -------
    list of str, length n
    """
    out = []
    for row in counts:
        amounts = sorted(int(x) for x in row[row > 0])
        out.append("".join(f"{chr(65 + i)}{n if n > 1 else ''}" for i, n in enumerate(amounts)))
    return out


def fractions_of(counts: np.ndarray) -> np.ndarray:
    """Return atomic fractions.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)

    Returns
    -------
    ndarray of float64, shape (n, 103)
        Rows sum to one; a row without atoms stays zero.
    """
    total = counts.sum(axis=1, dtype=np.int64)
    return counts / np.maximum(total, 1)[:, None]


def counts_from(amounts: Sequence[dict[str, int]]) -> np.ndarray:
    """Build reduced counts from dictionaries of whole numbers of atoms.

    Parameters
    ----------
    amounts : sequence of dict of str to int, length n

    Returns
    -------
    ndarray of int16, shape (n, 103)
    """
    counts = np.zeros((len(amounts), N_ELEMENTS), dtype=np.int16)
    for i, row in enumerate(amounts):
        for element, number in row.items():
            counts[i, INDEX[element]] = number
    return reduce(counts)
