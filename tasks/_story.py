"""The story of one composition in a campaign: serves ``agd why``.

In: a campaign directory and a formula. Out: one line a fact, in the order of the stages, from the
ledger and the stages' tables; those a rule turned down say which rule and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from structure.composition import formulas_of, keys_of, parse_formulas
from structure.errors import CampaignError, DataError
from structure.validity import explain
from tasks._handles import Handle, read_table
from tasks._ledger import Ledger

_LONG = ("latent", "structure_json", "key", "formula", "counts")
"""Columns that are not for reading."""


@contextmanager
def opened_ledger(root: Path) -> Iterator[Ledger]:
    """Open the ledger of a campaign for reading, also while a run has it open.

    Raises
    ------
    CampaignError
        If the directory is no campaign.
    """
    if not (root / "campaign.json").exists():
        raise CampaignError(
            "this is no campaign directory",
            where=root,
            fix="Name one that `agd run` made, e.g. campaigns/agd-bandgap.",
        )
    ledger = Ledger.in_folder(root)
    try:
        yield ledger
    finally:
        ledger.close()


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
    name = formulas_of(parsed.counts)[0]
    key = int(keys_of(parsed.counts)[0])
    with opened_ledger(root) as ledger:
        lines = [line for part in ledger.stages() for line in _in_part(root, part, name, key)]
        lines += _in_ledger(ledger, name)
    if not lines:
        lines = ["no stage of this campaign has met it"]
    broken = explain(parsed.counts[0])
    rules = broken.sentence if broken else "charge neutral and electronegativity balanced"
    return [name, *lines, f"rules: {rules}"]


def _in_part(root: Path, part: dict[str, Any], name: str, key: int) -> Iterator[str]:
    """Tell where a composition stands in the tables that one stage part made."""
    stage, output = part["stage"], json.loads(part["output"])
    for field, value in output.items():
        if not isinstance(value, dict) or "schema_name" not in value:
            continue
        handle = Handle(**value)
        place = f"{stage} {field}" if part["part"] == "all" else f"{stage} {field} {part['part']}"
        if handle.path.endswith(".npy"):
            if key in np.load(handle.open_in(root), mmap_mode="r"):
                yield f"{place}: a known compound"
        elif handle.path.endswith(".parquet") and field != "templates":
            columns, _ = read_table(root, handle)
            for row in _rows(columns, name, key):
                yield f"{place}: {_facts(columns, int(row))}"


def _rows(columns: dict[str, np.ndarray], name: str, key: int) -> np.ndarray:
    """Return the rows of a composition; a table of drawn rows, with neither column, has none."""
    if "key" in columns:
        return np.flatnonzero(columns["key"] == np.uint64(key))
    if "formula" in columns:
        return np.flatnonzero(columns["formula"] == name)
    return np.zeros(0, dtype=np.int64)


def _facts(columns: dict[str, np.ndarray], row: int) -> str:
    facts = []
    for name, values in columns.items():
        value = values[row]
        if name in _LONG or value is None or isinstance(value, np.ndarray):
            continue
        text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
        facts.append(text if name == "sentence" else f"{name} {text}")
    return ", ".join(facts) or "here"


def _in_ledger(ledger: Ledger, name: str) -> Iterator[str]:
    """Tell what the ledger has on a composition: labels, verdict, jobs."""
    for label in ledger.labels("band_gap_eV", name):
        width = "" if label.sigma is None else f" +- {label.sigma:.2f}"
        when = f", iteration {label.iteration}" if label.iteration else ""
        yield f"label: {label.value:.2f}{width} eV, {label.origin} ({label.source[:24]}){when}"
    candidate = ledger.candidate(name)
    if candidate is not None:
        rank = f", rank {candidate.rank}" if candidate.rank else ""
        yield f"candidate: {candidate.status}{rank} {candidate.sentence}".rstrip()
    for job in ledger.jobs():
        if job["formula"] == name:
            yield f"job: {job['state']} in {job['folder']}{_outcome(job)}"


def _outcome(job: dict[str, Any]) -> str:
    """Say what a DFT job found, or why it was turned down."""
    story = job["story"]
    found = story.get("dft", {})
    words = [f"{f['code']} {f['sentence']}" for f in found.get("findings", ())]
    if not words and story.get("sentence"):
        words = [f"{job['code']} {story['sentence']}"]
    numbers = (("gap", "band_gap_eV", "eV"), ("E_form", "formation_energy_eV_per_atom", "eV/atom"))
    words += [f"{w} {found[name]:.2f} {unit}" for w, name, unit in numbers if name in found]
    return f": {'; '.join(words)}" if words else ""
