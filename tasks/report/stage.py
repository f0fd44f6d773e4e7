"""Report: everything a campaign found on one page that opens offline.

In: the outputs of all stages. Out: ``report/index.html``, self-contained: the funnel, the
values of the property, the search trace, a map of compositions, and the candidates with structures;
and a ``report/candidates.csv`` of the same rows.
"""

from __future__ import annotations

import csv
import io

from pydantic import Field

from structure.files import write_text
from structure.properties.energies import FORMATION_ENERGY
from structure.properties.target import Target, Targets
from structure.records import Settings
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import handle_for
from tasks.campaign.outputs import (
    Explored,
    Filtered,
    HandedOff,
    Ingested,
    Reported,
    Screened,
    Templated,
    Trained,
)
from tasks.campaign.stage import stage
from tasks.ledger.version import PRODUCT_VERSION
from tasks.report.contents import Contents, gather


class ReportConfig(Settings):
    """How the report looks."""

    candidates: int = Field(default=200, ge=1, le=5000)
    """Most rows of the candidate table."""
    map_points: int = Field(default=250, ge=0, le=5000)
    """Most points a group on the map of compositions, a random sample of larger groups; 0 leaves
    the map out. t-SNE takes most of the report's time, and that grows with the points."""


@stage("report", takes="everything above", gives="one page, artifacts", in_the_flow=True)
def write_report(
    campaign: Campaign,
    config: ReportConfig,
    targets: Targets,
    ingested: Ingested,
    trained: Trained,
    explored: Explored,
    screened: Screened,
    templated: Templated,
    filtered: Filtered,
    handed_off: HandedOff,
    name: str = "campaign",
) -> Reported:
    """Write the report page and the table of candidates.

    Returns
    -------
    Reported
        The page ``report/index.html``.
    """
    from tasks.report.page import render

    contents = gather(
        campaign, name, PRODUCT_VERSION, targets, ingested, trained, explored, screened,
        templated, filtered, handed_off,
    )  # fmt: skip
    folder = campaign.folder("report")
    write_text(folder / "candidates.csv", candidates_csv(contents))
    page = folder / "index.html"
    write_text(page, render(contents, config, campaign.seed_of("report") % 2**31))
    return Reported(page=handle_for(campaign.root, page, len(contents.survivors), "report"))


_BEFORE_VALUES = ("rank", "formula", "status")
_AFTER_VALUES = (
    FORMATION_ENERGY.column,
    "energy_scheme",
    "generator",
    "template_id",
    "template_formula",
    "emd",
    "spacegroup",
    "n_sites",
    "volume_scale",
)


def _columns_of(target: Target) -> tuple[str, ...]:
    """Return the columns of a target: value and uncertainty, or a value that is exact."""
    sought = target.sought
    exact = sought.of_composition is not None
    return (sought.column,) if exact else (sought.column, sought.sigma_column)


def candidates_csv(contents: Contents) -> str:
    """Write every survivor as CSV text, one row a candidate."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    table, targets = contents.survivors, contents.targets
    values = [name for target in targets.root for name in _columns_of(target)]
    values = list(dict.fromkeys(name for name in values if name not in _AFTER_VALUES))
    names = (*_BEFORE_VALUES, *values, *_AFTER_VALUES)
    front = contents.on_front
    writer.writerow([*names, *(["on_pareto_front"] if targets.further else []), "job_directory"])
    for row in range(len(table)):
        values = [table[c][row] for c in names]
        writer.writerow(
            [f"{v:.4f}" if hasattr(v, "dtype") and v.dtype.kind == "f" else v for v in values]
            + ([int(front[row])] if targets.further else [])
            + [contents.jobs.get(str(table["formula"][row]), "")]
        )
    return out.getvalue()
