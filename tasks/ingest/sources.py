"""Data sources of a campaign: serves ingest with one table of compositions and values a source.

In: a `SourceConfig` (path, column mapping, units, roles). Out: `SourceRows`: reduced compositions
with gaps in eV and formation energies in eV/atom, and a reason for each record or label that
cannot be used. A column whose numbers cannot be in the unit it declares raises.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from structure.errors import ConfigError, Rejection
from structure.files import sha256_of
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property
from structure.records import Settings
from structure.rules.dataset_rules import LabelledRows
from structure.sources.quantities import QUANTITIES, UnitMap, ValueColumn
from structure.sources.table_schema import TableSchema, read_by_schema
from structure.sources.tables import Format, format_of, resolve_path

if TYPE_CHECKING:
    from pymatgen.core import Structure

logger = logging.getLogger(__name__)

Role = Literal["labels", "templates", "known"]


class ColumnMap(Settings):
    """What the source calls its columns."""

    formula: str = "formula"
    """A CIF folder or an ASE database answers it from the structures."""
    value: str | None = None
    """Column of the property that the campaign seeks, whatever it is; its unit is 'units.value'."""
    band_gap: str | None = None
    """Column of band gaps; None where the source has none."""
    formation_energy: str | None = None
    """Column of formation energies; None where the source has none."""
    id: str | None = None
    """For a CIF folder: the property table's column of file names."""


class SourceConfig(Settings):
    """One data source."""

    path: str = Field(min_length=1)
    """File or folder. ``${NAME}`` stands for an environment variable and is looked up when the
    source is read, so that a campaign can move to another machine."""
    name: str = ""
    """Label of the source in every table and report; default: the file name without endings."""
    format: Format = "auto"
    """Format of the source; ``auto`` tells it from the name."""
    properties: str | None = None
    """Property table inside a CIF folder."""
    columns: ColumnMap = ColumnMap()
    """What the source calls its columns."""
    units: UnitMap = UnitMap()
    """Units of its values."""
    roles: tuple[Role, ...] = Field(min_length=1)
    """What the source is used for: values to start from, structures to substitute into, formulas
    that are not new."""
    round_fractions: bool = False
    """Take fractional formulas (``Fe0.95O``) in as the nearest whole-number ratio instead of
    refusing them."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("path") and not values.get("name"):
            return {**values, "name": Path(str(values["path"])).name.split(".")[0]}
        return values

    @model_validator(mode="after")
    def _labelled(self) -> SourceConfig:
        named = self.columns.model_dump(exclude={"formula", "id"})
        if "labels" in self.roles and not any(named.values()):
            raise ValueError(
                f"source {self.name!r} has the role 'labels' but names no column of labels: "
                f"'columns.value', or one of {', '.join(QUANTITIES)}"
            )
        return self

    def resolved(self) -> tuple[Path, Format]:
        """Return where the source lies on this machine, and its format."""
        path = resolve_path(self.path)
        return path, format_of(path) if self.format == "auto" else self.format

    def wanted(self, sought: Property) -> TableSchema:
        """Return what is wanted of the source: its labels have a value of what is sought.

        Raises
        ------
        ConfigError
            If labels are wanted of it and it names no column for them.
        """
        labels = "labels" in self.roles
        columns = {name: getattr(self.columns, name) for name in QUANTITIES}
        if self.columns.value is not None:
            columns[sought.name] = self.columns.value
        if labels and columns.get(sought.name) is None:
            raise ConfigError(
                f"source {self.name!r} has the role 'labels' but names no column of the "
                f"{sought.words}",
                where=f"columns of source {self.name!r}",
                fix=f"Name the column as 'value' and its unit as 'units.value' ({sought.unit}).",
            )
        values = []
        for name, column in columns.items():
            if column is None:
                continue
            own = "value" if name == sought.name and self.columns.value is not None else name
            what = sought.quantity if name == sought.name else QUANTITIES[name]
            try:
                values.append(
                    ValueColumn(
                        quantity=what,
                        column=column,
                        unit=getattr(self.units, own) or what.unit,
                        setting=f"'columns.{own}'",
                        unit_setting=f"'units.{own}' of source {self.name!r}",
                        required=labels and name == sought.name,
                    )
                )
            except ValueError as error:
                raise ConfigError(
                    str(error),
                    where=f"'units.{own}' of source {self.name!r}",
                    fix=f"Name a unit of the {what.noun}.",
                ) from error
        return TableSchema(
            formula=self.columns.formula,
            id=self.columns.id,
            values=tuple(values),
            round_fractions=self.round_fractions,
            rounding="'round_fractions: true'",
        )


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
        TableRows in the source.
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


def read_rows(config: SourceConfig, number: int, sought: Property = BAND_GAP) -> SourceRows:
    """Read one source.

    Parameters
    ----------
    config : SourceConfig
    number : int
        Goes into the rows' `source`.
    sought : Property
        Of which the labels are.

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
    found = read_by_schema(
        path,
        config.wanted(sought),
        format=format,
        properties=config.properties,
        with_structures=crystals,
    )
    for note in found.notes:
        logger.info("ingest: %s: %s", config.name, note)
    nothing = np.full(len(found), np.nan)
    rows = LabelledRows(
        counts=found.counts,
        cell_max=found.cell_max,
        cell_atoms=found.cell_atoms,
        value=found.values.get(sought.name, nothing),
        formation_energy=found.values.get("formation_energy", nothing),
        source=np.full(len(found), number, dtype=np.intp),
        record=found.record,
    )
    return SourceRows(
        rows,
        found.ids,
        [Refused(config.name, *r) for r in found.refused],
        found.structures,
        found.structure_ids,
        hash_of(path),
        found.total,
        found.notes,
    )


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()):
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
