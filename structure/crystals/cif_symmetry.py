"""The symmetry a CIF names: serves the reading of crystal structures.

In: a data block. Out: the operations that it lists, or those of the space-group settings that its
symbol can mean; a symbol that is not understood is refused, and never taken for P1. The settings
are the 530 of spglib's database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from structure.crystals.cif_blocks import Block
from structure.errors import Rejection

_HERMANN_MAUGUIN = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
    "_space_group_name_h-m",
    "_symmetry_space_group_name_h_m",
    "_space_group_name_h_m_alt",
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_CODE = "_space_group_it_coordinate_system_code"
_LISTED = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_MAGNETIC = "_space_group_symop_magn_operation_xyz"
_MAGNETIC_CENTRING = "_space_group_symop_magn_centering_xyz"

_TERM = re.compile(r"([+-]?)(?:(\d+(?:\.\d*)?|\.\d+)(?:/(\d+))?)?\*?([xyz]?)")
SETTINGS = range(1, 531)
"""Hall numbers."""

_TWENTY_FOURTHS = 24
"""Translations of tabulated settings are multiples of 1/24."""

_ROUNDED = 2e-3
"""How far printed decimals of a translation may be off (``0.333``)."""

_WITHOUT_E = {
    39: "Abm2 Bma2 B2cm C2mb Cm2a Ac2m",
    41: "Aba2 Bba2 B2cb C2cb Cc2a Ac2a",
    64: "Cmca Ccmb Abma Acam Bbcm Bmab",
    67: "Cmma Cmmb Abmm Acmm Bmcm Bmam",
    68: "Ccca Cccb Abaa Acaa Bbcb Bbab",
}
"""Symbols from before the glide plane e, for the axes of `_AXES` (International Tables A)."""

_BY_NUMBER = "number "

_AXES = ("", "ba-c", "cab", "-cba", "bca", "a-cb")


class Operations(NamedTuple):
    """Symmetry operations, x' = rotation x + translation in fractional coordinates.

    Attributes
    ----------
    rotations : ndarray of int, shape (n, 3, 3)
    translations : ndarray of float64, shape (n, 3)
    """

    rotations: np.ndarray
    translations: np.ndarray


@dataclass(frozen=True)
class Symmetry:
    """What a block says of its symmetry.

    Attributes
    ----------
    listed : Operations or None
        As the file lists them.
    settings : tuple of int
        Hall numbers the symbol or the number can mean; empty without either.
    symbol : str
        As the file writes it; empty where it says nothing.
    has_order : bool
        Whether a setting with another unique axis counts only if the first does not fit the cell.
    refused : Rejection or None
        Why the symbol means nothing; counts where no operations are listed.
    """

    listed: Operations | None
    settings: tuple[int, ...]
    symbol: str
    has_order: bool = False
    refused: Rejection | None = None


def symmetry_of(block: Block) -> Symmetry | Rejection:
    """Read the symmetry of a block.

    Returns
    -------
    Symmetry or Rejection
        Code ``cif-symmetry`` where listed operations cannot be read or make no group.
    """
    try:
        listed = _listed(block)
    except ValueError as error:
        return Rejection("cif-symmetry", str(error))
    if listed is not None and not _is_group(listed):
        return Rejection(
            "cif-symmetry",
            f"the {len(listed.rotations)} symmetry operations listed make no group: some are "
            "missing or misprinted",
        )
    symbol, found = _named(block)
    if isinstance(found, Rejection):
        return Symmetry(listed, (), symbol, refused=found)
    is_monoclinic = bool(found) and 3 <= number_of(found[0]) <= 15
    return Symmetry(listed, found, symbol, is_monoclinic and not symbol.startswith(_BY_NUMBER))


def operations_of(setting: int) -> Operations:
    """Return the operations of a setting, by its Hall number."""
    import spglib

    found: Any = spglib.get_symmetry_from_database(setting)
    return Operations(found["rotations"].astype(int), found["translations"])


def number_of(setting: int) -> int:
    """Return the space group number of a setting."""
    return int(_kind(setting).number)


def choice_of(setting: int) -> str:
    """Return spglib's name for a setting's origin, axes or cell: ``2``, ``H``, ``b1`` ..."""
    return str(_kind(setting).choice)


@cache
def _kind(setting: int) -> Any:
    import spglib

    return spglib.get_spacegroup_type(setting)


def _listed(block: Block) -> Operations | None:
    """Return the operations that a block lists, or None if it lists none.

    Raises
    ------
    ValueError
        If one of them cannot be read.
    """
    for name in (*_LISTED, _MAGNETIC):
        if name in block.broken:
            raise ValueError(block.broken[name])
    texts = _joined(block.column(*_LISTED))
    if texts:
        read = [operation_of(text) for text in texts]
    else:
        magnetic = [operation_of(t) for t in block.column(_MAGNETIC)]
        centring = [operation_of(t) for t in block.column(_MAGNETIC_CENTRING)]
        read = [(r, t + shift) for r, t in magnetic for _, shift in centring] or magnetic
    if not read:
        return None
    rotations = np.array([rotation for rotation, _ in read])
    return Operations(rotations, np.array([translation for _, translation in read]) % 1.0)


def _joined(words: list[str]) -> list[str]:
    """Return operations whole that were written with blanks and without quotes: ``x, y, z``."""
    texts = [""]
    for word in words:
        if texts[-1].count(",") >= 2 and not texts[-1].endswith(","):
            texts.append("")
        texts[-1] += word
    return [text for text in texts if text]


@cache
def operation_of(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one operation, such as ``-x+1/2, y, z-y+0.5``; a fourth part is a time reversal.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    parts = re.sub(r"\s", "", text.lower()).split(",")
    rotation, translation = np.zeros((3, 3), dtype=int), np.zeros(3)
    if len(parts) not in (3, 4) or not all(parts[:3]):
        raise ValueError(f"the symmetry operation {text!r} is not understood")
    for row, part in enumerate(parts[:3]):
        if "".join(match.group() for match in _TERM.finditer(part)) != part:
            raise ValueError(f"the symmetry operation {text!r} is not understood")
        for sign, number, divisor, axis in _TERM.findall(part):
            if not number and not axis:
                continue
            value = float(number or 1) / float(divisor or 1) * (-1 if sign == "-" else 1)
            if axis:
                rotation[row, "xyz".index(axis)] += round(value)
            else:
                translation[row] += value
    if abs(round(np.linalg.det(rotation))) != 1:
        raise ValueError(f"the symmetry operation {text!r} is not understood")
    whole = np.round(translation * _TWENTY_FOURTHS) / _TWENTY_FOURTHS
    close = np.abs(translation - whole) < _ROUNDED
    return rotation, np.where(close, whole, translation)


def _is_group(operations: Operations) -> bool:
    """Return whether the product of any two operations is among them."""
    rotations, translations = operations
    steps = translations * _TWENTY_FOURTHS
    if np.abs(steps - np.round(steps)).max() > 1e-6:
        return True  # an origin of the file's own: products cannot be told from rounding
    whole = np.round(steps).astype(int)
    codes = _codes(rotations, whole)
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 3, 3)
    moved = (np.einsum("aij,bj->abi", rotations, whole) + whole[:, None]).reshape(-1, 3)
    return len(np.unique(codes)) == len(codes) and bool(
        np.isin(_codes(products, moved), codes).all()
    )


def _codes(rotations: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return one whole number for each operation, translations modulo the lattice."""
    turns = (rotations.reshape(-1, 9) + 4) @ (9 ** np.arange(9))
    moves = (steps % _TWENTY_FOURTHS) @ (_TWENTY_FOURTHS ** np.arange(3))
    coded: np.ndarray = turns * _TWENTY_FOURTHS**3 + moves
    return coded


def _named(block: Block) -> tuple[str, tuple[int, ...] | Rejection]:
    """Return what a block calls its group, and the settings that this can mean."""
    hall, symbol = block.first(*_HALL), block.first(*_HERMANN_MAUGUIN)
    number = (block.first(*_NUMBER) or "").strip()
    said = [text for text in (hall, symbol) if text]
    read = [hall_numbers().get(_bare(hall or ""), ()), ()]
    if symbol:
        read[1] = settings_of(symbol, block.first(_CODE) or "")
    understood = [settings for settings in read if settings]
    if said and not understood:
        why = f"the space group symbol {said[-1]!r} is not understood"
        return said[-1], Rejection("cif-symmetry", why)
    if number:
        said.append(f"{_BY_NUMBER}{number}")
        understood.append(tuple(s for s in SETTINGS if str(number_of(s)) == number))
        if not understood[-1]:
            why = f"there is no space group of number {number}"
            return number, Rejection("cif-symmetry", why)
    if len({number_of(settings[0]) for settings in understood}) > 1:
        why = f"the space group is given as {', as '.join(said)}, which are not the same"
        return said[0], Rejection("cif-symmetry", why)
    return (said[0], understood[0]) if said else ("", ())


def settings_of(symbol: str, code: str = "") -> tuple[int, ...]:
    """Return the Hall numbers that a Hermann-Mauguin symbol can mean, the usual one first.

    Parameters
    ----------
    symbol : str
        Short or full, with or without blanks, underscores and qualifiers: ``F d -3 m :2``,
        ``R -3 m H``, ``P 1 21/n 1``, ``I 41/a m d S``, ``P2(1)/c``, ``F m 3 m``.
    code : str, optional
        ``_space_group_IT_coordinate_system_code``.

    Returns
    -------
    tuple of int
        Several where the symbol leaves the origin or the axes open; empty if not understood.
    """
    text = re.sub(r"\(?\s*origin\s*(?:choice)?\s*([12])\s*\)?", r":\1", symbol.lower())
    name, _, qualifier = text.partition(":")
    bare, table = _bare(name), symbols()
    if bare not in table:
        bare = re.sub(r"(\d)-", r"-\1", bare)
    if bare not in table and bare[-1:] in _QUALIFIERS:
        bare, qualifier = bare[:-1], bare[-1]
    wanted = _bare(qualifier) or _bare(code)
    return _fitting(table.get(bare, ()), _QUALIFIERS.get(wanted, wanted))


_QUALIFIERS = {"s": "1", "z": "2", "h": "h", "r": "r"}
"""Endings of symbols that name the origin (ICSD's S and Z) or the axes."""


def _fitting(settings: tuple[int, ...], wanted: str) -> tuple[int, ...]:
    """Return the settings of a symbol that a qualifier names; without one, those of usual axes."""
    exact = tuple(s for s in settings if choice_of(s).lower() == wanted)
    if wanted:
        origins = settings if wanted in ("1", "2") else ()
        return exact or tuple(s for s in origins if choice_of(s)[:1] == wanted)
    return tuple(s for s in settings if choice_of(s).strip("12") == "") or settings


def _bare(symbol: str) -> str:
    return re.sub(r"[\s_()'\"]", "", symbol).lower()


@cache
def hall_numbers() -> dict[str, tuple[int, ...]]:
    """Return Hall numbers by Hall symbol."""
    found: dict[str, tuple[int, ...]] = {}
    for setting in SETTINGS:
        found.setdefault(_bare(_kind(setting).hall_symbol), (setting,))
    return found


@cache
def symbols() -> dict[str, tuple[int, ...]]:
    """Return Hall numbers by bare Hermann-Mauguin symbol, the usual setting first."""
    found: dict[str, tuple[int, ...]] = {}
    for setting in SETTINGS:
        for name in {_bare(n) for n in _names(setting)}:
            found[name] = (*found.get(name, ()), setting)
    return found


def _names(setting: int) -> list[str]:
    """Return the symbols in use for one setting."""
    kind, number, choice = _kind(setting), number_of(setting), choice_of(setting)
    full, aliases = kind.international_full, kind.international.split("=")
    if 3 <= number <= 15:
        return [full, _without_ones(full), *aliases[0 if choice in ("b", "b1") else 1 :]]
    names = [full, *aliases, kind.international_short]
    if number in _WITHOUT_E:
        names.append(_WITHOUT_E[number].split()[_AXES.index(choice.lstrip("12"))])
    if 200 <= number <= 206 or 221 <= number <= 230:
        names += [name.replace("-3", "3") for name in names]
    return names


def _without_ones(full: str) -> str:
    return " ".join(word for word in full.split() if word != "1")
