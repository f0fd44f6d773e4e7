"""A folder that a fetch fills, page by page: serves ``agd data fetch``.

In: a provider. Out: ``rows.jsonl.gz``, ``rejects.jsonl`` and ``agd-source.json`` (who was asked
what and when, licence, counts, SHA-256), and ``agd-data.json`` for training. Each page is kept in a
file of its own until the last has come, so that a fetch that was cut off goes on after it.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from models.fitting.data_mapping import MAPPING_FILE, DataMapping, StructureSource, TableSource
from structure.errors import DataError, Rejection
from structure.files import replacing, sha256_of, write_json, write_text
from structure.records import Record
from tasks.fetch.query import Page, Provider, Query

ROWS, REJECTS, SOURCE, PAGES = "rows.jsonl.gz", "rejects.jsonl", "agd-source.json", ".pages"

Report = Callable[[int, int | None], None]
"""Called after each page with the records so far, and how many there will be if that is known."""


class Source(Record):
    """What ``agd-source.json`` says.

    Attributes
    ----------
    schema_version : int
    provider, title, licence, citation : str
    query : Query
    retrieved : str
        Date and time at which the last page came, UTC.
    rows : int
    refused : dict of str to int
        Records that were not taken in, by code; ``rejects.jsonl`` has each.
    columns, units, fields : dict of str to str
        By property: the column of the table, its unit, and the provider's field.
    files : dict of str to str
        SHA-256 by name.
    """

    schema_version: int = 1
    provider: str
    title: str
    licence: str
    citation: str
    query: Query
    retrieved: str
    rows: int
    refused: dict[str, int]
    columns: dict[str, str]
    units: dict[str, str]
    fields: dict[str, str]
    files: dict[str, str]


def fetch(provider: Provider, folder: Path, report: Report = lambda done, total: None) -> Source:
    """Fetch what a provider has into a folder, or go on with it.

    Parameters
    ----------
    provider : Provider
    folder : Path
        Made where missing.
    report : callable, optional

    Returns
    -------
    Source
        Also where everything was there before.

    Raises
    ------
    DataError
        If the folder holds the answer to another query or was changed, another process fills it,
        the provider does not answer, nothing was found, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".fetch.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise DataError(
            "another fetch fills this folder", where=folder, fix="Wait until it ends."
        ) from error
    except OSError as error:
        raise DataError(
            f"the folder cannot be made: {error.strerror}", where=folder, fix="Choose another."
        ) from error
    try:
        if (done := _finished(folder, provider.query)) is not None:
            return done
        _begin(folder, provider.query)
        _pages(provider, folder, report)
        return _assemble(provider, folder)
    finally:
        lock.release()


def _finished(folder: Path, query: Query) -> Source | None:
    """Return what a folder holds if that is the whole answer to a query."""
    path = folder / SOURCE
    if not path.exists():
        return None
    found = read_source(folder)
    if found.query != query:
        raise _another(folder)
    for name, sha256 in found.files.items():
        if not (folder / name).exists() or sha256_of(folder / name) != sha256:
            raise DataError(
                "a fetched file is gone or was changed",
                where=folder / name,
                fix=f"Delete {SOURCE} to fetch everything again.",
            )
    shutil.rmtree(folder / PAGES, ignore_errors=True)
    return found


def read_source(folder: Path) -> Source:
    """Return what ``agd-source.json`` of a folder says.

    Raises
    ------
    DataError
        If there is none, or it cannot be read.
    """
    path = folder / SOURCE
    try:
        return Source.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"the description of the fetched data cannot be read: {error}",
            where=path,
            fix="Delete it to fetch everything again.",
        ) from error


def _another(folder: Path) -> DataError:
    return DataError(
        "the folder holds the answer to another query",
        where=folder,
        fix="Give a folder of its own with `--to`.",
    )


def _begin(folder: Path, query: Query) -> None:
    """Write the query down, or compare it with that of the fetch that was cut off."""
    path = folder / PAGES / "query.json"
    if path.exists() and Query.model_validate_json(path.read_bytes()) != query:
        raise _another(folder)
    write_text(path, query.model_dump_json())


def _pages(provider: Provider, folder: Path, report: Report) -> None:
    """Fetch the pages that are not there yet."""
    kept = list(_kept(folder))
    done = sum(len(page.rows) + len(page.refused) for page in kept)
    number, last = len(kept), kept[-1] if kept else None
    limit = provider.query.limit
    while last is None or (last.following is not None and (limit is None or done < limit)):
        asked = None if last is None else last.following
        last = provider.page(asked)
        if last.following is not None and last.following == asked:
            raise DataError(
                "the provider names a page as the one after itself",
                where=asked,
                fix="Report it to the provider.",
            )
        refused = [(id, (why.code, why.sentence)) for id, why in last.refused]
        kept_as = [last.rows, refused, last.following, last.available]
        write_text(_file(folder, number), json.dumps(kept_as, separators=(",", ":")))
        number += 1
        done += len(last.rows) + len(last.refused)
        report(done, _total(last.available, limit))


def _total(available: int | None, limit: int | None) -> int | None:
    known = [n for n in (available, limit) if n is not None]
    return min(known) if known else None


def _file(folder: Path, number: int) -> Path:
    return folder / PAGES / f"{number:06d}.json"


def _kept(folder: Path) -> Iterator[Page]:
    """Yield the pages that are there, in order and without a gap."""
    number = 0
    while (path := _file(folder, number)).exists():
        try:
            rows, refused, following, available = json.loads(path.read_bytes())
        except ValueError as error:
            raise DataError(
                f"a page that was kept is damaged: {error}",
                where=path,
                fix="Delete it and the ones after it, then run the same command again.",
            ) from error
        yield Page(rows, [(id, Rejection(*why)) for id, why in refused], following, available)
        number += 1


def _assemble(provider: Provider, folder: Path) -> Source:
    """Write the table of all pages, and what it is."""
    limit, rows = provider.query.limit, 0
    refused: Counter[str] = Counter()
    written: set[str] = set()
    with (
        replacing(folder / ROWS) as table,
        replacing(folder / REJECTS) as rejects,
        table.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as lines,
        rejects.open("w", encoding="utf-8") as reasons,
    ):
        for page in _kept(folder):
            for row in page.rows:
                if row["material_id"] in written or (limit is not None and rows >= limit):
                    continue
                written.add(row["material_id"])
                rows += 1
                lines.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            for id, why in page.refused:
                refused[why.code] += 1
                told = {"material_id": id, "code": why.code, "sentence": why.sentence}
                reasons.write(json.dumps(told, ensure_ascii=False) + "\n")
    if not rows:
        raise DataError(
            "the provider has no record that can be used"
            + (f": {sum(refused.values())} were turned down" if refused else " for this query"),
            where=provider.query.address,
            fix=f"Check `--elements` and `--property`; {REJECTS} has the reasons.",
        )
    names = [ROWS, REJECTS]
    if mapping := _mapping(provider):
        write_text(folder / MAPPING_FILE, mapping.model_dump_json(indent=2) + "\n")
        names.append(MAPPING_FILE)
    source = Source(
        provider=provider.name,
        title=provider.title,
        licence=provider.licence,
        citation=provider.citation,
        query=provider.query,
        retrieved=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=rows,
        refused=dict(sorted(refused.items())),
        columns={a.name: a.column for a in provider.asked},
        units={a.name: a.unit for a in provider.asked},
        fields={a.name: a.field for a in provider.asked},
        files={name: sha256_of(folder / name) for name in names},
    )
    write_json(folder / SOURCE, source.model_dump(mode="json"))
    shutil.rmtree(folder / PAGES, ignore_errors=True)
    for part in folder.glob("*.part"):
        part.unlink()
    return source


def _mapping(provider: Provider) -> DataMapping | None:
    """Return how training reads the folder; None where it has nothing to learn from."""
    asked = {a.name: a for a in provider.asked}

    def table(name: str) -> TableSource | None:
        if name not in asked:
            return None
        unit = asked[name].unit
        title, licence = provider.title, provider.licence
        return TableSource(
            path=ROWS, value=asked[name].column, unit=unit, title=title, licence=licence
        )

    energies = table("formation_energy")
    in_own_unit = energies is not None and energies.unit == "eV/atom"
    structures = StructureSource(
        path=ROWS,
        formation_energy="formation_energy_eV_per_atom",
        energy_scheme=f"formation energy as {provider.title} gives it, eV/atom",
        title=provider.title,
        licence=provider.licence,
    )
    gaps = table("band_gap")
    if gaps is None and energies is None:
        return None
    return DataMapping(
        band_gaps=gaps,
        formation_energies=energies,
        formulas=None,
        structures=structures if provider.crystals and in_own_unit else None,
    )


def lines_for_campaign(folder: Path, source: Source) -> list[str]:
    """Return the lines of a campaign's YAML that name a fetched folder as a source."""
    known = [a for a in ("band_gap", "formation_energy") if a in source.columns]
    columns = {"formula": "formula", "id": "material_id"}
    columns |= {a: source.columns[a] for a in known}
    roles = [*(["labels"] if "band_gap" in known else []), "templates", "known"]

    def inline(values: dict[str, Any]) -> str:
        return "{" + ", ".join(f"{k}: {v}" for k, v in values.items()) + "}"

    lines = [
        "ingest:",
        "  sources:",
        f"    - path: {folder / ROWS}",
        f"      roles: [{', '.join(roles)}]",
        f"      columns: {inline(columns)}",
    ]
    units = inline({a: source.units[a] for a in known})
    return [*lines, f"      units: {units}"] if known else lines
