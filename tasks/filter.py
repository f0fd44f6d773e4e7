"""Filter stage: keep candidates whose predicted formation energy is negative, and rank them.

In: candidates with substituted structures. Out: survivors with their energy, final rank and status,
those turned down with the number that decided it, and every candidate's story in the ledger (AGD
sec. 2.5 and 3.3).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from structure.composition import N_ELEMENTS, keys_of
from structure.errors import CampaignError, Rejection
from structure.records import Settings
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, ModelHandle, read_table, write_table
from tasks.campaign.outputs import Filtered, Templated, Trained
from tasks.campaign.place import Place
from tasks.campaign.seals import check_candidates, seal_candidates
from tasks.campaign.stage import stage
from tasks.ledger.ledger import Candidate

if TYPE_CHECKING:
    from models.properties.gatgnn import FormationEnergyModel

logger = logging.getLogger(__name__)

ENERGY = "formation_energy_eV_per_atom"
_BATCH = 256
_NOT_IN_STORY = frozenset({"structure_json", "formula", "rank", "status"})


class FilterConfig(Settings):
    """How candidates are filtered and ranked."""

    model: str = "gatgnn"
    """Name of the formation-energy model among the campaign's weights."""
    below: float = 0.0
    """A candidate goes on if its predicted formation energy, eV/atom, is lower (AGD: 0)."""
    rank_by: Literal["screening", "formation_energy"] = "screening"
    """Keep the order of the screening step (predicted gap less its uncertainty), or put the lowest
    energy first."""
    limit: int = Field(default=60, ge=1)
    """Survivors that get job directories; the others are the reserve (chosen)."""
    per_system: int | None = Field(default=3, ge=1)
    """Most selected candidates of one set of elements, so that a batch does not spend itself on one
    chemical system (chosen); None for no limit."""


def _check(campaign: Campaign, _filtered: Filtered) -> None:
    check_candidates(campaign.ledger, campaign.root)


@stage(
    "filter",
    takes="structures, the formation-energy network",
    gives="candidates with negative formation energy",
    in_the_flow=True,
    check=_check,
)
def filter_by_energy(
    campaign: Campaign, config: FilterConfig, templated: Templated, trained: Trained
) -> Filtered:
    """Predict formation energies, keep negative ones, rank, and tell the ledger.

    Parameters
    ----------
    campaign : Campaign
    config : FilterConfig
    templated : Templated
    trained : Trained
        Its model named `FilterConfig.model` is asked.

    Returns
    -------
    Filtered
        Rejection code: ``formation-energy``.

    Raises
    ------
    CampaignError, ModelError
        If the model is not among the campaign's weights, or cannot be loaded.
    """
    columns, counts = read_table(campaign.root, templated.structures)
    counts = np.zeros((0, N_ELEMENTS), np.int16) if counts is None else counts
    model = _named(config, trained.models)
    texts = columns["structure_json"]
    starts = range(0, max(len(texts), 1), _BATCH)
    pieces = campaign.spread(
        "filter", energies_of, [(model, texts[start : start + _BATCH]) for start in starts]
    )
    energies = np.concatenate([piece.energies for piece in pieces])
    columns |= {ENERGY: energies, "energy_scheme": np.full(len(counts), pieces[0].scheme)}
    kept = np.flatnonzero(energies < config.below)
    by = columns["rank"] if config.rank_by == "screening" else energies
    kept = kept[np.argsort(by[kept], kind="stable")]
    refusals = {
        int(i): _refusal(energies[i], config) for i in np.flatnonzero(~(energies < config.below))
    }
    logger.info("filter: %d of %d have negative energies", len(kept), len(counts))

    survivors = {name: values[kept] for name, values in columns.items()}
    survivors["rank"] = np.arange(1, len(kept) + 1)
    survivors["status"] = _statuses(counts[kept], config)
    _tell_ledger(campaign, survivors, columns, refusals, templated.rejected, trained)
    return Filtered(
        survivors=_write_survivors(campaign, survivors, counts[kept]),
        rejected=_write_rejected(campaign, columns["formula"], refusals),
    )


def _named(config: FilterConfig, models: Mapping[str, ModelHandle]) -> ModelHandle:
    if config.model not in models:
        raise CampaignError(
            f"the campaign has no model {config.model!r}; it has {', '.join(sorted(models))}",
            where="filter.model",
            fix="Name one of them.",
        )
    return models[config.model]


class _Energies(NamedTuple):
    """Energies in eV/atom, shape (n,), and the reference scheme they keep to."""

    energies: np.ndarray
    scheme: str


def energies_of(place: Place, handle: ModelHandle, texts: np.ndarray) -> _Energies:
    """Predict the formation energies of a batch of structures; runs at a worker.

    Parameters
    ----------
    place : Place
    handle : ModelHandle
    texts : ndarray of str, shape (n,)
        Structures as `structure.crystals.crystal_text` writes them.
    """
    from structure.crystals.crystal_text import structure_from_json

    model = _model(place, handle)
    if not len(texts):
        return _Energies(np.zeros(0), model.energy_scheme)
    energies = model.predict([structure_from_json(text) for text in texts])
    logger.info("filter: %d more energies", len(texts))
    return _Energies(energies, model.energy_scheme)


@lru_cache(maxsize=1)
def _model(place: Place, handle: ModelHandle) -> FormationEnergyModel:
    from models.properties.gatgnn import FormationEnergyModel

    return FormationEnergyModel.load(handle.folder(place.root))


def _refusal(energy: float, config: FilterConfig) -> Rejection:
    return Rejection(
        "formation-energy",
        f"predicted formation energy {energy:+.3f} eV/atom is not below {config.below:.2f}",
    )


def _statuses(counts: np.ndarray, config: FilterConfig) -> np.ndarray:
    """Select the best of each chemical system until the limit; rows are in order of rank."""
    systems = keys_of((counts > 0).astype(np.int16)).tolist()
    taken: dict[int, int] = {}
    statuses, selected = [], 0
    for system in systems:
        room = config.per_system is None or taken.get(system, 0) < config.per_system
        chosen = room and selected < config.limit
        if chosen:
            taken[system] = taken.get(system, 0) + 1
            selected += 1
        statuses.append("selected" if chosen else "reserve")
    return np.array(statuses, dtype=object)


def _tell_ledger(
    campaign: Campaign,
    survivors: Mapping[str, np.ndarray],
    columns: Mapping[str, np.ndarray],
    refusals: Mapping[int, Rejection],
    without_structure: Handle,
    trained: Trained,
) -> None:
    """Replace the campaign's candidates: survivors, filtered out, and without a structure."""
    hashes = {name: handle.sha256 for name, handle in trained.models.items()}
    hashes |= {m["name"]: m["sha256"] for m in campaign.ledger.models()}
    candidates = [
        Candidate(
            formula=str(survivors["formula"][i]),
            rank=int(survivors["rank"][i]),
            status=survivors["status"][i],
            story=_story(survivors, i, hashes),
        )
        for i in range(len(survivors["formula"]))
    ]
    candidates += [
        Candidate.rejected(str(columns["formula"][i]), why, _story(columns, i, hashes))
        for i, why in refusals.items()
    ]
    earlier, _ = read_table(campaign.root, without_structure)
    rows = zip(earlier["formula"], earlier["code"], earlier["sentence"], strict=True)
    candidates += [
        Candidate.rejected(str(formula), Rejection(str(code), str(sentence)), {"models": hashes})
        for formula, code, sentence in rows
    ]
    seal_candidates(campaign.ledger, candidates)
    campaign.ledger.replace_candidates(candidates)


def _story(
    columns: Mapping[str, np.ndarray], row: int, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is known of one candidate as JSON-ready data."""
    story: dict[str, Any] = {"models": dict(hashes)}
    for name, values in columns.items():
        if name in _NOT_IN_STORY:
            continue
        value = values[row]
        value = value.item() if isinstance(value, np.generic) else value
        story[name] = None if isinstance(value, float) and not np.isfinite(value) else value
    return story


def _write_survivors(
    campaign: Campaign, survivors: Mapping[str, np.ndarray], counts: np.ndarray
) -> Handle:
    import pyarrow as pa

    columns = {
        name: pa.array(values.tolist(), pa.string()) if values.dtype.kind in "OU" else values
        for name, values in survivors.items()
    }
    path = campaign.folder("filter") / "survivors.parquet"
    return write_table(campaign.root, path, columns, "filtered", counts=counts)


def _write_rejected(
    campaign: Campaign, formulas: np.ndarray, refusals: Mapping[int, Rejection]
) -> Handle:
    import pyarrow as pa

    columns = {
        "formula": pa.array([str(formulas[i]) for i in refusals], pa.string()),
        "code": pa.array([why.code for why in refusals.values()], pa.string()),
        "sentence": pa.array([why.sentence for why in refusals.values()], pa.string()),
    }
    path = campaign.folder("filter") / "rejected.parquet"
    return write_table(campaign.root, path, columns, "rejected")
