from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher

from dft_inputs.elk.engine import ENGINE
from dft_inputs.elk.inputs import BOHR_A, elk_input, input_structure, mesh_for
from dft_inputs.elk.recipe import ELK, ElkSettings
from dft_inputs.job.cell import job_structure
from dft_inputs.job.treatment import Treatment
from dft_inputs.recipes.shipped import GPAW
from structure.errors import CalculationError, Rejection
from tests.dft_inputs.cells import oblique, rocksalt, wurtzite

CELLS = {"MgO": rocksalt(), "ZnO": wurtzite("Zn", "O"), "oblique": oblique()}


def blocks_of(text: str) -> dict[str, list[str]]:
    return {part.splitlines()[0]: part.splitlines()[1:] for part in text.strip().split("\n\n")}


@pytest.mark.parametrize("name", CELLS)
def test_the_structure_can_be_read_back_from_the_input(name):
    cell = job_structure(CELLS[name])
    again = input_structure(elk_input(cell, ElkSettings(), bands=True))
    assert np.allclose(again.lattice.matrix, cell.lattice.matrix, atol=1e-8)
    assert StructureMatcher(primitive_cell=False, scale=False).fit(cell, again)


def test_lengths_are_in_bohr_and_no_folder_of_this_machine_is_named():
    cell = job_structure(rocksalt())
    text = elk_input(cell, ElkSettings(), bands=True)
    first = [float(x) for x in blocks_of(text)["avec"][0].split()]
    assert np.linalg.norm(first) * BOHR_A == pytest.approx(cell.lattice.a, abs=1e-8)
    assert blocks_of(text)["sppath"] == [" './'"]
    assert "/usr" not in text


def test_bands_are_asked_for_along_the_standard_path_of_candidates_only():
    job = ENGINE.prepare(rocksalt(), ELK, formula="MgO")
    blocks = blocks_of(job.files["00-ground-state/elk.in"])
    assert blocks["tasks"] == [" 0", " 20"]
    corners, points = (int(n) for n in blocks["plot1d"][0].split())
    assert len(blocks["plot1d"]) == corners + 1
    assert points >= corners
    other = ENGINE.prepare(rocksalt(), ELK, formula="MgO", role="competing")
    blocks = blocks_of(other.files["00-ground-state/elk.in"])
    assert blocks["tasks"] == [" 0"]
    assert "plot1d" not in blocks


@pytest.mark.parametrize("name", CELLS)
def test_neighbouring_points_of_the_mesh_are_as_near_as_asked(name):
    lattice = job_structure(CELLS[name]).lattice
    mesh = mesh_for(job_structure(CELLS[name]), 0.35)
    assert all(
        b / n <= 0.35 + 1e-6 for b, n in zip(lattice.reciprocal_lattice.abc, mesh, strict=True)
    )


@pytest.mark.parametrize("treatment", [Treatment("molecule"), Treatment("metal", (2.3, 2.3))])
def test_molecules_and_moments_are_refused_with_a_reason(treatment):
    outcome = ENGINE.prepare(rocksalt(), ELK, formula="MgO", role="reference", treatment=treatment)
    assert isinstance(outcome, Rejection)
    assert outcome.code == "elk-treatment"


def test_a_recipe_of_another_engine_is_refused():
    with pytest.raises(CalculationError, match="engine gpaw"):
        ENGINE.prepare(rocksalt(), GPAW, formula="MgO")


def test_a_text_that_is_no_input_is_refused():
    with pytest.raises(ValueError, match="no cell"):
        input_structure("tasks\n 0\n")
