"""Names of phases beside formulas: serves `structure.formulas.spelling` by taking them off.

In: ``"alpha-SiO2"``, ``"SiO2 (quartz)"``, ``"BaTiO3_P4mm"``, ``"NaCl_mp-22862"``. Out: the formula
alone. Only words that name a crystal form or a database entry go; a word that can be a dopant, a
coating or a state stays, for the parser to turn the row down.
"""

from __future__ import annotations

import re

from structure.elements import INDEX

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda sigma omega"
_SYSTEMS = """cubic tetragonal orthorhombic hexagonal trigonal rhombohedral monoclinic triclinic
    bcc fcc hcp dhcp"""
_MINERALS = """anatase andalusite antifluorite aragonite baddeleyite bixbyite brookite calcite
    chalcopyrite coesite columbite cooperite corundum cristobalite cuprite delafossite diamond
    fluorite garnet gibbsite graphite hematite ilmenite kesterite kyanite litharge maghemite
    magnetite marcasite massicot nickeline olivine perovskite post pyrite quartz
    ringwoodite rocksalt rutile scheelite sillimanite sphalerite spinel stannite stishovite
    tenorite tridymite vaterite wadsleyite wolframite wollastonite wurtzite wustite zincblende
    zincite"""
WORDS: frozenset[str] = frozenset(f"{_GREEK} {_SYSTEMS} {_MINERALS} high low".split())
"""Names of crystal forms, in small letters."""

_BEFORE_A_DASH = frozenset("c g h m o r t w rs wz zb HT LT HP LP".split())
"""Short names that only stand before a dash (``c-BN``, ``LT-LiCoO2``)."""

_POLYTYPE = re.compile(r"(?:[0-9]{1,2}[CHRT]|Td?)['′]*")
_SPACE_GROUP = re.compile(
    r"[PIFRCAB]_?(?:-?[1-6](?:_?[1-5])?(?:/[mnabcde])?|[mnabcde]){1,3}(?::[12HRZ])?"
)
_ENTRY = re.compile(r"(?:mp|mvc|jvasp|icsd|cod|oqmd|aflow|agm)[-_: ]?[0-9]+", re.IGNORECASE)
_FIRST = re.compile(r"((?:[^\W_]|['′])+)([-_\s]+)(?=\S)")
_GREEK_FIRST = re.compile(r"[α-ω]['′″]*[-_\s]*(?=\S)")
_ENTRY_FIRST = re.compile(_ENTRY.pattern + r"[-_\s:]+(?=\S)", re.IGNORECASE)
_BRACKET_LAST = re.compile(r"(.*\S)\s*[(\[{]([^()\[\]{}]+)[)\]}]", re.DOTALL)
_GAP = re.compile(r"[-_,;\s]+")
_PLAIN = re.compile(r"(?:[A-Z][a-z]?[0-9]*)+")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def without_phase_name(text: str) -> str:
    """Take names of crystal forms, space groups and database entries off both ends.

    Examples
    --------
    >>> [without_phase_name(t) for t in ("c-BN", "TiO2 (rutile)", "NaCl_Fm-3m", "TiO2-N")]
    ['BN', 'TiO2', 'NaCl', 'TiO2-N']
    """
    for shorter in (_without_first, _without_last):
        while (less := shorter(text)) != text:
            text = less
    return text


def _without_first(text: str) -> str:
    for pattern in (_GREEK_FIRST, _ENTRY_FIRST):
        if found := pattern.match(text):
            return text[found.end() :]
    found = _FIRST.match(text)
    if found is None:
        return text
    name, gap = found.groups()
    dash = "-" in gap
    if name.casefold() in WORDS or (dash and (name in _BEFORE_A_DASH or _POLYTYPE.fullmatch(name))):
        return text[found.end() :]
    return text


def _without_last(text: str) -> str:
    found = _BRACKET_LAST.fullmatch(text)
    if found and _is_name(found.group(2), "("):
        return found.group(1)
    for gap in _GAP.finditer(text):
        if gap.start() and _is_name(text[gap.end() :], gap.group()):
            return text[: gap.start()]
    return text


def _is_name(text: str, gap: str) -> bool:
    """Tell whether a text behind a formula, after a bracket, dash or blank, names a form."""
    words = [w for w in re.split(r"[\s,;]+", text) if w]
    return bool(words) and all(_is_word(w, bounded=bool(gap.strip())) for w in words)


def _is_word(word: str, *, bounded: bool) -> bool:
    if word.casefold() in WORDS or _ENTRY.fullmatch(word):
        return True
    if re.fullmatch(r"[α-γε-ω]['′″]*", word):  # O3-δ is an amount of oxygen
        return True
    if bounded and re.fullmatch(r"[0-9]{1,2}[CHRT]", word):
        return True
    if _SPACE_GROUP.fullmatch(word) and not _reads_as_formula(word):
        return True
    first, dash, rest = word.partition("-")
    return bool(dash) and all(_is_word(w, bounded=False) for w in (first, rest))


def _reads_as_formula(word: str) -> bool:
    """Tell whether a word is a formula, or begins like one with a symbol and a number."""
    if word[:2] in INDEX and word[2:3].isdigit():
        return True
    return bool(_PLAIN.fullmatch(word)) and all(s in INDEX for s in _SYMBOL.findall(word))
