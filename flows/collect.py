"""Flow ``agd-collect``: takes finished DFT directories in, on a schedule or by hand.

In: a campaign directory, or a folder of campaigns, and folders that came back from a cluster. Out:
labels in each campaign's ledger and an artifact that says what was found. It runs beside a
campaign: neither waits for the other.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed, State

from structure.errors import CampaignError
from tasks.collect import CollectConfig, campaigns_under, collect_campaign


@flow(name="agd-collect", persist_result=False)
def agd_collect(
    campaigns: str = "campaigns", sources: list[str] | None = None, stale_after_h: float = 12.0
) -> State[None]:
    """Take finished jobs in.

    Parameters
    ----------
    campaigns : str
        A campaign directory, or a folder that holds campaigns.
    sources : list of str, optional
        Folders elsewhere with job directories, copied back from a cluster.
    stale_after_h : float
        A running job without a sign of life for longer is called stale.
    """
    config = CollectConfig(stale_after_h=stale_after_h)
    labels, text = 0, []
    try:
        roots = campaigns_under(Path(campaigns))
    except CampaignError as nothing:  # the schedule may begin before the first campaign
        return Completed(message=nothing.what)
    for root in roots:
        collected = collect_campaign(root, config, [Path(s) for s in sources or ()])
        labels += collected.new_labels
        lines = "\n".join(collected.lines())
        text.append(f"**{root}**\n\n```\n{lines}\n```")
    create_markdown_artifact("\n\n".join(text), key="agd-collect", description="finished jobs")
    return Completed(message=f"{labels} new labels from {len(text)} campaigns")
