"""Rebuild a campaign's jobs and DFT labels from its folders: serves ``agd collect --rebuild``.

In: the job directories and ``results/`` of a campaign whose ledger was lost or is behind. Out: the
same jobs and labels in the ledger. The folders are the truth; the ledger can always be made again.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from dft_inputs.job.folder import batches, emitted_jobs, reference_folders
from tasks.dft_jobs.emit import job_row
from tasks.dft_jobs.results import Result
from tasks.ledger.ledger import Ledger


def rebuild_jobs(root: Path, ledger: Ledger) -> tuple[int, int]:
    """Give the ledger every job and result that lies in the campaign and is not in it.

    Parameters
    ----------
    root : Path
        Campaign directory.
    ledger : Ledger

    Returns
    -------
    (int, int)
        How many jobs and how many results were put back.
    """
    jobs = results = 0
    places = [*batches(root / "handoff"), *reference_folders(root)]
    for ticket, folder in emitted_jobs(*places).values():
        jobs += ledger.add_jobs([job_row(root, ticket, folder)])
    known = {job["id"]: job for job in ledger.jobs()}
    for path in sorted((root / "results").glob("[0-9a-f]*.json")):
        try:
            result = Result.model_validate_json(path.read_bytes())
        except ValidationError:
            continue
        job = known.get(result.id)
        if job is not None and job["state"] != result.state:
            story = {**job["story"], **result.facts()}
            ledger.set_job_state(result.id, result.state, result.code, result.labels, story)
            results += 1
    return jobs, results
