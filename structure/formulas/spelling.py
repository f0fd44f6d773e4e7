"""How people write formulas: serves `structure.formulas.formula`, which reads plain ones only.

In: a formula as papers, databases and spreadsheets write it (``"CuSO₄·5H₂O"``, ``"alpha-SiO2"``,
``"La$_{0.5}$Sr$_{0.5}$MnO$_3$"``). Out: the same in ASCII without blanks, ``·`` between compounds
and ``.`` in decimals only; or a `Rejection` that says what to write instead. A text that can mean
two compositions is turned down, never guessed.
"""

from __future__ import annotations

import html
import re
import unicodedata

from structure.errors import Rejection
from structure.formulas.dots import is_molecule, parted
from structure.formulas.phase_names import without_phase_name

SHOWN = 80
"""Chosen: most characters of a text that a sentence repeats."""

NAME = re.compile(r"\((?:I{1,3}|IV|V|VI{1,3})\)|\([A-Z]\)$")
"""A bracket that names an oxidation state or a phase (``Fe(III)``, ``TiO2(B)``)."""

ZERO_FOR_O = re.compile(r"(?<![0-9.])(?:0[1-9]|(?:20[3-7]|304)(?![0-9.]))")
"""Amounts that a formula without oxygen has by misprint (``Si02``, ``MgAl204``)."""

_OXYGEN = re.compile(r"O(?![a-z])")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"))
_DOTS = dict.fromkeys(map(ord, "*•⋅∙・･‧∘×✕˙"), "·")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—−₋"), "-")
_FRACTIONS = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅙": "1/6"}
_SUPERSCRIPT = re.compile("[⁰¹²³⁴-⁹⁺⁻⁼]")
_ENDS = " \t\r\n=\"'`´“”‘’‚„«»,;:*†‡§¶#"
_LABEL = re.compile(
    r"(?:(?:chemical|reduced|empirical|pretty)[ _])?(?:formula|compound|composition|material)"
    r"\s*[:=]\s*",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?(?:sub|i|b|em|strong|span|inf)\b[^<>]*>", re.IGNORECASE)
_LATEX_WORD = re.compile(r"\\(?:mathrm|mathregular|mathit|text|textrm|textsubscript|rm|ce|it)\b\s*")
_LATEX_INDEX = re.compile(r"_\{([0-9.,/]+)\}|_([0-9]+)")
_INDEX = re.compile(r"(?<=[A-Za-z)\]}])_([0-9.]+)(?=[A-Z(\[{·])")
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(rf"[0-9]{{1,2}}-{_MONTH}(?:-[0-9]+)?|{_MONTH}-[0-9]{{2,4}}", re.IGNORECASE)
_VARIABLE = re.compile(
    r"[-+±][a-zα-ω](?![a-z])|(?:[A-Z][a-z]|[HBCNOFPSKVYIWU0-9)\]}])[xyzδ](?![a-z])"
    r"|(?:^|[·.])[xyznm](?=[A-Z(\[])"
)
_CHARGE = re.compile(r"\^|[0-9]*\++[0-9]*$|-+[0-9]*$|\([0-9]*[-+]\)$")
_SHARED = re.compile(r"[(\[{]([^()\[\]{}]*,[^()\[\]{}]*)[)\]}]")
_NUMBERED = re.compile(r"(?:[A-Z][a-z]?[0-9]*\.[0-9]+)+")
_FOREIGN = re.compile(r"[^A-Za-z0-9()\[\]{}.·/]")
_PER = re.compile(r"(?:^|[·.])[0-9]+/[1-9][0-9]*(?=[A-Z(\[{])")
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_ROMAN = re.compile(r"I{1,3}|IV|V|VI{1,3}|[A-Z]")


def shown(text: str) -> str:
    """Quote a text in a sentence, cut where it is long."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def no_formula(text: str, why: str) -> Rejection:
    """Say why a text is no formula."""
    return Rejection("formula", f"{shown(text)} is not a formula: {why}")


def plain_spelling(text: str) -> str | Rejection:
    """Spell a formula plainly, or say why it cannot be.

    Returns
    -------
    str or Rejection
        Codes: ``formula``, ``empty``, ``dot`` (a full stop with two meanings).

    Examples
    --------
    >>> plain_spelling("α-Na2CO3 · 10 H₂O")
    'Na2CO3·10H2O'
    >>> print(plain_spelling("Pb(Zr,Ti)O3").sentence)
    'Pb(Zr,Ti)O3' is not a formula: 'Zr,Ti' share a site and it does not say in which ratio
    """
    plain = _characters(text.strip(_ENDS))
    if (found := _SUPERSCRIPT.search(plain)) or "<sup" in plain.lower():
        mark = found.group() if found else "<sup>"
        return no_formula(text, f"{mark!r} is a charge, an isotope or a footnote; leave it out")
    plain = unicodedata.normalize("NFKC", plain).strip(_ENDS)
    plain = _LABEL.sub("", plain, count=1).strip(_ENDS)
    if _DATE.fullmatch(plain):
        return no_formula(text, "a spreadsheet made a date of it; restore the column as text")
    plain = without_phase_name(plain).strip(_ENDS).rstrip(".")
    if not plain:
        return Rejection("empty", f"{shown(text)} names no atoms")
    joined = _without_blanks(plain)
    if isinstance(joined, Rejection):
        return no_formula(text, joined.sentence)
    plain = _without_commas(joined)
    return no_formula(text, problem) if (problem := _problem(plain)) else parted(plain)


def _characters(text: str) -> str:
    """Replace look-alikes, mark-up and subscripts; superscripts stay as they are."""
    text = text.translate(_INVISIBLE).translate(_DOTS).translate(_DASHES)
    if "&" in text:
        text = html.unescape(text).translate(_DOTS)
    if "<" in text:
        text = _TAG.sub("", text)
    for fraction, written in _FRACTIONS.items():
        if fraction in text:
            text = re.sub(rf"(?<![0-9]){fraction}", written, text)
    if "$" in text or "\\" in text or "_{" in text:
        text = text.replace("\\cdot", "·").replace("\\,", "")
        text = _LATEX_WORD.sub("", text).replace("$", "").replace("\\", "")
        return _LATEX_INDEX.sub(r"\1\2", text)
    if _INDEX.search(text):
        text = re.sub(r"(?<=[A-Za-z)\]}])_(?=[0-9])", "", text)
    return text


def _without_blanks(text: str) -> str | Rejection:
    """Join the words of a formula; `Rejection.sentence` says where a blank has two meanings."""
    words = text.split()
    joined = words[0]
    for i, word in enumerate(words[1:], start=1):
        last, following = words[i - 1], words[i + 1] if i + 1 < len(words) else ""
        if joined.endswith("·") or word.startswith("·"):
            joined += word
        elif word in ("x", ".") and following[:1].isdigit():
            joined += "·"
        elif word[0].isdigit():
            number = re.match(r"[0-9./]+", word)
            rest = word[number.end() :] if number else word
            if not rest and (_ELEMENT.fullmatch(last) or last[-1] in ")]}"):
                joined += word
            elif is_molecule(rest or following) or joined.endswith("."):
                joined = f"{joined.removesuffix('.')}·{word}"
            else:
                return Rejection(
                    "", f"the blank before {word!r} can part two compounds; write · or no blank"
                )
        elif word[0].islower():
            return Rejection("", f"{word!r} is no part of it; write the formula alone")
        elif _ROMAN.fullmatch(word) and i + 1 == len(words) and not _spaced(words):
            return Rejection(
                "", f"{word!r} at its end can be a phase's name; write the formula alone"
            )
        else:
            joined += word
    return joined


def _spaced(words: list[str]) -> bool:
    """Tell whether a formula is written as one element a word (``Na1 Cl1``)."""
    names = [w.rstrip("0123456789.") for w in words]
    return len(set(names)) == len(names) and all(_ELEMENT.fullmatch(n) for n in names)


def _without_commas(text: str) -> str:
    """Read decimal commas, and drop commas between sites whose amounts are all given."""
    if "," not in text:
        return text
    text = re.sub(r"(?<=[0-9]),(?=[0-9])", ".", text)
    for found in _SHARED.finditer(text):
        inside = found.group(1)
        if all(_NUMBERED.fullmatch(part) for part in inside.split(",")):
            text = text.replace(inside, inside.replace(",", ""))
    return text


def _problem(text: str) -> str:
    """Say what is in a text that no formula has; empty where there is nothing."""
    if found := _SHARED.search(text):
        return f"{found.group(1)!r} share a site and it does not say in which ratio"
    if found := _VARIABLE.search(text):
        return f"{found.group().strip('·.')!r} in it is no number"
    if _CHARGE.search(text):
        return "it ends in a charge or a label; an ion is no compound"
    if found := NAME.search(text):
        return (
            f"{found.group()!r} can be an oxidation state or a phase's name; leave it out, or "
            "write the element without brackets"
        )
    if (found := ZERO_FOR_O.search(text)) and not _OXYGEN.search(text):
        return f"in {found.group()!r} a zero seems to stand for the letter O"
    if "/" in _PER.sub("", text):
        return "'/' parts two compounds or the two ends of a mixture; write one formula"
    if found := _FOREIGN.search(_PER.sub("", text)):
        return f"{unexpected(text, found.group())}; write one formula, without dopants or remarks"
    return ""


def unexpected(text: str, character: str) -> str:
    """Say which character is unexpected, and where it first stands."""
    return f"unexpected {character!r} at character {text.find(character) + 1}"
