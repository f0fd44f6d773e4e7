"""Ingest stage: what a campaign starts from.

In: data sources in the configuration, or none. Out: the initial labelled compositions, the keys of
known formulas, the template library, and a manifest of what each source and rule kept and removed.
Without a source the embedded data serve: shipped weights, the filter of known formulas and the
prototypes in pymatgen.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.pretrained import shipped
from structure.composition import formulas_of, keys_of
from structure.errors import ConfigError, DataError, Rejection
from structure.files import replacing, write_json
from structure.properties.energies import FORMATION_ENERGY
from structure.properties.quantity import Property
from structure.properties.target import DEFAULT_TARGETS, Target, Targets
from structure.rules.dataset_rules import (
    LabelledRows,
    LowestEnergyPerFormula,
    Rule,
)
from structure.rules.known_formulas import build_known_filter as build_known_filter
from structure.rules.known_formulas import load_filter, union
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, handle_for, write_table
from tasks.campaign.outputs import Ingested
from tasks.campaign.series import Earlier, earlier_campaigns
from tasks.campaign.stage import stage
from tasks.ingest.config import IngestConfig, InitialConfig
from tasks.ingest.embedded import embedded_labels, embedded_templates
from tasks.ingest.sources import Refused, SourceRows, read_rows
from tasks.ledger.ledger import Label, Origin

if TYPE_CHECKING:
    from structure.templates.library import TemplateLibrary

logger = logging.getLogger(__name__)


class _Pool(NamedTuple):
    """Labelled compounds with the name and origin of each source number."""

    rows: LabelledRows
    names: list[str]
    origins: list[Origin]


@stage(
    "ingest",
    takes="tables, CIF folders, ASE databases",
    gives="initial labels, known keys, templates",
    in_the_flow=True,
)
def ingest(
    campaign: Campaign, config: IngestConfig, targets: Targets = DEFAULT_TARGETS
) -> Ingested:
    """Take the data sources of a campaign in; the labels are of the first target's property.

    Returns
    -------
    Ingested

    Raises
    ------
    ConfigError
        If an environment variable of a path is not set.
    DataError
        If a source cannot be used, or there are fewer labelled compounds than asked for.
    """
    sought = targets.first.sought
    sources = []
    for number, source in enumerate(config.sources):
        sources.append(read_rows(source, number, sought))
        logger.info("ingest: %s has %d records", source.name, sources[-1].records)
    refused = [r for s in sources for r in s.refused]
    library, bad_templates = _templates(config, sources)
    refused += bad_templates
    shipped_keys, filter_hash = load_filter(shipped("known")) if config.embedded.known else _NONE
    listed = [
        keys_of(rows.rows.counts)
        for rows, source in zip(sources, config.sources, strict=True)
        if "known" in source.roles
    ]
    known = union([shipped_keys, *listed, keys_of(library.counts)])
    pool = _labelled(
        config, sources, known, library, campaign.seed_of("ingest", "embedded"), targets.first
    )
    pool, steps, dropped = _apply_rules(pool, config.rules)
    refused += dropped
    chosen = _choose(
        pool.rows, sought, config.initial, campaign.generator("ingest", "initial"), steps
    )
    initial = _Pool(pool.rows.take(chosen), pool.names, pool.origins)
    earlier = earlier_campaigns(campaign.root, config.earlier, sought)
    initial, pool = _with_earlier(initial, earlier), _with_earlier(pool, earlier)
    known = union([known, keys_of(initial.rows.counts), earlier.proposed])
    folder = campaign.folder("ingest")
    manifest = {
        "sources": _accounts(config, sources, sought),
        "rules": steps,
        "labelled": len(pool.rows),
        "initial": {
            "count": len(initial.rows),
            "rule": config.initial.rule,
            "from": sorted({f"{pool.origins[s]}: {pool.names[s]}" for s in initial.rows.source}),
        },
        "known": {
            "shipped_filter": len(shipped_keys),
            "shipped_filter_sha256": filter_hash,
            "sources": len(union(listed)),
            "templates": len(np.unique(keys_of(library.counts))),
            "total": len(known),
        },
        "templates": {"count": len(library), "rejected": len(bad_templates)},
        "earlier": {"labels": len(earlier.rows), "with_jobs": len(earlier.proposed)},
        "rejected": dict(Counter(r.why.code for r in refused)),
    }
    write_json(folder / "manifest.json", manifest)
    output = Ingested(
        initial=_write_labels(campaign, "initial", initial, sought),
        known=_write_keys(campaign, known),
        templates=_write_library(campaign, library),
        manifest=handle_for(campaign.root, folder / "manifest.json", 1, "manifest"),
        labels=_write_labels(campaign, "labels", pool, sought),
        rejects=_write_rejects(campaign, refused),
    )
    _record(campaign, config, sources, initial, sought)
    return output


_NONE = (np.zeros(0, dtype=np.uint64), "")


def _templates(
    config: IngestConfig, sources: Sequence[SourceRows]
) -> tuple[TemplateLibrary, list[Refused]]:
    """Collect the structures of all sources with the role, or the embedded ones."""
    from structure.templates.library import TemplateLibrary

    parts, refused = [], []
    for source, read in zip(config.sources, sources, strict=True):
        if "templates" not in source.roles:
            continue
        path, format = source.resolved()
        if format == "jsonl":
            part = TemplateLibrary.from_jsonl([path])
        elif format in ("cif-folder", "ase-db"):
            energies = dict(zip(read.ids, read.rows.formation_energy.tolist(), strict=True))
            names = [f"{source.name}:{id}" for id in read.structure_ids]
            part = TemplateLibrary.from_structures(
                zip(names, read.structures, strict=True),
                {f"{source.name}:{id}": e for id, e in energies.items()},
            )
        else:
            raise ConfigError(
                f"source {source.name!r} has the role 'templates', but a {format} table holds no "
                "crystal structures",
                where=source.path,
                fix="Give structures as JSON lines, a folder of CIFs or an ASE database.",
            )
        refused += [Refused(source.name, 0, id, why) for id, why in part.rejected]
        if not len(part):
            why = f": {part.rejected[0][1].sentence}" if part.rejected else ""
            raise DataError(
                f"no structure of the source can be used{why}",
                where=source.path,
                fix="Correct the source, or take 'templates' out of its roles.",
            )
        parts.append(part)
    if not parts:
        library = embedded_templates(config.embedded)
        return library, [Refused("embedded", 0, id, why) for id, why in library.rejected]
    return parts[0] if len(parts) == 1 else TemplateLibrary.concat(parts), refused


def _labelled(
    config: IngestConfig,
    sources: Sequence[SourceRows],
    known: np.ndarray,
    library: TemplateLibrary,
    seed: int,
    target: Target,
) -> _Pool:
    """Return every compound with a label, from the sources or the embedded data."""
    parts = [
        read.rows
        for read, source in zip(sources, config.sources, strict=True)
        if "labels" in source.roles
    ]
    if not parts:
        logger.info("ingest: no source has labels; initial labels: %s", config.embedded.initial)
        rows, name, origin = embedded_labels(config.embedded, known, library.counts, seed, target)
        return _Pool(rows.take(np.isfinite(rows.value)), [name], [origin])
    rows = LabelledRows.concat(parts)
    names = [source.name for source in config.sources]
    return _Pool(rows.take(np.isfinite(rows.value)), names, ["table"] * len(names))


def _apply_rules(
    pool: _Pool, rules: Sequence[Rule]
) -> tuple[_Pool, list[dict[str, Any]], list[Refused]]:
    """Apply the rules in order, then keep one record a formula whatever they were."""
    rows = pool.rows
    steps: list[dict[str, Any]] = []
    refused: list[Refused] = []
    for rule in (*rules, LowestEnergyPerFormula()):
        judged = rule.judge(rows)
        removed = np.flatnonzero(~judged.keep)
        if not len(removed) and len(steps) == len(rules):
            break
        texts = formulas_of(rows.counts[removed])
        refused += [
            Refused(
                pool.names[rows.source[i]],
                int(rows.record[i]),
                text,
                Rejection(rule.rule, judged.sentence(i)),
            )
            for i, text in zip(removed.tolist(), texts, strict=True)
        ]
        steps.append(
            {
                **rule.model_dump(mode="json"),
                "before": len(rows),
                "removed": len(removed),
                "by_source": _by_source(pool.names, rows.source[removed]),
            }
        )
        rows = rows.take(judged.keep)
    return pool._replace(rows=rows), steps, refused


def _by_source(names: Sequence[str], numbers: np.ndarray) -> dict[str, int]:
    return {names[s]: int(n) for s, n in zip(*np.unique(numbers, return_counts=True), strict=True)}


def _choose(
    rows: LabelledRows,
    sought: Property,
    config: InitialConfig,
    generator: np.random.Generator,
    steps: Sequence[dict[str, Any]],
) -> np.ndarray:
    """Return the rows to start from, rising."""
    below = np.inf if config.maximum_eV is None else config.maximum_eV
    eligible = np.flatnonzero(rows.value < below)
    wanted = config.count if config.rule == "random" else 1
    if len(eligible) < wanted:
        limit = (
            ""
            if config.maximum_eV is None
            else f" with a {sought.short} below {config.maximum_eV:g} {sought.unit}"
        )
        raise DataError(
            f"the campaign starts from {wanted} labelled compounds{limit}, the data have "
            f"{len(eligible)} after the rules"
            + "".join(f"; {s['rule']} removed {s['removed']:,}" for s in steps if s["removed"]),
            where="ingest.initial",
            fix="Lower 'count', set 'rule: all', relax 'ingest.rules' or add a source.",
        )
    if config.rule == "all":
        return eligible
    return np.sort(generator.choice(eligible, size=config.count, replace=False))


def _with_earlier(pool: _Pool, earlier: Earlier) -> _Pool:
    """Add what earlier campaigns' calculations labelled; of a compound in both, theirs counts."""
    if not len(earlier.rows):
        return pool
    other = ~np.isin(keys_of(pool.rows.counts), keys_of(earlier.rows.counts))
    added = replace(earlier.rows, source=earlier.rows.source + len(pool.names))
    return _Pool(
        LabelledRows.concat([pool.rows.take(other), added]),
        pool.names + earlier.sources,
        pool.origins + earlier.origins,
    )


def _accounts(
    config: IngestConfig, sources: Sequence[SourceRows], sought: Property
) -> list[dict[str, Any]]:
    """Return what each source gave, for the manifest."""
    return [
        {
            "name": source.name,
            "path": source.path,
            "format": source.resolved()[1],
            "sha256": read.sha256,
            "roles": list(source.roles),
            "records": read.records,
            "notes": list(read.notes),
            "formulas": len(read.rows),
            "distinct_formulas": len(np.unique(keys_of(read.rows.counts))),
            f"with_{sought.name}": int(np.isfinite(read.rows.value).sum()),
            "with_formation_energy": int(np.isfinite(read.rows.formation_energy).sum()),
            "structures": len(read.structures),
            "rejected": dict(Counter(r.why.code for r in read.refused)),
        }
        for source, read in zip(config.sources, sources, strict=True)
    ]


def _write_labels(campaign: Campaign, name: str, pool: _Pool, sought: Property) -> Handle:
    rows = pool.rows
    columns = {
        "formula": np.array(formulas_of(rows.counts), dtype=np.str_),
        sought.column: rows.value,
        FORMATION_ENERGY.column: rows.formation_energy,
        "origin": np.array([pool.origins[s] for s in rows.source], dtype=np.str_),
        "source": np.array([pool.names[s] for s in rows.source], dtype=np.str_),
    }
    path = campaign.folder("ingest") / f"{name}.parquet"
    return write_table(campaign.root, path, columns, name, counts=rows.counts)


def _write_keys(campaign: Campaign, keys: np.ndarray) -> Handle:
    path = campaign.folder("ingest") / "known.npy"
    with replacing(path) as temporary:
        np.save(temporary, keys)
    return handle_for(campaign.root, path, len(keys), "known")


def _write_library(campaign: Campaign, library: TemplateLibrary) -> Handle:
    path = campaign.folder("ingest") / "templates.parquet"
    library.save(path)
    return handle_for(campaign.root, path, len(library), "templates")


def _write_rejects(campaign: Campaign, refused: Sequence[Refused]) -> Handle:
    columns = {
        "source": np.array([r.source for r in refused], dtype=np.str_),
        "record": np.array([r.record for r in refused], dtype=np.int64),
        "text": np.array([r.text for r in refused], dtype=np.str_),
        "code": np.array([r.why.code for r in refused], dtype=np.str_),
        "sentence": np.array([r.why.sentence for r in refused], dtype=np.str_),
    }
    path = campaign.folder("ingest") / "rejects.parquet"
    return write_table(campaign.root, path, columns, "rejects")


def _record(
    campaign: Campaign,
    config: IngestConfig,
    sources: Sequence[SourceRows],
    initial: _Pool,
    sought: Property,
) -> None:
    """Tell the ledger where the data came from and what is labelled."""
    for source, read in zip(config.sources, sources, strict=True):
        campaign.ledger.set_fact(f"data:{source.name}", read.sha256)
    rows = initial.rows
    campaign.ledger.add_labels(
        Label(
            formula=formula,
            property=sought.column,
            value=gap,
            origin=initial.origins[s],
            source=initial.names[s],
        )
        for formula, gap, s in zip(
            formulas_of(rows.counts), rows.value.tolist(), rows.source.tolist(), strict=True
        )
    )
