"""Handles: what stages pass on instead of data, and the Parquet tables they point to.

A handle is small and frozen: a path inside the campaign, a SHA-256, a row count and a schema name.
A table is a Parquet file with its schema version in the metadata; compositions are stored in one
column ``counts`` of 103 int16 a row, next to named columns with units in their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from structure.composition import N_ELEMENTS
from structure.errors import CampaignError, DataError
from structure.files import replacing, sha256_of
from structure.records import Record
from tasks.ledger.version import SCHEMA_VERSION


class Handle(Record):
    """A file that a stage made.

    Attributes
    ----------
    path : str
        Relative to the campaign directory, with forward slashes.
    sha256 : str
    rows : int
    schema_name : str
        What the file holds, e.g. ``"screened"``.
    """

    path: str
    sha256: str
    rows: int
    schema_name: str

    def open_in(self, root: Path) -> Path:
        """Return the file's path after checking that it is still what the stage wrote.

        Raises
        ------
        CampaignError
            If the file is gone or was changed.
        """
        path = root / self.path
        fix = "Delete the campaign directory, or restore the file, and run the same command again."
        if not path.exists():
            raise CampaignError("a file this campaign made is gone", where=path, fix=fix)
        if sha256_of(path) != self.sha256:
            raise CampaignError("a file this campaign made was changed", where=path, fix=fix)
        return path


class ModelHandle(Record):
    """A folder of weights that a campaign uses.

    Attributes
    ----------
    name : str
        What the model is for, e.g. ``"autoencoder"``.
    place : {"shipped", "campaign"}
        In `models.pretrained`, or inside the campaign directory.
    path : str
        Folder, relative to that place.
    sha256 : str
        Hash of the weights file, as in the folder's ``config.json``.
    config_sha256 : str
        Hash of ``config.json``: settings, calibration and the hash of the weights. Empty in
        campaigns from before it was kept, whose weights alone are compared.
    """

    name: str
    place: Literal["shipped", "campaign"]
    path: str
    sha256: str
    config_sha256: str = ""

    def folder(self, root: Path) -> Path:
        """Return the folder of the weights, given the campaign directory.

        Raises
        ------
        CampaignError
            If the model is not the one the campaign began with.
        """
        if self.place == "campaign":
            return self.checked(root / self.path)
        from models.pretrained import shipped

        return self.checked(shipped(self.path))

    def checked(self, folder: Path) -> Path:
        """Return a folder after checking that it holds this model; see `folder`.

        Weights are compared with ``config.json`` where they are loaded.
        """
        from models.fitting.checkpoints import model_hash

        if self.config_sha256 and model_hash(folder) != self.config_sha256:
            raise self.changed(folder)
        return folder

    def changed(self, folder: Path) -> CampaignError:
        """Return the error that the model in a folder is another one."""
        fix = {
            "shipped": "Use the release that made the campaign, or start a new campaign directory.",
            "campaign": "Restore the folder from a copy, or start a new campaign directory.",
        }
        return CampaignError(
            f"weights or config.json of {self.name!r} are not the ones this campaign began with",
            where=folder,
            fix=fix[self.place],
        )


def handle_for(root: Path, path: Path, rows: int, schema_name: str) -> Handle:
    """Make the handle of a file that has just been written."""
    return Handle(
        path=path.relative_to(root).as_posix(),
        sha256=sha256_of(path),
        rows=rows,
        schema_name=schema_name,
    )


def write_table(
    root: Path,
    path: Path,
    columns: Mapping[str, Any],
    schema_name: str,
    *,
    counts: np.ndarray | None = None,
) -> Handle:
    """Write columns of equal length as a Parquet table and return its handle.

    Parameters
    ----------
    root : Path
        Campaign directory.
    path : Path
        Where to write, inside `root`.
    columns : mapping of str to array-like, each of length n
        Put the unit in the name where there is one (``band_gap_eV``).
    schema_name : str
    counts : ndarray of int, shape (n, 103), optional
        Compositions of the rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: pa.array(values) for name, values in columns.items()}
    if counts is not None:
        flat = pa.array(np.ascontiguousarray(counts, dtype=np.int16).reshape(-1))
        arrays["counts"] = pa.FixedSizeListArray.from_arrays(flat, N_ELEMENTS)
    table = pa.table(arrays).replace_schema_metadata(
        {"agd_schema": schema_name, "agd_schema_version": str(SCHEMA_VERSION)}
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return handle_for(root, path, table.num_rows, schema_name)


def read_table(root: Path, handle: Handle) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Read a table back.

    Returns
    -------
    columns : dict of str to ndarray, each of length n
    counts : ndarray of int16, shape (n, 103), or None

    Raises
    ------
    CampaignError, DataError
        If the file was changed, or was written by another version.
    """
    import pyarrow.parquet as pq

    path = handle.open_in(root)
    table = pq.read_table(path)
    metadata = table.schema.metadata or {}
    version = metadata.get(b"agd_schema_version", b"?").decode()
    if version != str(SCHEMA_VERSION):
        raise DataError(
            f"the table has schema version {version}, this release reads {SCHEMA_VERSION}",
            where=path,
            fix="Start a new campaign directory with this release.",
        )
    counts = None
    columns: dict[str, np.ndarray] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if name == "counts":
            counts = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, N_ELEMENTS)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns, counts
