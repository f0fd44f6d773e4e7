"""Screen stage: which drawn compositions are new, possible and in every target's window.

In: shards of drawn compositions, the compounds the search labelled, the refitted screening model.
Out: a verdict for each composition of a shard; then, over all shards, the ranked candidates and a
funnel that counts what every rule removed (AGD sec. 2.3 and 3.4).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from models.properties.prediction import load_property_model
from structure.composition import first_of_each, formulas_of, keys_of, reduce
from structure.elements import INDEX
from structure.errors import DataError
from structure.files import write_json
from structure.properties.quantity import Property
from structure.properties.target import Targets
from structure.records import Settings
from structure.rules.admission import KNOWN, SizeLimit, sift
from structure.rules.known_formulas import contains, union
from structure.rules.validity import STRICT, RuleSet
from tasks.campaign.combined import Combined, predicted
from tasks.campaign.handles import ModelHandle, handle_for, read_table, write_table
from tasks.campaign.outputs import Explored, Ingested, Sampled, Screened, ScreenedShard, Trained
from tasks.campaign.place import Place
from tasks.campaign.stage import stage
from tasks.screen.funnel import PASSED, Funnel, NovelSample, closed_at

logger = logging.getLogger(__name__)

SEARCH = "search"
"""Generator named for compounds that the direct search found."""


class ScreenConfig(Settings):
    """How drawn compositions are screened."""

    max_atoms: int = Field(default=20, ge=2)
    """Most atoms of a reduced formula that goes on (AGD sec. 2.3)."""
    max_elements: int = Field(default=5, ge=2)
    """Most elements of a formula that goes on."""
    max_of_each: int = Field(default=7, ge=1)
    """Most atoms of one element in a formula that goes on."""
    excluded_elements: tuple[str, ...] = ()
    """Elements that no candidate may have, e.g. ``(H, Be)``."""
    rules: RuleSet = STRICT
    """Chemical validity. Default: charge neutral and electronegativity balanced, no alloys."""
    caution: float = Field(default=1.0, ge=0)
    """Standard uncertainties taken off a candidate's utility for its score (chosen): of two
    candidates with the same predicted gap the better known one comes first."""
    limit: int = Field(default=2000, ge=1)
    """Candidates that go on to the structure stage."""
    validity_sample: int = Field(default=10_000, ge=100)
    """Novel compositions on which validity rates are reported beside the random baseline."""

    @field_validator("excluded_elements")
    @classmethod
    def _are_elements(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [symbol for symbol in symbols if symbol not in INDEX]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not an element symbol from H to Lr")
        return tuple(dict.fromkeys(symbols))

    @property
    def size(self) -> SizeLimit:
        """The size rules."""
        return SizeLimit(
            self.max_atoms, self.max_elements, self.max_of_each, self.excluded_elements
        )


@stage(
    "screen",
    part="shard-{shard:04d}",
    takes="a shard, rules, the screening model",
    gives="a verdict for each composition",
)
def screen_shard(
    place: Place,
    config: ScreenConfig,
    targets: Targets,
    ingested: Ingested,
    sampled: Sampled,
    screening: ModelHandle,
    shard: int,
    trained: Trained | None = None,
) -> ScreenedShard:
    """Screen one shard of drawn compositions.

    Returns
    -------
    ScreenedShard
        One row a composition that is unique in the shard.
    """
    _, drawn = read_table(place.root, sampled.table)
    if drawn is None:
        raise DataError("the sample shard has no compositions", where=sampled.table.path)
    counts = reduce(drawn)
    filled = counts.sum(axis=1) > 0
    keys = keys_of(counts)
    first = first_of_each(keys)
    first = first[filled[first]]
    counts, keys = counts[first], keys[first]
    known = np.load(ingested.known.open_in(place.root))
    verdict = sift(counts, known, config.size, config.rules)
    gap, sigma = np.full(len(keys), np.nan), np.full(len(keys), np.nan)
    asked = np.flatnonzero(verdict == "")
    if len(asked):
        model = load_property_model(screening.folder(place.root))
        gap[asked], sigma[asked] = predicted(model, counts[asked])
    combined = Combined.load(place.root, targets, trained.models if trained else {})
    further = combined.columns(counts[asked])
    verdict = verdict.astype("<U40")
    missed = combined.failed(gap[asked], further)
    verdict[asked] = np.where(missed == "", PASSED, missed)
    sought = targets.first.sought
    columns = {"key": keys, "verdict": verdict, sought.column: gap, sought.sigma_column: sigma}
    for name, values in further.items():
        columns[name] = np.full(len(keys), np.nan)
        columns[name][asked] = values
    path = place.folder("screen") / f"shard-{shard:04d}.parquet"
    table = write_table(place.root, path, columns, "screened", counts=counts)
    return ScreenedShard(
        table=table,
        generator=sampled.generator,
        drawn=len(drawn),
        empty=int((~filled).sum()),
    )


class _Rows(NamedTuple):
    """Distinct compositions with their verdicts, values of the first target, and uncertainties."""

    keys: np.ndarray
    verdict: np.ndarray
    value: np.ndarray
    sigma: np.ndarray
    counts: np.ndarray

    def take(self, rows: np.ndarray) -> _Rows:
        return _Rows(*(column[rows] for column in self))


@stage(
    "screen",
    part="merge",
    takes="verdicts on all shards, finds of the search",
    gives="novel valid candidates in the window",
)
def merge_screened(
    place: Place,
    config: ScreenConfig,
    targets: Targets,
    shards: Sequence[ScreenedShard],
    ingested: Ingested,
    explored: Explored,
    screening: ModelHandle,
    trained: Trained | None = None,
) -> Screened:
    """Join the shards and the finds of the search, rank them and count what each rule removed.

    A composition counts for the first that has it: the search, then the shards in order. The
    score is the target's utility less `ScreenConfig.caution` times the uncertainty; of several
    targets, the probability that all hold.

    Returns
    -------
    Screened
        With an empty table of candidates where nothing passed; the funnel says where it closed.
    """
    funnel = Funnel(targets)
    novel = NovelSample(config.validity_sample, place.generator("screen", "validity"))
    sought = targets.first.sought
    combined = Combined.load(place.root, targets, trained.models if trained else {})
    finds = _search_finds(place, config, combined, ingested, explored, funnel)
    passed = [finds.take(finds.verdict == PASSED)]
    generators = [SEARCH] * len(passed[0].keys)
    seen = union([finds.keys])
    for shard in shards:
        columns, counts = read_table(place.root, shard.table)
        assert counts is not None
        rows = _Rows(
            columns["key"],
            columns["verdict"],
            columns[sought.column],
            columns[sought.sigma_column],
            counts,
        )
        rows = rows.take(~contains(seen, rows.keys))
        seen = union([seen, rows.keys])
        verdict = rows.verdict.astype(np.str_)
        funnel.add(shard.generator, shard.drawn, shard.empty, verdict)
        novel.add(shard.generator, rows.counts[verdict != KNOWN])
        passed.append(rows.take(verdict == PASSED))
        generators += [shard.generator] * len(passed[-1].keys)
    joined = _Rows(*(np.concatenate(columns) for columns in zip(*passed, strict=True)))
    further = combined.columns(joined.counts)
    score = combined.score(joined.value, joined.sigma, further, config.caution)
    best = np.lexsort((joined.keys, -score))[: config.limit]
    return _write(
        place,
        sought,
        joined.take(best),
        {name: values[best] for name, values in further.items()},
        np.array(generators, dtype=np.str_)[best],
        score[best],
        funnel,
        {
            "validity": novel.validity(),
            "targets": targets.model_dump(),
            "rules": asdict(config.rules),
            "screening_model": screening.sha256,
        },
    )


def _search_finds(
    place: Place,
    config: ScreenConfig,
    combined: Combined,
    ingested: Ingested,
    explored: Explored,
    funnel: Funnel,
) -> _Rows:
    """Ask what the search visited the same rules, with the oracle's labels as values.

    A visited composition that passes the rules but was never labelled is left to the generators.
    """
    sought = combined.targets.first.sought
    columns, counts = read_table(place.root, explored.visited)
    assert counts is not None
    counts = reduce(counts)
    labelled = (columns["status"].astype(np.str_) == "labelled") & np.isfinite(
        columns[sought.column].astype(np.float64)
    )
    filled = counts.sum(axis=1) > 0
    order = np.argsort(~labelled, kind="stable")
    order = order[filled[order]]
    order = order[first_of_each(keys_of(counts[order]))]
    counts, labelled = counts[order], labelled[order]
    known = np.load(ingested.known.open_in(place.root))
    verdict = sift(counts, known, config.size, config.rules).astype("<U40")
    values = columns[sought.column].astype(np.float64)[order]
    asked = (verdict == "") & labelled
    missed = combined.failed(values[asked], combined.columns(counts[asked]))
    verdict[asked] = np.where(missed == "", PASSED, missed)
    sigma = columns[sought.sigma_column].astype(np.float64)[order]
    rows = _Rows(keys_of(counts), verdict, values, sigma, counts).take(verdict != "")
    funnel.add(SEARCH, len(filled), int((~filled).sum()), rows.verdict)
    return rows


def _write(
    place: Place,
    sought: Property,
    rows: _Rows,
    further: dict[str, np.ndarray],
    generators: np.ndarray,
    score: np.ndarray,
    funnel: Funnel,
    account: dict[str, Any],
) -> Screened:
    folder = place.folder("screen")
    columns = {
        "rank": np.arange(1, len(score) + 1),
        "formula": np.array(formulas_of(rows.counts), dtype=np.str_),
        "generator": generators,
        sought.column: rows.value,
        sought.sigma_column: rows.sigma,
        **further,
        "score": score,
    }
    candidates = write_table(
        place.root, folder / "candidates.parquet", columns, "candidates", counts=rows.counts
    )
    names, counts = np.unique(generators, return_counts=True)
    steps = funnel.steps(dict(zip(names.tolist(), counts.tolist(), strict=True)))
    path = folder / "funnel.json"
    closed = closed_at(steps)
    write_json(path, {"steps": steps, "closed_at": closed, "reasons": funnel.reasons(), **account})
    if closed is not None:
        logger.warning("screen: nothing passed the step %r; funnel.json has the counts", closed)
    return Screened(candidates=candidates, funnel=handle_for(place.root, path, 1, "funnel"))
