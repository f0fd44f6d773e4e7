"""VASP jobs for the hand-off step: a structure and a recipe become the files of a job directory.

In: a structure, a recipe of this engine, and how a reference departs from a crystal. Out: a `Job`,
or the error that says why the recipe cannot ask this question. See `dft_inputs.vasp.inputs` for the
text of each file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dft_inputs.batch.cluster_settings import script
from dft_inputs.job.cell import elements_of, job_structure
from dft_inputs.job.folder import Job
from dft_inputs.job.ticket import (
    Role,
    TicketStep,
    content_hash,
    geometry_of,
    new_ticket,
    steps_for,
    ticket_steps,
)
from dft_inputs.job.treatment import CRYSTAL, Treatment
from dft_inputs.vasp.asked.points import mesh_of, path_of
from dft_inputs.vasp.asked.tags import read_incar
from dft_inputs.vasp.inputs import potcar_symbols, step_inputs
from structure.errors import CalculationError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.recipes.recipe import Recipe


def vasp_job(
    structure: Structure,
    recipe: Recipe,
    *,
    formula: str,
    role: Role = "candidate",
    story: Mapping[str, Any] | None = None,
    treatment: Treatment = CRYSTAL,
) -> Job:
    """Prepare one VASP job.

    Parameters
    ----------
    structure : Structure
        As generated; it is written in its standard primitive setting. A molecule keeps its box,
        and a cell with given moments its size, which antiferromagnetic order may need.
    recipe : Recipe
    formula : str
        Reduced formula the job answers for.
    role : {"candidate", "reference", "competing"}
    story : mapping, optional
        JSON-ready; goes into the ticket as it is.
    treatment : Treatment

    Raises
    ------
    CalculationError
        If the recipe is one of another code, it has no potential for an element, or no symmetry
        can be found.
    """
    if any(step.gpaw is not None or step.settings is not None for step in recipe.steps):
        raise CalculationError(f"recipe {recipe.name} has settings of another code than VASP")
    as_given = treatment.molecule or treatment.magnetic_moments is not None
    cell = structure.get_sorted_structure() if as_given else job_structure(structure)
    symbols = potcar_symbols(recipe, elements_of(cell))
    if isinstance(symbols, Rejection):
        raise CalculationError(symbols.sentence, fix="Leave the element out or use another recipe.")
    digest = content_hash(structure, recipe.hash, symbols)
    files = {"run.sh": script("run.sh")}
    files |= {
        f"{step.name}/{name}": text
        for step in steps_for(recipe, role)
        for name, text in step_inputs(recipe, step, cell, treatment).items()
    }
    ticket = new_ticket(
        cell,
        recipe,
        digest,
        _steps_of(recipe, role, files, cell),
        formula=formula,
        role=role,
        story=story,
        potcar_functional=recipe.potcar_functional,
        potcar_symbols=symbols,
        geometry=geometry_of(cell),
    )
    return Job(ticket, files)


def _steps_of(
    recipe: Recipe, role: Role, files: Mapping[str, str], cell: Structure
) -> tuple[TicketStep, ...]:
    """Return the ticket's steps with the settings and points that stand in the job's inputs.

    Parameters
    ----------
    recipe : Recipe
    role : {"candidate", "reference", "competing"}
    files : mapping of str to str
        ``"<step>/INCAR"`` to text.
    cell : Structure
        The job's cell, for steps that repeat it.
    """
    return tuple(
        plain.model_copy(
            update={
                "settings": dict(read_incar(files[f"{step.name}/INCAR"])),
                "mesh": mesh_of(files[f"{step.name}/KPOINTS"]),
                "path": path_of(files[f"{step.name}/KPOINTS"]),
                "supercell": step.repeats(cell),
            }
        )
        for plain, step in zip(ticket_steps(recipe, role), steps_for(recipe, role), strict=True)
    )
