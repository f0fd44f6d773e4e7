"""Known formulas as a sorted list of 64-bit keys: serves ingest, screen and the novelty counts.

In: composition keys (`structure.composition.keys_of`) of tables of known compounds. Out: a small
compressed file that answers "is this formula known?" without carrying a row of any table.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from structure.composition import keys_of, parse_formulas
from structure.errors import DataError, ModelError
from structure.files import sha256_of, write_bytes, write_json, write_text
from structure.sources.tables import read_source

KEYS_FILE = "keys.npz"

SHIPPED_TABLES: tuple[str, ...] = (
    "mp_formulas_2024.csv.gz",
    "mp_structures.jsonl.gz",
    "mp_templates_unlabelled.jsonl.gz",
    "mp_e_form.csv.gz",
    "mp_gap.csv.gz",
    "critexam_ef.csv.gz",
    "expt_gap.csv.gz",
    "oqmd_bandgap.csv.gz",
)
"""Tables that the shipped filter is made from; it was built from their complete versions."""

SHIPPED_FROM = "Materials Project (2024, without GNoME), OQMD and Matbench"
"""Where the formulas of the shipped filter come from, in words."""


def contains(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return which keys are among the known ones.

    Parameters
    ----------
    known : ndarray of uint64, shape (m,)
        Sorted and distinct.
    keys : ndarray of uint64, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    result: np.ndarray = known[place] == keys
    return result


def union(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Merge key lists into one sorted list of distinct keys.

    Returns
    -------
    ndarray of uint64, shape (m,)
    """
    filled = [np.asarray(g, dtype=np.uint64) for g in groups if len(g)]
    return np.unique(np.concatenate(filled)) if filled else np.zeros(0, dtype=np.uint64)


def pack(keys: np.ndarray) -> bytes:
    """Compress sorted distinct keys: their differences, byte by byte, in one ``.npz``.

    Neighbours among n random 64-bit keys differ by about 2**64 / n, so that the high bytes of the
    differences repeat and only about 6 of 8 bytes a key remain.
    """
    steps = np.diff(keys, prepend=np.zeros(1, dtype=np.uint64)).astype("<u8")
    planes = steps.view(np.uint8).reshape(-1, 8).T
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=np.ascontiguousarray(planes))
    return buffer.getvalue()


def unpack(content: bytes) -> np.ndarray:
    """Undo `pack`.

    Returns
    -------
    ndarray of uint64, shape (m,)
        Sorted and distinct.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        planes = archive["planes"]
    steps = np.ascontiguousarray(planes.T).reshape(-1).view("<u8")
    return np.cumsum(steps, dtype=np.uint64)


def load_filter(folder: Path) -> tuple[np.ndarray, str]:
    """Read a filter of known formulas.

    Parameters
    ----------
    folder : Path
        Holds ``keys.npz``, ``config.json`` and ``CARD.md``.

    Returns
    -------
    keys : ndarray of uint64, shape (m,)
    sha256 : str
        Of ``keys.npz``.

    Raises
    ------
    ModelError
        If the file is missing or is not the one the card describes.
    """
    path = folder / KEYS_FILE
    try:
        config = json.loads((folder / "config.json").read_text())
        found = sha256_of(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            "the filter of known formulas cannot be read",
            where=folder,
            fix="Reinstall the product, or build one with `agd data known --from DIR`.",
        ) from error
    if found != config.get("sha256"):
        raise ModelError(
            "the filter of known formulas is not the one its config.json describes",
            where=path,
            fix="Reinstall the product, or build one with `agd data known --from DIR`.",
        )
    return unpack(path.read_bytes()), found


def build_known_filter(
    data_dir: Path, out: Path, tables: Sequence[str] = SHIPPED_TABLES
) -> dict[str, int]:
    """Make a filter of known formulas from tables with a column ``formula``.

    Parameters
    ----------
    data_dir : Path
        Folder with the tables.
    out : Path
        Folder to write ``keys.npz``, ``config.json`` and ``CARD.md`` to.
    tables : sequence of str
        File names inside `data_dir`.

    Returns
    -------
    dict of str to int
        Distinct reduced formulas of each table, and of all under ``"total"``.

    Raises
    ------
    DataError
        If a table is missing or holds no formula.
    """
    groups: list[np.ndarray] = []
    counted: dict[str, int] = {}
    refused: dict[str, int] = {}
    for name in tables:
        table = read_source(data_dir / name, columns={"formula": "formula"})
        parsed = parse_formulas(table.columns["formula"])
        groups.append(np.unique(keys_of(parsed.counts)))
        counted[name] = len(groups[-1])
        refused[name] = len(parsed.rejections) + len(table.rejections)
    keys = union(groups)
    if not len(keys):
        raise DataError("none of the tables holds a formula", where=data_dir)
    write_bytes(out / KEYS_FILE, pack(keys))
    sha256 = sha256_of(out / KEYS_FILE)
    write_json(
        out / "config.json",
        {"kind": "known-formulas", "keys": len(keys), "sha256": sha256, "tables": counted},
    )
    write_text(out / "CARD.md", _card(counted, refused, len(keys), sha256))
    return {**counted, "total": len(keys)}


def _card(counted: Mapping[str, int], refused: Mapping[str, int], total: int, sha256: str) -> str:
    false_positive = total / 2**64
    lines = [
        "# Known formulas",
        "",
        "A list of 64-bit keys of reduced formulas that databases already hold. The pipeline asks",
        "it whether a generated formula is new. It carries no formula, value or structure of any",
        "table; a key answers only whether one given composition is listed.",
        "",
        "| table | distinct reduced formulas | formulas not taken (fractional or unreadable) |",
        "|---|---:|---:|",
        *(f"| `{name}` | {n:,} | {refused[name]:,} |" for name, n in counted.items()),
        f"| all, without repeats | {total:,} | |",
        "",
        "- **File.** `keys.npz`: the sorted keys as differences, byte planes, compressed.",
        f"  sha256 `{sha256}`.",
        "- **Key.** `structure.composition.keys_of`: 64 bits, equal for equal reduced formulas.",
        "- **False positives.** A new formula is taken for known with probability",
        f"  {total:,} / 2^64 = {false_positive:.1e}.",
        "- **False negatives.** None for the listed formulas.",
        "- **Completeness.** The filter knows what these tables hold and nothing else: a formula",
        "  that it calls new can be in a database or a paper. Look there before you claim it.",
        "- **Made with.** `agd data known --from DIR`, where DIR holds the tables above.",
        "",
    ]
    return "\n".join(lines)
