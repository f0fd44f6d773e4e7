"""Elk as a DFT code of the hand-off step: `ENGINE` follows `dft_inputs.engines.DftEngine`.

In: questions, and job directories that came back. Out: job directories, judgements and results; the
parts are in the modules beside this one.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dft_inputs.batch.cluster_settings import ClusterFiles, ClusterSettings, Line, runner_line
from dft_inputs.elk.elk_runner import SPECIES as SPECIES_FOLDER
from dft_inputs.elk.jobs import SPECIES, elk_job
from dft_inputs.elk.recipe import ELK
from dft_inputs.elk.results import elk_result, judge_elk, other_species
from dft_inputs.engines import Calculated
from dft_inputs.job.treatment import CRYSTAL
from structure.errors import ConfigError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.job.findings import Judgement
    from dft_inputs.job.folder import Job
    from dft_inputs.job.ticket import Role, Ticket
    from dft_inputs.job.treatment import Treatment
    from dft_inputs.recipes.recipe import Recipe
    from structure.errors import Rejection

PROGRAM = "elk-lapw"
"""As Debian calls it; upstream calls it ``elk``."""


class ElkEngine:
    """Elk, all electrons, one process a job. See `DftEngine`."""

    name = "elk"
    title = "Elk"
    recipes = (ELK,)
    most_sites = 4
    """Chosen: four light atoms are minutes on one core."""
    outputs = ("*/elk-result.json",)

    def can_calculate(self, recipe: Recipe, element: str) -> bool:
        """Return whether Elk has a species file of an element."""
        return element in SPECIES

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
        return elk_job(
            structure, recipe, formula=formula, role=role, story=story, treatment=treatment
        )

    def judge(self, folder: Path, ticket: Ticket) -> Judgement:
        """Judge a job whose runner says it is done."""
        return judge_elk(folder, ticket)

    def result(self, folder: Path, ticket: Ticket, judgement: Judgement) -> Calculated:
        """Read what a judged job says."""
        return elk_result(folder, ticket, judgement)

    def other_potential(
        self, own: Mapping[str, Any], reference: Mapping[str, Any], element: str
    ) -> Rejection | None:
        """Return code 410 when two jobs used other species files of an element."""
        return other_species(own, reference, element)

    def on_this_machine(self, settings: ClusterSettings) -> ClusterSettings:
        """Return the settings as they are: Debian's places are the defaults."""
        return settings

    def ready(self, settings: ClusterSettings) -> None:
        """Check that Elk and its species files are here.

        Raises
        ------
        ConfigError
            If one of them is not.
        """
        program, folder = _program(settings), Path(_species(settings))
        words = shlex.split(program)
        if not words or shutil.which(words[0]) is None:
            raise ConfigError(
                f"Elk jobs are to run here, and there is no program {program!r}",
                where="cluster.programs.elk",
                fix="Install Debian's package elk-lapw, or name the command.",
            )
        if not (folder / "O.in").is_file():
            raise ConfigError(
                "Elk jobs are to run here, and its species files are not where they should be",
                where=folder,
                fix="Name their folder in cluster.programs.elk_species.",
            )

    def cluster_files(
        self, settings: ClusterSettings, recipe: Recipe, tickets: Sequence[Ticket]
    ) -> ClusterFiles:
        """Return what stands beside the job directories."""
        runner = resources.files("dft_inputs.elk") / "elk_runner.py"
        return ClusterFiles(
            settings=settings.on_one_core(),
            files={"elk_runner.py": runner.read_text(encoding="utf-8")},
            lines=(
                runner_line(settings),
                Line(
                    "AGD_ELK", _program(settings), "command that runs Elk in the working directory"
                ),
                Line("AGD_ELK_SPECIES", _species(settings), "folder of Elk's species files"),
            ),
            needs="Python 3.6 and Elk",
            edits="scheduler, account, modules, AGD_ELK, AGD_ELK_SPECIES; a job runs on one core",
            cores="cores to ask for; Elk uses as many threads",
        )


def _program(settings: ClusterSettings) -> str:
    return settings.programs.get("elk", PROGRAM)


def _species(settings: ClusterSettings) -> str:
    return settings.programs.get("elk_species", SPECIES_FOLDER)


ENGINE = ElkEngine()
