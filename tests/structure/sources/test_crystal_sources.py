from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from structure.sources.tables import SourceTable, read_source
from tests.structure.cifs import cif

WANTED = {"formula": "formula", "id": "file", "band_gap": "gap"}

SALT = (("Na1", "Na", 0, 0, 0), ("Cl1", "Cl", 0.5, 0.5, 0.5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.cif").write_text(cif(group="F m -3 m"))
    (tmp_path / "B.CIF").write_text(cif(SALT, group="F m -3 m"))
    with gzip.open(tmp_path / "c.cif.GZ", "wt") as out:
        out.write(cif(group="F m -3 m", name="one") + cif(SALT, group="F m -3 m", name="two"))
    return tmp_path


def read(folder: Path, rows: list[str]) -> SourceTable:
    (folder / "values.csv").write_text("\n".join(["file,gap", *rows]) + "\n")
    return read_source(folder, WANTED, properties="values.csv")


def refused(table: SourceTable) -> list[tuple[int, str]]:
    assert all(text.startswith("values.csv") for _, text, _ in table.rejections)
    return [(record, why.code) for record, _, why in table.rejections]


def test_every_structure_of_a_folder_has_a_record_and_its_value(folder: Path) -> None:
    table = read(folder, ["a.cif,1", "B,2", "c.cif.GZ#one,3", "c.cif#two,4"])
    assert table.columns["id"] == ["B", "a", "c.cif.GZ#one", "c.cif.GZ#two"]
    assert table.columns["band_gap"] == ["2", "1", "3", "4"]
    assert table.columns["formula"] == ["Na4 Cl4", "Mg4 O4", "Mg4 O4", "Na4 Cl4"]
    assert table.records == [1, 2, 3, 4]
    assert table.rejections == ()


@pytest.mark.parametrize("row", ["no-such.cif,2.0", ",2.0", "b.cif,1", "c.cif,1"])
def test_a_row_that_names_no_structure_is_listed(folder: Path, row: str) -> None:
    table = read(folder, ["a.cif,1", row])
    assert refused(table) == [(2, "no-file")]
    assert table.columns["band_gap"] == [None, "1", None, None]


def test_a_row_for_a_file_of_several_structures_is_told_their_names(folder: Path) -> None:
    ((_, _, why),) = read(folder, ["c.cif,1"]).rejections
    assert "c.cif.GZ#one, c.cif.GZ#two" in why.sentence


def test_of_equal_rows_one_is_used_and_the_others_are_listed(folder: Path) -> None:
    table = read(folder, ["a.cif,1.0", "B,2", "a,1"])
    assert refused(table) == [(3, "repeated")]
    assert table.columns["band_gap"][:2] == ["2", "1.0"]


def test_of_rows_that_disagree_none_is_used_and_all_are_listed(folder: Path) -> None:
    table = read(folder, ["a.cif,1.0", "a.cif,9.9", "B.CIF,8.5"])
    assert refused(table) == [(1, "repeated"), (2, "repeated")]
    assert table.columns["band_gap"][:2] == ["8.5", None]


def test_rows_of_the_property_table_that_cannot_be_read_are_listed(folder: Path) -> None:
    assert refused(read(folder, ["a.cif,1", "B,2,3"])) == [(2, "fields")]


def test_two_files_of_one_name_keep_their_endings(folder: Path) -> None:
    with gzip.open(folder / "a.cif.gz", "wt") as out:
        out.write(cif(SALT, group="F m -3 m"))
    table = read(folder, ["a.cif,1", "a.cif.gz,2", "a,3"])
    assert table.columns["id"][1:3] == ["a.cif", "a.cif.gz"]
    assert table.columns["band_gap"][1:3] == ["1", "2"]
    assert refused(table) == [(3, "no-file")]


def test_a_block_that_is_turned_down_is_listed_beside_the_one_that_is_read(tmp_path: Path) -> None:
    text = cif(group="F m -3 m", name="good") + cif(formula="H Na O", group="P 1", name="bad")
    (tmp_path / "x.cif").write_text(text)
    table = read_source(tmp_path, {"formula": "formula"})
    assert table.columns["id"] == ["x.cif#good"]
    ((record, text, why),) = table.rejections
    assert (record, text, why.code) == (2, "x.cif#bad", "cif-formula")
