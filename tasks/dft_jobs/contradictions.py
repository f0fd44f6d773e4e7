"""Jobs of which ledger, ticket and result say different things: serves resuming a DFT search.

In: a campaign's jobs and labels, their ``ticket.json``, and ``results/``. Out: nothing where all
agree, otherwise an error: each number stands twice, and one of the two has been changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dft_inputs.engines import is_dft
from dft_inputs.job.status import State
from dft_inputs.job.ticket import Ticket, read_ticket
from structure.errors import CampaignError, Rejection
from structure.properties.registry import measured
from tasks.dft_jobs.formation_energies import FORMATION_ENERGY, HULL_DISTANCE
from tasks.dft_jobs.results import Result, read_result_file
from tasks.ledger.database_errors import AGAIN
from tasks.ledger.ledger import Label, Ledger

LATER = (FORMATION_ENERGY, HULL_DISTANCE)
"""Properties that a result learns after it was taken in."""


def check_jobs(ledger: Ledger, root: Path) -> None:
    """Check that the ledger says of every job what its ticket and its result say.

    What is gone or cannot be read is no contradiction, and neither is an edited ticket: collect
    names both. A result may know more than the ledger where a collect was killed in between.

    Parameters
    ----------
    ledger : Ledger
    root : Path
        Campaign directory; its jobs must be this process's (`tasks.campaign.job_lock`).

    Raises
    ------
    CampaignError
        If one of them was changed.
    """
    try:
        jobs, labels = ledger.jobs(), _labels_by_question(ledger)
    except ValueError as error:
        raise CampaignError("the ledger's jobs were changed", where=root, fix=AGAIN) from error
    results = {
        job["id"]: read_result_file(root, job["id"])
        for job in jobs
        if job["state"] == State.INGESTED
    }
    answers: dict[tuple[str, ...], set[tuple[float, str]]] = {}
    unread = set()
    for job in jobs:
        result = results.get(job["id"])
        if isinstance(result, Rejection):
            unread.add((job["formula"], job["recipe"]))
        for label in result.labels if isinstance(result, Result) else ():
            answers.setdefault(_question(label), set()).add((label.value, label.quality))
    for job in jobs:
        wrong = _against_ticket(job, root)
        kept = results.get(job["id"])
        if not wrong and isinstance(kept, Result):
            wrong = _against_result(job, kept)
            if not wrong and (job["formula"], job["recipe"]) not in unread:
                wrong = _against_labels(job, kept, labels, answers)
        if wrong:
            raise CampaignError(
                f"ledger, ticket and result disagree on {wrong} of {job['folder']}",
                where=root,
                fix=f"Restore results/{job['id']}.json from a copy, if it was that. Otherwise: "
                + AGAIN[0].lower()
                + AGAIN[1:],
            )


def _against_ticket(job: Mapping[str, Any], root: Path) -> str:
    """Return in what a row of the ledger differs from the ticket it was made of."""
    if job["state"] not in list(State):
        return "the state"
    ticket = read_ticket(root / job["folder"] / "ticket.json")
    if not isinstance(ticket, Ticket) or ticket.sha256 != job["story"].get("ticket_sha256"):
        return ""
    told = {"id": job["id"], "formula": job["formula"], "role": job["story"].get("role")}
    for name, value in told.items():
        if value != getattr(ticket, name):
            return f"the {name}"
    return "the recipe" if job["recipe"] != ticket.recipe_sha256 else ""


def _against_result(job: Mapping[str, Any], result: Result) -> str:
    """Return in what a row of the ledger differs from the result that was kept."""
    if (result.formula, result.recipe_sha256) != (job["formula"], job["recipe"]):
        return "the question"
    if result.code != job["code"]:
        return "the code"
    told = job["story"].get("dft", {})
    facts = json.loads(json.dumps(result.facts()["dft"]))
    for name in ("findings", "cell", *result.properties):
        if name in told and told[name] != facts[name]:
            return name
        if name not in told and name not in LATER:
            return name
    return ""


def _against_labels(
    job: Mapping[str, Any],
    result: Result,
    labels: Mapping[tuple[str, ...], tuple[float, str]],
    answers: Mapping[tuple[str, ...], set[tuple[float, str]]],
) -> str:
    """Return which label of a result the ledger has otherwise; of two answers either may count."""
    told = job["story"].get("dft", {})
    for label in result.labels:
        question = _question(label)
        if label.property in LATER and label.property not in told:
            continue
        if labels.get(question) not in answers[question]:
            return label.property
    return ""


def _labels_by_question(ledger: Ledger) -> dict[tuple[str, ...], tuple[float, str]]:
    return {
        _question(label): (label.value, label.quality)
        for name in dict.fromkeys((*measured(), *LATER))
        for label in ledger.labels(name)
        if is_dft(label.origin)
    }


def _question(label: Label) -> tuple[str, ...]:
    return label.formula, label.property, label.origin, label.source
