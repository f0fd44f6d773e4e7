"""What the report shows, gathered from a campaign's tables and ledger.

In: the outputs of every stage. Out: one frozen `Contents`, in which numbers are numbers; the page
decides how they look.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from structure.properties.target import Targets
from structure.rules.known_formulas import SHIPPED_FROM
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, read_table
from tasks.campaign.outputs import (
    Explored,
    Filtered,
    HandedOff,
    Ingested,
    Screened,
    Templated,
    Trained,
)
from tasks.oracles.answer import ASKED_BY_SEARCH

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Table:
    """Columns of one table and the compositions of its rows."""

    columns: Columns
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]


@dataclass(frozen=True)
class Contents:
    """Everything the page and its figures are made of."""

    name: str
    seed: int
    product: str
    targets: Targets
    initial: Table
    visited: Table
    search: dict[str, Any]
    candidates: Table
    funnel: dict[str, Any]
    structures: Table
    structure_rejections: dict[str, int]
    survivors: Table
    energy_rejections: dict[str, int]
    batch: str
    jobs: dict[str, str]
    models: list[dict[str, Any]]
    manifest: dict[str, Any]
    answered_by: tuple[str, ...]
    """Origins of the labels that the search asked for."""
    asked_jobs: dict[str, int]
    """Calculations that the search asked for, by state."""

    @property
    def origins(self) -> dict[str, int]:
        """Number of initial labels by origin."""
        names, counts = np.unique(self.initial["origin"].astype(str), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    @property
    def on_front(self) -> np.ndarray:
        """Survivors that no other one beats in all targets at once; bool, shape (n,)."""
        table = self.survivors
        if not len(table):
            return np.zeros(0, dtype=bool)
        worth = [t.utility(table[t.sought.column].astype(float)) for t in self.targets.root]
        return pareto_front(np.column_stack(worth))

    @property
    def labelled(self) -> np.ndarray:
        """Rows of `visited` that the oracle labelled; bool, shape (n,)."""
        return self.visited["status"].astype(str) == "labelled"

    @property
    def steps(self) -> list[tuple[str, int, dict[str, int]]]:
        """The whole funnel, from drawn compositions to job directories."""
        steps = [
            (s["name"], int(s["count"]), dict(s.get("by_generator", {})))
            for s in self.funnel["steps"]
        ]
        for name, table in (
            ("with a crystal structure", self.structures),
            ("formation energy below the limit", self.survivors),
        ):
            steps.append((name, len(table), _by_generator(table)))
        chosen: dict[str, int] = {}
        if len(self.survivors):
            selected = self.survivors["status"].astype(str) == "selected"
            chosen = _tally(self.survivors["generator"][selected])
        steps.append(("job directories", len(self.jobs), chosen))
        return steps

    @property
    def novelty(self) -> str:
        """What a composition was compared with to be called new, in one sentence."""
        known = self.manifest.get("known")
        if known is None:
            return ""
        lists = [f"the {known['templates']:,} compositions of the template library"]
        named = [s["name"] for s in self.manifest["sources"] if "known" in s["roles"]]
        if named:
            lists.insert(0, f"{known['sources']:,} formulas of {', '.join(named)}")
        if known["shipped_filter"]:
            lists.insert(
                0,
                f"{known['shipped_filter']:,} formulas of {SHIPPED_FROM} (the shipped filter, "
                f"{known['shipped_filter_sha256'][:12]})",
            )
        lists.append("the initial labels")
        if self.manifest.get("earlier", {}).get("with_jobs"):
            lists.append("the compounds that earlier nights gave jobs")
        return (
            f"New means in none of these {known['total']:,} compositions: {'; '.join(lists)}. "
            "Other databases and the literature were not asked."
        )

    @property
    def closed_at(self) -> str | None:
        """Name of the first step of the funnel that nothing passed, or None."""
        return next((name for name, count, _ in self.steps if count == 0), None)


def pareto_front(worth: np.ndarray) -> np.ndarray:
    """Return which rows no other row beats: as good in every column and better in one.

    Parameters
    ----------
    worth : ndarray of float, shape (n, k)
        Larger is better.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    front = np.ones(len(worth), dtype=bool)
    for i, row in enumerate(worth):
        front[i] = not np.any((worth >= row).all(axis=1) & (worth > row).any(axis=1))
    return front


def _tally(values: Any) -> dict[str, int]:
    names, counts = np.unique(np.asarray(values, dtype=str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _by_generator(table: Table) -> dict[str, int]:
    return _tally(table["generator"]) if len(table) else {}


def _table(campaign: Campaign, handle: Handle) -> Table:
    columns, counts = read_table(campaign.root, handle)
    if counts is None:
        counts = np.zeros((handle.rows, 0), dtype=np.int16)
    return Table(columns, counts)


def _json(campaign: Campaign, handle: Handle) -> dict[str, Any]:
    content = json.loads(handle.open_in(campaign.root).read_text())
    assert isinstance(content, dict)
    return content


def gather(
    campaign: Campaign,
    name: str,
    product: str,
    targets: Targets,
    ingested: Ingested,
    trained: Trained,
    explored: Explored,
    screened: Screened,
    templated: Templated,
    filtered: Filtered,
    handed_off: HandedOff,
) -> Contents:
    """Read what the stages left.

    Raises
    ------
    CampaignError
        If a table is gone or was changed since its stage wrote it.
    """
    jobs = campaign.ledger.jobs()
    labels = campaign.ledger.labels(targets.first.sought.column)
    survivors = _table(campaign, filtered.survivors)
    return Contents(
        name=name,
        seed=campaign.seed,
        product=product,
        targets=targets,
        initial=_table(campaign, ingested.initial),
        visited=_table(campaign, explored.visited),
        search=_json(campaign, explored.summary),
        candidates=_table(campaign, screened.candidates),
        funnel=_json(campaign, screened.funnel),
        structures=_table(campaign, templated.structures),
        structure_rejections=_tally(_table(campaign, templated.rejected)["code"]),
        survivors=survivors,
        energy_rejections=_tally(_table(campaign, filtered.rejected)["code"]),
        batch=handed_off.batch,
        jobs=_job_folders(jobs, survivors, handed_off.batch),
        models=campaign.ledger.models(),
        manifest=_json(campaign, ingested.manifest),
        answered_by=tuple(sorted({x.origin for x in labels if x.iteration})),
        asked_jobs=_tally(
            [j["state"] for j in jobs if j["story"].get("asked_by") == ASKED_BY_SEARCH]
        ),
    )


def _job_folders(jobs: list[dict[str, Any]], survivors: Table, batch: str) -> dict[str, str]:
    """Return each candidate's job directory: as handed off, or as the search asked for it."""
    chosen = set()
    if len(survivors):
        selected = survivors["status"].astype(str) == "selected"
        chosen = set(survivors["formula"][selected].astype(str).tolist())
    handed = {job["formula"]: job["folder"] for job in jobs if job["batch"] == batch}
    before = {
        job["formula"]: job["folder"]
        for job in jobs
        if job["formula"] in chosen and job["story"].get("asked_by") == ASKED_BY_SEARCH
    }
    return before | handed
