"""Artifacts of a campaign's run on Prefect's pages: progress, funnel, candidates, report.

In: the outputs of the stages. Out: Prefect artifacts under stable keys. Each is also a file in the
campaign's ``report/``: Prefect's database is no archive.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from structure.properties.energies import FORMATION_ENERGY
from structure.properties.target import Targets
from tasks.campaign.directory import Campaign
from tasks.ledger.version import PRODUCT_VERSION
from tasks.report.contents import Contents, gather
from tasks.report.figures import funnel

TABLE_ROWS = 40
"""Most rows of the candidate table (chosen): artifacts lie in Prefect's database."""


FIRST_COLUMNS = {"rank": "rank", "formula": "formula", "status": "status"}
LAST_COLUMNS = {
    FORMATION_ENERGY.column: "formation energy (eV/atom)",
    "generator": "found by",
    "template_formula": "template",
    "emd": "distance to the template",
    "spacegroup": "space group",
}
"""Columns of ``report/candidates.csv`` that the table shows beside the targets', with heads."""


def shown_columns(targets: Targets) -> dict[str, str]:
    """Return the columns of ``report/candidates.csv`` that the table shows, with their heads."""
    shown = dict(FIRST_COLUMNS)
    for sought in (target.sought for target in targets.root):
        unit = f" ({sought.unit})" if sought.unit else ""
        shown[sought.column] = f"{sought.short}{unit}"
        if sought.of_composition is None and sought is not FORMATION_ENERGY:
            shown[sought.sigma_column] = f"+- {sought.short}{unit}"
    return shown | LAST_COLUMNS


class Progress:
    """A progress bar on the page of the run that makes it."""

    def __init__(self, key: str, description: str):
        self._id: Any = create_progress_artifact(progress=0.0, key=key, description=description)

    def show(self, share: float, description: str) -> None:
        """Show a share between 0 and 1, and a few words on it."""
        percent = min(max(100.0 * share, 0.0), 100.0)
        update_progress_artifact(self._id, progress=percent, description=description)


def publish(campaign: Campaign, name: str, targets: Targets, results: Mapping[str, Any]) -> None:
    """Create the artifacts of a finished campaign.

    Parameters
    ----------
    campaign : Campaign
    name : str
        Of the campaign.
    targets : Targets
    results : mapping of str to object
        Output of each stage by the name of its function.
    """
    contents = gather(
        campaign,
        name,
        PRODUCT_VERSION,
        targets,
        results["ingest"],
        results["train"],
        results["explore"],
        results["merge_screened"],
        results["assign_templates"],
        results["filter_by_energy"],
        results["hand_off"],
    )
    page = campaign.root / results["write_report"].page.path
    create_markdown_artifact(funnel_markdown(contents), key="agd-funnel", description=name)
    with (page.parent / "candidates.csv").open(newline="") as handle:
        columns = shown_columns(targets)
        rows = [{head: row[c] for c, head in columns.items()} for row in csv.DictReader(handle)]
    create_table_artifact(
        rows[:TABLE_ROWS], key="agd-candidates", description=f"the best of {len(rows)} candidates"
    )
    # Browsers open no file from a page that a server sent, so the path is given to be copied.
    where = f"The whole report is one file that opens offline:\n\n`{page.resolve()}`\n"
    create_markdown_artifact(where, key="agd-report", description=name)


def funnel_markdown(contents: Contents) -> str:
    """Return the funnel as a Markdown table with its picture."""
    generators = sorted({g for _, _, by in contents.steps for g in by})
    rows = [["step", "compositions", *generators]]
    for step, count, by in contents.steps:
        rows.append([step, f"{count:,}", *(f"{by.get(g, 0):,}" for g in generators)])
    drawn = funnel(contents.steps).replace("<svg ", '<svg style="background:white" ', 1)
    picture = base64.b64encode(drawn.encode()).decode()
    return (
        f"# {contents.name}\n\n{markdown_table(rows)}\n\n"
        f"![funnel](data:image/svg+xml;base64,{picture})\n\n{contents.novelty}\n"
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of them the head, as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- " + "| ---: " * (len(rows[0]) - 1) + "|")
    return "\n".join(lines)
