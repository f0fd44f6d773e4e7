from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structure.errors import ConfigError, DataError
from structure.sources.tables import format_of, read_source, resolve_path

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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_tables_are_read_in_every_encoding_of_unicode(
    tmp_path: Path, encoding: str, ending: str
) -> None:
    text = CSV.replace("NaCl", "CuSO₄·5H₂O").replace("\n", ending)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    table = read_source(tmp_path / "t.csv", WANTED)
    assert table.columns["formula"] == ["CuSO₄·5H₂O", "NaN"]
    assert bool(table.notes) == (encoding != "utf-8")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_table_of_windows_is_read_and_a_note_says_so(tmp_path: Path, name: str) -> None:
    content = (CSV.replace("NaCl", "CuSO4·5H2O") * 200).encode("cp1252")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    table = read_source(tmp_path / name, WANTED)
    assert table.columns["formula"][0] == "CuSO4·5H2O"
    assert table.notes == ("the file is not UTF-8; it was read as Windows-1252",)


@given(
    st.sampled_from([",", ";", "\t", "|"]),
    st.lists(st.sampled_from(["# a, remark", "% x", "Table S1. Gaps", "", "sep=;", "a;b;c"])),
    st.sampled_from(["", "#", "# ", "%"]),
    st.booleans(),
)
def test_a_header_is_found_below_remarks_with_any_separator(
    separator: str, above: list[str], mark: str, quoted: bool
) -> None:
    header = '"formula","gap"' if quoted and not mark else f"{mark}formula,gap"
    lines = [*above, header.replace(",", separator), f"NaCl{separator}5.0"]
    with tempfile.TemporaryDirectory() as folder:
        path = _write(Path(folder) / "t.csv", "\n".join(lines))
        table = read_source(path, WANTED)
    assert table.columns == {"formula": ["NaCl"], "band_gap": ["5.0"]}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("formula, gap ", "gap"),
        ("formula,band\u00a0gap", "band gap"),
        ('formula,"Band gap\n(eV)"', "Band gap (eV)"),
        ("formula,gap\u200b", "gap"),
    ],
)
def test_blanks_and_invisible_characters_of_a_header_do_not_count(
    tmp_path: Path, header: str, name: str
) -> None:
    path = _write(tmp_path / "t.csv", f"{header}\nNaCl,5\n")
    table = read_source(path, {"formula": "formula", "band_gap": name})
    assert table.columns["band_gap"] == ["5"]


def test_a_cell_of_any_length_is_read(tmp_path: Path) -> None:
    cell = "x" * 500_000
    text = f'formula,gap,structure\nNaCl,8.5,"{cell}"\nKCl,5,\n'
    table = read_source(_write(tmp_path / "t.csv", text), WANTED)
    assert table.columns == {"formula": ["NaCl", "KCl"], "band_gap": ["8.5", "5"]}
    wanted = {"formula": "formula", "structure": "structure"}
    assert read_source(tmp_path / "t.csv", wanted).columns["structure"] == [cell, ""]


def _parquet(path: Path, columns: list[tuple[str, list[object]]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays, names = [pa.array(c) for _, c in columns], [n for n, _ in columns]
    pq.write_table(pa.Table.from_arrays(arrays, names=names), path)
    return path


def test_a_wanted_column_that_is_there_twice_is_refused_by_name(tmp_path: Path) -> None:
    twice = [("formula", ["NaCl"]), ("gap", [0.0]), ("gap", [8.5])]
    for path in (
        _write(tmp_path / "t.csv", "formula,gap,gap\nNaCl,0,8.5\n"),
        _write(tmp_path / "u.csv", "formula, gap,gap \nNaCl,0,8.5\n"),
        _parquet(tmp_path / "t.parquet", twice),
    ):
        with pytest.raises(DataError, match="2 columns named 'gap', for band_gap: columns 2 and 3"):
            read_source(path, WANTED)


def test_another_column_that_is_there_twice_does_not_matter(tmp_path: Path) -> None:
    twice = [("x", [1]), ("formula", ["NaCl"]), ("x", ["a"]), ("gap", [8.5])]
    table = read_source(_parquet(tmp_path / "t.parquet", twice), WANTED)
    assert table.columns == {"formula": ["NaCl"], "band_gap": [8.5]}
    table = read_source(_write(tmp_path / "t.csv", "x,formula,x,gap,,\n1,NaCl,a,8.5,,\n"), WANTED)
    assert table.columns == {"formula": ["NaCl"], "band_gap": ["8.5"]}


def test_a_field_given_twice_in_one_object_keeps_its_reason(tmp_path: Path) -> None:
    text = '{"formula": "NaCl", "gap": 0, "gap": 5}\n{"formula": "KCl", "gap": 5}\n'
    inner = '{"formula": "LiF", "gap": 9, "more": {"gap": 1, "gap": 2}}\n'
    table = read_source(_write(tmp_path / "t.jsonl", text + inner), WANTED)
    assert table.columns["formula"] == ["KCl", "LiF"]
    assert [(r, c.sentence) for r, _, c in table.rejections] == [(1, "'gap' is given twice")]


def test_json_nested_beyond_measure_keeps_its_reason(tmp_path: Path) -> None:
    table = read_source(_write(tmp_path / "t.jsonl", JSONL + "[" * 100_000 + "\n"), WANTED)
    assert [(r, c.code) for r, _, c in table.rejections] == [(3, "json")]
    assert len(table.rejections[0][1]) <= 80


def test_an_open_quote_names_its_line_and_a_misplaced_one_costs_one_row(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", 'formula,gap\nNaCl,5\nKCl,"4\nLiF,9\n')
    with pytest.raises(DataError, match="a quote in line 3 is never closed"):
        read_source(path, WANTED)
    table = read_source(_write(path, 'formula,gap\n"NaCl"x,5\nKCl,4\n'), WANTED)
    assert table.columns["formula"] == ["KCl"]
    assert [(r, c.code) for r, _, c in table.rejections] == [(1, "csv")]


def test_empty_cells_behind_the_last_column_do_not_matter(tmp_path: Path) -> None:
    table = read_source(_write(tmp_path / "t.csv", "formula,gap\nNaCl,5,\nKCl,4,,\n"), WANTED)
    assert table.columns["formula"] == ["NaCl", "KCl"]


def test_a_decimal_comma_without_quotes_is_explained(tmp_path: Path) -> None:
    table = read_source(_write(tmp_path / "t.csv", "formula,gap\nNaCl,5,0\n"), WANTED)
    assert "a number or text with a comma needs quotes" in table.rejections[0][2].sentence


def test_a_compressed_table_without_the_ending_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(gzip.compress(CSV.encode()))
    assert read_source(tmp_path / "t.csv", WANTED).columns["formula"] == ["NaCl", "NaN"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04", "zip archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "Excel workbook"),
        (b"PAR1", "Set 'format: parquet'"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_a_file_of_another_program_says_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content + bytes(range(200)))
    with pytest.raises(DataError, match=message):
        read_source(tmp_path / "t.csv", WANTED)
    with pytest.raises(DataError, match="Export the sheet as CSV"):
        format_of(tmp_path / "t.xlsx")


def test_a_header_of_one_column_says_how_to_part_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="part columns by commas, semicolons or tabs"):
        read_source(_write(tmp_path / "t.csv", "formula gap\nNaCl 5\n"), WANTED)


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
