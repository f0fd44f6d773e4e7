"""Elk jobs for the hand-off step: a structure and a recipe become the files of a job directory.

In: a structure, a recipe of this code, and how a reference departs from a crystal. Out: a `Job`
that holds ``00-ground-state/elk.in``, or the reason why Elk is not asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dft_inputs.batch.cluster_settings import script
from dft_inputs.elk.elk_runner import INPUT
from dft_inputs.elk.inputs import elk_input
from dft_inputs.elk.recipe import ElkSettings
from dft_inputs.job.cell import job_structure
from dft_inputs.job.folder import Job
from dft_inputs.job.ticket import Role, content_hash, new_ticket, ticket_steps
from dft_inputs.job.treatment import CRYSTAL, Treatment
from structure.elements import ELEMENTS
from structure.errors import CalculationError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.recipes.recipe import Recipe

HASH = "input_sha256"
"""Setting of a ticket's step: the SHA-256 of ``elk.in`` as it was handed off."""

SPECIES = frozenset(ELEMENTS)
"""Elements of which Elk has a species file: all to lawrencium."""


def elk_job(
    structure: Structure,
    recipe: Recipe,
    *,
    formula: str,
    role: Role = "candidate",
    story: Mapping[str, Any] | None = None,
    treatment: Treatment = CRYSTAL,
) -> Job | Rejection:
    """Prepare one Elk job.

    Parameters
    ----------
    structure : Structure
        A candidate is calculated in its standard primitive cell, a reference as it is.
    recipe : Recipe
    formula : str
        Reduced formula the job answers for.
    role : {"candidate", "reference", "competing"}
    story : mapping, optional
        JSON-ready; goes into the ticket as it is.
    treatment : Treatment

    Returns
    -------
    Job or Rejection
        Code ``"elk-treatment"`` for a molecule in a box or given moments.

    Raises
    ------
    CalculationError
        If the recipe is one of another code, or the structure can be no crystal.
    """
    settings = settings_of(recipe)
    if treatment.molecule:
        words = "a molecule in a box has too much vacuum for augmented plane waves"
        return Rejection("elk-treatment", f"{formula}: {words}")
    if treatment.magnetic_moments is not None:
        return Rejection("elk-treatment", f"{formula}: recipe {recipe.name} is without spin")
    cell = structure if role == "reference" else job_structure(structure)
    text = elk_input(cell, settings, bands=role == "candidate")
    digest = content_hash(structure, recipe.hash, ("bands",) if role == "candidate" else ())
    [step] = ticket_steps(recipe, role)
    step = step.model_copy(update={"settings": {HASH: hashlib.sha256(text.encode()).hexdigest()}})
    ticket = new_ticket(cell, recipe, digest, (step,), formula=formula, role=role, story=story)
    run = script("run.sh").replace("/runner.py", "/elk_runner.py")
    return Job(ticket, {"run.sh": run, f"{step.name}/{INPUT}": text})


def settings_of(recipe: Recipe) -> ElkSettings:
    """Return the settings of a recipe's only step.

    Raises
    ------
    CalculationError
        If the recipe is one of another code.
    """
    try:
        [step] = recipe.steps
        return ElkSettings.model_validate(step.settings)
    except (ValueError, ValidationError) as error:
        raise CalculationError(
            f"recipe {recipe.name} is one of engine {recipe.engine}: it has no settings for Elk"
        ) from error
