from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from structure.crystals.crystal_text import (
    cif_text,
    grouped,
    poscar_text,
    read_structure,
    read_structures,
    structure_from_json,
    structure_json,
)
from structure.errors import Rejection
from tests.structure.cifs import cif

GOLDEN = Path(__file__).parents[1] / "golden"
VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?><modeling><generator>"""


@pytest.fixture
def mixed_up() -> Structure:
    """Sites out of order, a coordinate outside the cell, a negative zero."""
    return Structure(
        Lattice.from_parameters(4.2, 4.2, 5.1, 90, 90, 120),
        ["O", "Sr", "O", "Ti", "O"],
        [[0.5, 0.5, -0.0], [1.0, 0, 0], [-0.25, 0.5, 0.5], [0.5, 0.5, 0.5], [0.5, 0, 1 / 3]],
    )


@pytest.mark.parametrize(("write", "name"), [(cif_text, "mixed.cif"), (poscar_text, "POSCAR")])
def test_the_text_is_the_golden_one(write, name: str, mixed_up: Structure) -> None:
    assert write(mixed_up) == (GOLDEN / name).read_text()


def test_sites_are_grouped_in_the_order_of_the_formula(mixed_up: Structure) -> None:
    assert [site.specie.symbol for site in grouped(mixed_up)] == ["Sr", "Ti", "O", "O", "O"]
    lines = poscar_text(mixed_up).splitlines()
    assert lines[5:7] == ["Sr Ti O", "1 1 3"]


def test_oxidation_states_do_not_change_the_text(mixed_up: Structure) -> None:
    decorated = mixed_up.copy()
    decorated.add_oxidation_state_by_element({"Sr": 2, "Ti": 4, "O": -2})
    assert poscar_text(decorated) == poscar_text(mixed_up)
    assert cif_text(decorated) == cif_text(mixed_up)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.sampled_from(["Na", "Cl", "Fe", "H"]), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_what_is_written_reads_back_the_same(symbols: list[str], seed: int) -> None:
    import tempfile

    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(6, 12, 3), *rng.uniform(70, 110, 3))
    places = (np.arange(len(symbols))[:, None] + rng.uniform(0, 0.5, (len(symbols), 3))) / 5
    structure = grouped(Structure(lattice, symbols, places))
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (
            ("x.cif", cif_text),
            ("POSCAR", poscar_text),
            ("x.json", structure_json),
        ):
            path = Path(folder) / name
            path.write_text(write(structure))
            back = read_structure(path)
            assert isinstance(back, Structure), back
            assert back.species == structure.species
            assert np.allclose(back.frac_coords, structure.frac_coords, atol=1e-8)
            assert np.allclose(back.lattice.parameters, structure.lattice.parameters, atol=1e-8)


def test_json_is_what_pymatgen_reads_and_writing_it_twice_gives_equal_bytes(
    mixed_up: Structure,
) -> None:
    text = structure_json(mixed_up)
    assert structure_from_json(text) == mixed_up
    assert structure_json(structure_from_json(text)) == text
    assert "\n" not in text


def test_a_compressed_file_reads_like_a_plain_one(tmp_path: Path, mixed_up: Structure) -> None:
    with gzip.open(tmp_path / "x.cif.gz", "wt") as out:
        out.write(cif_text(mixed_up))
    assert len(read_structure(tmp_path / "x.cif.gz")) == 5


@pytest.mark.parametrize("name", ["x.CIF", "x.Cif.GZ", "X.cif.gz"])
def test_endings_are_read_in_any_case(tmp_path: Path, name: str, mixed_up: Structure) -> None:
    text = cif_text(mixed_up).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.lower().endswith("gz") else text)
    assert len(read_structure(tmp_path / name)) == 5


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_an_authors_name_in_another_code_is_no_obstacle(
    tmp_path: Path, encoding: str, mixed_up: Structure
) -> None:
    text = f"# Müller\n{cif_text(mixed_up)}_publ_author_name 'Müller, J.'\n"
    (tmp_path / "x.cif").write_bytes(text.encode(encoding))
    assert len(read_structure(tmp_path / "x.cif")) == 5


def test_a_file_of_several_blocks_gives_a_structure_for_each(tmp_path: Path) -> None:
    blocks = cif(group="F m -3 m", name="a") + cif(group="F m -3 m", name="a")
    (tmp_path / "x.cif").write_text(blocks + cif(group="nonsense", name="b"))
    found = dict(read_structures(tmp_path / "x.cif"))
    assert list(found) == ["x.cif#a", "x.cif#a-2", "x.cif#b"]
    assert len(found["x.cif#a"]) == len(found["x.cif#a-2"]) == 8
    assert found["x.cif#b"].code == "cif-symmetry"
    assert found["x.cif#b"].sentence.startswith("x.cif#b: ")
    why = read_structure(tmp_path / "x.cif")
    assert why.code == "cif" and "x.cif#a-2" in why.sentence


def test_a_poscar_without_symbols_is_refused(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text("salt\n1\n5 0 0\n0 5 0\n0 0 5\n1 1\nDirect\n0 0 0\n.5 .5 .5\n")
    why = read_structure(tmp_path / "POSCAR")
    assert why.code == "poscar"
    assert "names no elements" in why.sentence


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.cif", "", "cif"),
        ("broken.cif", "data_x\n_cell_length_a abc\n", "cif"),
        ("POSCAR", "NaCl\n1.0\n1 0 0\n", "poscar"),
        ("CONTCAR", "", "poscar"),
        ("vasprun.xml", VASPRUN, "vasprun"),
        ("x.json", "{}", "json"),
        ("notes.txt", "hello", "format"),
    ],
)
def test_a_broken_file_is_rejected_with_its_name(
    tmp_path: Path, name: str, content: str, code: str
) -> None:
    (tmp_path / name).write_text(content)
    why = read_structure(tmp_path / name)
    assert isinstance(why, Rejection)
    assert why.code == code
    assert name in why.sentence
    assert "\n" not in why.sentence


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    assert read_structure(tmp_path / "none.cif").code == "missing"


def test_a_disordered_structure_is_rejected(tmp_path: Path, mixed_up: Structure) -> None:
    text = cif_text(mixed_up).replace(
        "Sr1 Sr 0.0000000000 0.0000000000 0.0000000000 1",
        "Sr1 Sr 0.0000000000 0.0000000000 0.0000000000 0.5",
    )
    (tmp_path / "x.cif").write_text(text)
    assert read_structure(tmp_path / "x.cif").code == "disordered"


def test_an_element_beyond_lawrencium_is_rejected(tmp_path: Path) -> None:
    text = cif_text(Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]])).replace("Na", "Rf")
    (tmp_path / "x.cif").write_text(text)
    assert read_structure(tmp_path / "x.cif").code == "element"


def test_a_finished_run_gives_its_last_geometry() -> None:
    structure = read_structure(GOLDEN / "vasprun.xml")
    assert isinstance(structure, Structure), structure
    assert structure.composition.reduced_formula == "CsCl"
    assert structure.lattice.a == pytest.approx(4.12)  # it began at 4.0
