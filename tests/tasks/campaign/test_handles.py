from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from structure.composition import parse_formulas
from structure.errors import CampaignError, DataError
from tasks.campaign.handles import handle_for, read_table, write_table


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    counts = parse_formulas(["NaCl", "SrYF5"]).counts
    columns = {"formula": ["NaCl", "SrYF5"], "band_gap_eV": np.array([5.0, np.nan])}
    handle = write_table(tmp_path, tmp_path / "a/t.parquet", columns, "x", counts=counts)
    read, read_counts = read_table(tmp_path, handle)
    assert handle.path == "a/t.parquet" and handle.rows == 2
    assert read["formula"].tolist() == ["NaCl", "SrYF5"]
    np.testing.assert_array_equal(read["band_gap_eV"], columns["band_gap_eV"])
    np.testing.assert_array_equal(read_counts, counts)


def test_equal_tables_have_equal_hashes(tmp_path: Path) -> None:
    one = write_table(tmp_path, tmp_path / "1.parquet", {"a": [1, 2]}, "x")
    two = write_table(tmp_path, tmp_path / "2.parquet", {"a": [1, 2]}, "x")
    assert one.sha256 == two.sha256


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    empty = np.zeros((0, 103), dtype=np.int16)
    handle = write_table(tmp_path, tmp_path / "t.parquet", {"a": np.zeros(0)}, "x", counts=empty)
    columns, counts = read_table(tmp_path, handle)
    assert list(columns) == ["a"] and counts is not None and counts.shape == (0, 103)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    handle = write_table(tmp_path, tmp_path / "t.parquet", {"a": [1]}, "x")
    (tmp_path / "t.parquet").write_bytes(b"other")
    with pytest.raises(CampaignError, match="changed"):
        handle.open_in(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    handle = write_table(tmp_path, tmp_path / "t.parquet", {"a": [1]}, "x")
    (tmp_path / "t.parquet").unlink()
    with pytest.raises(CampaignError, match=r"gone[\s\S]*t\.parquet"):
        handle.open_in(tmp_path)


def test_a_table_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    handle = write_table(tmp_path, path, {"a": [1]}, "x")
    table = pq.read_table(path).replace_schema_metadata({"agd_schema_version": "99"})
    pq.write_table(table, path)
    with pytest.raises(DataError, match="schema version 99"):
        read_table(tmp_path, handle_for(tmp_path, path, handle.rows, "x"))
