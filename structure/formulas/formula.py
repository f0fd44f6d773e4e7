"""One formula at a time: brackets, hydrate dots, fractions, and a reason for each that fails.

Serves every stage that reads formulas, through `structure.composition`. In: one string. Out: whole
numbers of atoms, or a `Rejection`.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

from structure.elements import INDEX
from structure.errors import Rejection
from structure.formulas.dots import parted
from structure.formulas.spelling import (
    NAME,
    ZERO_FOR_O,
    no_formula,
    plain_spelling,
    shown,
)

MAX_COUNT = 1000
"""Chosen: most atoms of one element in a formula; above it a formula is taken for a misprint."""

MAX_LENGTH = 300
"""Chosen: most characters of a formula; a longer text is something else."""

MAX_DENOMINATOR = 24
"""Chosen: with rounding on, fractional amounts become ratios with denominators up to this."""

MAX_CHANGE = Fraction(1, 200)
"""Chosen: rounding changes a written amount by at most this share of itself, or by less than one
unit of its last decimal (0.66 is two thirds)."""

_NUMBER = r"[0-9]+/[0-9]+|[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_SIMPLE = re.compile(r"(?:[A-Z][a-z]?(?:[1-9][0-9]?)?)+")
_PAIR = re.compile(r"([A-Z][a-z]?)([0-9]*)")
_PLAIN = re.compile(r"(?![0-9])(?:Dy|[A-Z][a-w]?|[()\[\]{}]|[0-9]++(?:\.[0-9]+)?)++")
_SPACED = re.compile(r"[A-Z][a-z]?[0-9.]*(?: [A-Z][a-z]?[0-9.]*)+")
_FACTOR = re.compile(_NUMBER)
_DECIMAL = re.compile(r"([A-Z][a-z]?|[)\]}])?([0-9]*\.[0-9]+)")
_TOKEN = re.compile(rf"([A-Z][a-z]?)|([(\[{{])|([)\]}}])|({_NUMBER})")
_ISOTOPES = {"D": "H", "T": "H"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}

Amounts = dict[str, Fraction | int]


def _spelt(formula: str) -> str | Rejection:
    """Spell a formula plainly; what is spelt so already takes the short way."""
    if _PLAIN.fullmatch(formula) and not ZERO_FOR_O.search(formula) and not NAME.search(formula):
        return parted(formula)
    return plain_spelling(formula)


def _unspaced(formula: str) -> str:
    """Join a formula of one element a word (``Na1 Cl1``); others keep their blanks."""
    if not _SPACED.fullmatch(formula):
        return formula
    words = formula.split(" ")
    distinct = len({w.rstrip("0123456789.") for w in words}) == len(words)
    return "".join(words) if distinct else formula


def _factor(text: str, at: int) -> tuple[Fraction | int, int]:
    """Read the number at a place, 1 where there is none, and where it ends."""
    found = _FACTOR.match(text, at)
    if found is None:
        return 1, at
    return _number(found.group()), found.end()


@lru_cache(maxsize=4096)
def _number(text: str) -> Fraction | int:
    return int(text) if text.isdigit() else Fraction(text)


@lru_cache(maxsize=4096)
def _ratio(text: str) -> tuple[Fraction, bool]:
    """Return the small fraction nearest to a decimal, and whether it may stand for it."""
    amount, last_place = Fraction(text), Fraction(1, 10 ** len(text.partition(".")[2]))
    near = amount.limit_denominator(MAX_DENOMINATOR)
    change = abs(near - amount)
    vanishes = bool(amount) and not near
    return near, not vanishes and (change < last_place or change <= MAX_CHANGE * amount)


def _add(total: Amounts, amounts: Amounts, factor: Fraction | int) -> None:
    for element, amount in amounts.items():
        total[element] = total.get(element, 0) + (amount if factor == 1 else amount * factor)


def _amounts(formula: str, plain: str) -> Amounts | Rejection:
    """Parse a plainly spelt formula, compounds parted by ``·``, into element amounts."""
    total: Amounts = {}
    for part in plain.split("·"):
        factor, begins = _factor(part, 0)
        amounts = _amounts_of_part(formula, part, begins)
        if isinstance(amounts, Rejection):
            return amounts
        _add(total, amounts, factor)
    return {e: a for e, a in total.items() if a}


def _amounts_of_part(formula: str, part: str, position: int) -> Amounts | Rejection:
    """Parse one compound, from a place on."""
    if position == len(part):
        return no_formula(formula, "misplaced dot" if not part else f"{part!r} names no element")
    stack: list[tuple[Amounts, str]] = [({}, "")]
    while position < len(part):
        match = _TOKEN.match(part, position)
        if not match:
            return no_formula(formula, f"unexpected {part[position]!r}; write the formula alone")
        symbol, opening, closing, number = match.groups()
        if number:
            return no_formula(formula, f"the number {number!r} stands without an element")
        if opening:
            stack.append(({}, opening))
            position = match.end()
            continue
        amount, position = _factor(part, match.end())
        if symbol:
            known = _ISOTOPES.get(symbol, symbol)
            if known not in INDEX:
                return Rejection(
                    "element", f"{shown(formula)} names the unknown element {symbol!r}"
                )
            _add(stack[-1][0], {known: amount}, 1)
            continue
        if len(stack) == 1 or _CLOSING[stack[-1][1]] != closing:
            return no_formula(formula, f"unmatched {closing!r}")
        inner, _ = stack.pop()
        _add(stack[-1][0], inner, amount)
    if len(stack) > 1:
        return no_formula(formula, f"bracket {stack[-1][1]!r} is never closed")
    return stack[0][0]


def _rounded(formula: str, plain: str) -> str | Rejection:
    """Write every decimal amount as the nearest small fraction, unless it would change much."""
    out, begins = [], 0
    for found in _DECIMAL.finditer(plain):
        of, number = found.groups()
        near, close = _ratio(number)
        if not close:
            becomes = f"{float(near):.4g}" if near else "nothing"
            return Rejection(
                "rounding",
                f"{shown(formula)} is no ratio of small whole numbers: {number}"
                f"{f' of {of}' if of and of.isalpha() else ''} would become {becomes}, and its "
                "value would stand for another compound",
            )
        out += [plain[begins : found.start(2)], str(near)]
        begins = found.end()
    return "".join([*out, plain[begins:]])


def _whole(
    formula: str, plain: str, amounts: Amounts, round_fractions: bool
) -> dict[str, int] | Rejection:
    """Turn amounts into whole atoms, by scaling only if rounding was asked for."""
    if not amounts:
        return Rejection("empty", f"{shown(formula)} names no atoms")
    scale = math.lcm(*(a.denominator for a in amounts.values()))
    if scale > 1:
        if not round_fractions:
            return Rejection(
                "fractional",
                f"{shown(formula)} has fractional amounts; allow rounding to take it in",
            )
        ratios = _rounded(formula, plain)
        rounded = ratios if isinstance(ratios, Rejection) else _amounts(formula, ratios)
        if isinstance(rounded, Rejection):
            return rounded
        amounts = rounded
        scale = math.lcm(*(a.denominator for a in amounts.values()))
    whole = {e: int(a * scale) for e, a in amounts.items()}
    largest = max(whole.values())
    if largest > MAX_COUNT:
        verb = "rounds to" if scale > 1 else "has"
        return Rejection(
            "count", f"{shown(formula)} {verb} {largest} atoms of one element (limit {MAX_COUNT})"
        )
    return whole


def parse_formula(formula: object, *, round_fractions: bool = False) -> dict[str, int] | Rejection:
    """Parse one formula into whole numbers of atoms, not reduced.

    Spellings of papers and spreadsheets are understood (`structure.formulas.spelling`); what can
    mean two compositions is refused.

    Parameters
    ----------
    formula : object
        A string; anything else (None, NaN) is rejected.
    round_fractions : bool, default False
        Scale fractional amounts to the nearest whole-number ratio with denominators up to
        `MAX_DENOMINATOR` instead of refusing them, where no amount changes by more than
        `MAX_CHANGE`.

    Returns
    -------
    dict of str to int, or Rejection
        Codes: ``formula`` (not a formula), ``element`` (unknown), ``fractional``, ``rounding``
        (would be another compound), ``dot`` (a full stop with two meanings), ``empty``, ``count``
        (more than `MAX_COUNT` atoms of one element).

    Examples
    --------
    >>> parse_formula("Ca(OH)2")
    {'Ca': 1, 'O': 2, 'H': 2}
    >>> parse_formula("Fe0.95O").code
    'fractional'
    >>> parse_formula("CuSO4.5H2O")
    {'Cu': 1, 'S': 1, 'O': 9, 'H': 10}
    """
    if not isinstance(formula, str):
        return Rejection("formula", f"{shown(str(formula))} is not a formula: it is not text")
    if len(formula) > MAX_LENGTH:
        return no_formula(formula, f"it has {len(formula):,} characters (limit {MAX_LENGTH})")
    text = _unspaced(formula) if " " in formula else formula
    if _SIMPLE.fullmatch(text):
        counts: dict[str, int] = {}
        for symbol, digits in _PAIR.findall(text):
            known = _ISOTOPES.get(symbol, symbol)
            if known not in INDEX:
                break
            counts[known] = counts.get(known, 0) + (int(digits) if digits else 1)
        else:
            if max(counts.values()) <= MAX_COUNT:
                return counts
    if not formula.strip():
        return Rejection("empty", "the formula is empty")
    plain = _spelt(text)
    if isinstance(plain, Rejection):
        return plain
    amounts = _amounts(formula, plain)
    if isinstance(amounts, Rejection):
        return amounts
    return _whole(formula, plain, amounts, round_fractions)
