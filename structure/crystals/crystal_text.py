"""Crystal structures as text and from files: serves ingest, template, handoff and collect.

In: pymatgen structures, or CIF, POSCAR and ``vasprun.xml`` files. Out: text whose bytes depend on
the structure alone, or structures; a file that holds none becomes a `Rejection`.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from structure.composition import WRITING_ORDER
from structure.crystals.cif_blocks import text_of
from structure.crystals.poscar import read_poscar
from structure.elements import ELEMENTS, INDEX
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

DECIMALS = 10
"""Decimals of every length (Å) and fractional coordinate in the texts."""

_PLACE = {ELEMENTS[column]: place for place, column in enumerate(WRITING_ORDER.tolist())}


def grouped(structure: Structure) -> Structure:
    """Return the structure with its sites grouped by element, in the order of its formula.

    Elements come by rising electronegativity; sites of one element keep their order.
    """
    order = sorted(range(len(structure)), key=lambda i: (_PLACE[_symbol(structure[i].specie)], i))
    return type(structure).from_sites([structure[i] for i in order])


def _symbol(specie: Any) -> str:
    """Return the element of a site, whether it carries an oxidation state or not."""
    symbol = getattr(specie, "symbol", str(specie))
    return {"D": "H", "T": "H"}.get(symbol, symbol)


def _elements(structure: Structure) -> list[tuple[str, int]]:
    """Return the elements of a grouped structure with how many sites each has."""
    counts: dict[str, int] = {}
    for site in structure:
        symbol = _symbol(site.specie)
        counts[symbol] = counts.get(symbol, 0) + 1
    return list(counts.items())


def _fractional(structure: Structure) -> np.ndarray:
    """Return coordinates in [0, 1) as they are written, without negative zeros."""
    result: np.ndarray = (
        np.round(np.round(structure.frac_coords, DECIMALS) % 1.0, DECIMALS) % 1.0 + 0.0
    )
    return result


def poscar_text(structure: Structure, comment: str = "") -> str:
    """Write a structure as POSCAR (VASP 5), sites grouped by element.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        Ordered.
    comment : str, optional
        First line; by default the formula of the cell.

    Returns
    -------
    str
        Equal structures give equal bytes.
    """
    structure = grouped(structure)
    elements = _elements(structure)
    cell = " ".join(f"{symbol}{n}" for symbol, n in elements)
    lines = [comment.replace("\n", " ") or cell, "1.0"]
    lines += [_row(vector) for vector in structure.lattice.matrix]
    lines.append(" ".join(symbol for symbol, _ in elements))
    lines.append(" ".join(str(n) for _, n in elements))
    lines.append("Direct")
    lines += [
        f"{_row(position)} {_symbol(site.specie)}"
        for position, site in zip(_fractional(structure), structure, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _row(numbers: np.ndarray) -> str:
    return " ".join(
        f"{round(float(x), DECIMALS) + 0.0:{DECIMALS + 6}.{DECIMALS}f}" for x in numbers
    )


def cif_text(structure: Structure, name: str = "") -> str:
    """Write a structure as CIF in space group P1, sites grouped by element.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        Ordered.
    name : str, optional
        Name of the data block; by default the formula of the cell.

    Returns
    -------
    str
        Equal structures give equal bytes.
    """
    structure = grouped(structure)
    elements = _elements(structure)
    block = "".join(f"{symbol}{n}" for symbol, n in elements)
    lattice = structure.lattice
    lines = [f"data_{''.join(name.split()) or block}", "_symmetry_space_group_name_H-M 'P 1'"]
    lines += ["_symmetry_Int_Tables_number 1"]
    lines += [f"_cell_length_{k} {v:.{DECIMALS}f}" for k, v in zip("abc", lattice.abc, strict=True)]
    lines += [
        f"_cell_angle_{k} {v:.{DECIMALS}f}"
        for k, v in zip(("alpha", "beta", "gamma"), lattice.angles, strict=True)
    ]
    lines += [
        f"_cell_volume {lattice.volume:.{DECIMALS}f}",
        f"_chemical_formula_sum '{' '.join(f'{s}{n}' for s, n in elements)}'",
        "loop_",
        "_symmetry_equiv_pos_site_id",
        "_symmetry_equiv_pos_as_xyz",
        "1 'x, y, z'",
        "loop_",
        "_atom_site_label",
        "_atom_site_type_symbol",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        "_atom_site_occupancy",
    ]
    seen: dict[str, int] = {}
    for position, site in zip(_fractional(structure), structure, strict=True):
        symbol = _symbol(site.specie)
        seen[symbol] = seen.get(symbol, 0) + 1
        coordinates = " ".join(f"{x:.{DECIMALS}f}" for x in position)
        lines.append(f"{symbol}{seen[symbol]} {symbol} {coordinates} 1")
    return "\n".join(lines) + "\n"


def structure_json(structure: Structure) -> str:
    """Write a structure as one line of JSON, as pymatgen's ``Structure.from_dict`` reads it."""
    return json.dumps(structure.as_dict(verbosity=0), sort_keys=True, default=float)


def structure_from_json(text: str) -> Structure:
    """Read what `structure_json` wrote."""
    from pymatgen.core import Structure

    return Structure.from_dict(json.loads(text))


def read_structure(path: Path) -> Structure | Rejection:
    """Read the one crystal structure of a file; see `read_structures`.

    Returns
    -------
    pymatgen.core.Structure or Rejection
        Besides the codes of `read_structures`: ``cif`` for a file of several structures.
    """
    found = read_structures(path)
    if len(found) == 1:
        return found[0][1]
    names = ", ".join(name for name, _ in found)
    return Rejection("cif", f"{path.name} holds {len(found)} structures: {names}")


def read_structures(path: Path) -> list[tuple[str, Structure | Rejection]]:
    """Read the crystal structures of a file.

    Parameters
    ----------
    path : Path
        ``*.cif``, ``POSCAR*``, ``CONTCAR*``, ``*.vasp``, ``*vasprun*.xml`` (the last geometry) or
        a pymatgen ``*.json``, in capitals or not; gzipped ones end in ``.gz`` besides.

    Returns
    -------
    list of (str, pymatgen.core.Structure or Rejection)
        The file's name, followed by ``#`` and that of the data block where a CIF has several with
        atoms. Codes: ``cif``, ``poscar``, ``vasprun``, ``json`` (broken or empty), ``format``
        (another name), ``missing``, ``disordered``, ``element`` (not one of H to Lr),
        ``cif-symmetry``, ``cif-formula`` (see `structure.crystals.cif.read_cif`).
    """
    kind, read = _reader(re.sub(r"\.gz$", "", path.name, flags=re.IGNORECASE))
    if read is None:
        why = Rejection("format", f"{path.name} is neither CIF, POSCAR, vasprun.xml nor JSON")
        return [(path.name, why)]
    if not path.exists():
        return [(path.name, Rejection("missing", f"{path.name} does not exist"))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(path)
    except Exception as error:  # parsers raise anything on broken files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        why = Rejection(kind, f"{path.name} holds no readable structure: {reason}")
        return [(path.name, why)]
    names = _names(path.name, [block for block, _ in found])
    return [
        (name, _checked(structure, name, kind))
        for name, (_, structure) in zip(names, found, strict=True)
    ]


def _names(file: str, blocks: list[str]) -> list[str]:
    """Return the name of each structure of a file; equal names of blocks are numbered."""
    if len(blocks) == 1:
        return [file]
    seen: dict[str, int] = {}
    names = []
    for block in blocks:
        seen[block] = seen.get(block, 0) + 1
        names.append(f"{file}#{block}" + (f"-{seen[block]}" if seen[block] > 1 else ""))
    return names


_Read = list[tuple[str, "Structure | Rejection"]]


def _reader(name: str) -> tuple[str, Callable[[Path], _Read] | None]:
    """Return the kind of a file and what reads it, by name."""
    upper = name.upper()
    if upper.endswith(".CIF"):
        return "cif", _read_cif
    if "VASPRUN" in upper and upper.endswith(".XML"):
        return "vasprun", _read_vasprun
    if upper.startswith(("POSCAR", "CONTCAR")) or upper.endswith((".VASP", ".POSCAR")):
        return "poscar", lambda path: [("", read_poscar(text_of(path.read_bytes())))]
    if upper.endswith(".JSON"):
        return "json", lambda path: [("", structure_from_json(text_of(path.read_bytes())))]
    return "format", None


def _read_cif(path: Path) -> _Read:
    from structure.crystals.cif import read_cif

    found = read_cif(text_of(path.read_bytes()))
    return found or [("", Rejection("cif", "it has no atoms"))]


def _read_vasprun(path: Path) -> _Read:
    from pymatgen.io.vasp import Vasprun

    run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    return [("", run.final_structure)]


def _checked(structure: Structure | Rejection, name: str, kind: str) -> Structure | Rejection:
    """Refuse structures that the pipeline has no meaning for."""
    if isinstance(structure, Rejection):
        return Rejection(structure.code, f"{name}: {structure.sentence}")
    if not len(structure):
        return Rejection(kind, f"{name} has no atoms")
    if not structure.is_ordered:
        return Rejection("disordered", f"{name} has partially occupied sites")
    for site in structure:
        if _symbol(site.specie) not in INDEX:
            return Rejection("element", f"{name} contains {site.specie}, not one of H to Lr")
    return structure
