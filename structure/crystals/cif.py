"""Crystal structures from CIFs, checked against what the file itself says: serves ingest.

In: the text of a CIF. Out: for each data block with atoms a structure in P1, or the reason why
there is none. The atoms read must make the block's own chemical formula, as many times as it says;
a file whose atoms are not its compound is turned down, with both formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from structure.crystals.cif_blocks import Block, blocks_of
from structure.crystals.cif_contents import (
    Stated,
    confirmed,
    contradiction,
    formula_differs,
    stated_contents,
)
from structure.crystals.cif_sites import (
    FULL,
    SAME_ATOM_A,
    Site,
    has_atoms,
    images_of,
    number,
    sites_of,
)
from structure.crystals.cif_symmetry import (
    Operations,
    Symmetry,
    number_of,
    operations_of,
    symmetry_of,
)
from structure.elements import INDEX
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Lattice, Structure

CLOSEST_A = 0.4
"""Atoms closer than this are one atom given twice, or none (chosen: H-H is 0.74 A)."""

CROWDED_RATIO = 0.5
"""A setting with atoms closer than this times the sum of their radii gives way (chosen)."""

LARGE_RADIUS_A = 1.6
"""Radius of the elements beyond curium, which have none in the table (chosen)."""

SAME_CELL = 0.05
"""Relative difference of squared lengths that operations may make equal (chosen: refined cells and
cells of calculations are less than this off, another choice of axes is more)."""

_P1 = Operations(np.eye(3, dtype=int)[None], np.zeros((1, 3)))


def read_cif(text: str) -> list[tuple[str, Structure | Rejection]]:
    """Read every data block that lists atoms.

    Returns
    -------
    list of (str, Structure or Rejection)
        Name of the block, and what it holds. Codes: ``cif`` (broken, empty, atoms on top of each
        other), ``cif-symmetry`` (group or setting not understood, or not told), ``cif-formula``
        (the atoms are not the block's own formula), ``disordered``, ``element``.
    """
    return [(block.name, _read(block)) for block in blocks_of(text) if has_atoms(block)]


def _read(block: Block) -> Structure | Rejection:
    if any(name.startswith(("_cell_wave_vector", "_space_group_ssg")) for name in block.columns):
        return Rejection("cif-symmetry", "it is a modulated structure, without a cell of its own")
    lattice = _lattice(block)
    if isinstance(lattice, Rejection):
        return lattice
    stated = stated_contents(block)
    told = None if isinstance(stated, Rejection) else frozenset(stated.amounts)
    sites = sites_of(block, told or None)
    if isinstance(sites, Rejection):
        own = block.first("_chemical_formula_sum")
        also = f"; its own formula is {own}" if own else ""
        return Rejection(sites.code, f"{sites.sentence}{also}")
    if isinstance(stated, Rejection):
        return stated
    if any(abs(site.occupancy - 1) > FULL for site in sites):
        return Rejection("disordered", "it has partially occupied sites")
    symmetry = symmetry_of(block)
    if isinstance(symmetry, Rejection):
        return symmetry
    return _expanded(sites, lattice, symmetry, stated)


def _lattice(block: Block) -> Lattice | Rejection:
    from pymatgen.core import Lattice

    names = [f"_cell_length_{edge}" for edge in "abc"]
    names += [f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")]
    given_twice = [why for name, why in block.broken.items() if name in names]
    if given_twice:
        return Rejection("cif", given_twice[0])
    try:
        lattice = Lattice.from_parameters(*(number(block.first(name) or "") for name in names))
        if not lattice.volume > 1:
            raise ValueError
    except ValueError:
        return Rejection("cif", "its cell is missing, incomplete or has no volume")
    return lattice


def _expanded(
    sites: list[Site], lattice: Lattice, symmetry: Symmetry, stated: Stated
) -> Structure | Rejection:
    """Return the structure of the symmetry that agrees with what the file states."""
    if symmetry.listed is not None:
        found = _tried(sites, lattice, symmetry.listed, stated)
        is_sure = _is_sure(symmetry, lattice)
        if not isinstance(found, Rejection) and (
            is_sure or confirmed(found, stated) or _has_group(found, symmetry)
        ):
            return found
        if is_sure or not symmetry.settings:
            return found if isinstance(found, Rejection) else _incomplete(symmetry)
        other = _of_settings(sites, lattice, symmetry, stated)
        if not isinstance(other, Rejection) and confirmed(other, stated):
            return other
        return found if isinstance(found, Rejection) else _incomplete(symmetry)
    if symmetry.refused is not None:
        return symmetry.refused
    if symmetry.settings:
        return _of_settings(sites, lattice, symmetry, stated)
    found = _tried(sites, lattice, _P1, stated)
    if isinstance(found, Rejection) or confirmed(found, stated):
        return found
    why = "it gives no symmetry, and nothing in it says that the atoms listed are the whole cell"
    return Rejection("cif-symmetry", why)


def _of_settings(
    sites: list[Site], lattice: Lattice, symmetry: Symmetry, stated: Stated
) -> Structure | Rejection:
    """Try the settings a symbol can mean; the structures that agree with the file must be one."""
    fitting = [s for s in symmetry.settings if _keeps_cell(operations_of(s), lattice)]
    if not fitting:
        return _other_cell(symmetry.symbol)
    if symmetry.has_order:
        fitting = fitting[:1]
    tried = [_tried(sites, lattice, operations_of(s), stated) for s in fitting]
    found = [t for t in tried if not isinstance(t, Rejection)]
    if not found:
        return tried[0]
    agreeing = [t for t in found if confirmed(t, stated)] or found
    if len(agreeing) > 1:
        agreeing = [t for t in agreeing if not _is_crowded(t)] or agreeing
    if all(_same(agreeing[0], other) for other in agreeing[1:]):
        return agreeing[0]
    return Rejection(
        "cif-symmetry",
        f"the symbol {symmetry.symbol} leaves the origin or the axes open, and the file does not "
        "tell which it means",
    )


def _other_cell(symbol: str) -> Rejection:
    why = f"the cell has not the symmetry of {symbol or 'the operations listed'}"
    return Rejection("cif-symmetry", why)


def _incomplete(symmetry: Symmetry) -> Rejection:
    listed = 0 if symmetry.listed is None else len(symmetry.listed.rotations)
    return Rejection(
        "cif-symmetry",
        f"the number of symmetry operations listed, {listed}, is not that of {symmetry.symbol}, "
        "and nothing in it says that the atoms are complete",
    )


def _is_sure(symmetry: Symmetry, lattice: Lattice) -> bool:
    """Return whether the operations listed can be taken as they are.

    They are as many as the symbol's or more, or there is no symbol; in a cell that is none of the
    symbol's, such as a primitive one, as many as its rotations. A list without symmetry beside a
    symbol that is not understood may be what a program writes that did not understand it either.
    """
    assert symmetry.listed is not None
    order = len(symmetry.listed.rotations)
    if not symmetry.settings:
        return symmetry.refused is None or order > 1
    named = [operations_of(s) for s in symmetry.settings]
    fitting = [operations for operations in named if _keeps_cell(operations, lattice)]
    if fitting:
        return order >= max(len(operations.rotations) for operations in fitting)
    return order >= max(len(np.unique(operations.rotations, axis=0)) for operations in named)


def _has_group(structure: Structure, symmetry: Symmetry) -> bool:
    """Return whether atoms have the symmetry of the symbol, though fewer operations are listed."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    try:
        number = SpacegroupAnalyzer(structure, symprec=SAME_ATOM_A).get_space_group_number()
    except (SymmetryUndeterminedError, TypeError, ValueError):
        return False
    return bool(symmetry.settings) and bool(number == number_of(symmetry.settings[0]))


def _same(one: Structure, other: Structure) -> bool:
    from pymatgen.core.structure_matcher import StructureMatcher

    matcher = StructureMatcher(stol=0.05, primitive_cell=False, scale=False)
    return bool(len(one) == len(other) and matcher.fit(one, other))


def _keeps_cell(operations: Operations, lattice: Lattice) -> bool:
    """Return whether operations leave the lengths and angles of a cell as they are."""
    metric = lattice.matrix @ lattice.matrix.T
    turned = operations.rotations.transpose(0, 2, 1) @ metric @ operations.rotations
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    return bool((np.abs(turned - metric) / scale).max() < SAME_CELL)


def _tried(
    sites: list[Site], lattice: Lattice, operations: Operations, stated: Stated
) -> Structure | Rejection:
    """Apply operations to the atoms, and compare the result with what the file states."""
    from pymatgen.core import Structure

    if not _keeps_cell(operations, lattice):
        return _other_cell("")
    images = [images_of(site.position, operations, lattice) for site in sites]
    whole = [points for points in images if points is not None]
    if len(whole) < len(images):
        return Rejection("cif", "an atom lies beside a special position, neither on it nor off it")
    refusal = formula_differs(sites, [len(points) for points in whole], stated)
    if refusal is not None:
        return refusal
    species = [s.element for s, points in zip(sites, whole, strict=True) for _ in points]
    labels = [s.label for s, points in zip(sites, whole, strict=True) for _ in points]
    structure = Structure(lattice, species, np.concatenate(whole), labels=labels)
    if confirmed(structure, stated) is False:
        return Rejection("cif-formula", contradiction(structure, stated))
    return _too_close(structure) or structure


def _too_close(structure: Structure) -> Rejection | None:
    """Return code ``cif`` where two atoms are on top of each other."""
    centres, others, _, lengths = structure.get_neighbor_list(CLOSEST_A)
    if not len(lengths):
        return None
    worst = int(lengths.argmin())
    pair = [structure[int(i[worst])].label for i in (centres, others)]
    return Rejection("cif", f"its atoms {pair[0]} and {pair[1]} are {lengths[worst]:.2f} A apart")


def _is_crowded(structure: Structure) -> bool:
    from structure.templates.substitution import covalent_radii

    radii = np.nan_to_num(covalent_radii(), nan=LARGE_RADIUS_A)
    radii = radii[[INDEX[site.specie.symbol] for site in structure]]
    centres, others, _, lengths = structure.get_neighbor_list(2 * CROWDED_RATIO * radii.max())
    return bool((lengths < CROWDED_RATIO * (radii[centres] + radii[others])).any())
