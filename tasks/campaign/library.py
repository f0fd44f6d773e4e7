"""Structures by substitution into templates: shared by the template stage and DFT oracles.

In: a composition and the campaign's template library. Out: the structure borrowed from the most
similar compound whose structure can be used, or the reason why there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from structure.composition import anonymous_formulas, formulas_of
from structure.errors import CampaignError, Rejection
from structure.records import Settings
from structure.templates.substitution import MAXIMUM_EMD, VOLUME_SCALES
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle
from tasks.campaign.outputs import Ingested
from tasks.campaign.place import Place

if TYPE_CHECKING:
    from structure.templates.library import TemplateLibrary
    from structure.templates.substitution import Substituted


class StructureConfig(Settings):
    """How a composition gets its structure."""

    neighbours: int = Field(default=10, ge=1)
    """Templates tried for a composition, nearest first, until one can be used."""
    minimum_ratio: float = Field(default=0.70, gt=0, lt=2)
    """Least distance between two atoms over the sum of their covalent radii (chosen: 99.7 % of
    Materials Project structures keep 0.7)."""
    maximum_emd: float = Field(default=MAXIMUM_EMD, ge=0)
    """Farthest template, in places on the modified Pettifor scale (chosen:
    `structure.templates.substitution.MAXIMUM_EMD`)."""
    minimum_volume_scale: float = Field(default=VOLUME_SCALES[0], gt=0, le=1)
    """Least volume of the new cell over its template's (chosen:
    `structure.templates.substitution.VOLUME_SCALES`)."""
    maximum_volume_scale: float = Field(default=VOLUME_SCALES[1], ge=1)
    """Greatest volume of the new cell over its template's."""
    maximum_sites: int = Field(default=80, ge=1)
    """Larger cells are not used as templates (chosen: DFT on them costs too much)."""

    @property
    def volume_limits(self) -> tuple[float, float]:
        """Least and greatest volume of the new cell over its template's."""
        return self.minimum_volume_scale, self.maximum_volume_scale


@dataclass(frozen=True)
class Placed:
    """A composition in a borrowed structure: the template's row, its distance, the result."""

    template: int
    emd: float
    result: Substituted


def usable_templates(library: TemplateLibrary, config: StructureConfig) -> TemplateLibrary:
    """Return the templates that are not too large."""
    return library.take(library.n_sites <= config.maximum_sites)


def first_usable(
    library: TemplateLibrary, row: np.ndarray, config: StructureConfig
) -> Placed | Rejection:
    """Substitute a composition ``row (103,)`` into its nearest template that can be used.

    Returns
    -------
    Placed or Rejection
        Codes: ``no-template`` (no template has the stoichiometry), ``far-template`` (the nearest is
        beyond `StructureConfig.maximum_emd`), and those of
        `structure.templates.substitution.substitute` where every template tried failed.
    """
    from structure.templates.substitution import substitute

    near = library.nearest(row, config.neighbours, one_per_formula=True)
    failures: list[Rejection] = []
    for template, emd in near:
        if emd > config.maximum_emd:
            break
        result = substitute(
            library.structure(template),
            row,
            minimum_ratio=config.minimum_ratio,
            volume_limits=config.volume_limits,
        )
        if not isinstance(result, Rejection):
            return Placed(template, emd, result)
        failures.append(result)
    if failures:
        others = f"; {len(failures) - 1} more templates fail too" if len(failures) > 1 else ""
        return Rejection(failures[0].code, failures[0].sentence + others)
    formula, stoichiometry = formulas_of(row[None])[0], anonymous_formulas(row[None])[0]
    if not near:
        return Rejection(
            "no-template", f"no template has the stoichiometry {stoichiometry} of {formula}"
        )
    template, emd = near[0]
    name = formulas_of(library.counts[template : template + 1])[0]
    return Rejection(
        "far-template",
        f"{name}, the template of stoichiometry {stoichiometry} nearest to {formula}, is at "
        f"distance {emd:.2f}; the limit is {config.maximum_emd:g}",
    )


def within_limits(
    library: TemplateLibrary, counts: np.ndarray, config: StructureConfig
) -> np.ndarray:
    """Return which compositions ``(n, 103)`` have a template within the limits, shape (n,), bool.

    Distances and volumes follow from the compositions alone, so no structure is built; whether
    atoms would overlap is seen by `first_usable` only.
    """
    from structure.templates.substitution import volume_scales

    low, high = config.volume_limits
    passed = np.zeros(len(counts), dtype=bool)
    for i, row in enumerate(counts):
        near = library.nearest(row, config.neighbours, one_per_formula=True)
        rows = [template for template, emd in near if emd <= config.maximum_emd]
        scales = volume_scales(library.counts[rows], row)
        passed[i] = ((scales >= low) & (scales <= high)).any()
    return passed


def library_at(place: Place, templates: Handle) -> TemplateLibrary:
    """Return the template library that ingest made, checked; a process reads it once.

    Parameters
    ----------
    place : Place
    templates : Handle
        `tasks.campaign.outputs.Ingested.templates`.

    Raises
    ------
    CampaignError
        If the file is gone or was changed.
    """
    return _read(templates.open_in(place.root), templates.sha256)


@lru_cache(maxsize=1)
def _read(path: Path, sha256: str) -> TemplateLibrary:
    """Read a library; `sha256` tells it from another one under the same path."""
    from structure.templates.library import TemplateLibrary

    return TemplateLibrary.load(path)


def campaign_library(campaign: Campaign, why: str, fix: str) -> TemplateLibrary:
    """Return the template library that the campaign's ingest stage made.

    Parameters
    ----------
    campaign : Campaign
    why, fix : str
        What it is needed for, and what to do, should there be none.

    Raises
    ------
    CampaignError
        If the campaign has no template library yet.
    """
    from structure.templates.library import TemplateLibrary

    ingested = campaign.ledger.finished("ingest", "all")
    if ingested is None:
        raise CampaignError(
            f"{why} come from the template library, and ingest has not made it",
            where=campaign.root,
            fix=fix,
        )
    templates = Ingested.model_validate_json(ingested).templates
    return TemplateLibrary.load(templates.open_in(campaign.root))
