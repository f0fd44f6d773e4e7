"""Training data: serves the train stage with labelled compositions and structures.

In: a folder of tables and the mapping of their columns. Out: unique reduced compositions with band
gaps, compositions seen in any table, structures with formation energies, and a fingerprint of the
files; with splits that keep a formula, or a chemical system, on one side.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.fitting.cards import DataSource
from models.fitting.data_mapping import (
    MAPPING_FILE,
    DataMapping,
    StructureSource,
    TableSource,
    mapping_of,
)
from structure.composition import N_ELEMENTS, first_of_each, keys_of, parse_formulas
from structure.errors import ConfigError, DataError
from structure.files import sha256_of
from structure.properties.quantity import Property
from structure.sources.quantities import BAND_GAP, FORMATION_ENERGY, Quantity, ValueColumn
from structure.sources.table_schema import TableRows, TableSchema, read_by_schema

if TYPE_CHECKING:
    from pymatgen.core import Structure


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
    sources : mapping of str to DataSource
        For model cards, by the field of the mapping; ``rows`` counts rows as read.
    """

    folder: Path
    mapping: DataMapping
    band_gaps: Labelled
    formation_energies: Labelled
    counts: np.ndarray
    fingerprint: str
    rejected: int
    sources: Mapping[str, DataSource]

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
    mapping = mapping or mapping_of(folder)
    read = _Reading(folder)
    gaps = read.labelled("band_gaps", mapping.band_gaps, BAND_GAP, "median")
    energies = read.labelled(
        "formation_energies", mapping.formation_energies, FORMATION_ENERGY, "lowest"
    )
    known = read.compositions("formulas", mapping.formulas)
    if mapping.structures is not None:
        structures = mapping.structures
        lines = _count_lines(_existing(folder / structures.path))
        read.note("structures", structures, lines)
    everything = np.concatenate([gaps.counts, energies.counts, known])
    parts = [mapping.text(), *read.hashes]
    return TrainingData(
        folder=folder,
        mapping=mapping,
        band_gaps=gaps,
        formation_energies=energies,
        counts=everything[first_of_each(keys_of(everything))],
        fingerprint=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        rejected=read.rejected,
        sources=read.sources,
    )


def labelled_by(
    folder: Path, mapping: DataMapping, sought: Property
) -> tuple[Labelled, DataSource]:
    """Read the table of one property: the median of each composition, and where it comes from.

    Raises
    ------
    ConfigError, DataError
        If the mapping names no such table, or it cannot be read.
    """
    if sought.name not in mapping.properties:
        named = ", ".join(sorted(mapping.properties)) or "none"
        raise ConfigError(
            f"the data folder names no table of the {sought.words}; it names {named}",
            where=folder / MAPPING_FILE,
            fix=f"Add it under 'properties': {{'{sought.name}': {{'path': ..., 'value': ...}}}}.",
        )
    read = _Reading(folder)
    name = f"properties.{sought.name}"
    labels = read.labelled(name, mapping.properties[sought.name], sought.quantity, "median")
    return labels, read.sources[name]


class _Reading:
    """Reads the tables of one folder and keeps the books: rows, hashes, rejects."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.rejected = 0
        self.sources: dict[str, DataSource] = {}
        self.hashes: list[str] = []

    def note(self, name: str, source: TableSource | StructureSource, rows: int) -> None:
        """Write down a source that was read."""
        self.sources[name] = DataSource(source.title or source.path, source.licence, rows)
        self.hashes.append(sha256_of(self._folder / source.path))

    def compositions(self, name: str, source: TableSource | None) -> np.ndarray:
        """Read a table of formulas alone."""
        if source is None:
            return np.zeros((0, N_ELEMENTS), dtype=np.int16)
        found = self._rows(name, source, ())
        return found.counts

    def labelled(
        self,
        name: str,
        source: TableSource | None,
        what: Quantity,
        rule: Literal["median", "lowest"],
    ) -> Labelled:
        """Read a table of formulas and values, and give each composition one value."""
        if source is None:
            return Labelled(np.zeros((0, N_ELEMENTS), dtype=np.int16), np.zeros(0), rule)
        path = self._folder / source.path
        if source.value is None:
            raise ConfigError(
                "the mapping names no value column", where=path, fix="Add 'value' to the entry."
            )
        try:
            column = ValueColumn(
                quantity=what,
                column=source.value,
                unit=source.unit or what.unit,
                setting=f"'{name}.value' in {MAPPING_FILE}",
                unit_setting=f"'{name}.unit' in {MAPPING_FILE}",
                required=True,
            )
        except ValueError as error:
            raise ConfigError(
                str(error), where=self._folder / MAPPING_FILE, fix=f"Correct '{name}.unit'."
            ) from error
        found = self._rows(name, source, (column,))
        values = found.values[what.name]
        good = np.isfinite(values)
        return merge(found.counts[good], values[good], rule)

    def _rows(self, name: str, source: TableSource, values: tuple[ValueColumn, ...]) -> TableRows:
        schema = TableSchema(
            formula=source.formula,
            values=values,
            formula_setting=f"'{name}.formula' in {MAPPING_FILE}",
        )
        found = read_by_schema(_existing(self._folder / source.path), schema)
        self.note(name, source, found.total)
        self.rejected += len(found.refused)
        return found


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(
            "a table of the training data is missing",
            where=path,
            fix=f"Put it there, or describe the folder in {MAPPING_FILE}.",
        )
    return path


def _count_lines(path: Path) -> int:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as lines:
            return sum(1 for _ in lines)
    except (OSError, EOFError) as error:
        raise DataError(
            f"the file cannot be read: {error}", where=path, fix="Check that it is complete."
        ) from error


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
