"""Numbers as other people's tables write them: serves ingest, the oracle's table and training.

In: the entries of one column, text or numbers. Out: floats, NaN where there is none, and a reason
for each entry that is neither a number nor a mark for a missing one. Nothing is guessed: what
Python would take (``1_2``, ``True``) but no table means is turned down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from structure.errors import Rejection

MISSING: frozenset[str] = frozenset(
    ["", *"- -- --- . .. ... ? * nan na n/a n.a. n.a nd n.d. none null nil <na> #n/a #na".split()]
)
"""Marks for a missing number, in small letters."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]{1,4})?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[,.][0-9]{3}")
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_DASHES = dict.fromkeys(map(ord, "−–—‒‐"), "-") | dict.fromkeys(map(ord, "…"), "...")
_LONGEST = 60


def to_numbers(values: Sequence[object]) -> tuple[np.ndarray, dict[int, Rejection]]:
    """Turn table entries into numbers.

    A decimal comma is read where it can be nothing else: ``1,234`` only in a column in which
    other entries, such as ``0,5``, show that commas are decimal.

    Parameters
    ----------
    values : sequence of object, length n

    Returns
    -------
    numbers : ndarray of float64, shape (n,)
        NaN where there is none.
    bad : dict of int to Rejection
        Entries that are neither a finite number nor a mark for a missing one; code ``value``.
    """
    numbers = np.full(len(values), np.nan)
    bad: dict[int, Rejection] = {}
    texts: dict[int, str] = {}
    for i, value in enumerate(values):
        if isinstance(value, str):
            if _NUMBER.fullmatch(value) or _NUMBER.fullmatch(value := _tidy(value)):
                numbers[i] = float(value)
            elif value.lower() not in MISSING:
                texts[i] = value
        elif value is not None:
            numbers[i] = _plain(value, i, bad)
    _read_commas(values, texts, numbers)
    for i, text in texts.items():
        if np.isnan(numbers[i]):
            bad[i] = Rejection("value", f"{_shown(values[i])} {_why_not(text)}")
    for i in np.flatnonzero(np.isinf(numbers)).tolist():
        bad[i] = Rejection("value", f"{_shown(values[i])} is not finite")
        numbers[i] = np.nan
    return numbers, bad


def _plain(value: object, at: int, bad: dict[int, Rejection]) -> float:
    """Return an entry that is no text as a number; note it where it is none."""
    try:
        if isinstance(value, (bool, np.bool_, bytes)):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return np.inf
    except (TypeError, ValueError):
        bad[at] = Rejection("value", f"{_shown(value)} is not a number")
        return np.nan


def _tidy(text: str) -> str:
    return text.strip().translate(_DASHES)


def _read_commas(values: Sequence[object], texts: dict[int, str], numbers: np.ndarray) -> None:
    """Read decimal commas, and unread points that are thousands beside them."""
    commas = {i: t for i, t in texts.items() if _COMMA.fullmatch(t)}
    clear = {i for i, t in commas.items() if not _THOUSANDS.fullmatch(t)}
    if not clear:
        return
    points = {
        i: _tidy(v)
        for i, v in enumerate(values)
        if isinstance(v, str) and "." in v and np.isfinite(numbers[i])
    }
    for i, text in commas.items():
        if i in clear or not points:
            numbers[i] = float(text.replace(",", "."))
    for i, text in points.items():
        if _THOUSANDS.fullmatch(text):
            numbers[i], texts[i] = np.nan, text


def _why_not(text: str) -> str:
    if _INFINITE.fullmatch(text):
        return "is not finite"
    if _THOUSANDS.fullmatch(text):
        whole = re.sub("[,.]", "", text)
        return f"is not a number: it can be {text.replace(',', '.')} or {whole}"
    if re.search("[0-9]", text):
        return "is not a number: write one, without unit, uncertainty or thousands separator"
    return "is not a number"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
