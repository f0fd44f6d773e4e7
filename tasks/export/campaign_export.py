"""``agd export``: a campaign for archives and for other people's programs.

In: a campaign directory, also a read-only one. Out: a folder that is an RO-Crate: the
configuration, every file that the stages made, the report, and the candidates as OPTIMADE JSON
lines. It is written beside its place and renamed, so that it is whole or not there.
"""

from __future__ import annotations

import json
import math
import secrets
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import tasks.campaign
from structure.errors import CampaignError, DataError
from structure.files import TEMPORARY_PREFIX, sha256_of, write_json, write_text
from tasks.campaign.handles import Handle, read_table
from tasks.export.crate import CANDIDATES, CONFIG, WORKFLOW, CrateFile, Part, Run, metadata
from tasks.export.optimade_lines import Entry, lines
from tasks.ledger.ledger import Ledger
from tasks.ledger.reading import read_ledger
from tasks.ledger.version import PRODUCT_VERSION

METADATA = "ro-crate-metadata.json"
STAGES = {
    "ingest": "Takes the data sources in",
    "train": "Fits or names the models",
    "explore": "Searches by Bayesian optimisation against an oracle",
    "screening": "Fits the screening model on the campaign's labels",
    "sample": "Draws compositions from the generators",
    "screen": "Keeps what is new, valid and in the window",
    "template": "Gives compositions a crystal by substitution into templates",
    "filter": "Keeps negative formation energies, and ranks",
    "handoff": "Writes the directories of the DFT jobs",
    "report": "Writes the report",
}
"""What each stage does, in the order of the pipeline."""


def export(root: Path, target: Path, licence: str = "") -> int:
    """Write a finished campaign as an RO-Crate; return how many candidates it has.

    Parameters
    ----------
    root : Path
        Campaign directory.
    target : Path
        Folder to make.
    licence : str
        Address of the licence that the results are given under; empty: none is stated.

    Raises
    ------
    CampaignError
        If the directory is no campaign, nothing of it is finished, or a file of it was changed.
    DataError
        If `target` exists, or cannot be written.
    """
    if target.exists():
        raise DataError(
            "the place to export to exists", where=target, fix="Name a folder that does not."
        )
    parts, candidates = read_ledger(root, lambda ledger: (_parts(ledger), _survivors(ledger)))
    if not parts:
        raise CampaignError(
            "no stage of the campaign has finished", where=root, fix="Run it with `agd run`."
        )
    building = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{target.name}")
    try:
        files = dict(_copied(root, building, [h for _, handles in parts for h in handles]))
        entries = _entries(root, candidates)
        ended = datetime.fromisoformat(parts[-1][0].ended)
        write_text(building / CANDIDATES, "".join(lines(entries, ended)))
        files[CANDIDATES] = _described(building, CANDIDATES, "candidates as OPTIMADE JSON lines")
        name = str(json.loads((root / CONFIG).read_bytes())["config"].get("name") or root.name)
        known = {p.stage: STAGES.get(p.stage, p.stage) for p, _ in parts}
        stages = {s: known[s] for s in (*STAGES, *known) if s in known}
        run = Run(name, PRODUCT_VERSION, [p for p, _ in parts], files, stages, licence)
        write_json(building / METADATA, metadata(run))
        building.rename(target)
    except OSError as error:
        raise DataError(
            f"the export cannot be written: {error.strerror}",
            where=target,
            fix="Free disk space or correct the permissions, then run the same command again.",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return len(entries)


def _parts(ledger: Ledger) -> list[tuple[Part, list[Handle]]]:
    """Return the finished stage parts and the files of each."""
    found = []
    for row in ledger.stages():
        handles = list(_handles(json.loads(row["output"])))
        paths = tuple(handle.path for handle in handles)
        part = Part(row["stage"], row["part"], row["finished_at"], row["seconds"], paths)
        found.append((part, handles))
    return found


def _survivors(ledger: Ledger) -> Handle | None:
    """Return the table of candidates with crystals; None where the filter has not run."""
    output = ledger.finished("filter", "all")
    return None if output is None else Handle.model_validate(json.loads(output)["survivors"])


def _handles(output: Any) -> Iterator[Handle]:
    """Yield every handle in the output of a stage, whatever its model."""
    if isinstance(output, Mapping):
        if output.keys() == Handle.model_fields.keys():
            yield Handle.model_validate(output)
            return
        output = list(output.values())
    if isinstance(output, list):
        for item in output:
            yield from _handles(item)


def _copied(root: Path, target: Path, handles: list[Handle]) -> Iterator[tuple[str, CrateFile]]:
    """Copy the files of a campaign, each checked, and yield what the crate says of them."""
    for handle in handles:
        source = handle.open_in(root)
        yield handle.path, _copy(source, target, handle.path, handle.schema_name)
    yield CONFIG, _copy(root / CONFIG, target, CONFIG, "configuration of the campaign")
    for source in sorted((root / "report").glob("*")):
        path = f"report/{source.name}"
        if source.is_file() and not source.name.startswith(TEMPORARY_PREFIX):
            yield path, _copy(source, target, path, f"report: {source.name}")
    workflow = Path(tasks.campaign.__file__).parents[2] / "flows" / "pipeline.py"
    yield WORKFLOW, _copy(workflow, target, WORKFLOW, "the pipeline")


def _copy(source: Path, target: Path, path: str, what: str) -> CrateFile:
    place = target / path
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    return _described(target, path, what)


def _described(target: Path, path: str, what: str) -> CrateFile:
    place = target / path
    return CrateFile(path, place.stat().st_size, sha256_of(place), what)


def _entries(root: Path, table: Handle | None) -> list[Entry]:
    """Return the candidates, best first."""
    if table is None:
        return []
    columns, _ = read_table(root, table)
    named = [n for n in columns if n not in ("structure_json", "formula")]
    order = np.argsort(columns["rank"], kind="stable").tolist()
    return [
        Entry(
            id=str(columns["formula"][i]),
            structure=json.loads(columns["structure_json"][i]),
            values={name: _plain(columns[name][i]) for name in named},
        )
        for i in order
    ]


def _plain(value: Any) -> str | int | float | None:
    """Return a value as JSON has it; None for what is no number."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return None
    return plain if isinstance(plain, str | int | float) or plain is None else str(plain)
