"""Training data: serves the train stage with labelled compositions and structures.

In: a folder of tables and the mapping of their columns. Out: unique reduced compositions with band
gaps, compositions seen in any table, structures with formation energies, and a fingerprint of the
files; with splits that keep a formula, or a chemical system, on one side.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from structure.composition import N_ELEMENTS, first_of_each, keys_of, parse_formulas
from structure.errors import ConfigError, DataError
from structure.files import sha256_of

if TYPE_CHECKING:
    from pymatgen.core import Structure


class TableSource(BaseModel):
    """One table of compositions and how its columns are named.

    Attributes
    ----------
    path : str
        CSV, JSON lines or Parquet, relative to the data folder; ``.gz`` is read as it is.
    formula : str
        Column of formulas, reduced or not.
    value : str or None
        Column of the property; None for a table of formulas alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    formula: str = "formula"
    value: str | None = None


class StructureSource(BaseModel):
    """JSON lines of crystal structures and how their fields are named.

    Attributes
    ----------
    path : str
        Relative to the data folder. Each line has ``lattice`` (a, b, c in Å and three angles in
        degrees), ``species`` and ``frac_coords``.
    formation_energy : str
        Field of the formation energy, eV/atom; lines where it is null are left out.
    energy_scheme : str
        What those energies are measured against; models trained on them carry it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    formation_energy: str = "formation_energy_per_atom"
    energy_scheme: str = "PBE formation energy with Materials Project corrections (2018), eV/atom"


class DataMapping(BaseModel):
    """Where a data folder keeps what the models learn from.

    Attributes
    ----------
    band_gaps : TableSource or None
        Gaps in eV.
    formation_energies : TableSource or None
        Energies by composition in eV/atom; their formulas also count as compositions.
    formulas : TableSource or None
        Further known compositions.
    structures : StructureSource or None
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    band_gaps: TableSource | None = TableSource(path="mp_gap.csv.gz", value="gap")
    formation_energies: TableSource | None = TableSource(path="mp_e_form.csv.gz", value="e_form")
    formulas: TableSource | None = TableSource(path="mp_formulas_2024.csv.gz")
    structures: StructureSource | None = StructureSource(path="mp_structures.jsonl.gz")


MAPPING_FILE = "agd-data.json"
"""A data folder may describe its own columns in this file, as JSON of `DataMapping`."""


@dataclass(frozen=True)
class Labelled:
    """Unique compositions with one value each.

    Attributes
    ----------
    counts : ndarray of int16, shape (n, 103)
        Reduced.
    values : ndarray of float64, shape (n,)
    rule : {"median", "lowest"}
        How several rows of one composition became one value.
    """

    counts: np.ndarray
    values: np.ndarray
    rule: Literal["median", "lowest"]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Labelled:
        """Return the rows given by position or mask."""
        return Labelled(self.counts[rows], self.values[rows], self.rule)


@dataclass(frozen=True)
class StructureRow:
    """One crystal with its formation energy in eV/atom, not yet a pymatgen object."""

    counts: np.ndarray
    lattice: tuple[float, ...]
    species: list[str]
    frac_coords: list[list[float]]
    formation_energy: float

    def structure(self) -> Structure:
        """Build the pymatgen structure."""
        from pymatgen.core import Lattice, Structure

        return Structure(
            Lattice.from_parameters(*self.lattice),
            self.species,
            self.frac_coords,
            validate_proximity=False,
        )


@dataclass(frozen=True)
class TrainingData:
    """Everything the shipped models learn from.

    Attributes
    ----------
    folder : Path
    mapping : DataMapping
    band_gaps : Labelled
        Median gap over the rows of each composition, eV: the table names no energies by which
        the ground state could be told.
    formation_energies : Labelled
        Lowest energy of each composition, eV/atom.
    counts : ndarray of int16, shape (n, 103)
        Every composition of every table once: what the generators learn from.
    fingerprint : str
        SHA-256 over the files' own hashes and the mapping.
    rejected : int
        Rows whose formula did not parse or whose value was missing.
    """

    folder: Path
    mapping: DataMapping
    band_gaps: Labelled
    formation_energies: Labelled
    counts: np.ndarray
    fingerprint: str
    rejected: int

    def structures(self, max_sites: int | None = None) -> Iterator[StructureRow]:
        """Read the structures that have a formation energy, one by one.

        Raises
        ------
        DataError
            If the folder has none, or a line cannot be read.
        """
        source = self.mapping.structures
        if source is None:
            raise DataError(
                "the data folder names no structures",
                where=self.folder,
                fix=f"Name them under 'structures' in {MAPPING_FILE}.",
            )
        yield from _structure_rows(self.folder / source.path, source.formation_energy, max_sites)


def load_training_data(folder: Path, mapping: DataMapping | None = None) -> TrainingData:
    """Read the tables of a data folder.

    Parameters
    ----------
    folder : Path
    mapping : DataMapping, optional
        Default: the folder's own ``agd-data.json``, else the layout that `DataMapping` defaults to.

    Raises
    ------
    ConfigError, DataError
        If the mapping or a table it names cannot be read.
    """
    mapping = mapping or _mapping_of(folder)
    gaps, bad_gaps = _labelled(folder, mapping.band_gaps, "median")
    energies, bad_energies = _labelled(folder, mapping.formation_energies, "lowest")
    known, bad_known = _parsed(folder, mapping.formulas)
    everything = np.concatenate([gaps.counts, energies.counts, known])
    everything = everything[first_of_each(keys_of(everything))]
    sources = (mapping.band_gaps, mapping.formation_energies, mapping.formulas, mapping.structures)
    parts = [mapping.model_dump_json()]
    parts += [sha256_of(_existing(folder / s.path)) for s in sources if s is not None]
    return TrainingData(
        folder,
        mapping,
        gaps,
        energies,
        everything,
        hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        bad_gaps + bad_energies + bad_known,
    )


def _mapping_of(folder: Path) -> DataMapping:
    path = folder / MAPPING_FILE
    if not path.exists():
        return DataMapping()
    try:
        return DataMapping.model_validate_json(path.read_text())
    except ValueError as error:
        raise ConfigError(
            f"the data mapping cannot be used: {error}",
            where=path,
            fix="Compare it with models.datasets.DataMapping.",
        ) from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(
            "a table of the training data is missing",
            where=path,
            fix=f"Put it there, or describe the folder in {MAPPING_FILE}.",
        )
    return path


def _columns(path: Path, names: list[str]) -> list[list[Any]]:
    """Read named columns of a CSV, JSON lines or Parquet table."""
    import pandas as pd

    kind = _existing(path).name.removesuffix(".gz").rsplit(".", 1)[-1]
    try:
        if kind == "csv":
            frame = pd.read_csv(path, keep_default_na=False, dtype=object)
        elif kind in {"jsonl", "ndjson"}:
            frame = pd.read_json(path, lines=True, dtype=False)
        elif kind == "parquet":
            frame = pd.read_parquet(path)
        else:
            raise DataError(
                f"tables of kind {kind!r} are not read",
                where=path,
                fix="Use .csv, .jsonl or .parquet, or take it in with `agd data`.",
            )
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the table cannot be read: {error}", where=path, fix="Check that the file is complete."
        ) from error
    for name in names:
        if name not in frame.columns:
            raise DataError(
                f"the table has no column {name!r}; it has {', '.join(map(str, frame.columns))}",
                where=path,
                fix=f"Name the column in {MAPPING_FILE}.",
            )
    return [frame[name].tolist() for name in names]


def _parsed(folder: Path, source: TableSource | None) -> tuple[np.ndarray, int]:
    if source is None:
        return np.zeros((0, N_ELEMENTS), dtype=np.int16), 0
    (formulas,) = _columns(folder / source.path, [source.formula])
    parsed = parse_formulas(formulas)
    return parsed.counts, len(parsed.rejections)


def _labelled(
    folder: Path, source: TableSource | None, rule: Literal["median", "lowest"]
) -> tuple[Labelled, int]:
    if source is None:
        return Labelled(np.zeros((0, N_ELEMENTS), dtype=np.int16), np.zeros(0), rule), 0
    path = folder / source.path
    if source.value is None:
        raise ConfigError(
            "the mapping names no value column", where=path, fix="Add 'value' to the table's entry."
        )
    formulas, raw = _columns(path, [source.formula, source.value])
    parsed = parse_formulas(formulas)
    values = np.array([_number(raw[i]) for i in parsed.rows], dtype=np.float64)
    good = np.isfinite(values)
    merged = merge(parsed.counts[good], values[good], rule)
    return merged, len(parsed.rejections) + int((~good).sum())


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def merge(counts: np.ndarray, values: np.ndarray, rule: Literal["median", "lowest"]) -> Labelled:
    """Give each composition one value.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
        Reduced, with repeats.
    values : ndarray, shape (n,)
    rule : {"median", "lowest"}

    Returns
    -------
    Labelled
        In order of first occurrence.
    """
    keys = keys_of(counts)
    first = first_of_each(keys)
    order = np.lexsort((values, keys))
    sorted_keys, sorted_values = keys[order], values[order]
    starts = (
        np.flatnonzero(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]) if len(keys) else first
    )
    ends = np.r_[starts[1:], len(keys)].astype(np.intp)
    if rule == "lowest":
        merged = sorted_values[starts]
    else:
        sizes = ends - starts
        merged = 0.5 * (
            sorted_values[starts + (sizes - 1) // 2] + sorted_values[starts + sizes // 2]
        )
    place = np.searchsorted(sorted_keys[starts], keys[first])
    return Labelled(counts[first], merged[place], rule)


def _structure_rows(path: Path, field: str, max_sites: int | None) -> Iterator[StructureRow]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(_existing(path), "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                energy = row[field]
                if energy is None or (max_sites is not None and len(row["species"]) > max_sites):
                    continue
                parsed = parse_formulas(["".join(row["species"])])
                if parsed.rejections:
                    raise ValueError(parsed.rejections[0][2].sentence)
                yield StructureRow(
                    parsed.counts[0],
                    tuple(row["lattice"]),
                    row["species"],
                    row["frac_coords"],
                    float(energy),
                )
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"line {number} is no structure with a formation energy: {error}",
                    where=path,
                    fix="Correct the line or the field names.",
                ) from error


def split_by_formula(keys: np.ndarray, fractions: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """Split rows at random so that all rows of one key fall on the same side.

    Parameters
    ----------
    keys : ndarray, shape (n,)
        Composition keys, or any other grouping.
    fractions : tuple of float
        Shares of the distinct keys of all parts but the first, which takes the rest.
    seed : int

    Returns
    -------
    list of ndarray of int
        Row positions of each part, rising; ``len(fractions) + 1`` parts.
    """
    unique, inverse = np.unique(keys, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(unique))
    part = np.zeros(len(unique), dtype=np.intp)
    start = 0
    for number, fraction in enumerate(fractions, start=1):
        size = round(fraction * len(unique))
        part[order[start : start + size]] = number
        start += size
    return [np.flatnonzero(part[inverse] == i) for i in range(len(fractions) + 1)]


def chemical_systems(counts: np.ndarray) -> np.ndarray:
    """Return a key of the set of elements of each row, to split by chemical system; uint64."""
    return keys_of((counts > 0).astype(np.int16))
