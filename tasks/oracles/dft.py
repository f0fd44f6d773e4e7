"""The oracle that calculates: DFT jobs for what the search asks, answers when they come back.

In: compositions, the campaign's template library, a recipe of a DFT code. Out: for each the gap a
finished job brought, the job that will bring it, or why none will. New questions become one batch
under ``handoff/``, with the elements' references, and rows in the ledger. The directories and the
ledger are the only memory: the oracle may be killed at any moment and be asked again.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import check_programs
from dft_inputs.engines import DftEngine, origin_of
from dft_inputs.job.folder import Job
from dft_inputs.job.prepare import prepare_job
from dft_inputs.job.status import State
from dft_inputs.recipes.measures import unmeasured
from structure.composition import formulas_of
from structure.elements import ELEMENTS
from structure.errors import ConfigError, Rejection
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property
from tasks.campaign.directory import Campaign
from tasks.campaign.job_lock import JobsBusy, jobs_to_itself
from tasks.campaign.library import (
    Placed,
    campaign_library,
    first_usable,
    usable_templates,
    within_limits,
)
from tasks.campaign.series import campaigns_before
from tasks.campaign.surroundings import of_others
from tasks.dft_jobs.collect_round import collect
from tasks.dft_jobs.contradictions import check_jobs
from tasks.dft_jobs.emit import Emission, each_question_once
from tasks.ledger.ledger import Label
from tasks.ledger.reading import read_ledger
from tasks.oracles import run_here
from tasks.oracles.answer import Answer, Asked
from tasks.oracles.core_hours import room_for
from tasks.oracles.dft_settings import DFTOracleConfig

if TYPE_CHECKING:
    from structure.templates.library import TemplateLibrary

logger = logging.getLogger(__name__)

START_AGAIN_S = 600.0
"""How often jobs that should run here and do not are started again (chosen): what broke may be
mended, what waited for approval may have it."""

_ENDED = {
    State.FAILED: "failed",
    State.QUARANTINED: "was set aside",
    State.CANCELLED: "was cancelled",
}
_SUBMITTERS = {"slurm": "sbatch", "pbs": "qsub"}

Outcome = float | str | Rejection
"""A gap in eV, the id of the job that will bring it, or why none will."""


class DFTOracle:
    """Labels with calculations.

    Parameters
    ----------
    campaign : Campaign
        Must have finished its ingest stage before the first question that needs a structure.
    engine : DftEngine
    config : DFTOracleConfig
    sought : Property

    Raises
    ------
    ConfigError
        If the recipe does not measure what is sought, or jobs are to run here and this machine
        lacks what they need.
    """

    later = True

    def __init__(
        self,
        campaign: Campaign,
        engine: DftEngine,
        config: DFTOracleConfig,
        sought: Property = BAND_GAP,
    ):
        if campaign.ledger.fact("finished") is None:
            check_machine(engine, config)
        recipe = config.recipe_for(engine)
        if (lacking := unmeasured(recipe, sought)) is not None:
            raise lacking
        self.property = sought.result
        self._engine = engine
        self._cluster = engine.cluster_files(config.cluster, recipe, ()).settings
        self.origin = origin_of(engine.name)
        self.source = recipe.hash
        self._campaign = campaign
        self._config = config
        self._structures = config.structures_for(engine)
        self._emission = Emission(campaign.root, recipe, cluster_of(engine, config))
        self._checked = False
        self._start_after = 0.0

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Return what the recipe has all elements for and a template within the limits."""
        able = np.flatnonzero(~np.any(counts[:, ~self._calculable] > 0, axis=1))
        accepted = np.zeros(len(counts), dtype=bool)
        accepted[able] = within_limits(self._library, counts[able], self._structures)
        return accepted

    def room(self) -> int | None:
        """Return how many more calculations the night's core-hours allow.

        A campaign that has finished asks for nothing more: its report may be written again, and
        answers that were outstanding still count.
        """
        if self._campaign.ledger.fact("finished") is not None:
            return 0
        if self._config.core_hours is None:
            return None
        own = [(self._campaign.root, job) for job in self._campaign.ledger.jobs()]
        every = [(root, job) for root, job in [*self._earlier, *own] if self._is_ours(job)]
        jobs = {job["id"]: (root, job) for root, job in every}.values()
        return room_for(self._config.core_hours, jobs, self._cluster, time.time())

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Take finished jobs in, ask for what nobody has asked yet, and answer. See `Oracle`."""
        self._take_in()
        formulas = formulas_of(counts)
        outcomes = self._known(set(formulas))
        new = [i for i, formula in enumerate(formulas) if formula not in outcomes]
        if new:
            outcomes |= self._ask(counts, formulas, new, asked)
        self._keep_running()
        every = [outcomes[formula] for formula in formulas]
        return Answer(
            np.array([o if isinstance(o, float) else np.nan for o in every], dtype=np.float64),
            np.full(len(every), np.nan),
            tuple(o if isinstance(o, str) else None for o in every),
            tuple(o if isinstance(o, Rejection) else None for o in every),
        )

    def _take_in(self) -> None:
        """Bring the ledger up to what lies in the directories."""
        root, ledger = self._campaign.root, self._campaign.ledger
        if not self._checked:
            with jobs_to_itself(root):
                check_jobs(ledger, root)
            self._checked = True
        if not ledger.jobs():
            return
        try:
            collect(root, ledger)
        except JobsBusy:
            logger.info("oracle: another collect takes long; what it takes in counts here too")

    def _is_ours(self, job: Mapping[str, Any]) -> bool:
        return bool(job["recipe"] == self.source)

    def _known(self, formulas: set[str]) -> dict[str, Outcome]:
        """Answer what has been asked before, in this campaign or an earlier one of the series."""
        labels = self._campaign.ledger.labels(self.property)
        outcomes = self._outcomes(self._campaign.ledger.jobs(), labels)
        earlier = {f: o for f, o in self._earlier_outcomes.items() if f not in outcomes}
        return {f: o for f, o in {**earlier, **outcomes}.items() if f in formulas}

    def _outcomes(
        self, jobs: Iterable[Mapping[str, Any]], labels: Iterable[Label]
    ) -> dict[str, Outcome]:
        """Return what one ledger says of each compound: a label, else the most hopeful job."""
        candidates = [j for j in jobs if self._is_ours(j) and j["story"].get("role") == "candidate"]
        found: dict[str, Outcome] = {}
        for job in sorted(candidates, key=lambda job: job["state"] not in _ENDED):
            found[job["formula"]] = _outcome(job)
        for label in labels:
            if (label.origin, label.source) != (self.origin, self.source):
                continue
            found[label.formula] = label.value
            if "230" in label.quality.split(","):
                sentence = f"{label.formula} became another crystal when it was relaxed"
                found[label.formula] = Rejection("230", sentence)
        return found

    @cached_property
    def _earlier(self) -> list[tuple[Path, dict[str, Any]]]:
        """Jobs of earlier campaigns of the series, each with its campaign's directory."""
        return [(root, job) for root, jobs, _ in self._earlier_ledgers for job in jobs]

    @cached_property
    def _earlier_ledgers(self) -> list[tuple[Path, list[dict[str, Any]], list[Label]]]:
        found = []
        for root in campaigns_before(self._campaign.root):
            jobs, labels = read_ledger(root, lambda one: (one.jobs(), one.labels(self.property)))
            found.append((root, jobs, labels))
        return found

    @cached_property
    def _earlier_outcomes(self) -> dict[str, Outcome]:
        """What earlier campaigns say; a job of theirs that is not finished is not waited for."""
        outcomes: dict[str, Outcome] = {}
        for root, jobs, labels in self._earlier_ledgers:
            for formula, outcome in self._outcomes(jobs, labels).items():
                if isinstance(outcome, str):
                    sentence = f"{root.name} asked for {formula}; the answer counts from the next"
                    outcome = Rejection("asked-earlier", f"{sentence} campaign on")
                outcomes[formula] = outcome
        return outcomes

    @cached_property
    def _calculable(self) -> np.ndarray:
        """Elements the recipe has a potential for, shape (103,), bool."""
        able = self._engine.can_calculate
        return np.array([able(self._emission.recipe, symbol) for symbol in ELEMENTS])

    @cached_property
    def _library(self) -> TemplateLibrary:
        library = campaign_library(
            self._campaign,
            "structures to calculate",
            "Run the campaign from its beginning.",
        )
        return usable_templates(library, self._structures)

    def _ask(
        self, counts: np.ndarray, formulas: Sequence[str], new: Iterable[int], asked: Asked | None
    ) -> dict[str, Outcome]:
        """Emit one batch of jobs for the rows `new`; those that can have none get a reason."""
        outcomes: dict[str, Outcome] = {}
        jobs: list[Job] = []
        for i in new:
            if formulas[i] in outcomes:
                continue
            job = self._job(counts[i], formulas[i], asked, i)
            if isinstance(job, Rejection):
                outcomes[formulas[i]] = job
                logger.info("oracle: %s gets no job: %s", formulas[i], job.sentence)
            else:
                outcomes[formulas[i]] = job.ticket.id
                jobs.append(job)
        if jobs:
            refused = [
                {"formula": f, "code": o.code, "sentence": o.sentence}
                for f, o in outcomes.items()
                if isinstance(o, Rejection)
            ]
            emitted = self._emission.emit(self._campaign.ledger, each_question_once(jobs), refused)
            logger.info("oracle: asks for %d calculations in %s", len(jobs), emitted.batch.name)
            self._start([place for place in emitted if place is not None])
        return outcomes

    def _job(self, row: np.ndarray, formula: str, asked: Asked | None, i: int) -> Job | Rejection:
        placed = first_usable(self._library, row, self._structures)
        if isinstance(placed, Rejection):
            return placed
        return prepare_job(
            placed.result.structure,
            self._emission.recipe,
            formula=formula,
            story=self._story(placed, asked, i),
        )

    def _story(self, placed: Placed, asked: Asked | None, i: int) -> dict[str, Any]:
        """Return where a job comes from: who asked, what was predicted, whose structure it has."""
        template, result = placed.template, placed.result
        name = formulas_of(self._library.counts[template : template + 1])[0]
        words = asked.words(i) if asked else "asked with a table of compositions"
        return {
            **(asked.story(i) if asked else {"asked_by": "table"}),
            "template_id": self._library.ids[template],
            "template_formula": name,
            "spacegroup": int(self._library.spacegroups[template]),
            "n_sites": len(result.structure),
            "emd": round(placed.emd, 6),
            "assignment": ", ".join(f"{a}->{b}" for a, b in result.assignment.items()),
            "volume_scale": round(result.volume_scale, 6),
            "why": f"{words}, structure of {name} at distance {placed.emd:.2f}",
        }

    def _keep_running(self) -> None:
        """Start again what should run here and does not: a run was killed, or something broke."""
        by_hand = self._config.submit == "by-hand"
        if by_hand or time.monotonic() < self._start_after:
            return
        if self._campaign.ledger.fact("finished") is None and not run_here.busy(
            self._campaign.root
        ):
            unfinished = [
                job
                for job in self._campaign.ledger.jobs()
                if self._is_ours(job)
                and job["state"] not in (*_ENDED, State.INGESTED)
                and ("asked_by" in job["story"] or job["story"].get("role") == "reference")
            ]
            places = {self._campaign.root / Path(job["folder"]).parent for job in unfinished}
            self._start(sorted(places))

    def _start(self, places: Sequence[Path]) -> None:
        """Call ``submit.sh`` of folders of jobs, if that is ours to do."""
        self._start_after = time.monotonic() + START_AGAIN_S
        if self._config.submit == "by-hand" or not places:
            return
        if self._config.cluster.scheduler == "shell":
            session = run_here.start(self._campaign.root, places)
            logger.info("oracle: jobs run in the background; to stop them: kill -- -%d", session)
            return
        for place in places:
            done = subprocess.run(
                ["sh", "submit.sh"],
                cwd=place,
                env=of_others(os.environ),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                last = (done.stdout + done.stderr).strip().splitlines()[-1:]
                logger.warning("oracle: %s is not submitted: %s", place.name, " ".join(last))


def _outcome(job: Mapping[str, Any]) -> Outcome:
    """Return what the state of a job means for its compound, labels apart."""
    story = job["story"]
    if job["state"] == State.INGESTED:
        return Rejection("no-gap", f"the calculation of {job['formula']} gave no band gap")
    if job["state"] not in _ENDED:
        return str(job["id"])
    findings = story.get("dft", {}).get("findings") or [{}]
    words = findings[0].get("sentence") or story.get("sentence") or ""
    code = str(job["state"]).lower() if job["code"] is None else str(job["code"])
    return Rejection(code, f"its calculation {_ENDED[job['state']]}{words and f': {words}'}")


def cluster_of(engine: DftEngine, config: DFTOracleConfig) -> ClusterSettings:
    """Return what goes into ``cluster.env``: of jobs that run here, this machine's programs."""
    if config.submit == "by-hand":
        return config.cluster
    return engine.on_this_machine(config.cluster)


def check_machine(engine: DftEngine, config: DFTOracleConfig) -> None:
    """Check that jobs which are to run here can.

    Raises
    ------
    ConfigError
        If a program of the code or the scheduler's command is missing, or the campaign names a
        program that the code does not know.
    """
    cluster = cluster_of(engine, config)
    check_programs(cluster, config.recipe_for(engine))
    if config.submit == "by-hand":
        return
    needed = _SUBMITTERS.get(config.cluster.scheduler)
    if needed is not None and shutil.which(needed) is None:
        raise ConfigError(
            f"jobs are to be submitted here, and this machine has no {needed}",
            where="explore.oracle.dft.submit",
            fix="Set it to 'by-hand' and submit where the scheduler is, or set "
            "explore.oracle.dft.cluster.scheduler: shell.",
        )
    if needed is None:
        engine.ready(cluster)
