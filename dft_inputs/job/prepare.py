"""One job from one structure, whatever the engine: serves the hand-off step and the search.

In: a structure with its story, and a recipe. Out: a `Job` of the recipe's engine, in the primitive
cell, or the reason why the recipe cannot ask this question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dft_inputs.engines import engine_of
from structure.errors import CalculationError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.job.folder import Job
    from dft_inputs.job.ticket import Role
    from dft_inputs.recipes.recipe import Recipe


def prepare_job(
    structure: Structure,
    recipe: Recipe,
    *,
    formula: str,
    role: Role = "candidate",
    story: Mapping[str, Any] | None = None,
) -> Job | Rejection:
    """Prepare one job of the recipe's engine.

    References have cells and treatments of their own:
    `dft_inputs.references.reference_phases.reference_job`.

    Parameters
    ----------
    structure : Structure
        As generated. Every code calculates its standard primitive cell: costs grow with the cube
        of the cell, and band paths are written in that setting.
    recipe : Recipe
    formula : str
        Reduced formula the job answers for.
    role : {"candidate", "competing"}
    story : mapping, optional
        JSON-ready; goes into the ticket as it is.

    Returns
    -------
    Job or Rejection
        Code ``"job"`` where the recipe has no potential for an element, atoms coincide or no
        symmetry can be found; codes may have reasons of their own.

    Raises
    ------
    ConfigError
        If the recipe's code is not there.
    """
    try:
        return engine_of(recipe).prepare(structure, recipe, formula=formula, role=role, story=story)
    except CalculationError as error:
        return Rejection("job", error.what)
