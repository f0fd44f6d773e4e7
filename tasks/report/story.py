"""The story of one composition in a campaign: serves ``agd why``.

In: a campaign directory and a formula. Out: one line a fact, in the order of the stages, from the
ledger and the stages' tables; those a rule turned down say which rule and why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from structure.composition import formulas_of, keys_of, parse_formulas
from structure.errors import DataError
from structure.properties.energies import FORMATION_ENERGY
from structure.properties.quantity import Property
from structure.properties.registry import properties
from structure.rules.validity import explain
from tasks.campaign.handles import Handle
from tasks.campaign.sought import sought_in
from tasks.ledger.ledger import Ledger
from tasks.ledger.reading import read_ledger
from tasks.oracles.answer import ASKED_BY_SEARCH

_LONG = ("latent", "structure_json", "key", "formula", "counts")
"""Columns that are not for reading."""


def story_of(root: Path, formula: str) -> list[str]:
    """Tell what every stage of a campaign did with a composition.

    Raises
    ------
    CampaignError
        If the directory is no campaign or a table of it was changed.
    DataError
        If the formula cannot be read.
    """
    parsed = parse_formulas([formula])
    if not len(parsed.counts):
        _, text, why = parsed.rejections[0]
        raise DataError(why.sentence, where=text, fix="Write it like SrYF5 or Ca(OH)2.")
    name, sought = formulas_of(parsed.counts)[0], sought_in(root)
    key = int(keys_of(parsed.counts)[0])
    parts, told = read_ledger(
        root, lambda ledger: (_in_order(ledger.stages()), list(_in_ledger(ledger, name, sought)))
    )
    lines = [*_met(root, parts, name, key), *told]
    if not lines:
        lines = ["no stage of this campaign has met it"]
    broken = explain(parsed.counts[0])
    rules = broken.sentence if broken else "charge neutral and electronegativity balanced"
    return [name, *lines, f"rules: {rules}"]


def _in_order(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return whole stages before their order of finishing: iterations are told by the stage."""
    return [p for p in parts if not p["part"].startswith("iteration")]


def _met(root: Path, parts: list[dict[str, Any]], name: str, key: int) -> Iterator[str]:
    """Tell what the finished stage parts have on a composition, in their order."""
    drawn: list[tuple[str, str, _Row]] = []
    for part in parts:
        output = json.loads(part["output"])
        for field, value in output.items():
            if isinstance(value, dict) and "schema_name" in value:
                handle = Handle(**value)
                if handle.schema_name == "screened":
                    rows = _rows_in(root, handle, name, key)
                    drawn += [(part["part"], output.get("generator", ""), row) for row in rows]
                    continue
                if drawn and part["stage"] != "sample" and part["part"] == "merge":
                    yield _screened(drawn)
                    drawn = []
                yield from _in_table(root, part["stage"], field, handle, name, key)
    if drawn:
        yield _screened(drawn)


def _in_table(
    root: Path, stage: str, field: str, handle: Handle, name: str, key: int
) -> Iterator[str]:
    if handle.path.endswith(".npy"):
        if key in np.load(handle.open_in(root), mmap_mode="r"):
            yield f"{stage}: a known compound"
    elif handle.path.endswith(".parquet") and field != "templates":
        tell = _SENTENCES.get((stage, field), _plainly)
        for row in _rows_in(root, handle, name, key):
            yield f"{stage}: {tell(row)}"


class _Row(dict[str, Any]):
    """One row of a table, by column, and what the campaign seeks."""

    def __init__(self, values: Mapping[str, Any], sought: Property):
        super().__init__(values)
        self.sought = sought

    def value(self) -> str:
        """Say the value of what is sought; empty where there is none."""
        value, sigma = self.get(self.sought.column), self.get(self.sought.sigma_column)
        if value is None or not np.isfinite(value):
            return ""
        width = ""
        if sigma is not None and np.isfinite(sigma):
            width = f" +- {self.sought.number(sigma)}"
        return f"{self.sought.number(value)}{width} {self.sought.unit}".rstrip()


def _rows_in(root: Path, handle: Handle, name: str, key: int) -> list[_Row]:
    """Return the rows of a composition; a table of drawn rows, without key or name, has none.

    One column is in memory at a time: tables of large campaigns hold a million rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows: list[_Row] = []
    sought = sought_in(root)
    with pq.ParquetFile(handle.open_in(root)) as file:
        names = file.schema_arrow.names
        wanted = {"key": key, "formula": name}
        by = next((column for column in wanted if column in names), "")
        for group in range(file.num_row_groups if by else 0):
            column = file.read_row_group(group, columns=[by])[by]
            found = pc.indices_nonzero(pc.equal(column, pa.scalar(wanted[by], column.type)))
            told = [n for n in names if n not in _LONG] if len(found) else []
            values = {n: file.read_row_group(group, columns=[n])[n].take(found) for n in told}
            rows += [
                _Row({n: values[n][i].as_py() for n in told}, sought) for i in range(len(found))
            ]
    return rows


def _screened(drawn: list[tuple[str, str, _Row]]) -> str:
    """Tell of all shards that drew a composition; the verdict is the same in each."""
    part, generator, row = drawn[0]
    if len(drawn) == 1:
        who = f"drawn by {generator} in {part}" if generator else f"drawn in {part}"
    else:
        names = " and ".join(sorted({g for _, g, _ in drawn if g}))
        who = f"drawn in {len(drawn)} shards by {names}, first in {part}"
    verdict = str(row["verdict"])
    gap = f", predicted {row.sought.short} {row.value()}" if row.value() else ""
    return f"screen: {who}; {'passed' if verdict == 'passed' else f'turned down: {verdict}'}{gap}"


def _visited(row: _Row) -> str:
    gap = f", {row.value()}" if row.value() else ""
    reason = f", {row['reason']}" if row.get("reason") else ""
    words = f"proposed it ({row['source']}): {row['status']}{gap}{reason}"
    return f"iteration {row['iteration']} {words}"


def _placed(row: _Row) -> str:
    return (
        f"cell of {row['template_formula']} ({row['template_id']}), space group "
        f"{row['spacegroup']}, {row['n_sites']} sites, distance {row['emd']:.2f}, volume times "
        f"{row['volume_scale']:.2f}"
    )


def _filtered(row: _Row) -> str:
    return (
        f"formation energy {row[FORMATION_ENERGY.column]:.2f} eV/atom "
        f"({row['energy_scheme']}): {row['status']}, rank {row['rank']}"
    )


def _plainly(row: _Row) -> str:
    facts = []
    for name, value in row.items():
        if name in _LONG or value is None or isinstance(value, list):
            continue
        text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
        facts.append(text if name == "sentence" else f"{name} {text}")
    return ", ".join(facts) or "here"


_SENTENCES: dict[tuple[str, str], Callable[[_Row], str]] = {
    ("ingest", "initial"): lambda row: f"one of the initial labels, {row.value()}, {row['origin']}",
    ("explore", "visited"): _visited,
    ("screen", "candidates"): lambda row: f"candidate {row['rank']}, score {row['score']:.2f}",
    ("template", "structures"): _placed,
    ("filter", "survivors"): _filtered,
}


def _in_ledger(ledger: Ledger, name: str, sought: Property) -> Iterator[str]:
    """Tell what the ledger has on a composition: labels, verdict, jobs."""
    for label in ledger.labels(sought.column, name):
        width = "" if label.sigma is None else f" +- {sought.number(label.sigma)}"
        when = f", iteration {label.iteration}" if label.iteration else ""
        value = f"{sought.number(label.value)}{width} {sought.unit}".rstrip()
        yield f"label: {value}, {label.origin} ({label.source[:24]}){when}"
    candidate = ledger.candidate(name)
    if candidate is not None:
        rank = f", rank {candidate.rank}" if candidate.rank else ""
        yield f"candidate: {candidate.status}{rank} {candidate.sentence}".rstrip()
    for job in ledger.jobs(formula=name):
        asked = job["story"].get("asked_by") == ASKED_BY_SEARCH
        who = f", asked by the search in iteration {job['story']['iteration']}" if asked else ""
        yield f"job: {job['state']} in {job['folder']}{who}{_outcome(job)}"


def _outcome(job: dict[str, Any]) -> str:
    """Say what a DFT job found, or why it was turned down."""
    story = job["story"]
    found = story.get("dft", {})
    words = [f"{f['code']} {f['sentence']}" for f in found.get("findings", ())]
    if not words and story.get("sentence"):
        words = [" ".join(str(x) for x in (job["code"], story["sentence"]) if x is not None)]
    for one in properties().values():
        if one.result in found:
            word = "E_form" if one is FORMATION_ENERGY else one.short
            words.append(f"{word} {one.amount(found[one.result])}")
    words += found.get("remarks", ())
    return f": {'; '.join(words)}" if words else ""
