"""CIF texts for tests: a cell, atoms and whatever else a file may say; and what is read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymatgen.core import Lattice, Structure

from structure.crystals.cif import read_cif
from structure.errors import Rejection

CUBE = (4.2, 4.2, 4.2, 90, 90, 90)

ROCKSALT = (("Mg1", "Mg", 0, 0, 0), ("O1", "O", 0.5, 0.5, 0.5))

COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")


def cif(
    atoms: Sequence[Sequence[object]] = ROCKSALT,
    cell: Sequence[float] = CUBE,
    *,
    name: str = "x",
    group: str = "",
    operations: Sequence[str] = (),
    formula: str = "",
    units: object = None,
    columns: Sequence[str] = COLUMNS,
    more: Mapping[str, object] | None = None,
) -> str:
    """Return the text of one data block; what is empty or None is left out."""
    lines = [f"data_{name}"]
    parts = [f"length_{k}" for k in "abc"] + [f"angle_{k}" for k in ("alpha", "beta", "gamma")]
    lines += [f"_cell_{part} {value}" for part, value in zip(parts, cell, strict=True)]
    if group:
        lines.append(f"_symmetry_space_group_name_H-M '{group}'")
    if formula:
        lines.append(f"_chemical_formula_sum '{formula}'")
    if units is not None:
        lines.append(f"_cell_formula_units_Z {units}")
    lines += [f"{key} {value}" for key, value in (more or {}).items()]
    if operations:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{text}'" for text in operations)]
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns)]
    lines += [" ".join(str(value) for value in atom) for atom in atoms]
    return "\n".join(lines) + "\n"


def only(text: str) -> Structure | Rejection:
    """Return what the one block of a text is read as."""
    ((_, found),) = read_cif(text)
    return found


def formula(text: str) -> str:
    """Return the formula of the cell that a text is read as."""
    found = only(text)
    assert isinstance(found, Structure), found
    return found.composition.formula.replace(" ", "")


def refused(text: str) -> Rejection:
    """Return why a text is turned down."""
    found = only(text)
    assert isinstance(found, Rejection), found.composition
    return found


def lattice_of(number: int, edges: list[float], angles: list[float]) -> Lattice:
    """Return a cell that every setting of a group with this number can have, standard axes."""
    a, b, c = edges
    if number <= 2:
        return Lattice.from_parameters(a, b, c, *angles)
    if number <= 15:
        return Lattice.monoclinic(a, b, c, angles[1])
    if number <= 74:
        return Lattice.orthorhombic(a, b, c)
    if number <= 142:
        return Lattice.tetragonal(a, c)
    return Lattice.hexagonal(a, c) if number <= 194 else Lattice.cubic(a)
