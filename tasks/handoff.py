"""Handoff stage: the survivors become DFT job directories that a cluster can run.

In: the filtered candidates with their structures, and a recipe. Out: one batch under ``handoff/``
with a directory for every selected candidate, the elemental reference jobs of the recipe under
``references/``, and a row in the ledger for every job. Each ticket tells the candidate's whole
story. A question that was asked before, in any batch of this campaign, is not asked again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from dft_inputs.folder import (
    Job,
    batches,
    clear_unfinished,
    emitted_jobs,
    extend_batch,
    next_batch_name,
    vasp_job,
    write_batch,
)
from dft_inputs.recipe import Recipe
from dft_inputs.recipes import RECIPES, recipe_named
from dft_inputs.references import reference_jobs, unreferenced
from dft_inputs.scheduler import ClusterSettings, batch_files
from structure.errors import CalculationError
from structure.io import structure_from_json
from tasks._campaign import Campaign
from tasks._competing import Competitors
from tasks._handles import handle_for, read_table
from tasks._outputs import Filtered, HandedOff, Trained

logger = logging.getLogger(__name__)

NOT_IN_STORY = frozenset({"structure_json", "status", "formula"})
"""Columns of the survivors that the ticket holds elsewhere."""


class HandoffConfig(BaseModel):
    """How the survivors are handed to DFT.

    Attributes
    ----------
    recipe : str
        Name of a VASP recipe (`dft_inputs.recipes`).
    optional_steps : tuple of str
        Optional steps of the recipe to include, e.g. ``("06-elastic",)``.
    references : bool
        Emit the elemental references of the batch too, once per recipe.
    competing_phases : bool
        Emit the known phases on the hull of each candidate's elements too, as far as the template
        library has energies, so that collect can tell the distance to the hull.
    cluster : ClusterSettings
        First contents of ``cluster.env``; they can be changed there later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str = "agd-paper"
    optional_steps: tuple[str, ...] = ()
    references: bool = True
    competing_phases: bool = False
    cluster: ClusterSettings = ClusterSettings()

    @field_validator("recipe")
    @classmethod
    def _is_a_vasp_recipe(cls, name: str) -> str:
        names = sorted(n for n, recipe in RECIPES.items() if recipe.engine == "vasp")
        if name not in names:
            raise ValueError(f"choose one of {', '.join(names)}")
        return name

    def chosen_recipe(self) -> Recipe:
        """Return the recipe with the optional steps that were asked for."""
        return recipe_named(self.recipe).with_steps(self.optional_steps)


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
    """
    return campaign.once(
        "handoff", "all", HandedOff, lambda: _hand_off(campaign, config, filtered, trained)
    )


def _hand_off(
    campaign: Campaign, config: HandoffConfig, filtered: Filtered, trained: Trained
) -> HandedOff:
    recipe = config.chosen_recipe()
    competitors = Competitors(campaign, recipe) if config.competing_phases else None
    jobs, refused = _candidate_jobs(campaign.root, recipe, filtered, trained, competitors)
    references = "references" if config.references and jobs else None
    if references is not None:
        others = competitors.jobs() if competitors else []
        _emit_references(campaign, config, recipe, jobs, others)
    batch = _emit_batch(campaign.root, config, recipe, jobs, refused, references)
    _record(campaign, [batch.parent, campaign.root / "references"], recipe)
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
        try:
            structure = structure_from_json(columns["structure_json"][row])
            if competitors is not None:
                elements = [e.symbol for e in structure.composition.elements]
                story["competing"] = [job.ticket.id for job in competitors.of(elements)]
            jobs.append(vasp_job(structure, recipe, formula=formula, story=story))
        except CalculationError as error:
            refused.append({"formula": formula, "code": "job", "sentence": error.what})
            logger.warning("%s gets no job: %s", formula, error.what)
    return _each_question_once(jobs), refused


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


def _each_question_once(jobs: Iterable[Job]) -> list[Job]:
    return list({job.ticket.content_sha256: job for job in jobs}.values())


def _emit_batch(
    root: Path,
    config: HandoffConfig,
    recipe: Recipe,
    jobs: Sequence[Job],
    refused: Sequence[Mapping[str, str]],
    references: str | None,
) -> Path:
    """Write the jobs that no batch has yet as a new batch; return the batch that has the jobs."""
    handoff = root / "handoff"
    handoff.mkdir(exist_ok=True)
    clear_unfinished(handoff)
    present = emitted_jobs(*batches(handoff))
    new = [job for job in jobs if job.ticket.id not in present]
    if not new and batches(handoff):
        places = [present[job.ticket.id][1].parent for job in jobs]
        return max(places, default=batches(handoff)[-1])
    batch = handoff / next_batch_name(handoff)
    manifest = {
        **_recipe_facts(recipe),
        "batch": batch.name,
        "references": references,
        "refused": list(refused),
    }
    path = f"../../{references}" if references else None
    write_batch(batch, new, _shared(config, recipe, new, path), manifest)
    return batch


def _recipe_facts(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "recipe_sha256": recipe.hash,
        "potcar_functional": recipe.potcar_functional,
        "choices": list(recipe.choices),
    }


def _shared(
    config: HandoffConfig, recipe: Recipe, jobs: Sequence[Job], references: str | None
) -> dict[str, str]:
    symbols = {symbol for job in jobs for symbol in job.ticket.potcar_symbols}
    family = recipe.potcar_functional or ""
    return batch_files(config.cluster, family, symbols, len(jobs), references)


def _emit_references(
    campaign: Campaign,
    config: HandoffConfig,
    recipe: Recipe,
    jobs: Sequence[Job],
    others: Sequence[Job],
) -> None:
    """Add the elements of these jobs, and competing phases, to the recipe's reference jobs."""
    elements = sorted({element for job in jobs for element in job.ticket.cell})
    references = [*reference_jobs(elements, recipe), *others]
    target = campaign.root / "references"
    manifest = {
        **_recipe_facts(recipe),
        "batch": "references",
        "without_reference": unreferenced(elements),
    }
    extend_batch(target, references, _shared(config, recipe, references, None), manifest)


def _record(campaign: Campaign, places: Sequence[Path], recipe: Recipe) -> None:
    """Give the ledger every job that lies in the campaign and is not in it yet."""
    handoff, references = places
    known = {job["id"] for job in campaign.ledger.jobs()}
    for ticket, folder in emitted_jobs(*batches(handoff), references).values():
        if ticket.id not in known:
            campaign.ledger.add_job(
                ticket.id,
                formula=ticket.formula,
                batch=folder.parent.name,
                folder=folder.relative_to(campaign.root).as_posix(),
                recipe=ticket.recipe_sha256,
                story={
                    **ticket.story,
                    "role": ticket.role,
                    "recipe": ticket.recipe,
                    "ticket_sha256": ticket.sha256,
                },
            )
