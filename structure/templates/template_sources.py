"""Where templates come from, for the template library: one structure at a time, checked.

In: Materials Project style JSON lines, pymatgen's AFLOW prototypes, pymatgen structures. Out: a
`Template` of plain arrays for each, or the reason why it cannot be one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from structure.elements import INDEX
from structure.errors import DataError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMPREC = 0.1
"""Å. Tolerance for the space group of structures that bring none (chosen)."""

_SMALLEST_CELL = 1.0  # Å³; no atom fits into less

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
    """Yield the prototypes that pymatgen ships, as id and template.

    Raises
    ------
    DataError
        If the installed pymatgen does not carry them as expected.
    """
    spec = find_spec("pymatgen.analysis.prototypes")
    folder = Path((spec and spec.origin) or "pymatgen").parent
    path = folder / "aflow_prototypes.json.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as handle:
            entries = json.load(handle)
        labels = [entry["tags"]["aflow"] for entry in entries]
        rows = [
            _row(entry["snl"]["lattice"]["matrix"], *_prototype_sites(entry), _number(label))
            for entry, label in zip(entries, labels, strict=True)
        ]
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"pymatgen's prototypes cannot be read: {error!r}",
            where=path,
            fix="Install a pymatgen version of the range this release names.",
        ) from error
    seen: dict[str, int] = {}
    for label, row in zip(labels, rows, strict=True):
        seen[label] = seen.get(label, 0) + 1
        id = f"aflow-{label}" + (f"-{seen[label]}" if seen[label] > 1 else "")
        yield id, _template(id, row)


def _prototype_sites(entry: dict[str, Any]) -> tuple[list[str], list[list[float]]]:
    sites = entry["snl"]["sites"]
    return [site["species"][0]["element"] for site in sites], [site["abc"] for site in sites]


def _number(label: str) -> int:
    """Return the space group number of an AFLOW label, e.g. 225 of ``AB_cF8_225_a_b``."""
    return int(label.split("_")[2])


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
        read = json.loads(line)
        id = str(read["material_id"])
        energy = read.get("formation_energy_per_atom", read.get("formation_energy_eV_per_atom"))
        row = _row(
            read["lattice"],
            read["species"],
            read["frac_coords"],
            int(read.get("spacegroup") or 0),
            float("nan") if energy is None else float(energy),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else repr(error)
        return place, Rejection("row", f"{place} is not a structure: {what}")
    return id, _template(id, row)


class _Row(NamedTuple):
    """A structure as read: numbers, but not yet checked."""

    lattice: np.ndarray
    symbols: list[str]
    coordinates: np.ndarray
    spacegroup: int
    energy: float


def _row(
    lattice: Any,
    symbols: Any,
    coordinates: Any,
    spacegroup: int,
    energy: float = float("nan"),
) -> _Row:
    return _Row(
        np.array(lattice, dtype=np.float64),
        [str(s) for s in symbols],
        np.array(coordinates, dtype=np.float64),
        spacegroup,
        energy,
    )


def _template(id: str, row: _Row) -> Template | Rejection:
    """Check a row; codes ``element``, ``sites``, ``lattice``."""
    n = len(row.symbols)
    unknown = [s for s in row.symbols if s not in _SYMBOLS]
    if unknown:
        return Rejection("element", f"{id} contains {unknown[0]!r}, which is not one of H to Lr")
    if not n or row.coordinates.shape != (n, 3) or not np.isfinite(row.coordinates).all():
        return Rejection("sites", f"{id} has {n} species and other coordinates")
    matrix = row.lattice if row.lattice.shape == (3, 3) else cell_vectors(row.lattice)
    if matrix is None or not abs(np.linalg.det(matrix)) > _SMALLEST_CELL:
        return Rejection("lattice", f"{id} has no cell with the parameters {row.lattice.tolist()}")
    species = np.array([_SYMBOLS[s] for s in row.symbols], dtype=np.uint8)
    return Template(id, matrix, species, row.coordinates, row.spacegroup, row.energy)


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
