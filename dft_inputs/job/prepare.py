"""One job from one structure, whatever the engine: serves the hand-off step and the search.

In: a structure with its story, and a recipe. Out: a `Job` of the recipe's engine, in the primitive
cell, or the reason why the recipe cannot ask this question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dft_inputs.job.folder import Job, vasp_job
from dft_inputs.job.ticket import Role
from structure.errors import CalculationError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

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
        As generated. Both engines calculate its standard primitive cell: VASP's inputs are written
        in that setting, and GPAW's cost grows with the cube of the cell.
    recipe : Recipe
    formula : str
        Reduced formula the job answers for.
    role : {"candidate", "competing"}
    story : mapping, optional
        JSON-ready; goes into the ticket as it is.

    Returns
    -------
    Job or Rejection
        Code ``"gpaw-element"`` for an element without a setup, ``"job"`` where the recipe has no
        potential for an element, atoms coincide or no symmetry can be found.
    """
    try:
        if recipe.engine == "vasp":
            return vasp_job(structure, recipe, formula=formula, role=role, story=story)
        from dft_inputs.gpaw.jobs import gpaw_job
        from dft_inputs.vasp.inputs import job_structure

        cell = job_structure(structure)
        return gpaw_job(cell, recipe, formula=formula, role=role, story=story)
    except CalculationError as error:
        return Rejection("job", error.what)


def can_calculate(recipe: Recipe, element: str) -> bool:
    """Return whether a recipe has a potential for an element."""
    if recipe.engine == "vasp":
        from dft_inputs.vasp.inputs import potcar_symbols

        return not isinstance(potcar_symbols(recipe, [element]), Rejection)
    from dft_inputs.gpaw.jobs import unsupported

    return unsupported([element]) is None
