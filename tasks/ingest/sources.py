"""Data sources of a campaign: serves ingest with one table of compositions and values a source.

In: a `SourceConfig` (path, column mapping, units, roles). Out: `SourceRows`: reduced compositions
with gaps in eV and formation energies in eV/atom, and a reason for each record or label that
cannot be used. A column whose numbers cannot be in the unit it declares raises.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from structure.composition import ParsedFormulas, parse_formulas
from structure.errors import DataError, Rejection
from structure.files import sha256_of
from structure.records import Settings
from structure.rules.dataset_rules import LabelledRows
from structure.sources.energies import Column, UnitMap, read_energies, read_gaps
from structure.sources.tables import Format, SourceTable, format_of, read_source, resolve_path

if TYPE_CHECKING:
    from pymatgen.core import Structure

logger = logging.getLogger(__name__)

Role = Literal["labels", "templates", "known"]

SHOWN = 200
"""Chosen: most characters of a record's text that are kept beside its rejection."""


class ColumnMap(Settings):
    """What the source calls its columns.

    Attributes
    ----------
    formula : str
        A CIF folder or an ASE database answers it from the structures.
    band_gap, formation_energy : str or None
        None where the source has none.
    id : str or None
        For a CIF folder: the property table's column of file names.
    """

    formula: str = "formula"
    band_gap: str | None = None
    formation_energy: str | None = None
    id: str | None = None

    def wanted(self) -> dict[str, str]:
        """Return the columns to read, by purpose."""
        return {k: v for k, v in self.model_dump().items() if v is not None}


class SourceConfig(Settings):
    """One data source.

    Attributes
    ----------
    path : str
        File or folder. ``${NAME}`` stands for an environment variable and is looked up when the
        source is read, so that a campaign can move to another machine.
    name : str
        Label of the source in every table and report; default: the file name without endings.
    format : {"auto", "csv", "parquet", "jsonl", "cif-folder", "ase-db"}
    properties : str or None
        Property table inside a CIF folder.
    columns : ColumnMap
    units : UnitMap
    roles : tuple of {"labels", "templates", "known"}
        What the source is used for: values to start from, structures to substitute into,
        formulas that are not new.
    round_fractions : bool
        Take fractional formulas (``Fe0.95O``) in as the nearest whole-number ratio instead of
        refusing them.
    """

    path: str = Field(min_length=1)
    name: str = ""
    format: Format = "auto"
    properties: str | None = None
    columns: ColumnMap = ColumnMap()
    units: UnitMap = UnitMap()
    roles: tuple[Role, ...] = Field(min_length=1)
    round_fractions: bool = False

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("path") and not values.get("name"):
            return {**values, "name": Path(str(values["path"])).name.split(".")[0]}
        return values

    @model_validator(mode="after")
    def _labelled(self) -> SourceConfig:
        if "labels" in self.roles and self.columns.band_gap is None:
            raise ValueError(
                f"source {self.name!r} has the role 'labels' but names no column for 'band_gap'"
            )
        return self

    def resolved(self) -> tuple[Path, Format]:
        """Return where the source lies on this machine, and its format."""
        path = resolve_path(self.path)
        return path, format_of(path) if self.format == "auto" else self.format


class Refused(NamedTuple):
    """One record, or one label, that was not taken in."""

    source: str
    record: int
    text: str
    why: Rejection


@dataclass(frozen=True)
class SourceRows:
    """What a source gave.

    Attributes
    ----------
    rows : LabelledRows
        Every record whose formula parses; values are NaN where there is none.
    ids : list of str
        As the source names the rows.
    refused : list of Refused
    structures : list of Structure
        Of every record that could be read, where asked for; empty otherwise.
    structure_ids : list of str
    sha256 : str
    records : int
        Records in the source.
    notes : tuple of str
        What the reader found out by itself: encoding, separator, lines above the header.
    """

    rows: LabelledRows
    ids: list[str]
    refused: list[Refused]
    structures: list[Structure]
    structure_ids: list[str]
    sha256: str
    records: int
    notes: tuple[str, ...]


def read_rows(config: SourceConfig, number: int) -> SourceRows:
    """Read one source.

    Parameters
    ----------
    config : SourceConfig
    number : int
        Goes into the rows' `source`.

    Raises
    ------
    ConfigError
        If a variable of the path is not set.
    DataError
        If the source cannot be read, lacks a column, has no usable formula, or has numbers that
        cannot be in the unit it declares.
    """
    path, format = config.resolved()
    crystals = "templates" in config.roles and format in ("cif-folder", "ase-db")
    table = read_source(
        path,
        config.columns.wanted(),
        format=format,
        properties=config.properties,
        with_structures=crystals,
    )
    for note in table.notes:
        logger.info("ingest: %s: %s", config.name, note)
    refused = [Refused(config.name, *r) for r in table.rejections]
    parsed = parse_formulas(table.columns["formula"], round_fractions=config.round_fractions)
    refused += [
        Refused(config.name, table.records[i], text[:SHOWN], why)
        for i, text, why in parsed.rejections
    ]
    _check_capitals(table.columns["formula"], parsed, path)
    if not len(parsed.rows):
        if not parsed.rejections:
            raise DataError(
                f"no record of the source can be read: {refused[0].why.sentence}",
                where=path,
                fix="Check 'format', and open the source with the program that made it.",
            )
        codes = {why.code for _, _, why in parsed.rejections}
        raise DataError(
            f"no formula of the source can be used: {parsed.rejections[0][2].sentence}",
            where=path,
            fix="Check 'columns.formula'"
            + (", or set 'round_fractions: true'." if "fractional" in codes else "."),
        )
    gaps, energies, bad = _values(config, table, parsed.rows, parsed.cell_atoms, path)
    if "labels" in config.roles and not np.isfinite(gaps).any():
        raise DataError(
            f"none of the {len(gaps)} records has a band gap that can be used; the first, "
            f"{bad[0].text}: {bad[0].why.sentence}",
            where=path,
            fix="Check 'columns.band_gap' and that its entries are numbers like 1.25.",
        )
    refused += bad
    record = np.array(table.records, dtype=np.int64)[parsed.rows]
    ids = [str(i) for i in table.columns.get("id", table.records)]
    rows = LabelledRows(
        counts=parsed.counts,
        cell_max=parsed.cell_max,
        cell_atoms=parsed.cell_atoms,
        band_gap=gaps,
        formation_energy=energies,
        source=np.full(len(record), number, dtype=np.intp),
        record=record,
    )
    total = len(table.records) + len(table.rejections)
    return SourceRows(
        rows,
        [ids[i] for i in parsed.rows.tolist()],
        refused,
        table.structures,
        ids if table.structures else [],
        hash_of(path),
        total,
        table.notes,
    )


def _values(
    config: SourceConfig, table: SourceTable, rows: np.ndarray, atoms: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray, list[Refused]]:
    """Return gaps and energies of the parsed rows, and the labels that are none."""
    gaps = np.full(len(rows), np.nan)
    energies = np.full(len(rows), np.nan)
    refused: list[Refused] = []
    formulas, records = table.columns["formula"], table.records

    def column(purpose: Literal["band_gap", "formation_energy"]) -> Column:
        name = getattr(config.columns, purpose)
        unit = getattr(config.units, purpose)
        found = Column(path, name, unit, f"'units.{purpose}' of source {config.name!r}")
        found.check_named(table.columns[purpose])
        return found

    def refuse(i: int, why: Rejection) -> None:
        place = rows[i]
        refused.append(Refused(config.name, records[place], str(formulas[place])[:SHOWN], why))
        gaps[i] = np.nan

    if config.columns.band_gap is not None:
        values = [table.columns["band_gap"][i] for i in rows]
        gaps[:], bad = read_gaps(values, column("band_gap"))
        for i, why in bad.items():
            refuse(i, why)
        if "labels" in config.roles:
            for i in np.flatnonzero(np.isnan(gaps)).tolist():
                if i not in bad:
                    refuse(i, Rejection("no-label", "there is no band gap"))
    if config.columns.formation_energy is not None:
        values = [table.columns["formation_energy"][i] for i in rows]
        energies[:], bad = read_energies(values, atoms, column("formation_energy"))
        for i, why in bad.items():
            refuse(i, why)
    return gaps, energies, refused


def _check_capitals(formulas: Sequence[object], parsed: ParsedFormulas, path: Path) -> None:
    """Raise if all formulas are in capitals, which hides what the elements are (SIO2, NACL)."""
    unknown = [text for _, text, why in parsed.rejections if why.code == "element"]
    if not unknown or any(isinstance(f, str) and f.upper() != f for f in formulas):
        return
    raise DataError(
        f"all formulas are written in capitals, as {unknown[0][:SHOWN]!r}: which letters make up "
        "an element cannot be told",
        where=path,
        fix="Write element symbols as in 'SiO2'.",
    )


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()):
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
