from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp import Poscar

from dft_inputs.cluster import runner
from dft_inputs.job.folder import Job
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.asked.geometry import (
    CUSTODIAN_STARTED_FROM,
    SAME_PLACE_A,
    STARTED_FROM,
    cell_asked,
    cell_of,
    difference_of,
    repeated,
)
from dft_inputs.vasp.jobs import vasp_job
from dft_inputs.vasp.judgement import judge
from tests.dft_inputs.cells import oblique, rocksalt, wurtzite
from tests.dft_inputs.tampering import calculated, lines_of, run_with

RELAX, AGAIN = "00-relax1", "01-relax2"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    return calculated(tmp_path_factory.mktemp("good"))


@pytest.fixture
def continued(good: tuple[Job, Path], tmp_path: Path) -> tuple[Job, Path]:
    """A job whose second relaxation was launched again from halfway."""
    folder = tmp_path / good[1].name
    shutil.copytree(good[1], folder)
    shutil.copy(folder / AGAIN / "POSCAR", folder / AGAIN / "asked")
    run_with(folder / AGAIN, lines_of("POSCAR", lambda x: [x[0], "0.99", *x[2:]]))
    for later in ("02-static", "03-uniform", "04-bands"):
        shutil.copy(folder / AGAIN / "CONTCAR", folder / later / "POSCAR")
        run_with(folder / later, lambda step: None)
    return good[0], folder


def codes(job: Job, folder: Path) -> set[str]:
    return {finding.code for finding in judge(folder, job.ticket).findings}


def test_a_relaxation_that_began_nobody_knows_where_is_code_320(continued):
    assert codes(*continued) == {"320"}


def test_a_relaxation_that_was_continued_shows_where_it_began(continued):
    here = continued[1] / AGAIN
    shutil.copy(here / "asked", here / STARTED_FROM)
    assert codes(*continued) == set()


def test_a_relaxation_that_was_continued_from_another_crystal_is_code_320(continued):
    here = continued[1] / AGAIN
    shutil.copy(here / "asked", here / STARTED_FROM)
    lines_of(STARTED_FROM, lambda x: [x[0], "1.04", *x[2:]])(here)
    assert codes(*continued) == {"320"}


@pytest.mark.parametrize("text", ["", "x", "\0" * 100, "1\n" * 20])
def test_a_damaged_start_shows_nothing(continued, text):
    (continued[1] / AGAIN / STARTED_FROM).write_text(text)
    assert codes(*continued) == {"320"}


def test_where_custodian_went_on_from_contcar_its_own_copy_shows_the_start(continued):
    here = continued[1] / AGAIN
    shutil.copy(here / "asked", here / CUSTODIAN_STARTED_FROM)
    assert codes(*continued) == {"320"}
    action = {"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}}
    (here / "custodian.json").write_text(json.dumps([{"corrections": [{"actions": [action]}]}]))
    assert codes(*continued) == set()


def test_the_ticket_holds_the_cell_of_poscar():
    for structure, formula in ((oblique(), "SrClF3"), (wurtzite(), "FeN"), (rocksalt(), "MgO")):
        job = vasp_job(structure, PAPER, formula=formula)
        written = Poscar.from_str(job.files[f"{RELAX}/POSCAR"]).structure
        assert job.ticket.geometry is not None
        assert difference_of(cell_asked(job.ticket.geometry), cell_of(written)) == ""


@given(
    places=st.lists(st.integers(-3, 3), min_size=15, max_size=15),
    atom=st.integers(0, 4),
    angstrom=st.floats(1.1 * SAME_PLACE_A, 0.5),
)
def test_whole_cells_make_no_difference_and_more_than_digits_does(places, atom, angstrom):
    cell = cell_of(oblique())
    moved = cell._replace(places=cell.places + np.array(places).reshape(5, 3))
    assert difference_of(cell, moved) == ""
    shift = np.zeros((5, 3))
    shift[atom] = np.linalg.solve(cell.lattice.T, [0, 0, angstrom])
    assert "off" in difference_of(cell, moved._replace(places=moved.places + shift))


@pytest.mark.parametrize("factor", [0.96, 0.999, 1.001, 1.04])
def test_a_scaled_cell_is_told_with_its_volume(factor):
    cell = cell_of(oblique())
    told = difference_of(cell, cell._replace(lattice=factor * cell.lattice))
    assert f"{100 * (factor**3 - 1):+.1f} %" in told


def test_other_species_or_another_order_are_told():
    cell = cell_of(oblique())
    turned = cell._replace(symbols=cell.symbols[::-1], places=cell.places[::-1])
    assert "order" in difference_of(cell, turned)


def test_a_cell_is_repeated_as_the_runner_does():
    for times in itertools.product((1, 2), (1, 3), (2,)):
        text = runner.repeated(Poscar(oblique()).get_str(significant_figures=14), list(times))
        written = cell_of(Poscar.from_str(text).structure)
        assert difference_of(repeated(cell_of(oblique()), times), written) == ""
