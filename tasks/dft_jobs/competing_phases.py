"""Known phases that candidates compete with: serves handoff.

In: the campaign's template library, as far as it has formation energies. Out: one job for each
phase on the hull of a candidate's elements, the same question for all candidates of the system.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from dft_inputs.job.folder import Job
from dft_inputs.job.prepare import prepare_job
from dft_inputs.recipes.recipe import Recipe
from dft_inputs.references.reference_phases import competing_phases
from structure.composition import formulas_of
from structure.errors import Rejection
from tasks.campaign.directory import Campaign
from tasks.campaign.library import campaign_library

logger = logging.getLogger(__name__)


class Competitors:
    """Jobs of competing phases, each prepared once.

    Parameters
    ----------
    campaign : Campaign
        Must have finished its ingest stage.
    recipe : Recipe

    Raises
    ------
    CampaignError
        If the campaign has no template library yet.
    """

    def __init__(self, campaign: Campaign, recipe: Recipe):
        self._library = campaign_library(
            campaign,
            "competing phases",
            "Run the campaign from its beginning, or set handoff.competing_phases: false.",
        )
        self._recipe = recipe
        self._systems: dict[tuple[str, ...], list[int]] = {}
        self._jobs: dict[int, Job | None] = {}

    def of(self, elements: Iterable[str]) -> list[Job]:
        """Return the jobs of the phases on the hull of these elements, elements left out."""
        system = tuple(sorted(set(elements)))
        if system not in self._systems:
            self._systems[system] = competing_phases(system, self._library)
        return [job for i in self._systems[system] if (job := self._job(i)) is not None]

    def jobs(self) -> list[Job]:
        """Return every job asked for so far, once, in the order of the library."""
        found = (self._jobs[i] for i in sorted(self._jobs))
        return list({job.ticket.id: job for job in found if job is not None}.values())

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
