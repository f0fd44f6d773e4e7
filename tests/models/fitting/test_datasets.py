from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fitting.data_mapping import DataMapping, StructureSource, TableSource
from models.fitting.datasets import chemical_systems, load_training_data, merge, split_by_formula
from structure.composition import formulas_of, keys_of, parse_formulas
from structure.errors import ConfigError, DataError

SALT = {
    "lattice": [3.99, 3.99, 3.99, 60, 60, 60],
    "species": ["Na", "Cl"],
    "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "formation_energy_per_atom": -2.1,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    gaps = "formula,gap\nNa2Cl2,5.0\nNaCl,5.2\nMgO,4.4\nXx2,1.0\nLiF,\n"
    (tmp_path / "gaps.csv").write_text(gaps)
    (tmp_path / "energies.csv").write_text("composition,e\nMgO,-3.0\nMgO,-3.1\nKBr,-2.0\n")
    unlabelled = SALT | {"formation_energy_per_atom": None}
    large = SALT | {"species": ["Na"] * 3, "frac_coords": [[0, 0, 0]] * 3}
    with gzip.open(tmp_path / "structures.jsonl.gz", "wt") as out:
        for row in (SALT, unlabelled, large):
            out.write(json.dumps(row) + "\n")
    mapping = DataMapping(
        band_gaps=TableSource(path="gaps.csv", value="gap", title="Gaps", licence="CC0"),
        formation_energies=TableSource(path="energies.csv", formula="composition", value="e"),
        formulas=None,
        structures=StructureSource(path="structures.jsonl.gz"),
    )
    (tmp_path / "agd-data.json").write_text(mapping.model_dump_json())
    return tmp_path


def test_rows_of_one_composition_become_their_median_gap_and_lowest_energy(folder: Path) -> None:
    data = load_training_data(folder)
    gaps = dict(zip(formulas_of(data.band_gaps.counts), data.band_gaps.values, strict=True))
    energies = dict(
        zip(
            formulas_of(data.formation_energies.counts),
            data.formation_energies.values,
            strict=True,
        )
    )
    assert gaps == {"NaCl": pytest.approx(5.1), "MgO": 4.4}
    assert energies == {"MgO": -3.1, "KBr": -2.0}
    assert sorted(formulas_of(data.counts)) == ["KBr", "MgO", "NaCl"]
    assert data.rejected == 2
    assert data.sources["band_gaps"].licence == "CC0"
    assert data.sources["band_gaps"].rows == 5


def test_structures_without_energy_or_with_too_many_atoms_are_left_out(folder: Path) -> None:
    data = load_training_data(folder)
    assert [row.formation_energy for row in data.structures(max_sites=2)] == [-2.1]
    row = next(data.structures(max_sites=2))
    assert row.structure().composition.reduced_formula == "NaCl"
    assert len(list(data.structures())) == 2


def test_the_fingerprint_changes_with_the_content_of_a_file(folder: Path) -> None:
    before = load_training_data(folder).fingerprint
    assert load_training_data(folder).fingerprint == before
    with (folder / "gaps.csv").open("a") as out:
        out.write("KCl,5.0\n")
    assert load_training_data(folder).fingerprint != before


def test_a_missing_column_is_named_with_the_nearest(folder: Path) -> None:
    (folder / "gaps.csv").write_text("formula,bandgap\nNaCl,5\n")
    with pytest.raises(DataError, match=r"no column 'gap' .* the nearest is 'bandgap'"):
        load_training_data(folder)


def test_gaps_in_another_unit_are_not_trained_on(folder: Path) -> None:
    (folder / "gaps.csv").write_text("formula,gap\nNaCl,5010\nFe,0\nMgO,7800\n")
    with pytest.raises(
        DataError, match=r"cannot be in eV: the median of .* would be 6405 eV; they"
    ):
        load_training_data(folder)


def test_a_table_in_another_unit_is_converted_where_the_mapping_says_so(folder: Path) -> None:
    (folder / "gaps.csv").write_text("formula,gap\nNaCl,5010\nFe,0\nMgO,7800\n")
    (folder / "energies.csv").write_text("formula,e\nMgO,-578.9\n")
    mapping = DataMapping(
        band_gaps=TableSource(path="gaps.csv", value="gap", unit="meV"),
        formation_energies=TableSource(path="energies.csv", value="e", unit="kJ/mol/formula"),
        formulas=None,
        structures=None,
    )
    data = load_training_data(folder, mapping)
    assert data.band_gaps.values == pytest.approx([5.01, 0.0, 7.8])
    assert data.formation_energies.values == pytest.approx([-3.0], abs=1e-3)


def test_an_unknown_unit_of_a_mapping_is_named_with_its_key(folder: Path) -> None:
    mapping = DataMapping(
        band_gaps=TableSource(path="gaps.csv", value="gap", unit="mev"),
        formation_energies=None,
        formulas=None,
        structures=None,
    )
    with pytest.raises(ConfigError, match=r"(?s)did you mean 'meV'.*'band_gaps.unit'"):
        load_training_data(folder, mapping)


def test_rows_that_cannot_be_gaps_are_counted_and_left_out(folder: Path) -> None:
    (folder / "gaps.csv").write_text("formula,gap\nNaCl,5\nPbTe,310\nMgO,-1\nKCl,wide\nLiF,13\n")
    data = load_training_data(folder)
    assert data.band_gaps.values.tolist() == [5.0, 13.0]
    assert data.rejected == 3


def test_a_missing_table_is_named(folder: Path) -> None:
    (folder / "energies.csv").unlink()
    with pytest.raises(DataError, match=r"energies\.csv"):
        load_training_data(folder)


def test_a_mapping_with_an_unknown_key_is_refused(folder: Path) -> None:
    (folder / "agd-data.json").write_text('{"gaps": null}')
    with pytest.raises(ConfigError, match="gaps"):
        load_training_data(folder)


def test_a_broken_line_of_structures_is_named_by_its_number(folder: Path) -> None:
    with gzip.open(folder / "structures.jsonl.gz", "wt") as out:
        out.write(json.dumps(SALT) + "\n{broken\n")
    with pytest.raises(DataError, match="line 2"):
        list(load_training_data(folder).structures())


@given(st.lists(st.tuples(st.sampled_from(["NaCl", "MgO", "KBr", "LiF"]), st.integers(-9, 9))))
def test_merging_gives_each_composition_the_median_or_the_lowest(
    rows: list[tuple[str, int]],
) -> None:
    counts = parse_formulas([formula for formula, _ in rows]).counts
    values = np.array([value for _, value in rows], dtype=np.float64)
    for rule, expected in (("median", np.median), ("lowest", np.min)):
        merged = merge(counts, values, rule)  # type: ignore[arg-type]
        found = dict(zip(formulas_of(merged.counts), merged.values.tolist(), strict=True))
        names = formulas_of(counts)
        for name in set(names):
            same = [v for n, v in zip(names, values, strict=True) if n == name]
            assert found[name] == expected(same)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(0, 99))
def test_a_split_keeps_each_group_on_one_side_and_loses_no_row(keys: list[int], seed: int) -> None:
    groups = np.array(keys)
    parts = split_by_formula(groups, (0.2, 0.3), seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(keys)))
    sides = [set(groups[part].tolist()) for part in parts]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_chemical_systems_do_not_depend_on_amounts() -> None:
    counts = parse_formulas(["Fe2O3", "FeO", "Fe", "Ti2O3"]).counts
    systems = chemical_systems(counts)
    assert systems[0] == systems[1]
    assert len(set(systems.tolist())) == 3
    assert not np.array_equal(systems, keys_of(counts))


@pytest.mark.data
def test_the_development_data_has_as_many_formulas_as_its_readme_says(data_dir: Path) -> None:
    data = load_training_data(data_dir)
    assert (len(data.band_gaps), len(data.formation_energies)) == (70_332, 85_604)
    assert data.rejected == 0
