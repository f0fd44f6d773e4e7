"""The atoms a CIF lists, and those that symmetry makes of them: serves reading crystal structures.

In: a data block, and symmetry operations. Out: one `Site` a row with the element it stands for, and
the positions of its images in the cell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from structure.crystals.cif_blocks import Block, is_given
from structure.crystals.cif_symmetry import Operations
from structure.elements import INDEX
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Lattice

SAME_ATOM_A = 0.1
"""Images of one atom closer than this are one: printed digits put it beside its special position
(chosen: three decimals of a long edge)."""

LONGEST_LABEL = 3
"""Letters of a label that can be told to begin with an element (chosen: ``SiT``, not ``Label``)."""

FULL = 1e-3
"""How far an occupancy may be from 1 and count as full (chosen)."""

_COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_LABEL, _TYPE = "_atom_site_label", "_atom_site_type_symbol"

_WITH_HYDROGENS = {"WAT": ("O", 2), "H2O": ("O", 2), "OH2": ("O", 2), "OH": ("O", 1)} | {
    "H3O": ("O", 3),
    "NH4": ("N", 4),
    "NH3": ("N", 3),
    "NH2": ("N", 2),
    "NH": ("N", 1),
}
"""Types and labels of a site that stands for an atom and its hydrogens."""

_OTHER_TYPES = {"D": "H", "OW": "O", "HW": "H", "SIVA": "Si", "CVAL": "C", "HISO": "H"}
"""Types that are no element symbols: deuterium, water, names of scattering factors. T is a
tetrahedral site of a zeolite rather than tritium."""

_VACANT = ("VA", "VAC")

_NOTHING = ""
"""Stands in place of an element on a vacant site."""


@dataclass(frozen=True)
class Site:
    """One row of the atom list.

    Attributes
    ----------
    label : str
    element : str
    position : ndarray of float64, shape (3,)
        Fractional.
    occupancy : float
    hydrogens : float
        Hydrogen atoms that belong to it and have no row of their own.
    """

    label: str
    element: str
    position: np.ndarray
    occupancy: float
    hydrogens: float


def has_atoms(block: Block) -> bool:
    """Return whether a block lists atoms, readable or not; a row of question marks is none."""
    names = (_LABEL, _TYPE, *_COORDINATES, "_atom_site_cartn_x")
    return any(block.column(name) or name in block.broken for name in names)


def sites_of(block: Block, stated: frozenset[str] | None) -> list[Site] | Rejection:
    """Return the atoms a block lists.

    Parameters
    ----------
    block : Block
    stated : frozenset of str or None
        Elements of the block's own formula; tells whether ``CA1`` is calcium or carbon.

    Returns
    -------
    list of Site, or Rejection
        Codes ``cif`` (numbers missing or broken), ``element`` (a site of no element).
    """
    broken = [why for name, why in block.broken.items() if name.startswith("_atom_site_")]
    if broken:
        return Rejection("cif", broken[0])
    if not all(name in block.columns for name in _COORDINATES):
        return Rejection("cif", "its atoms have no fractional coordinates")
    rows = len(block.columns[_COORDINATES[0]])
    sites = []
    for row in range(rows):
        if _cell(block, "_atom_site_calc_flag", row) == "dum":
            continue
        site = _site(block, row, stated)
        if isinstance(site, Rejection):
            return site
        if site is not None and site.occupancy > 0:
            sites.append(site)
    return sites or Rejection("cif", "it has no atoms")


def _cell(block: Block, name: str, row: int) -> str:
    """Return the entry of a row, empty where there is none or it is unknown."""
    values = block.columns.get(name, [])
    return values[row].strip() if row < len(values) and is_given(values[row]) else ""


def _site(block: Block, row: int, stated: frozenset[str] | None) -> Site | Rejection | None:
    """Read one row; None for a vacancy."""
    label, kind = _cell(block, _LABEL, row), _cell(block, _TYPE, row)
    name = label or kind or f"number {row + 1}"
    element, hydrogens = _of_type(kind, stated) if kind else _of_label(label, stated)
    if element == _NOTHING:
        return None
    if element is None:
        other = f" of type {kind}" if kind else ""
        return Rejection("element", f"its site {name}{other} is not one of H to Lr")
    try:
        position = np.array([number(_cell(block, n, row)) for n in _COORDINATES])
    except ValueError:
        return Rejection("cif", f"its site {name} has no coordinates that can be read")
    try:
        occupancy = number(_cell(block, "_atom_site_occupancy", row) or "1")
        attached = number(_cell(block, "_atom_site_attached_hydrogens", row) or "0")
    except ValueError:
        return Rejection("cif", f"the occupancy of its site {name} cannot be read")
    return Site(name, element, position, occupancy, max(hydrogens, attached))


def number(text: str) -> float:
    """Read a number with or without its standard uncertainty: ``0.3333(2)``, ``1/3``, ``.5``.

    Raises
    ------
    ValueError
        If it is none.
    """
    value, _, divisor = re.sub(r"\(\d*\)?$", "", text.strip()).partition("/")
    found = float(value) / (float(divisor) if divisor else 1.0)
    if not np.isfinite(found) or "_" in text:
        raise ValueError(f"{text} is not a number")
    return found


def _of_type(kind: str, stated: frozenset[str] | None) -> tuple[str | None, int]:
    """Return the element a type symbol names (``Fe3+``, ``O-2``, ``CA``), and implied hydrogens."""
    word = re.sub(r"[+-]", "", kind.upper())
    letters = _letters(re.sub(r"^\d+", "", word))
    if implied := _WITH_HYDROGENS.get(word) or _WITH_HYDROGENS.get(letters):
        return implied
    if letters in _VACANT:
        return _vacancy(stated), 0
    symbol = letters.title()
    return symbol if symbol in INDEX else _OTHER_TYPES.get(letters), 0


def _letters(word: str) -> str:
    found = re.match(r"[A-Za-z]*", word)
    return found.group() if found else ""


def _vacancy(stated: frozenset[str] | None) -> str | None:
    """Return what ``Va`` is: nothing, or vanadium on a site named a, or not to be told."""
    if stated is None:
        return None
    return "V" if "V" in stated else _NOTHING


def _of_label(label: str, stated: frozenset[str] | None) -> tuple[str | None, int]:
    """Return the element a label begins with, and hydrogens it may imply.

    Where the file has a formula, that decides between the readings of ``CA1`` and tells whether
    the hydrogens of ``OH1`` are missing; otherwise what can be read in two ways is not read.
    """
    word = _letters(label)
    if word.upper() in _VACANT:
        return _vacancy(stated), 0
    group = _WITH_HYDROGENS.get(label.upper()[:3]) or _WITH_HYDROGENS.get(word.upper())
    if group is not None:
        return group[0], 0 if stated else group[1]
    if word.upper() == "OW" and stated is None:
        return _WITH_HYDROGENS["WAT"]
    both = ("H" if p == "D" else p for p in (word[:2].title(), word[:1].upper()))
    possible = list(dict.fromkeys(p for p in both if p in INDEX))
    named = [p for p in possible if stated and p in stated]
    if stated is None and len(word) > LONGEST_LABEL:
        return None, 0
    if len(named) == 1 or len(possible) == 1:
        return (named or possible)[0], 0
    reads_as_two = word[:1].isupper() and word[1:2].islower()
    return (possible[0] if possible and reads_as_two else None), 0


def images_of(position: np.ndarray, operations: Operations, lattice: Lattice) -> np.ndarray | None:
    """Return the images of one atom in the cell, each once.

    Images within `SAME_ATOM_A` are one atom on a special position, put where their mean is.

    Returns
    -------
    ndarray of float64, shape (n, 3), or None
        Fractional, in [0, 1). None where the images do not fall into equal groups.
    """
    points = operations.rotations @ position + operations.translations
    apart = points[:, None] - points[None]
    apart -= np.round(apart)
    close = np.square(apart @ lattice.matrix).sum(axis=2) < SAME_ATOM_A**2
    first = close.argmax(axis=1)
    seeds, sizes = np.unique(first, return_counts=True)
    if len(set(sizes.tolist())) > 1:
        return None
    means = np.array([points[s] - apart[s][first == s].mean(axis=0) for s in seeds])
    return means % 1.0
