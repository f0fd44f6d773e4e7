"""Known phases that candidates compete with: serves handoff.

In: the campaign's template library, as far as it has formation energies. Out: one job for each
phase on the hull of a candidate's elements, the same question for all candidates of the system.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dft_inputs.job.folder import Job
from dft_inputs.job.prepare import prepare_job
from dft_inputs.recipes.recipe import Recipe
from dft_inputs.references.reference_phases import competing_phases
from structure.composition import formulas_of
from structure.errors import Rejection

if TYPE_CHECKING:
    from structure.templates.library import TemplateLibrary

logger = logging.getLogger(__name__)


class Competitors:
    """Jobs of competing phases, each prepared once.

    Parameters
    ----------
    library : TemplateLibrary
        With formation energies.
    recipe : Recipe
    """

    def __init__(self, library: TemplateLibrary, recipe: Recipe):
        self._library = library
        self._recipe = recipe
        self._systems: dict[tuple[str, ...], list[int]] = {}
        self._jobs: dict[int, Job | None] = {}

    def of(self, elements: Iterable[str]) -> list[Job]:
        """Return the jobs of the phases on the hull of these elements, elements left out."""
        system = tuple(sorted(set(elements)))
        if system not in self._systems:
            self._systems[system] = competing_phases(system, self._library)
        return [job for i in self._systems[system] if (job := self._job(i)) is not None]

    def jobs(self) -> dict[int, Job]:
        """Return every job asked for so far, by row of the library."""
        return {i: job for i, job in self._jobs.items() if job is not None}

    def _job(self, i: int) -> Job | None:
        if i not in self._jobs:
            formula = formulas_of(self._library.counts[i : i + 1])[0]
            story = {
                "template_id": self._library.ids[i],
                "known_formation_energy_eV_per_atom": float(self._library.formation_energies[i]),
            }
            outcome = prepare_job(
                self._library.structure(i),
                self._recipe,
                formula=formula,
                role="competing",
                story=story,
            )
            if isinstance(outcome, Rejection):
                logger.warning("competing phase %s gets no job: %s", formula, outcome.sentence)
            self._jobs[i] = None if isinstance(outcome, Rejection) else outcome
        return self._jobs[i]
