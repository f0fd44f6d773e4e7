"""Where templates come from, for the template library: one structure at a time, checked.

In: Materials Project style JSON lines, pymatgen's AFLOW prototypes, pymatgen structures. Out: a
`Template` of plain arrays for each, or the reason why it cannot be one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from structure.elements import INDEX
from structure.errors import DataError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMPREC = 0.1
"""Å. Tolerance for the space group of structures that bring none (chosen)."""

_SYMBOLS = {**INDEX, "D": INDEX["H"], "T": INDEX["H"]}


@dataclass(frozen=True)
class Template:
    """One structure on its way into a library.

    Attributes
    ----------
    id : str
    lattice : ndarray of float64, shape (3, 3)
        Cell vectors as rows, Å.
    species : ndarray of uint8, shape (s,)
        Column of each site's element.
    coordinates : ndarray of float64, shape (s, 3)
        Fractional.
    spacegroup : int
        Number; 0 where unknown.
    formation_energy : float
        eV/atom; NaN where unknown.
    """

    id: str
    lattice: np.ndarray
    species: np.ndarray
    coordinates: np.ndarray
    spacegroup: int = 0
    formation_energy: float = float("nan")


def template_of(
    id: str, structure: Structure, formation_energy: float = float("nan"), spacegroup: int = -1
) -> Template | Rejection:
    """Take one pymatgen structure as a template.

    Parameters
    ----------
    id : str
    structure : pymatgen.core.Structure
    formation_energy : float, optional
        eV/atom.
    spacegroup : int, optional
        Found with spglib when not given.

    Returns
    -------
    Template or Rejection
        Codes: ``disordered``, ``element`` (beyond Lr, or a dummy), ``sites`` (none).
    """
    if not structure.is_ordered:
        return Rejection("disordered", f"{id} has partially occupied sites")
    symbols = [getattr(site.specie, "symbol", str(site.specie)) for site in structure]
    unknown = sorted({s for s in symbols if s not in _SYMBOLS})
    if unknown:
        return Rejection("element", f"{id} contains {unknown[0]}, which is not one of H to Lr")
    if not symbols:
        return Rejection("sites", f"{id} has no atoms")
    return Template(
        id,
        np.array(structure.lattice.matrix),
        np.array([_SYMBOLS[s] for s in symbols], dtype=np.uint8),
        np.array(structure.frac_coords),
        _spacegroup(structure) if spacegroup < 0 else spacegroup,
        formation_energy,
    )


def _spacegroup(structure: Structure) -> int:
    """Find the space group number; 0 where spglib finds none."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    try:
        return int(SpacegroupAnalyzer(structure, symprec=SYMPREC).get_space_group_number())
    except (SymmetryUndeterminedError, TypeError, ValueError):
        return 0


def read_prototypes() -> Iterator[tuple[str, Template | Rejection]]:
    """Yield the prototypes that pymatgen ships, as id and template."""
    from pymatgen.analysis.prototypes._data import AFLOW_PROTOTYPE_LIBRARY

    seen: dict[str, int] = {}
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        label = entry["tags"]["aflow"]
        seen[label] = seen.get(label, 0) + 1
        id = f"aflow-{label}" + (f"-{seen[label]}" if seen[label] > 1 else "")
        yield id, template_of(id, entry["snl"].structure, spacegroup=int(label.split("_")[2]))


def read_jsonl(path: Path) -> Iterator[tuple[str, Template | Rejection]]:
    """Yield the structures of a JSON lines file, as id and template; `TemplateLibrary.from_jsonl`.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _jsonl_row(line, f"{path.name}:{number}")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            "the structure file cannot be read",
            where=path,
            fix="Check that the file exists and is complete, then run the same command again.",
        ) from error


def _jsonl_row(line: str, place: str) -> tuple[str, Template | Rejection]:
    """Read one line; `place` names it where it has no id."""
    try:
        row = json.loads(line)
        id = str(row["material_id"])
        symbols = row["species"]
        lattice = np.array(row["lattice"], dtype=np.float64)
        coordinates = np.array(row["frac_coords"], dtype=np.float64)
        spacegroup = int(row.get("spacegroup") or 0)
        energy = row.get("formation_energy_per_atom")
        energy = float("nan") if energy is None else float(energy)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return place, Rejection("row", f"{place} is not a structure: {error!r}")
    unknown = [s for s in symbols if s not in _SYMBOLS]
    if unknown:
        return id, Rejection(
            "element", f"{id} contains {unknown[0]!r}, which is not one of H to Lr"
        )
    if not symbols or coordinates.shape != (len(symbols), 3) or not np.isfinite(coordinates).all():
        return id, Rejection("sites", f"{id} has {len(symbols)} species and other coordinates")
    matrix = cell_vectors(lattice)
    if matrix is None:
        return id, Rejection("lattice", f"{id} has no cell with the parameters {row['lattice']}")
    species = np.array([_SYMBOLS[s] for s in symbols], dtype=np.uint8)
    return id, Template(id, matrix, species, coordinates, spacegroup, energy)


def cell_vectors(parameters: np.ndarray) -> np.ndarray | None:
    """Build cell vectors from lengths and angles, in pymatgen's orientation.

    Parameters
    ----------
    parameters : ndarray of float64, shape (6,)
        a, b, c in Å, alpha, beta, gamma in degrees.

    Returns
    -------
    ndarray of float64, shape (3, 3), or None
        None if no cell has these parameters.
    """
    if parameters.shape != (6,) or not np.isfinite(parameters).all() or (parameters <= 0).any():
        return None
    a, b, c = parameters[:3]
    cosines, sines = np.cos(np.radians(parameters[3:])), np.sin(np.radians(parameters[3:]))
    if (sines <= 0).any():
        return None
    ratio = (cosines[0] * cosines[1] - cosines[2]) / (sines[0] * sines[1])
    if abs(ratio) >= 1:
        return None
    gamma_star = np.arccos(ratio)
    return np.array(
        [
            [a * sines[1], 0.0, a * cosines[1]],
            [
                -b * sines[0] * np.cos(gamma_star),
                b * sines[0] * np.sin(gamma_star),
                b * cosines[0],
            ],
            [0.0, 0.0, c],
        ]
    )
