"""Which elements a POSCAR names: serves the reading of crystal structures.

In: the text of a POSCAR or CONTCAR. Out: the structure. A file in the layout of VASP 4 has no line
of symbols and leaves the elements to the POTCAR beside it; unless it names them elsewhere it is
refused, because whoever reads it would have to guess.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from structure.elements import INDEX
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMBOLS_LINE = 5
"""Comment, scale and three vectors come before it."""

_SYMBOL = re.compile(r"([A-Z][a-z]?)(\d*)(?:_\w+)?(?:/\w*)?")


def read_poscar(text: str) -> Structure | Rejection:
    """Read a POSCAR or CONTCAR, of VASP 5 and 6 or with elements that it names in another way.

    Symbols may be those of potentials, with the hash of VASP 6 (``Fe_pv/4f1a...``), or numbered
    (``Fe1 Fe2``). Without a line of symbols, those behind the coordinates count, or a comment that
    is a list of as many symbols as there are numbers of atoms.

    Returns
    -------
    pymatgen.core.Structure or Rejection
        Code ``poscar`` where it names no elements.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    from pymatgen.io.vasp import Poscar

    lines = text.split("\n")
    if len(lines) <= SYMBOLS_LINE or not lines[SYMBOLS_LINE].split():
        raise ValueError("it ends before its atoms")
    lines[SYMBOLS_LINE:] = [re.split("[!#]", line)[0] for line in lines[SYMBOLS_LINE:]]
    place = SYMBOLS_LINE
    while place < len(lines) and not _are_numbers(lines[place]):
        lines[place] = " ".join(map(_element, lines[place].split()))
        place += 1
    if place > SYMBOLS_LINE:
        return Poscar.from_str("\n".join(lines)).structure
    numbers = lines[SYMBOLS_LINE].split()
    if _named_behind(lines, sum(map(int, numbers))):
        return Poscar.from_str("\n".join(lines)).structure
    named = _named_in(lines[0], numbers)
    if not named:
        return Rejection("poscar", "names no elements; in the layout of VASP 4 only a POTCAR does")
    return Poscar.from_str("\n".join(lines), default_names=named).structure


def _are_numbers(line: str) -> bool:
    return bool(line.split()) and all(word.isdigit() for word in line.split())


def _element(word: str) -> str:
    found = _SYMBOL.fullmatch(word)
    symbol = {"D": "H", "T": "H"}.get(found[1], found[1]) if found else ""
    if symbol not in INDEX:
        raise ValueError(f"{word} is not one of H to Lr")
    return symbol


def _named_behind(lines: list[str], atoms: int) -> bool:
    """Return whether every line of coordinates ends with an element."""
    is_selective = lines[SYMBOLS_LINE + 1][:1].strip().lower() == "s"
    first = SYMBOLS_LINE + (3 if is_selective else 2)
    place = 6 if is_selective else 3
    words = [line.split()[place : place + 1] for line in lines[first : first + atoms]]
    return len(words) == atoms and all(word and word[0] in INDEX for word in words)


def _named_in(comment: str, numbers: list[str]) -> list[str]:
    """Return the symbols that a comment consists of, with or without their numbers, or none."""
    words = [_SYMBOL.fullmatch(word) for word in comment.split()]
    if len(words) != len(numbers):
        return []
    symbols = [
        word[1]
        for word, number in zip(words, numbers, strict=True)
        if word and word[1] in INDEX and word[2] in ("", number)
    ]
    return symbols if len(symbols) == len(numbers) else []
