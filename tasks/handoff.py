"""Handoff stage: the survivors become DFT job directories that a cluster can run.

In: the filtered candidates with their structures, and a recipe. Out: one batch under ``handoff/``
with a directory for every selected candidate, the elemental reference jobs of the recipe under
``references/``, and a row in the ledger for every job. Each ticket tells the candidate's whole
story. A question that was asked before, in any batch of this campaign, is not asked again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import field_validator

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.engines import recipe_named, recipes
from dft_inputs.job.folder import Job
from dft_inputs.job.prepare import prepare_job
from dft_inputs.recipes.recipe import Recipe
from structure.crystals.crystal_text import structure_from_json
from structure.errors import Rejection
from structure.records import Settings
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import handle_for, read_table
from tasks.campaign.job_lock import jobs_to_itself
from tasks.campaign.outputs import Filtered, HandedOff, Trained
from tasks.campaign.stage import stage
from tasks.dft_jobs.competing_phases import Competitors
from tasks.dft_jobs.contradictions import check_jobs
from tasks.dft_jobs.emit import Emission, each_question_once

logger = logging.getLogger(__name__)

NOT_IN_STORY = frozenset({"structure_json", "status", "formula"})
"""Columns of the survivors that the ticket holds elsewhere."""


class HandoffConfig(Settings):
    """How the survivors are handed to DFT."""

    recipe: str = "agd-paper"
    """Name of a recipe (`dft_inputs.recipes.shipped`); it decides the engine."""
    optional_steps: tuple[str, ...] = ()
    """Optional steps of the recipe to include, e.g. ``("06-elastic",)``."""
    references: bool = True
    """Emit the elemental references of the batch too, once per recipe."""
    competing_phases: bool = False
    """Emit the known phases on the hull of each candidate's elements too, as far as the template
    library has energies, so that collect can tell the distance to the hull."""
    cluster: ClusterSettings = ClusterSettings()
    """First contents of ``cluster.env``; they can be changed there later."""

    @field_validator("recipe")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in recipes():
            raise ValueError(f"choose one of {', '.join(sorted(recipes()))}")
        return name

    def chosen_recipe(self) -> Recipe:
        """Return the recipe with the optional steps that were asked for."""
        return recipe_named(self.recipe).with_steps(self.optional_steps)


def _check(campaign: Campaign, _handed_off: HandedOff) -> None:
    with jobs_to_itself(campaign.root):
        check_jobs(campaign.ledger, campaign.root)


@stage(
    "handoff",
    takes="survivors, a recipe",
    gives="DFT job directories",
    needs_ledger=True,
    check=_check,
)
def hand_off(
    campaign: Campaign, config: HandoffConfig, filtered: Filtered, trained: Trained
) -> HandedOff:
    """Write the job directories of the selected survivors.

    Killed at any moment, the same call completes the batch: directories appear whole or not at
    all, and the ledger takes every job once.

    Parameters
    ----------
    campaign : Campaign
    config : HandoffConfig
    filtered : Filtered
        Survivors with status ``selected`` are handed off, in order of rank.
    trained : Trained
        The models whose hashes go into the tickets.

    Returns
    -------
    HandedOff

    Raises
    ------
    CalculationError
        If a directory cannot be written.
    CampaignError
        If the ledger says of a job what its files do not.
    """
    recipe = config.chosen_recipe()
    competitors = Competitors(campaign, recipe) if config.competing_phases else None
    jobs, refused = _candidate_jobs(campaign.root, recipe, filtered, trained, competitors)
    emission = Emission(campaign.root, recipe, config.cluster)
    others = competitors.jobs() if competitors and config.references and jobs else []
    batch = emission.emit(
        campaign.ledger,
        jobs,
        refused,
        references=config.references and bool(jobs),
        others=others,
    ).batch
    logger.info("handed off %d jobs in %s", len(jobs), batch.name)
    return HandedOff(
        batch=batch.name,
        jobs=len(jobs),
        manifest=handle_for(campaign.root, batch / "batch.json", len(jobs), "batch"),
    )


def _candidate_jobs(
    root: Path,
    recipe: Recipe,
    filtered: Filtered,
    trained: Trained,
    competitors: Competitors | None,
) -> tuple[list[Job], list[dict[str, str]]]:
    """Prepare a job for every selected survivor; those the recipe cannot ask keep their reason."""
    columns, _ = read_table(root, filtered.survivors)
    models = {name: model.sha256 for name, model in trained.models.items()}
    order = np.argsort(columns["rank"], kind="stable")
    jobs: list[Job] = []
    refused: list[dict[str, str]] = []
    for row in order[columns["status"][order] == "selected"]:
        formula = str(columns["formula"][row])
        story = {k: _plain(v[row]) for k, v in columns.items() if k not in NOT_IN_STORY}
        story |= {"models": models, "why": _why(story)}
        structure = structure_from_json(columns["structure_json"][row])
        if competitors is not None:
            elements = [e.symbol for e in structure.composition.elements]
            story["competing"] = [job.ticket.id for job in competitors.of(elements)]
        outcome = prepare_job(structure, recipe, formula=formula, story=story)
        if isinstance(outcome, Rejection):
            refused.append({"formula": formula, "code": outcome.code, "sentence": outcome.sentence})
            logger.warning("%s gets no job: %s", formula, outcome.sentence)
        else:
            jobs.append(outcome)
    return each_question_once(jobs), refused


def _plain(value: Any) -> Any:
    """Return a table's value as JSON can hold it; NaN becomes None."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 6)
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


def _why(story: Mapping[str, Any]) -> str:
    """Say in a sentence why a candidate was selected, from the numbers that decided it."""
    words = [f"rank {story.get('rank')}"]
    if (gap := story.get("band_gap_eV")) is not None:
        words.append(f"predicted gap {gap:.2f} +- {story.get('band_gap_sigma_eV') or 0:.2f} eV")
    if (energy := story.get("formation_energy_eV_per_atom")) is not None:
        words.append(
            f"predicted formation energy {energy:.2f} eV/atom ({story.get('energy_scheme')})"
        )
    if (template := story.get("template_formula")) is not None:
        words.append(f"structure of {template} at distance {story.get('emd') or 0:.2f}")
    return ", ".join(words)
