"""One formula at a time: brackets, hydrate dots, fractions, and a reason for each that fails.

Serves every stage that reads formulas, through `structure.composition`. In: one string. Out: whole
numbers of atoms, or a `Rejection`.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from structure.elements import INDEX
from structure.errors import Rejection

MAX_COUNT = 1000
"""Chosen: most atoms of one element in a formula; above it a formula is taken for a misprint."""

MAX_DENOMINATOR = 24
"""Chosen: with rounding on, fractional amounts become ratios with denominators up to this."""

_TOKEN = re.compile(r"([A-Z][a-z]?)|([(\[{])|([)\]}])|(\d+(?:\.\d+)?|\.\d+)|([·.*])")
_SIMPLE = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_PAIR = re.compile(r"([A-Z][a-z]?)(\d*)")
_ISOTOPES = {"D": "H", "T": "H"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


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
