from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from structure.composition import counts_of, formulas_of
from structure.errors import DataError
from structure.templates.emd import distances
from structure.templates.library import TemplateLibrary
from structure.templates.template_sources import cell_vectors
from tests.dft_inputs.cells import rocksalt


def rock_salt(a: str, b: str, length: float = 5.6) -> Structure:
    return rocksalt(a, b, length)


def row_of(id: str, structure: Structure, **more: object) -> dict[str, object]:
    return {
        "material_id": id,
        "lattice": [*structure.lattice.abc, *structure.lattice.angles],
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
        **more,
    }


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    rows = [
        row_of("a-1", rock_salt("Na", "Cl"), formation_energy_per_atom=-2.0, spacegroup=225),
        row_of("a-2", rock_salt("Na", "Cl", 5.9), formation_energy_per_atom=-2.1),
        row_of("a-3", rock_salt("K", "Cl"), formation_energy_per_atom=None),
        row_of("a-4", Structure(Lattice.cubic(4), ["Ca", "F", "F"], np.eye(3) / 2)),
    ]
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt") as out:
        out.write("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def test_a_saved_library_loads_as_it_was(lines: Path, tmp_path: Path) -> None:
    library = TemplateLibrary.from_jsonl([lines])
    library.save(tmp_path / "library.parquet")
    back = TemplateLibrary.load(tmp_path / "library.parquet")
    assert back.ids == library.ids == ["a-1", "a-2", "a-3", "a-4"]
    assert back.anonymous == ["AB", "AB", "AB", "AB2"]
    for name in ("counts", "spacegroups", "lattices", "offsets", "species", "coordinates"):
        assert np.array_equal(getattr(back, name), getattr(library, name))
        assert getattr(back, name).dtype == getattr(library, name).dtype
    assert np.array_equal(back.formation_energies, [-2.0, -2.1, np.nan, np.nan], equal_nan=True)
    assert back.structure(2) == library.structure(2)
    (tmp_path / "again").mkdir()
    back.save(tmp_path / "again" / "library.parquet")
    first, second = (tmp_path / p / "library.parquet" for p in (".", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_structure_comes_back_as_it_went_in() -> None:
    given = Structure(
        Lattice.from_parameters(4.1, 5.2, 6.3, 80, 95, 110),
        ["O", "Ti", "O"],
        [[0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [0.9, 0.8, 0.7]],
    )
    library = TemplateLibrary.from_structures([("x", given)], {"x": -1.5})
    assert library.structure(0) == given
    assert library.formation_energies.tolist() == [-1.5]
    assert formulas_of(library.counts) == ["TiO2"]
    assert library.n_sites.tolist() == [3]


def test_space_groups_are_found_where_none_is_given() -> None:
    assert TemplateLibrary.from_structures([("x", rock_salt("Li", "F"))]).spacegroups == [225]


def test_neighbours_share_the_stoichiometry_unless_told_otherwise(lines: Path) -> None:
    library = TemplateLibrary.from_jsonl([lines])
    near = library.nearest(counts_of("SrF2"), 5)
    assert [library.ids[i] for i, _ in near] == ["a-4"]
    everything = library.nearest(counts_of("SrF2"), 9, same_stoichiometry=False)
    assert len(everything) == 4
    emd = distances(counts_of("SrF2")[None], library.counts)[0]
    assert [d for _, d in everything] == pytest.approx(sorted(emd))
    assert library.nearest(counts_of("SrTiO3"), 5) == []


def test_the_lowest_energy_wins_among_equally_near_structures(lines: Path) -> None:
    library = TemplateLibrary.from_jsonl([lines])
    near = library.nearest(counts_of("NaCl"), 3)
    assert [library.ids[i] for i, _ in near] == ["a-2", "a-1", "a-3"]
    assert [d for _, d in near[:2]] == [0.0, 0.0]
    once = library.nearest(counts_of("NaCl"), 3, one_per_formula=True)
    assert [library.ids[i] for i, _ in once] == ["a-2", "a-3"]


def test_joining_keeps_the_first_of_each_id(lines: Path) -> None:
    library = TemplateLibrary.from_jsonl([lines])
    other = TemplateLibrary.from_structures(
        [("a-1", rock_salt("Li", "F")), ("b", rock_salt("K", "F"))]
    )
    joined = TemplateLibrary.concat([library, other])
    assert joined.ids == ["a-1", "a-2", "a-3", "a-4", "b"]
    assert joined.structure(0) == library.structure(0)
    assert joined.structure(4) == other.structure(1)


def test_taking_some_keeps_their_sites(lines: Path) -> None:
    library = TemplateLibrary.from_jsonl([lines])
    some = library.take(np.array([False, True, False, True]))
    assert some.ids == ["a-2", "a-4"]
    assert some.structure(1) == library.structure(3)
    assert some.anonymous == ["AB", "AB2"]


def test_bad_lines_are_kept_with_their_reasons(tmp_path: Path) -> None:
    good = row_of("ok", rock_salt("Na", "Cl"))
    rows = [
        "not json",
        json.dumps({"material_id": "no-lattice", "species": ["H"]}),
        json.dumps({**good, "material_id": "odd", "species": ["Xx"] * 8}),
        json.dumps({**good, "material_id": "short", "species": ["Na"]}),
        json.dumps({**good, "material_id": "flat", "lattice": [5, 5, 5, 30, 30, 170]}),
        json.dumps(good),
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    library = TemplateLibrary.from_jsonl([tmp_path / "rows.jsonl"])
    assert library.ids == ["ok"]
    assert [(id, why.code) for id, why in library.rejected] == [
        ("rows.jsonl:1", "row"),
        ("rows.jsonl:2", "row"),
        ("odd", "element"),
        ("short", "sites"),
        ("flat", "lattice"),
    ]


def test_disordered_structures_are_rejected() -> None:
    mixed = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    library = TemplateLibrary.from_structures([("mixed", mixed)])
    assert len(library) == 0
    assert library.rejected[0][1].code == "disordered"
    assert library.nearest(counts_of("NaCl"), 3) == []


def test_a_truncated_or_missing_source_is_named(tmp_path: Path, lines: Path) -> None:
    (tmp_path / "cut.jsonl.gz").write_bytes(lines.read_bytes()[:60])
    for name in ("cut.jsonl.gz", "none.jsonl"):
        with pytest.raises(DataError) as caught:
            TemplateLibrary.from_jsonl([tmp_path / name])
        assert caught.value.where == tmp_path / name


def test_a_damaged_or_foreign_library_is_named(tmp_path: Path) -> None:
    import pandas as pd

    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    for name in ("bad.parquet", "other.parquet", "missing.parquet"):
        with pytest.raises(DataError) as caught:
            TemplateLibrary.load(tmp_path / name)
        assert caught.value.where == tmp_path / name


def test_the_prototypes_of_pymatgen_are_templates() -> None:
    library = TemplateLibrary.from_prototypes()
    assert len(library) > 250
    assert not library.rejected
    i = library.ids.index("aflow-AB_cF8_225_a_b")
    assert (library.spacegroups[i], library.anonymous[i]) == (225, "AB")
    near = library.nearest(counts_of("SrTiO3"), 1)
    assert library.anonymous[near[0][0]] == "ABC3"


@pytest.mark.parametrize("parameters", [(4, 5, 6, 80, 95, 110), (3, 3, 9, 90, 90, 120)])
def test_cell_vectors_are_those_of_pymatgen(parameters: tuple[float, ...]) -> None:
    expected = Lattice.from_parameters(*parameters).matrix
    assert np.allclose(cell_vectors(np.array(parameters, dtype=float)), expected)


@pytest.mark.data
@pytest.mark.slow
def test_the_whole_structure_set_becomes_a_library(data_dir: Path, tmp_path: Path) -> None:
    library = TemplateLibrary.from_jsonl([data_dir / "mp_structures.jsonl.gz"])
    assert (len(library), len(library.rejected)) == (48_911, 0)
    library.save(tmp_path / "mp.parquet")
    back = TemplateLibrary.load(tmp_path / "mp.parquet")
    near = back.nearest(counts_of("SrYF5"), 1)
    assert near[0][1] == pytest.approx(1 / 7)
    assert formulas_of(back.counts[near[0][0]][None]) == ["BaYF5"]
