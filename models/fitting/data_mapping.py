"""How a folder of training data is laid out: serves the train stage.

In: ``agd-data.json`` in the folder, or nothing for the layout of Materials Project tables that the
defaults describe. Out: a `DataMapping`: which file holds what, under which columns.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from structure.errors import ConfigError
from structure.records import Settings


class TableSource(Settings):
    """One table of compositions and how its columns are named."""

    path: str
    """CSV, JSON lines or Parquet, relative to the data folder; ``.gz`` is read as it is."""
    formula: str = "formula"
    """Column of formulas, reduced or not."""
    value: str | None = None
    """Column of the property; None for a table of formulas alone."""
    unit: str | None = None
    """Of its numbers (`structure.sources.units`); None: what the property is calculated in."""
    title: str = ""
    """What the model cards call the table."""
    licence: str = "not stated"
    """The licence that the model cards name."""


class StructureSource(Settings):
    """JSON lines of crystal structures and how their fields are named."""

    path: str
    """Relative to the data folder. Each line has ``lattice`` (a, b, c in Å and three angles in
    degrees), ``species`` and ``frac_coords``."""
    formation_energy: str = "formation_energy_per_atom"
    """Field of the formation energy, eV/atom; lines where it is null are left out."""
    energy_scheme: str = "PBE formation energy with Materials Project corrections (2018), eV/atom"
    """What those energies are measured against; models trained on them carry it."""
    title: str = ""
    """What the model cards call the structures."""
    licence: str = "not stated"
    """The licence that the model cards name."""


def _tables() -> dict[str, TableSource]:
    """Tables of further properties in the layout that is the default."""
    return {
        "bulk_modulus": TableSource(
            path="mp_logK.csv.gz",
            value="log10_K_VRH",
            unit="log10(GPa)",
            title="Materials Project through Matbench log_kvrh: bulk moduli",
            licence="CC BY 4.0",
        )
    }


class DataMapping(Settings):
    """Where a data folder keeps what the models learn from."""

    band_gaps: TableSource | None = TableSource(
        path="mp_gap.csv.gz",
        value="gap",
        title="Materials Project (2019) through Matbench mp_gap: PBE band gaps",
        licence="CC BY 4.0",
    )
    """Band gaps in eV."""
    formation_energies: TableSource | None = TableSource(
        path="mp_e_form.csv.gz",
        value="e_form",
        title="Materials Project (2019) through Matbench mp_e_form: formation energies",
        licence="CC BY 4.0",
    )
    """Energies by composition; their formulas also count as compositions."""
    formulas: TableSource | None = TableSource(
        path="mp_formulas_2024.csv.gz",
        title="Materials Project: formulas of all entries (2024)",
        licence="CC BY 4.0",
    )
    """Further known compositions."""
    structures: StructureSource | None = StructureSource(
        path="mp_structures.jsonl.gz",
        title="Materials Project: structures with formation energies (2018.6.1)",
        licence="CC BY 4.0",
    )
    """Crystal structures with formation energies."""

    properties: dict[str, TableSource] = Field(default_factory=_tables)
    """Tables of other properties by name, for ``agd train --only NAME``."""

    def text(self) -> str:
        """Return it as JSON that does not change with settings that are left at nothing."""
        written = json.loads(self.model_dump_json(exclude={"properties"}))
        for source in filter(None, written.values()):
            if source.get("unit", "") is None:
                del source["unit"]
        return json.dumps(written, separators=(",", ":"), ensure_ascii=False)


MAPPING_FILE = "agd-data.json"
"""A data folder may describe its own columns in this file, as JSON of `DataMapping`."""


def mapping_of(folder: Path) -> DataMapping:
    """Return how a folder is laid out.

    Raises
    ------
    ConfigError
        If its ``agd-data.json`` cannot be used.
    """
    path = folder / MAPPING_FILE
    if not path.exists():
        return DataMapping()
    try:
        return DataMapping.model_validate_json(path.read_text())
    except ValueError as error:
        raise ConfigError(
            f"the data mapping cannot be used: {error}",
            where=path,
            fix="Compare it with models.fitting.data_mapping.DataMapping.",
        ) from error
