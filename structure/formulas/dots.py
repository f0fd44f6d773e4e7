"""Full stops in formulas: serves `structure.formulas.spelling` by telling decimals from dots.

In: a formula without blanks, in ASCII and ``·`` (``"CuSO4.5H2O"``). Out: the same with ``·`` where
a full stop parts two compounds and ``.`` in decimals only (``"CuSO4·5H2O"``), or a `Rejection`
where both can be meant.
"""

from __future__ import annotations

import re

from structure.errors import Rejection

MOLECULES: frozenset[str] = frozenset({"H2O", "OH2", "D2O", "NH3", "HF", "HCl", "H2O2", "CO2"})
"""What is commonly added to a compound as ``.nX``; chosen: water and other small molecules."""

_ANIONS = frozenset({"H", "N", "O", "F", "S", "Cl", "Se", "Br", "I"})
"""What a compound ends in before a hydrate's dot."""

_OPENING = frozenset("([{")
_DECIMALS = re.compile(r"(?:[^.]*(?<![0-9])0\.[0-9]+(?![0-9./]))*[^.]*(?:\.[0-9]+)?")
_STOP = re.compile(r"\.")
_BEFORE = re.compile(r"([A-Z][a-z]?|[)\]}])([0-9]*)$")
_AFTER = re.compile(r"[1-9][0-9]*([A-Z(\[{][^.·]*)")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def is_molecule(text: str) -> bool:
    """Tell whether a text is a molecule that is commonly added, perhaps in brackets."""
    return text in MOLECULES or (text[:1] in _OPENING and text[1:-1] in MOLECULES)


def parted(text: str) -> str | Rejection:
    """Write ``·`` for every full stop that parts two compounds.

    A stop before a symbol, a bracket or a fraction like ``1/2`` parts; one before the last number
    is a decimal point. Another one parts where an added molecule follows, or where the formula is
    written in parts anyway (``3Al2O3.2SiO2``), and what stands before can end a compound.

    Returns
    -------
    str or Rejection
        Code ``dot`` where it may be either.

    Examples
    --------
    >>> parted("CuSO4.5H2O"), parted("Fe0.95O"), parted("3CaO.2SiO2.3H2O")
    ('CuSO4·5H2O', 'Fe0.95O', '3CaO·2SiO2·3H2O')
    >>> parted("CaO.2Al2O3").code
    'dot'
    """
    if _DECIMALS.fullmatch(text):
        return text
    kinds = {m.start(): _kind(text, m.start()) for m in _STOP.finditer(text)}
    in_parts = "·" in text or text[0].isdigit() or "part" in kinds.values()
    has_decimals = "decimal" in kinds.values()
    out = list(text)
    for at, kind in kinds.items():
        if kind == "unclear" or (kind == "molecule" and has_decimals):
            return _either(text, at)
        if kind == "compound" and (has_decimals or not (in_parts or "molecule" in kinds.values())):
            return _either(text, at)
        if kind != "decimal":
            out[at] = "·"
    return "".join(out)


def _kind(text: str, at: int) -> str:
    """Tell what a full stop is: part, molecule or compound (of a part), decimal or unclear."""
    before, after = text[:at], text[at + 1 :]
    if not after[:1].isdigit():
        return "part"
    if re.match(r"[0-9]+/[0-9]", after):
        return "part"
    place = _BEFORE.search(before)
    if place is None:
        return "decimal" if before[-1:].isdigit() else "part"
    whole = place.group(2)
    if re.match(r"[0-9]+\.[0-9]", after):
        return "part" if after.startswith("0.") else "unclear"  # nobody writes 4.0 for 4
    added = _AFTER.match(after)
    if added is None or whole == "0":
        return "unclear" if _molecule_follows(after) and whole != "0" else "decimal"
    follows = added.group(1)
    ends = _can_end(before[: place.end(1)], place.group(1))
    if is_molecule(follows):
        return "molecule" if ends else "unclear"
    return "compound" if ends and _is_compound(follows) else "decimal"


def _molecule_follows(after: str) -> bool:
    """Tell whether a number that cannot count compounds (``05``) stands before a molecule."""
    found = re.match(r"[0-9]+(.*)", after)
    return found is not None and is_molecule(found.group(1).split("·")[0])


def _can_end(before: str, last: str) -> bool:
    """Tell whether a compound of two elements or more can end in the given symbol or bracket."""
    symbols = _SYMBOL.findall(before)
    if len(set(symbols)) < 2:
        return False
    if last in ")]}":
        opening = max(before.rfind(b) for b in "([{")
        return bool(_ANIONS & set(_SYMBOL.findall(before[opening:])))
    return last in _ANIONS


def _is_compound(text: str) -> bool:
    """Tell whether a text names two elements, one of them an anion, without an amount of 0."""
    symbols = set(_SYMBOL.findall(text))
    return len(symbols) > 1 and bool(_ANIONS & symbols) and not re.search(r"[A-Za-z)\]}]0$", text)


def _either(text: str, at: int) -> Rejection:
    dotted = f"{text[:at]}·{text[at + 1 :]}"
    return Rejection(
        "dot",
        f"the full stop in {text!r} can be a decimal point or part two compounds ({dotted}): "
        "write · between compounds",
    )
