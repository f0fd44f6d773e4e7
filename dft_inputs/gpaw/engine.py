"""GPAW as a DFT code of the hand-off step: `ENGINE` follows `dft_inputs.engines.DftEngine`.

In: questions, and job directories that came back. Out: job directories, judgements and results; the
parts are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dft_inputs.batch.cluster_settings import (
    ClusterFiles,
    ClusterSettings,
    Line,
    runner_line,
    script,
)
from dft_inputs.engines import Calculated
from dft_inputs.gpaw.jobs import (
    DEFAULT_PYTHON,
    PYTHON_VARIABLE,
    available,
    gpaw_job,
    interpreter,
    unsupported,
)
from dft_inputs.gpaw.results import gpaw_result, judge_gpaw, other_setup
from dft_inputs.job.cell import job_structure
from dft_inputs.job.treatment import CRYSTAL
from dft_inputs.recipes.shipped import GPAW
from structure.errors import ConfigError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.job.findings import Judgement
    from dft_inputs.job.folder import Job
    from dft_inputs.job.ticket import Role, Ticket
    from dft_inputs.job.treatment import Treatment
    from dft_inputs.recipes.recipe import Recipe
    from structure.errors import Rejection


class GpawEngine:
    """GPAW in plane waves, one process a job. See `DftEngine`."""

    name = "gpaw"
    title = "GPAW"
    recipes = (GPAW,)
    most_sites = 10
    """Chosen: ten atoms are minutes to an hour on one core."""
    outputs = ("*/gpaw-result.json",)

    def can_calculate(self, recipe: Recipe, element: str) -> bool:
        """Return whether GPAW's data has a setup of an element."""
        return unsupported([element]) is None

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
        """Prepare one job; GPAW's cost grows with the cube of the cell."""
        cell = structure if role == "reference" else job_structure(structure)
        return gpaw_job(cell, recipe, formula=formula, role=role, story=story, treatment=treatment)

    def judge(self, folder: Path, ticket: Ticket) -> Judgement:
        """Judge a job whose runner says it is done."""
        return judge_gpaw(folder, ticket)

    def result(self, folder: Path, ticket: Ticket, judgement: Judgement) -> Calculated:
        """Read what a judged job says."""
        return gpaw_result(folder, ticket, judgement)

    def other_potential(
        self, own: Mapping[str, Any], reference: Mapping[str, Any], element: str
    ) -> Rejection | None:
        """Return code 410 when two jobs used other setups of an element."""
        return other_setup(own, reference, element)

    def on_this_machine(self, settings: ClusterSettings) -> ClusterSettings:
        """Return the settings with this machine's Python of GPAW.

        A Python that the campaign names comes before the environment's.
        """
        if settings.gpaw_python != DEFAULT_PYTHON:
            return settings
        return settings.model_copy(update={"gpaw_python": interpreter()})

    def ready(self, settings: ClusterSettings) -> None:
        """Check that GPAW can be imported here.

        Raises
        ------
        ConfigError
            If it cannot.
        """
        python = settings.gpaw_python
        if not available(python):
            raise ConfigError(
                f"GPAW jobs are to run here, and {python} cannot import GPAW",
                where="explore.oracle.dft",
                fix=f"Install Debian's packages gpaw and gpaw-data, or set {PYTHON_VARIABLE} to "
                "the Python that has GPAW; to run the jobs elsewhere, set submit: by-hand.",
            )

    def cluster_files(
        self, settings: ClusterSettings, recipe: Recipe, tickets: Sequence[Ticket]
    ) -> ClusterFiles:
        """Return what stands beside the job directories."""
        return ClusterFiles(
            settings=settings.on_one_core(),
            files={name: script(name) for name in ("gpaw_runner.py", "gpaw_worker.py")},
            lines=(
                runner_line(settings),
                Line(PYTHON_VARIABLE, settings.gpaw_python, "Python that has GPAW"),
            ),
            needs="Python 3.6 and one that has GPAW",
            edits="scheduler, account, modules, AGD_GPAW_PYTHON; a job runs on one core",
            cores="cores to ask for; a job uses one",
        )


ENGINE = GpawEngine()
