from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from structure.errors import ConfigError, DataError
from structure.tables import format_of, read_source, resolve_path

WANTED = {"formula": "formula", "band_gap": "gap"}


def _write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


CSV = "formula,gap\nNaCl,5.0\nNaN,0\n"
JSONL = '{"formula": "NaCl", "gap": 5.0}\n\n{"formula": "NaN", "gap": null}\n'


@pytest.mark.parametrize(
    ("name", "text", "gaps"),
    [
        ("t.csv", CSV, ["5.0", "0"]),
        ("t.csv.gz", CSV, ["5.0", "0"]),
        ("t.tsv", CSV.replace(",", "\t"), ["5.0", "0"]),
        ("bom.csv", "\ufeff" + CSV, ["5.0", "0"]),
        ("t.jsonl", JSONL, [5.0, None]),
        ("t.ndjson.gz", JSONL, [5.0, None]),
    ],
)
def test_text_tables_are_read_as_spelt_and_sodium_nitride_is_no_missing_value(
    tmp_path: Path, name: str, text: str, gaps: list[object]
) -> None:
    table = read_source(_write(tmp_path / name, text), WANTED)
    assert table.columns == {"formula": ["NaCl", "NaN"], "band_gap": gaps}
    assert table.records == [1, 2]


def test_parquet_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"formula": ["NaCl"], "gap": [5.0], "x": [1]}), tmp_path / "t.parquet")
    table = read_source(tmp_path / "t.parquet", WANTED)
    assert table.columns == {"formula": ["NaCl"], "band_gap": [5.0]}


def test_a_row_with_too_many_fields_keeps_its_reason(tmp_path: Path) -> None:
    table = read_source(_write(tmp_path / "t.csv", "formula,gap\nNaCl,5\nKCl,4,1\nLiF,9\n"), WANTED)
    assert table.columns["formula"] == ["NaCl", "LiF"]
    assert table.records == [1, 3]
    assert [(r, c.code) for r, _, c in table.rejections] == [(2, "fields")]


def test_a_broken_json_line_keeps_its_reason(tmp_path: Path) -> None:
    table = read_source(_write(tmp_path / "t.jsonl", JSONL + '{"formula": "Ki\n[1]\n'), WANTED)
    assert [(r, c.code) for r, _, c in table.rejections] == [(3, "json"), (4, "json")]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.csv.gz"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"empty|no records"):
        read_source(_write(tmp_path / name, ""), WANTED)


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no records"):
        read_source(_write(tmp_path / "t.csv", "formula,gap\n"), WANTED)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "Formula,band_gap\nNaCl,5\n"),
        ("t.jsonl", '{"Formula": "NaCl", "band_gap": 5}\n'),
    ],
)
def test_a_missing_column_names_the_nearest_one(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(DataError, match=r"no column 'formula' for formula; the nearest is 'Form"):
        read_source(_write(tmp_path / name, text), WANTED)


def test_a_missing_parquet_column_names_the_nearest_one(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"formula": ["NaCl"], "gaps": [5.0]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="nearest is 'gaps'"):
        read_source(tmp_path / "t.parquet", WANTED)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_source(tmp_path / "t.csv", WANTED)


@pytest.mark.parametrize("cut", [20, 12])
def test_a_gzip_file_cut_short_says_so(tmp_path: Path, cut: int) -> None:
    path = _write(tmp_path / "t.csv.gz", CSV * 50)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_source(path, WANTED)


def test_a_gzip_file_with_a_flipped_byte_says_so(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv.gz", CSV * 50)
    content = bytearray(path.read_bytes())
    content[30] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"damaged or cut short|not UTF-8|no CSV"):
        read_source(path, WANTED)


def test_text_that_ends_in_gz_but_is_not_compressed_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_text(CSV)
    with pytest.raises(DataError, match="damaged or cut short"):
        read_source(tmp_path / "t.csv.gz", WANTED)


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("jsonl", "not JSON lines"),
        ("parquet", "no readable Parquet"),
        ("ase-db", "no ASE database"),
        ("cif-folder", "must be a folder"),
    ],
)
def test_the_wrong_format_says_so(tmp_path: Path, format: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(_write(tmp_path / "t.csv", CSV), WANTED, format=format)  # type: ignore[arg-type]


def test_a_binary_file_is_no_csv(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(DataError, match="not UTF-8"):
        read_source(tmp_path / "t.csv", WANTED)


def test_a_json_array_is_not_json_lines(tmp_path: Path) -> None:
    text = json.dumps([{"formula": "NaCl", "gap": 5.0}])
    with pytest.raises(DataError, match="no JSON object"):
        read_source(_write(tmp_path / "t.jsonl", text), WANTED)


def test_a_name_that_tells_no_format_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tells no format"):
        format_of(tmp_path / "t.dat")


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGD_HERE", "/data")
    assert resolve_path("${AGD_HERE}/t.csv") == Path("/data/t.csv")
    monkeypatch.delenv("AGD_HERE")
    with pytest.raises(ConfigError, match="AGD_HERE is not set"):
        resolve_path("${AGD_HERE}/t.csv")
