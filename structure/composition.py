"""Compositions: formulas parsed once into an integer matrix, and written once for people.

Serves every stage. In: formula strings (``"K4Mn4O8"``, ``"Ca(OH)2"``). Out: ``counts (n, 103)``
int16 over `structure.elements.ELEMENTS`, reduced by the greatest common divisor of each row, with
a 64-bit key for de-duplication, and formulas again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from structure.elements import ELEMENTS, INDEX
from structure.errors import DataError, Rejection
from structure.formulas.buffer import joined_words, tokens_of
from structure.formulas.formula import parse_formula as parse_formula

N_ELEMENTS = len(ELEMENTS)

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
    texts = list(formulas)
    tokens = tokens_of(texts)
    rejections: list[tuple[int, str, Rejection]] = []
    parts = [np.stack([tokens.rows, tokens.columns, tokens.amounts])]
    read = tokens.plain
    for i in np.flatnonzero(~tokens.plain).tolist():
        parsed = parse_formula(texts[i], round_fractions=round_fractions)
        if isinstance(parsed, Rejection):
            rejections.append((i, str(texts[i]), parsed))
            continue
        read[i] = True
        parts.append(np.array([(i, INDEX[e], n) for e, n in parsed.items()], dtype=np.int64).T)
    entries = np.concatenate(parts, axis=1)
    if len(parts) > 1:
        entries = entries[:, np.argsort(entries[0], kind="stable")]
    return _reduced(entries, read, tuple(rejections))


def _reduced(
    entries: np.ndarray, read: np.ndarray, rejections: tuple[tuple[int, str, Rejection], ...]
) -> ParsedFormulas:
    """Make the composition matrix from columns of (row, element, amount), by rising row."""
    rows, columns, amounts = entries
    where = np.flatnonzero(read)
    counts = np.zeros((len(where), N_ELEMENTS), dtype=np.int16)
    if not len(where):
        return ParsedFormulas(counts, where, rejections, where.copy(), where.copy())
    first = np.searchsorted(rows, where)
    sizes = np.diff(np.append(first, len(rows)))
    divisors = np.repeat(np.gcd.reduceat(amounts, first), sizes)
    counts[np.repeat(np.arange(len(where)), sizes), columns] = amounts // divisors
    return ParsedFormulas(
        counts,
        where,
        rejections,
        np.maximum.reduceat(amounts, first),
        np.add.reduceat(amounts, first),
    )


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
    result: np.ndarray = counts // np.maximum(divisor, 1)[:, None].astype(counts.dtype)
    return result


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
    result: np.ndarray = parsed.counts[0]
    return result


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
    lengths, places, amounts = _present(counts[:, WRITING_ORDER])
    symbols = [ELEMENTS[c] for c in WRITING_ORDER.tolist()]
    base = int(amounts.max(initial=0)) + 1
    return joined_words(
        lengths, places * base + amounts, lambda code: _word(symbols[code // base], code % base)
    )


def _present(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the positive entries of a matrix: how many in each row, their columns and values."""
    rows, columns = np.divmod(np.flatnonzero(counts > 0), N_ELEMENTS)
    amounts = counts[rows, columns].astype(np.int64)
    return np.bincount(rows, minlength=len(counts)), columns, amounts


def _word(name: str, amount: int) -> str:
    return name if amount == 1 else f"{name}{amount}"


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
    lengths, _, amounts = _present(np.asarray(counts))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    base = int(amounts.max(initial=0)) + 1
    amounts = np.sort(rows * base + amounts) % base
    letters = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return joined_words(
        lengths, letters * base + amounts, lambda code: _word(chr(65 + code // base), code % base)
    )


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
    result: np.ndarray = counts / np.maximum(total, 1)[:, None]
    return result


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
