"""CIF texts for tests: a cell, atoms and whatever else a file may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
