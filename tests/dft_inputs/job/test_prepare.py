from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from dft_inputs.engines import engine_of
from dft_inputs.job.prepare import prepare_job
from dft_inputs.recipes.shipped import GPAW, PAPER
from dft_inputs.vasp.jobs import vasp_job
from structure.errors import Rejection
from tests.dft_inputs.cells import rocksalt


def test_the_recipe_decides_the_engine():
    jobs = {r.engine: prepare_job(rocksalt(), r, formula="MgO") for r in (PAPER, GPAW)}
    assert {engine: job.ticket.engine for engine, job in jobs.items()} == {
        "vasp": "vasp",
        "gpaw": "gpaw",
    }
    assert jobs["vasp"] == vasp_job(rocksalt(), PAPER, formula="MgO")


@pytest.mark.parametrize("recipe", [PAPER, GPAW])
def test_a_conventional_cell_is_calculated_as_its_primitive_one(recipe):
    job = prepare_job(rocksalt(), recipe, formula="MgO")
    assert len(rocksalt()) == 8
    assert job.ticket.cell == {"Mg": 1, "O": 1}


@pytest.mark.parametrize(("recipe", "code"), [(PAPER, "job"), (GPAW, "gpaw-element")])
def test_an_element_without_a_potential_is_refused_by_name(recipe, code):
    outcome = prepare_job(rocksalt("Md", "O"), recipe, formula="MdO")
    assert isinstance(outcome, Rejection)
    assert outcome.code == code
    assert "Md" in outcome.sentence


@pytest.mark.parametrize("recipe", [PAPER, GPAW])
def test_what_a_recipe_can_calculate_is_what_gets_a_job(recipe):
    for element in ("Mg", "La", "Tc", "Md"):
        got = prepare_job(rocksalt(element, "O", 5.0), recipe, formula=f"{element}O")
        assert engine_of(recipe).can_calculate(recipe, element) == (not isinstance(got, Rejection))


@pytest.mark.parametrize("recipe", [PAPER, GPAW])
def test_atoms_on_top_of_each_other_are_refused(recipe):
    crushed = Structure(Lattice.cubic(4), ["Mg", "O"], [[0, 0, 0], [0, 0, 0.01]])
    outcome = prepare_job(crushed, recipe, formula="MgO")
    assert isinstance(outcome, Rejection)
    assert "closer than" in outcome.sentence


def test_role_and_story_go_into_the_ticket():
    story = {"template_id": "aflow-1"}
    job = prepare_job(rocksalt(), GPAW, formula="MgO", role="competing", story=story)
    assert (job.ticket.role, job.ticket.story) == ("competing", story)
