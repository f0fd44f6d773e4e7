"""Embedded data: serves ingest when a campaign names no source of its own.

In: the shipped weights, the filter of known formulas, pymatgen's prototypes, and the DFT set that
the product computed itself. Out: initial labels with their origin, and a template library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from models.pretrained import shipped
from structure.composition import N_ELEMENTS
from structure.errors import ConfigError, DataError
from structure.properties.band_gap import BAND_GAP
from structure.properties.energies import FORMATION_ENERGY
from structure.properties.quantity import Property
from structure.properties.target import Target
from structure.records import Settings
from structure.rules.dataset_rules import LabelledRows
from tasks.campaign.weights import weights_of
from tasks.ingest.sources import ColumnMap, SourceConfig, SourceRows, read_rows
from tasks.ledger.ledger import Origin

if TYPE_CHECKING:
    from structure.templates.library import TemplateLibrary


class EmbeddedConfig(Settings):
    """What fills the roles that no source of the campaign fills."""

    initial: Literal["dft-set", "oracle"] = "dft-set"
    """Where initial labels come from when no source has the role ``labels``: the shipped DFT set
    (origin ``dft-gpaw``), or known compounds labelled by the shipped oracle (``ml``)."""
    known: bool = True
    """Count the formulas of the shipped filter as known, beside those of the sources."""
    templates: tuple[Literal["prototypes", "dft-set"], ...] = ("prototypes", "dft-set")
    """Where templates come from when no source has the role ``templates``."""
    oracle: str = "oracle"
    """Shipped model that labels."""
    generator: str = "matgan"
    """Shipped model that draws the compositions to label."""
    draws: int = Field(default=50_000, ge=1)
    """How many compositions to draw (chosen; the known ones among them are kept)."""


def dft_set() -> Path:
    """Return the file of the shipped DFT set.

    Raises
    ------
    DataError
        If this installation has none.
    """
    import dft_inputs

    path = Path(dft_inputs.__file__).parent / "data" / "gpaw_set.jsonl"
    if not path.is_file():
        raise DataError(
            "this installation carries no DFT set",
            where=path,
            fix="Set 'ingest.embedded.initial: oracle' and 'ingest.embedded.templates: "
            "[prototypes]', or name a source.",
        )
    return path


def dft_set_rows(sought: Property = BAND_GAP) -> SourceRows:
    """Read the shipped DFT set as a source.

    Raises
    ------
    ConfigError
        If the set has no values of what is sought.
    """
    measured = (BAND_GAP, FORMATION_ENERGY)
    if sought not in measured:
        raise ConfigError(
            f"the shipped DFT set has no {sought.words}, only "
            + " and ".join(one.words for one in measured),
            where="ingest.embedded.initial",
            fix="Set 'ingest.embedded.initial: oracle', or name a source with the role 'labels'.",
        )
    columns = ColumnMap(id="material_id", **{one.name: one.column for one in measured})
    source = SourceConfig(path=str(dft_set()), columns=columns, roles=("labels",))
    return read_rows(source, 0, sought)


def embedded_labels(
    config: EmbeddedConfig,
    known: np.ndarray,
    prototypes: np.ndarray,
    seed: int,
    target: Target,
) -> tuple[LabelledRows, str, Origin]:
    """Label what a campaign without a source of labels starts from.

    Parameters
    ----------
    config : EmbeddedConfig
    known : ndarray of uint64
        Sorted keys of known formulas; only such compositions are labelled.
    prototypes : ndarray of int16, shape (p, 103)
        Compositions of the template library.
    seed : int
    target : Target
        Its property is labelled.

    Returns
    -------
    rows : LabelledRows
    source : str
        Hash of the oracle's weights, or the name of the DFT set.
    origin : {"ml", "dft-gpaw"}
    """
    if config.initial == "dft-set":
        return dft_set_rows(target.sought).rows, "gpaw_set", "dft-gpaw"
    from models.compositions.generator import load_generator
    from models.compositions.starting_set import known_compositions
    from models.fitting.checkpoints import read_config
    from models.properties.prediction import load_property_model, predict

    generator = load_generator(shipped(config.generator))
    counts = known_compositions(generator, config.draws, seed, known, prototypes)
    folder = weights_of(target) if config.oracle == "oracle" else shipped(config.oracle)
    gaps = predict(load_property_model(folder), counts).mean if len(counts) else np.zeros(0)
    rows = LabelledRows(
        counts=counts.reshape(-1, N_ELEMENTS),
        cell_max=counts.max(axis=1, initial=0).astype(np.intp),
        cell_atoms=counts.sum(axis=1, dtype=np.intp),
        value=np.asarray(gaps, dtype=np.float64),
        formation_energy=np.full(len(counts), np.nan),
        source=np.zeros(len(counts), dtype=np.intp),
        record=np.arange(1, len(counts) + 1),
    )
    return rows, read_config(folder).sha256, "ml"


def embedded_templates(config: EmbeddedConfig) -> TemplateLibrary:
    """Collect the templates that come with the product."""
    from structure.templates.library import TemplateLibrary

    parts = []
    if "prototypes" in config.templates:
        parts.append(TemplateLibrary.from_prototypes())
    if "dft-set" in config.templates:
        parts.append(TemplateLibrary.from_jsonl([dft_set()]))
    return TemplateLibrary.concat(parts)
