"""Structures by substitution into templates: shared by the template stage and DFT oracles.

In: a composition and the campaign's template library. Out: the structure borrowed from the most
similar compound whose structure can be used, or the reason why there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from structure.composition import anonymous_formulas, formulas_of
from structure.errors import CampaignError, Rejection
from tasks._campaign import Campaign
from tasks._outputs import Ingested

if TYPE_CHECKING:
    from structure.library import TemplateLibrary
    from structure.substitution import Substituted


class StructureConfig(BaseModel):
    """How a composition gets its structure.

    Attributes
    ----------
    neighbours : int
        Templates tried for a composition, nearest first, until one can be used.
    minimum_ratio : float
        Least distance between two atoms over the sum of their covalent radii (chosen: 99.7 % of
        Materials Project structures keep 0.7).
    maximum_sites : int
        Larger cells are not used as templates (chosen: DFT on them costs too much).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    neighbours: int = Field(default=10, ge=1)
    minimum_ratio: float = Field(default=0.70, gt=0, lt=2)
    maximum_sites: int = Field(default=80, ge=1)


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
        Codes: ``no-template`` (no template has the stoichiometry), and those of
        `structure.substitution.substitute` where every template tried failed.
    """
    from structure.substitution import substitute

    near = library.nearest(row, config.neighbours, one_per_formula=True)
    failures: list[Rejection] = []
    for template, emd in near:
        result = substitute(library.structure(template), row, minimum_ratio=config.minimum_ratio)
        if not isinstance(result, Rejection):
            return Placed(template, emd, result)
        failures.append(result)
    if not failures:
        return Rejection(
            "no-template",
            f"no template has the stoichiometry {anonymous_formulas(row[None])[0]} of "
            f"{formulas_of(row[None])[0]}",
        )
    others = f"; {len(failures) - 1} more templates fail too" if len(failures) > 1 else ""
    return Rejection(failures[0].code, failures[0].sentence + others)


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
    from structure.library import TemplateLibrary

    ingested = campaign.ledger.finished("ingest", "all")
    if ingested is None:
        raise CampaignError(
            f"{why} come from the template library, and ingest has not made it",
            where=campaign.root,
            fix=fix,
        )
    templates = Ingested.model_validate_json(ingested).templates
    return TemplateLibrary.load(templates.open_in(campaign.root))
