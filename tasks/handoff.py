"""Handoff stage: the survivors become DFT job directories that a cluster can run.

In: the filtered candidates with their structures, and a recipe. Out: one batch under ``handoff/``
with a directory for every selected candidate, the elemental reference jobs of the recipe under
``references/``, and a row in the ledger for every job. Each ticket tells the candidate's whole
story. A question that was asked before, in any batch of this campaign, is not asked again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import field_validator

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.engines import recipe_named, recipes
from dft_inputs.job.folder import Job
from dft_inputs.job.prepare import prepare_job
from dft_inputs.recipes.measures import steps_for, unmeasured
from dft_inputs.recipes.recipe import Recipe
from structure.crystals.crystal_text import structure_from_json
from structure.errors import ConfigError, Rejection
from structure.properties.energies import FORMATION_ENERGY
from structure.properties.target import DEFAULT_TARGETS, Targets
from structure.records import Settings
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, handle_for, read_table
from tasks.campaign.job_lock import jobs_to_itself
from tasks.campaign.library import library_at
from tasks.campaign.outputs import Filtered, HandedOff, Trained
from tasks.campaign.place import Place
from tasks.campaign.stage import stage
from tasks.dft_jobs.competing_phases import Competitors
from tasks.dft_jobs.contradictions import check_jobs
from tasks.dft_jobs.emit import Emission, each_question_once

logger = logging.getLogger(__name__)

PIECE = 10
"""Jobs that a worker prepares at a time (chosen: about a second)."""

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

    def chosen_recipe(self, targets: Targets = DEFAULT_TARGETS) -> Recipe:
        """Return the recipe with the optional steps that were asked for or measure the targets."""
        recipe = recipe_named(self.recipe)
        measuring = [name for one in targets.root for name in steps_for(recipe, one.sought)]
        return recipe.with_steps((*self.optional_steps, *measuring))

    def check_measures(self, targets: Targets) -> None:
        """Raise if a calculation gives what is sought, but no step of the recipe does.

        Raises
        ------
        ConfigError
        """
        sought = targets.first.sought
        if sought.steps is not None:
            lacking = unmeasured(self.chosen_recipe(targets), sought)
            if lacking is not None:
                raise lacking


def _check(campaign: Campaign, _handed_off: HandedOff) -> None:
    with jobs_to_itself(campaign.root):
        check_jobs(campaign.ledger, campaign.root)


@stage(
    "handoff",
    takes="survivors, a recipe",
    gives="DFT job directories",
    in_the_flow=True,
    check=_check,
)
def hand_off(
    campaign: Campaign,
    config: HandoffConfig,
    filtered: Filtered,
    trained: Trained,
    templates: Handle | None = None,
    targets: Targets = DEFAULT_TARGETS,
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
    templates : Handle, optional
        The template library, from which competing phases are taken.
    targets : Targets
        Steps of the recipe that measure them are included.

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
    steps = tuple(step.name for step in config.chosen_recipe(targets).steps if step.optional)
    config = config.model_copy(update={"optional_steps": steps})
    library = _library(config, templates) if config.competing_phases else None
    pieces = campaign.spread(
        "handoff",
        candidate_jobs,
        [
            (config, library, chosen)
            for chosen in _chosen(campaign.root, filtered, trained, targets)
        ],
    )
    jobs = each_question_once([job for piece in pieces for job in piece.jobs])
    refused = [one for piece in pieces for one in piece.refused]
    competing = {i: job for piece in pieces for i, job in piece.competing.items()}
    phases = {job.ticket.id: job for _, job in sorted(competing.items())}
    others = list(phases.values()) if config.references and jobs else []
    emission = Emission(campaign.root, config.chosen_recipe(), config.cluster)
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


def _library(config: HandoffConfig, templates: Handle | None) -> Handle:
    if templates is None:
        raise ConfigError(
            "competing phases are taken from a template library, and there is none",
            where="handoff.competing_phases",
            fix="Give the hand-off the library that ingest made, or set it to false.",
        )
    return templates


class _Chosen(NamedTuple):
    """A survivor to be handed off: its formula, story and structure as text."""

    formula: str
    story: dict[str, Any]
    structure: str


class _Jobs(NamedTuple):
    """Jobs of some survivors, those that got none, and competing phases by row of the library."""

    jobs: list[Job]
    refused: list[dict[str, str]]
    competing: dict[int, Job]


def _chosen(
    root: Path, filtered: Filtered, trained: Trained, targets: Targets
) -> list[list[_Chosen]]:
    """Return the selected survivors in order of rank, `PIECE` at a time."""
    columns, _ = read_table(root, filtered.survivors)
    models = {name: model.sha256 for name, model in trained.models.items()}
    order = np.argsort(columns["rank"], kind="stable")
    chosen = []
    for row in order[columns["status"][order] == "selected"]:
        story = {k: _plain(v[row]) for k, v in columns.items() if k not in NOT_IN_STORY}
        story |= {"models": models, "why": _why(story, targets)}
        text = str(columns["structure_json"][row])
        chosen.append(_Chosen(str(columns["formula"][row]), story, text))
    return [chosen[start : start + PIECE] for start in range(0, len(chosen), PIECE)]


def candidate_jobs(
    place: Place, config: HandoffConfig, templates: Handle | None, chosen: Sequence[_Chosen]
) -> _Jobs:
    """Prepare a job for each survivor; those the recipe cannot ask keep their reason.

    Runs at a worker.

    Parameters
    ----------
    place : Place
    config : HandoffConfig
    templates : Handle or None
        The template library, where competing phases are wanted.
    chosen : sequence of _Chosen
    """
    recipe = config.chosen_recipe()
    competitors = Competitors(library_at(place, templates), recipe) if templates else None
    jobs: list[Job] = []
    refused: list[dict[str, str]] = []
    for formula, story, text in chosen:
        structure = structure_from_json(text)
        if competitors is not None:
            elements = [e.symbol for e in structure.composition.elements]
            story["competing"] = [job.ticket.id for job in competitors.of(elements)]
        outcome = prepare_job(structure, recipe, formula=formula, story=story)
        if isinstance(outcome, Rejection):
            refused.append({"formula": formula, "code": outcome.code, "sentence": outcome.sentence})
            logger.warning("%s gets no job: %s", formula, outcome.sentence)
        else:
            jobs.append(outcome)
    return _Jobs(jobs, refused, competitors.jobs() if competitors is not None else {})


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


def _why(story: Mapping[str, Any], targets: Targets) -> str:
    """Say in a sentence why a candidate was selected, from the numbers that decided it."""
    words = [f"rank {story.get('rank')}"]
    for sought in (target.sought for target in targets.root):
        value, sigma = story.get(sought.column), story.get(sought.sigma_column)
        if value is None or sought is FORMATION_ENERGY:
            continue
        if sought.of_composition is not None:
            words.append(f"{sought.short} {sought.amount(value)}")
        else:
            width = f"{sought.number(value)} +- {sought.number(sigma or 0)} {sought.unit}"
            words.append(f"predicted {sought.short} {width.rstrip()}")
    if (energy := story.get(FORMATION_ENERGY.column)) is not None:
        words.append(
            f"predicted formation energy {energy:.2f} eV/atom ({story.get('energy_scheme')})"
        )
    if (template := story.get("template_formula")) is not None:
        words.append(f"structure of {template} at distance {story.get('emd') or 0:.2f}")
    return ", ".join(words)
