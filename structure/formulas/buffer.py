"""Many plain formulas at once, for tables of millions: parsed and written as one run of bytes.

In: strings such as ``"K4Mn4O8"``. Out: element and amount of every token, and which strings are not
that plain (brackets, fractions, misprints), for `structure.formulas.formula` to read or reject. The
other way round, words of many rows are joined into one string each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from structure.elements import ELEMENTS, INDEX
from structure.formulas.formula import MAX_COUNT

_MAX_DIGITS = 4


def _symbol_codes() -> np.ndarray:
    """Column of each symbol by 27 * first letter + second letter (0: none); -1 where unknown."""
    codes = np.full(26 * 27, -1, dtype=np.int64)
    for symbol, column in {**INDEX, "D": INDEX["H"], "T": INDEX["H"]}.items():
        second = ord(symbol[1]) - 96 if len(symbol) > 1 else 0
        codes[(ord(symbol[0]) - 65) * 27 + second] = column
    return codes


_CODES = _symbol_codes()


@dataclass(frozen=True)
class Tokens:
    """Elements and amounts of plain formulas, one formula after another.

    Attributes
    ----------
    plain : ndarray of bool, shape (n,)
        Which formulas are plain; only these have tokens.
    rows, columns, amounts : ndarray of int64, shape (t,)
        Formula, element and amount of each token; no element is repeated within a formula.
    """

    plain: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    amounts: np.ndarray


@dataclass(frozen=True)
class _Buffer:
    """Formulas as bytes, each between newlines, with the kind and the formula of every byte."""

    data: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    digit: np.ndarray
    opening: np.ndarray
    closing: np.ndarray
    rows: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, formulas: Sequence[object]) -> _Buffer:
        texts: Sequence[str] = cast(Sequence[str], formulas)
        if not set(map(type, formulas)) <= {str} or "\n" in "".join(texts):
            texts = [f if type(f) is str and "\n" not in f else "" for f in formulas]
        joined = "\n".join(["", *texts, *[""] * (_MAX_DIGITS + 2)])
        data = np.frombuffer(joined.encode("latin-1", "replace"), dtype=np.uint8)
        newline = data == ord("\n")
        newlines = np.flatnonzero(newline)[: len(texts) + 1]
        return cls(
            data=data,
            upper=(data >= ord("A")) & (data <= ord("Z")),
            lower=(data >= ord("a")) & (data <= ord("z")),
            digit=(data >= ord("0")) & (data <= ord("9")),
            opening=data == ord("("),
            closing=data == ord(")"),
            rows=np.cumsum(newline) - 1,
            begins=newlines[:-1] + 1,
            ends=newlines[1:],
        )

    def misplaced(self) -> np.ndarray:
        """Return the positions of bytes that a plain formula does not have where they stand."""
        before = slice(None, -1)
        after_symbol = self.upper[before] | self.lower[before]
        fits = self.upper | self.opening
        fits[1:] |= self.lower[1:] & self.upper[before]
        fits[1:] |= self.closing[1:] & (after_symbol | self.digit[before])
        fits[1:] |= self.digit[1:] & (after_symbol | self.digit[before] | self.closing[before])
        at = np.flatnonzero(~fits)
        return np.concatenate([at[self.data[at] != ord("\n")], self.zeros()])

    def zeros(self) -> np.ndarray:
        """Return the positions of zeros that may stand for the letter O: 02, 203, 304."""
        at = np.flatnonzero(self.data == ord("0"))
        at = at[self.digit[at + 1]]
        before, after = self.data[at - 1], self.data[at + 1]
        two = (before == ord("2")) & (after >= ord("3")) & (after <= ord("7"))
        result: np.ndarray = at[
            ~self.digit[at - 1] | two | ((before == ord("3")) & (after == ord("4")))
        ]
        return result

    def labels(self) -> np.ndarray:
        """Return the positions of brackets that can hold a name: (I), (IV), (B) at the end."""
        at = np.flatnonzero(self.opening)
        first, second, third = (self.data[at + i] for i in (1, 2, 3))
        one, five, closing = ord("I"), ord("V"), ord(")")
        numeral = (first == one) | (first == five)
        last = self.upper[at + 1] & (third == ord("\n"))
        pair = numeral & ((second == one) | (second == five)) & (third == closing)
        result: np.ndarray = at[(second == closing) & (numeral | last) | pair]
        return result


def tokens_of(formulas: Sequence[object]) -> Tokens:
    """Split plain formulas into elements and amounts.

    Plain are texts of element symbols, each at most once, perhaps in round brackets without further
    brackets inside, with at most four digits for a number, and amounts from 1 to
    `structure.formulas.formula.MAX_COUNT`. A zero that can be an O, or a bracket that can hold a
    name, is not plain.

    Parameters
    ----------
    formulas : sequence of object, length n
        Whatever is not text is not plain.
    """
    buffer = _Buffer.of(formulas)
    plain = buffer.begins < buffer.ends
    plain[buffer.rows[buffer.misplaced()]] = False
    plain[buffer.rows[buffer.labels()]] = False
    at = np.flatnonzero(buffer.upper)
    rows = buffer.rows[at]
    second = np.where(buffer.lower[at + 1], buffer.data[at + 1].astype(np.int64) - 96, 0)
    columns = _CODES[(buffer.data[at].astype(np.int64) - 65) * 27 + second]
    amounts, proper = _amounts(buffer, at + 1 + (second > 0))
    factors, unpaired = _factors(buffer, at, rows)
    amounts *= factors
    proper &= (columns >= 0) & (factors > 0) & (amounts <= MAX_COUNT)
    plain[unpaired] = False
    plain[rows[~proper]] = False
    plain[rows[_repeated(rows, columns)]] = False
    keep = plain[rows]
    return Tokens(plain, rows[keep], columns[keep], amounts[keep])


def _factors(buffer: _Buffer, at: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number behind the bracket around each token, and rows with unpaired brackets.

    The number is 1 outside brackets and 0 where it cannot be used.
    """
    brackets = np.flatnonzero(buffer.opening | buffer.closing)
    if not len(brackets):
        return np.ones(len(at), dtype=np.int64), brackets
    owners = buffer.rows[brackets]
    first = np.searchsorted(brackets, buffer.begins)
    in_row = np.arange(len(brackets)) - first[owners]
    count = np.diff(np.append(first, len(brackets)))
    wrong = (in_row % 2 == 0) != buffer.opening[brackets]
    unpaired = np.concatenate([owners[wrong], np.flatnonzero(count % 2)])
    following = np.searchsorted(brackets, at)
    inside = (following - first[rows]) % 2 == 1
    numbers, proper = _amounts(buffer, brackets + 1)
    numbers = np.append(np.where(proper, numbers, 0), 0)
    return np.where(inside, numbers[following], 1), unpaired


def _amounts(buffer: _Buffer, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read the number that starts at each position (1 where there is none), and if it is usable."""
    amounts = np.ones(len(start), dtype=np.int64)
    proper = np.ones(len(start), dtype=bool)
    more = np.flatnonzero(buffer.digit[start])
    amounts[more] = 0
    written = more
    for place in range(_MAX_DIGITS):
        at = start[more] + place
        amounts[more] = amounts[more] * 10 + buffer.data[at] - ord("0")
        more = more[buffer.digit[at + 1]]
    proper[more] = False
    proper[written] &= (amounts[written] >= 1) & (amounts[written] <= MAX_COUNT)
    return amounts, proper


def _repeated(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the tokens of rows in which some element occurs twice; bool, shape (t,)."""
    if not len(rows):
        return np.zeros(0, dtype=bool)
    first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
    sizes = np.diff(np.append(first, len(rows)))
    clash = np.zeros(len(first), dtype=bool)
    for low in (0, 52):  # two masks of 52 bits: sums of up to 2048 of them stay below 2**63
        inside = (columns >= low) & (columns < low + 52)
        bits = np.where(inside, np.int64(1) << np.where(inside, columns - low, 0), 0)
        clash |= np.add.reduceat(bits, first) != np.bitwise_or.reduceat(bits, first)
    return np.repeat(clash | (sizes > len(ELEMENTS)), sizes)


def joined_words(lengths: np.ndarray, codes: np.ndarray, word: Callable[[int], str]) -> list[str]:
    """Join the words of each row into one string.

    Parameters
    ----------
    lengths : ndarray of int, shape (n,)
        Words of each row.
    codes : ndarray of int64, shape (w,)
        A number from 0 for each word, rows one after another.
    word : callable
        Returns the text of a number.

    Returns
    -------
    list of str, length n
    """
    if not len(lengths):
        return []
    used = np.zeros(int(codes.max(initial=0)) + 1, dtype=bool)
    used[codes] = True
    table = np.full(len(used) + 1, "\n", dtype=object)
    for code in np.flatnonzero(used).tolist():
        table[code] = word(code)
    ends = np.cumsum(lengths)[:-1]
    return "".join(table[np.insert(codes, ends, len(used))].tolist()).split("\n")
