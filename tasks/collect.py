"""Collect stage: finished DFT job directories become labels in the ledger.

In: a campaign directory or a folder of them, and copies of job directories that came back
elsewhere. Out: results, labels and states, found by `tasks.dft_jobs.collect_round.collect` beside
whatever runs there. DFT oracles call the same function for the answers to their own questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from structure.errors import CampaignError
from tasks.campaign.job_lock import jobs_to_itself
from tasks.dft_jobs.collect_round import CollectConfig, Collected, collect
from tasks.dft_jobs.quarantine import put_back
from tasks.dft_jobs.rebuild import rebuild_jobs
from tasks.ledger.ledger import Ledger

__all__ = ["CollectConfig", "Collected", "campaigns_under", "collect", "collect_campaign"]


def campaigns_under(place: Path) -> list[Path]:
    """Return the campaigns in a folder, or the folder itself if it is one; nights are campaigns.

    Raises
    ------
    CampaignError
        If there is none.
    """
    depths = ("campaign.json", "*/campaign.json", "*/*/campaign.json")
    found = sorted(path.parent for depth in depths for path in place.glob(depth))
    if not found:
        raise CampaignError(
            "there is no campaign here",
            where=place,
            fix="Name a directory that `agd run` made, e.g. campaigns/agd-bandgap.",
        )
    return found


def collect_campaign(
    root: Path,
    config: CollectConfig | None = None,
    sources: Sequence[Path] = (),
    rebuild: bool = False,
    restore: bool = False,
) -> Collected:
    """Open a campaign's ledger beside whatever runs there, and `collect`.

    Parameters
    ----------
    root, config, sources
        As `collect`.
    rebuild : bool
        First give the ledger the jobs and results that lie in the folders (`rebuild_jobs`); one
        that is lost is made anew.
    restore : bool
        First move jobs of the campaign back that were set aside by mistake
        (`tasks.dft_jobs.quarantine.put_back`).
    """
    config = config or CollectConfig()
    ledger = Ledger.in_folder(root, anew=rebuild)
    moved: list[str] = []
    notes: list[str] = []
    try:
        if rebuild or restore:
            with jobs_to_itself(root, config.wait_s):
                if rebuild:
                    rebuild_jobs(root, ledger)
                if restore:
                    moved, notes = put_back(root, ledger)
        found = collect(root, ledger, config, sources)
    finally:
        ledger.close()
    if not restore:
        return found
    return found.model_copy(update={"put_back": tuple(moved), "notes": (*notes, *found.notes)})
