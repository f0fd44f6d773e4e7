"""Template stage: give each candidate a crystal structure borrowed from the most similar compound.

In: ranked candidates and the template library. Out: a table of substituted structures, and the
candidates that got none, each with its reason (AGD: template-based structure prediction by earth
mover's distance).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from structure.composition import formulas_of
from structure.errors import Rejection
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, read_table, write_table
from tasks.campaign.library import (
    Placed,
    StructureConfig,
    first_usable,
    library_at,
    usable_templates,
)
from tasks.campaign.outputs import Ingested, Screened, Templated
from tasks.campaign.place import Place
from tasks.campaign.stage import stage

if TYPE_CHECKING:
    from structure.templates.library import TemplateLibrary

logger = logging.getLogger(__name__)

PIECE = 50
"""Candidates that a worker is given at a time (chosen: one to a few seconds)."""


class TemplateConfig(StructureConfig):
    """How candidates get their structures; see also `StructureConfig`."""

    limit: int = Field(default=300, ge=1)
    """How many of the best candidates are given a structure."""


class _Piece(NamedTuple):
    """What became of some of the candidates.

    Attributes
    ----------
    found : ndarray of intp
        Rows that have a structure, rising.
    columns : dict of str to list or ndarray
        Of the table of structures; one value a row found.
    rejected : list of (int, Rejection)
        The other rows.
    """

    found: np.ndarray
    columns: dict[str, Any]
    rejected: list[tuple[int, Rejection]]


@stage(
    "template",
    takes="candidates, the template library",
    gives="crystal structures by substitution",
    in_the_flow=True,
)
def assign_templates(
    campaign: Campaign, config: TemplateConfig, ingested: Ingested, screened: Screened
) -> Templated:
    """Give the best candidates structures by substitution into their nearest templates.

    Parameters
    ----------
    campaign : Campaign
        Its workers do `PIECE` candidates at a time.
    config : TemplateConfig
    ingested : Ingested
        Its template library is used.
    screened : Screened
        Its candidates are taken by rank.

    Returns
    -------
    Templated
        Rejection codes: ``no-template`` (no template has the stoichiometry), ``far-template`` (the
        nearest is too far), and those of `structure.templates.substitution.substitute` where every
        template tried failed.
    """
    columns, counts = read_table(campaign.root, screened.candidates)
    best = np.argsort(columns["rank"], kind="stable")[: config.limit]
    table = {name: values[best] for name, values in columns.items()}
    counts = np.empty((0, 103), dtype=np.int16) if counts is None else counts[best]
    logger.info("template: %d candidates, %d templates", len(counts), ingested.templates.rows)
    starts = range(0, max(len(counts), 1), PIECE)
    pieces = campaign.spread(
        "template",
        substituted,
        [(config, ingested.templates, start, counts[start : start + PIECE]) for start in starts],
    )
    rejected = [one for piece in pieces for one in piece.rejected]
    return Templated(
        structures=_write_structures(campaign.place, table, counts, pieces),
        rejected=_write_rejected(campaign.place, counts, rejected),
    )


def substituted(
    place: Place, config: TemplateConfig, templates: Handle, start: int, counts: np.ndarray
) -> _Piece:
    """Try the nearest templates of each candidate in turn; runs at a worker.

    Parameters
    ----------
    place : Place
    config : TemplateConfig
    templates : Handle
        The template library.
    start : int
        Row of the first of these candidates.
    counts : ndarray of int, shape (n, 103)
    """
    library = usable_templates(library_at(place, templates), config)
    found: list[int] = []
    placed: list[Placed] = []
    rejected: list[tuple[int, Rejection]] = []
    for i, row in enumerate(counts):
        outcome = first_usable(library, row, config)
        if isinstance(outcome, Rejection):
            rejected.append((start + i, outcome))
        else:
            found.append(i)
            placed.append(outcome)
    logger.info("template: %d more candidates, %d usable", len(counts), len(found))
    rows = np.array(found, dtype=np.intp)
    return _Piece(start + rows, _columns(library, counts, rows, placed), rejected)


def _columns(
    library: TemplateLibrary, counts: np.ndarray, rows: np.ndarray, placed: list[Placed]
) -> dict[str, Any]:
    """Return what is known of each structure, besides what screening knew of the candidate."""
    from structure.crystals.crystal_text import structure_json

    templates = np.array([one.template for one in placed], dtype=np.intp)
    results = [one.result for one in placed]
    nearest, nearest_emd = _nearest_formulas(library, counts)
    return {
        "template_id": [library.ids[t] for t in templates.tolist()],
        "template_formula": formulas_of(library.counts[templates]),
        "emd": np.array([one.emd for one in placed], dtype=np.float64),
        "spacegroup": library.spacegroups[templates].astype(np.int64),
        "n_sites": np.array([len(r.structure) for r in results], dtype=np.int64),
        "volume_scale": np.array([r.volume_scale for r in results], dtype=np.float64),
        "closest_ratio": np.array([r.closest_ratio for r in results], dtype=np.float64),
        "assignment": [", ".join(f"{a}->{b}" for a, b in r.assignment.items()) for r in results],
        "nearest_formula": [nearest[i] for i in rows.tolist()],
        "nearest_emd": nearest_emd[rows],
        "structure_json": [structure_json(r.structure) for r in results],
    }


def _nearest_formulas(library: TemplateLibrary, counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the nearest formula of the library whatever its stoichiometry, and its distance."""
    from structure.templates.emd import nearest

    indices, emd = nearest(counts, library.cumulative, 1)
    if not indices.size:
        return [""] * len(counts), np.full(len(counts), np.nan)
    return formulas_of(library.counts[indices[:, 0]]), emd[:, 0]


_NOT_VALUES = frozenset({"rank", "formula", "generator", "score"})
"""Columns of candidates that are no property."""


def _write_structures(
    place: Place, table: dict[str, np.ndarray], counts: np.ndarray, pieces: Sequence[_Piece]
) -> Handle:
    """Write one row a structure, in the order of rank.

    Besides the columns of `Templated`: ``assignment`` (template element to candidate element),
    and ``nearest_formula``, ``nearest_emd`` (the nearest compound of any stoichiometry, as the
    paper takes it; it could be substituted where ``nearest_emd`` equals ``emd``).
    """
    rows = np.concatenate([piece.found for piece in pieces])
    columns: dict[str, Any] = {
        "rank": table["rank"][rows].astype(np.int64),
        "formula": _texts(formulas_of(counts[rows])),
        "generator": _texts(table["generator"][rows].tolist()),
        **{
            name: values[rows].astype(np.float64)
            for name, values in table.items()
            if name not in _NOT_VALUES
        },
    }
    for name in pieces[0].columns:
        values = [piece.columns[name] for piece in pieces]
        if isinstance(values[0], list):
            columns[name] = _texts([text for one in values for text in one])
        else:
            columns[name] = np.concatenate(values)
    path = place.folder("template") / "structures.parquet"
    return write_table(place.root, path, columns, "structures", counts=counts[rows])


def _write_rejected(
    place: Place, counts: np.ndarray, rejected: list[tuple[int, Rejection]]
) -> Handle:
    rows = np.array([i for i, _ in rejected], dtype=np.intp)
    columns = {
        "formula": _texts(formulas_of(counts[rows])),
        "code": _texts([why.code for _, why in rejected]),
        "sentence": _texts([why.sentence for _, why in rejected]),
    }
    path = place.folder("template") / "rejected.parquet"
    return write_table(place.root, path, columns, "template_rejected")


def _texts(values: list[str]) -> Any:
    """Keep the type of a text column that has no rows."""
    import pyarrow as pa

    return pa.array(values, type=pa.string())
