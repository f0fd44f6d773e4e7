"""Template stage: give each candidate a crystal structure borrowed from the most similar compound.

In: ranked candidates and the template library. Out: a table of substituted structures, and the
candidates that got none, each with its reason (AGD: template-based structure prediction by earth
mover's distance).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from structure.composition import formulas_of
from structure.errors import Rejection
from tasks.campaign.handles import Handle, read_table, write_table
from tasks.campaign.library import Placed, StructureConfig, first_usable, usable_templates
from tasks.campaign.outputs import Ingested, Screened, Templated
from tasks.campaign.place import Place
from tasks.campaign.stage import stage

if TYPE_CHECKING:
    from structure.templates.library import TemplateLibrary

logger = logging.getLogger(__name__)

_PROGRESS_EVERY = 50


class TemplateConfig(StructureConfig):
    """How candidates get their structures; see also `StructureConfig`."""

    limit: int = Field(default=300, ge=1)
    """How many of the best candidates are given a structure."""


@dataclass(frozen=True)
class _Assigned:
    """One candidate's place in the input, and its structure."""

    candidate: int
    placed: Placed


@stage(
    "template",
    takes="candidates, the template library",
    gives="crystal structures by substitution",
)
def assign_templates(
    place: Place, config: TemplateConfig, ingested: Ingested, screened: Screened
) -> Templated:
    """Give the best candidates structures by substitution into their nearest templates.

    Parameters
    ----------
    place : Place
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
    from structure.templates.library import TemplateLibrary

    library = TemplateLibrary.load(ingested.templates.open_in(place.root))
    library = usable_templates(library, config)
    columns, counts = read_table(place.root, screened.candidates)
    best = np.argsort(columns["rank"], kind="stable")[: config.limit]
    table = {name: values[best] for name, values in columns.items()}
    counts = np.empty((0, 103), dtype=np.int16) if counts is None else counts[best]
    logger.info("template: %d candidates, %d templates", len(counts), len(library))
    found, rejected = _substituted(library, counts, config)
    nearest = _nearest_formulas(library, counts)
    return Templated(
        structures=_write_structures(place, library, table, counts, found, nearest),
        rejected=_write_rejected(place, counts, rejected),
    )


def _substituted(
    library: TemplateLibrary, counts: np.ndarray, config: TemplateConfig
) -> tuple[list[_Assigned], list[tuple[int, Rejection]]]:
    """Try the nearest templates of each candidate in turn."""
    found: list[_Assigned] = []
    rejected: list[tuple[int, Rejection]] = []
    for i, row in enumerate(counts):
        outcome = first_usable(library, row, config)
        if isinstance(outcome, Rejection):
            rejected.append((i, outcome))
        else:
            found.append(_Assigned(i, outcome))
        if (i + 1) % _PROGRESS_EVERY == 0:
            logger.info("template: %d of %d, %d usable", i + 1, len(counts), len(found))
    return found, rejected


def _nearest_formulas(library: TemplateLibrary, counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the nearest formula of the library whatever its stoichiometry, and its distance."""
    from structure.templates.emd import nearest

    indices, emd = nearest(counts, library.cumulative, 1)
    if not indices.size:
        return [""] * len(counts), np.full(len(counts), np.nan)
    return formulas_of(library.counts[indices[:, 0]]), emd[:, 0]


def _write_structures(
    place: Place,
    library: TemplateLibrary,
    table: dict[str, np.ndarray],
    counts: np.ndarray,
    found: list[_Assigned],
    nearest: tuple[list[str], np.ndarray],
) -> Handle:
    """Write one row a structure, in the order of rank.

    Besides the columns of `Templated`: ``assignment`` (template element to candidate element),
    and ``nearest_formula``, ``nearest_emd`` (the nearest compound of any stoichiometry, as the
    paper takes it; it could be substituted where ``nearest_emd`` equals ``emd``).
    """
    from structure.crystals.crystal_text import structure_json

    rows = np.array([a.candidate for a in found], dtype=np.intp)
    templates = np.array([a.placed.template for a in found], dtype=np.intp)
    results = [a.placed.result for a in found]
    columns: dict[str, Any] = {
        "rank": table["rank"][rows].astype(np.int64),
        "formula": _texts(formulas_of(counts[rows])),
        "generator": _texts(table["generator"][rows].tolist()),
        "band_gap_eV": table["band_gap_eV"][rows].astype(np.float64),
        "band_gap_sigma_eV": table["band_gap_sigma_eV"][rows].astype(np.float64),
        "template_id": _texts([library.ids[t] for t in templates.tolist()]),
        "template_formula": _texts(formulas_of(library.counts[templates])),
        "emd": np.array([a.placed.emd for a in found], dtype=np.float64),
        "spacegroup": library.spacegroups[templates].astype(np.int64),
        "n_sites": np.array([len(r.structure) for r in results], dtype=np.int64),
        "volume_scale": np.array([r.volume_scale for r in results], dtype=np.float64),
        "closest_ratio": np.array([r.closest_ratio for r in results], dtype=np.float64),
        "assignment": _texts(
            [", ".join(f"{a}->{b}" for a, b in r.assignment.items()) for r in results]
        ),
        "nearest_formula": _texts([nearest[0][i] for i in rows.tolist()]),
        "nearest_emd": nearest[1][rows],
        "structure_json": _texts([structure_json(r.structure) for r in results]),
    }
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
