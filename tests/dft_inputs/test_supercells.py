from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar

from dft_inputs.cluster import runner
from dft_inputs.job.cell import job_structure
from dft_inputs.job.ticket import Ticket
from dft_inputs.properties.phonons import repeated_cell
from dft_inputs.recipes.recipe import Supercell
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import oblique, rocksalt, wurtzite
from tests.dft_inputs.tampering import as_written_before

STEP = "07-phonons"


@pytest.mark.parametrize("structure", [rocksalt(), wurtzite(), oblique()], ids=str)
@pytest.mark.parametrize("times", [(1, 1, 1), (2, 2, 2), (3, 1, 2)])
def test_the_runner_repeats_a_cell_as_pymatgen_does(structure, times):
    cell = job_structure(structure)
    text = runner.repeated(Poscar(cell).get_str(significant_figures=14), list(times))
    found = Poscar.from_str(text).structure
    wanted = cell.make_supercell(times, in_place=False)
    assert [s.specie.symbol for s in found] == [s.specie.symbol for s in wanted]
    assert found.lattice.matrix == pytest.approx(wanted.lattice.matrix, abs=1e-9)
    apart = found.lattice.get_all_distances(found.frac_coords, wanted.frac_coords)
    assert sorted(apart.argmin(axis=1)) == list(range(len(wanted)))
    assert apart.min(axis=1).max() < 1e-6
    back = repeated_cell(found, times)
    assert back.lattice.matrix == pytest.approx(cell.lattice.matrix, abs=1e-9)
    assert len(back) == len(cell)


def test_a_cell_that_is_not_repeated_is_copied_as_it_is():
    text = Poscar(job_structure(oblique())).get_str()
    assert runner.repeated(text, None) == text


def test_a_repeated_cell_with_frozen_coordinates_keeps_all_atoms(tmp_path):
    cell = job_structure(rocksalt())
    cell.add_site_property("selective_dynamics", [[True, False, True]] * len(cell))
    text = runner.repeated(Poscar(cell).get_str(), [2, 1, 1])
    (tmp_path / "POSCAR").write_text(text)
    assert runner.parsable(tmp_path / "POSCAR")
    assert len(Poscar.from_str(text).structure) == 2 * len(cell)


@given(
    st.lists(st.floats(2.0, 30.0), min_size=3, max_size=3),
    st.integers(1, 140),
)
def test_a_supercell_is_long_enough_unless_that_is_too_many_atoms(edges, atoms):
    asked = Supercell()
    times = asked.divisions(edges, atoms)
    total = atoms * int(np.prod(times))
    assert total <= max(asked.most_atoms, atoms)
    long_enough = all(e * n >= asked.edge_A * 0.998 for e, n in zip(edges, times, strict=True))
    full = [max(1, int(np.ceil(asked.edge_A / e - 1e-3))) for e in edges]
    assert long_enough or atoms * int(np.prod(full)) > asked.most_atoms


@given(st.floats(2.0, 12.0), st.integers(1, 140))
def test_equal_edges_are_repeated_equally_often(edge, atoms):
    assert len(set(Supercell().divisions([edge, edge * (1 + 1e-5), edge], atoms))) == 1


def test_the_ticket_tells_the_supercell_and_a_mesh_that_is_the_cells_divided_by_it():
    job = vasp_job(rocksalt(), PAPER.with_steps([STEP]), formula="MgO")
    relax = next(s for s in job.ticket.steps if s.name == "01-relax2")
    step = job.ticket.steps[-1]
    assert step.supercell == (3, 3, 3)
    assert step.mesh == tuple(-(-n // 3) for n in relax.mesh)
    assert not step.required
    assert Ticket.model_validate_json(job.ticket.text()) == job.ticket


def test_a_ticket_of_an_older_release_has_the_text_it_always_had():
    plain = vasp_job(rocksalt(), PAPER.with_steps(()), formula="MgO").ticket
    assert "supercell" not in plain.text()
    assert (
        as_written_before(plain).sha256
        == "43d16576ae1686a55c6f9cf575b77ea1e25e684c5ecb79ce44fa528d5570c669"
    )
    some = vasp_job(rocksalt(), PAPER.with_steps(["05-dfpt", "06-elastic"]), formula="MgO").ticket
    assert (
        as_written_before(some).sha256
        == "447927e67dfa149bad777c7c7db7b91284de3b7e4e56e8ebabff4580390dd238"
    )


def test_every_atom_of_the_supercell_has_a_starting_moment():
    job = vasp_job(wurtzite(), PAPER.with_steps([STEP]), formula="FeN")
    line = next(x for x in job.files[f"{STEP}/INCAR"].splitlines() if x.startswith("MAGMOM"))
    numbers = [int(word.partition("*")[0]) for word in line.partition("=")[2].split()]
    assert sum(numbers) == 4 * int(np.prod(job.ticket.steps[-1].supercell))


def test_a_short_supercell_says_so_in_its_mesh_file():
    perovskite = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(4.0), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
    )
    job = vasp_job(perovskite, PAPER.with_steps([STEP]), formula="SrTiO3")
    assert job.ticket.steps[-1].supercell == (2, 2, 2)
    first = job.files[f"{STEP}/KPOINTS"].splitlines()[0]
    assert first.endswith("2 x 2 x 2 times; 9 A would be over 100 atoms")
