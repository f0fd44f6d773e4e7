"""VASP as a DFT code of the hand-off step: `ENGINE` follows `dft_inputs.engines.DftEngine`.

In: questions, and job directories that came back. Out: job directories, judgements and results; the
parts are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dft_inputs.engines import Calculated
from dft_inputs.job.treatment import CRYSTAL
from dft_inputs.recipes.shipped import MATERIALS_PROJECT, PAPER
from dft_inputs.vasp.asked.potentials import other_release
from dft_inputs.vasp.batch import vasp_batch
from dft_inputs.vasp.inputs import potcar_symbols
from dft_inputs.vasp.jobs import vasp_job
from dft_inputs.vasp.judgement import judge
from dft_inputs.vasp.results import status_of, vasp_result
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.batch.cluster_settings import ClusterFiles, ClusterSettings
    from dft_inputs.job.findings import Judgement
    from dft_inputs.job.folder import Job
    from dft_inputs.job.ticket import Role, Ticket
    from dft_inputs.job.treatment import Treatment
    from dft_inputs.recipes.recipe import Recipe


class VaspEngine:
    """The Vienna ab initio simulation package, licensed, on a cluster. See `DftEngine`."""

    name = "vasp"
    title = "VASP"
    recipes = (PAPER, MATERIALS_PROJECT)
    most_sites = 80
    """Chosen: the template stage's for a cluster."""
    outputs = ("*/vasprun.xml*",)

    def can_calculate(self, recipe: Recipe, element: str) -> bool:
        """Return whether the recipe names a potential for an element."""
        return not isinstance(potcar_symbols(recipe, [element]), Rejection)

    def prepare(
        self,
        structure: Structure,
        recipe: Recipe,
        *,
        formula: str,
        role: Role = "candidate",
        story: Mapping[str, Any] | None = None,
        treatment: Treatment = CRYSTAL,
    ) -> Job | Rejection:
        """Prepare one job."""
        return vasp_job(
            structure, recipe, formula=formula, role=role, story=story, treatment=treatment
        )

    def judge(self, folder: Path, ticket: Ticket) -> Judgement:
        """Judge a job whose runner says it is done."""
        corrections = status_of(folder).get("corrections")
        return judge(folder, ticket, corrections if isinstance(corrections, list) else ())

    def result(self, folder: Path, ticket: Ticket, judgement: Judgement) -> Calculated:
        """Read what a judged job says."""
        return vasp_result(folder, ticket, judgement)

    def other_potential(
        self, own: Mapping[str, Any], reference: Mapping[str, Any], element: str
    ) -> Rejection | None:
        """Return code 410 when two jobs used other releases of an element's potential."""
        return other_release(own, reference, element)

    def on_this_machine(self, settings: ClusterSettings) -> ClusterSettings:
        """Return the settings as they are: the campaign names VASP's command."""
        return settings

    def ready(self, settings: ClusterSettings) -> None:
        """Nothing is checked: VASP's command may come with a module of ``setup``."""

    def cluster_files(
        self, settings: ClusterSettings, recipe: Recipe, tickets: Sequence[Ticket]
    ) -> ClusterFiles:
        """Return what stands beside the job directories."""
        symbols = {symbol for ticket in tickets for symbol in ticket.potcar_symbols}
        return vasp_batch(settings, recipe.potcar_functional, symbols)


ENGINE = VaspEngine()
