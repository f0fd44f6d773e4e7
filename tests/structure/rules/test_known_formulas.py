from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.pretrained import shipped
from structure.composition import counts_of, keys_of
from structure.errors import DataError, ModelError
from structure.rules.known_formulas import (
    SHIPPED_TABLES,
    build_known_filter,
    contains,
    load_filter,
    pack,
    union,
    unpack,
)

KEYS = arrays(np.uint64, st.integers(0, 50), elements=st.integers(0, 2**64 - 1))


@given(KEYS)
def test_packing_loses_no_key(keys: np.ndarray) -> None:
    known = np.unique(keys)
    assert (unpack(pack(known)) == known).all()
    assert pack(known) == pack(known)


@given(KEYS, KEYS)
def test_membership_agrees_with_sets(keys: np.ndarray, queries: np.ndarray) -> None:
    known = np.unique(keys)
    asked = np.concatenate([queries, known[::2]])
    assert contains(known, asked).tolist() == [int(q) in set(known.tolist()) for q in asked]


@given(KEYS, KEYS)
def test_union_is_sorted_and_distinct(a: np.ndarray, b: np.ndarray) -> None:
    assert union([a, b]).tolist() == sorted({*a.tolist(), *b.tolist()})


def test_the_union_of_nothing_is_empty() -> None:
    assert union([]).tolist() == []


def _write(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.csv").write_text("formula,x\nK4Mn4O8,1\nNaCl,2\nFe0.9O,3\n")
    (folder / "b.jsonl").write_text('{"formula": "KMnO2"}\n{"formula": "CaF2"}\n')


def test_a_built_filter_knows_the_formulas_of_its_tables_in_any_spelling(tmp_path: Path) -> None:
    _write(tmp_path / "data")
    counted = build_known_filter(tmp_path / "data", tmp_path / "out", ("a.csv", "b.jsonl"))
    assert counted == {"a.csv": 2, "b.jsonl": 2, "total": 3}
    keys, sha256 = load_filter(tmp_path / "out")
    asked = keys_of(np.stack([counts_of(f) for f in ("O2MnK", "Ca2F4", "LiF")]))
    assert contains(keys, asked).tolist() == [True, True, False]
    card = (tmp_path / "out" / "CARD.md").read_text()
    assert "| `a.csv` | 2 | 1 |" in card
    assert sha256 in card


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "data")
    with pytest.raises(DataError, match=r"absent\.csv"):
        build_known_filter(tmp_path / "data", tmp_path / "out", ("a.csv", "absent.csv"))
    assert not (tmp_path / "out").exists()


def test_a_damaged_filter_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "data")
    build_known_filter(tmp_path / "data", tmp_path / "out", ("a.csv",))
    content = bytearray((tmp_path / "out" / "keys.npz").read_bytes())
    content[-30] ^= 1
    (tmp_path / "out" / "keys.npz").write_bytes(bytes(content))
    with pytest.raises(ModelError, match="not the one"):
        load_filter(tmp_path / "out")
    with pytest.raises(ModelError, match="cannot be read"):
        load_filter(tmp_path / "nowhere")


SHIPPED = shipped("known")
COMMON = (
    "KCl MgO ZnS NaCl SiO2 SrTiO3 CaCO3 BeF2 KAlF4 Na2LiAlF6 K2LiAlF6 CsMgCl3 KMgF3 KPF6 BaZrO3 "
    "LiF Al2O3 GaN Fe3O4 CsPbI3 Ca5P3O12F CuSO9H10 Cs2AgBiBr6"
).split()
"""Compounds of textbooks and of much-studied families."""

INVENTED = ("Rb7Tm3P2F5", "Na5Cs3Al2Xe", "Y3HfBr13Te", "K11Sc2F7I")


def test_the_shipped_filter_knows_common_compounds_and_not_invented_ones() -> None:
    keys, _ = load_filter(SHIPPED)
    for formulas, expected in ((COMMON, True), (INVENTED, False)):
        found = contains(keys, keys_of(np.stack([counts_of(f) for f in formulas])))
        assert [f for f, known in zip(formulas, found, strict=True) if known != expected] == []
    assert (np.diff(keys.astype(object)) > 0).all()


def test_the_shipped_card_and_configuration_tell_the_same_of_the_file() -> None:
    keys, sha256 = load_filter(SHIPPED)
    config = json.loads((SHIPPED / "config.json").read_text())
    card = (SHIPPED / "CARD.md").read_text()
    assert config["keys"] == len(keys)
    assert sorted(config["tables"]) == sorted(SHIPPED_TABLES)
    assert sha256 in card and f"{len(keys):,} / 2^64" in card
    for table, number in config["tables"].items():
        (row,) = [line for line in card.splitlines() if f"`{table}`" in line]
        assert row.endswith(f"| {number:,} |")


@pytest.mark.data
def test_the_shipped_filter_holds_every_formula_of_its_tables(
    data_dir: Path, tmp_path: Path
) -> None:
    counted = build_known_filter(data_dir, tmp_path)
    shipped, _ = load_filter(SHIPPED)
    config = json.loads((SHIPPED / "config.json").read_text())
    assert contains(shipped, load_filter(tmp_path)[0]).all()
    assert all(counted[table] <= config["tables"][table] for table in SHIPPED_TABLES)
