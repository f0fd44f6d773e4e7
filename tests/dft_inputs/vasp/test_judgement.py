from __future__ import annotations

from dataclasses import replace

import pytest
from pymatgen.core import Structure

from dft_inputs.job.findings import CODES, Action, Finding, Judgement
from dft_inputs.recipes.shipped import MATERIALS_PROJECT, PAPER
from dft_inputs.vasp.jobs import vasp_job
from dft_inputs.vasp.judgement import (
    another_program,
    composition_differs,
    electrons_unconverged,
    ions_unconverged,
    nearest_ratios,
    potentials_differ,
    settings_differ,
)
from dft_inputs.vasp.outputs import StepOutput
from tests.dft_inputs.cells import oblique, rocksalt, wurtzite

TICKET = vasp_job(rocksalt(), PAPER, formula="MgO").ticket
STEP = TICKET.steps[0]
USED = {
    **{"ENMAX": 400.0, "ENCUT": 400.0, "EDIFF": 1e-5, "EDIFFG": -0.01, "GGA": "Pe", "ISMEAR": 0},
    **{"SIGMA": 0.05, "ISIF": 3, "ISPIN": 1, "LREAL": False, "LASPH": True, "IBRION": 2},
    **{"LHFCALC": False, "METAGGA": "--", "LDAU": False},
}
GOOD = StepOutput(
    step="00-relax1",
    energy=-12.0,
    structure=rocksalt().get_primitive_structure(),
    largest_force=0.004,
    ionic_steps=5,
    ionic_limit=99,
    electronic_cycles=12,
    electronic_limit=100,
    gap=5.0,
    settings=USED,
    mesh=STEP.mesh,
    titles=("PAW_PBE Mg 13Apr2007", "PAW_PBE O 08Apr2002"),
    version="6.4.3",
)


@pytest.mark.parametrize("program", ["VPMDK", "", "castep"])
def test_an_answer_of_another_program_is_code_330(program):
    found = another_program(TICKET, STEP, replace(GOOD, program=program))
    assert found is not None
    assert found.code == "330"
    assert program in found.sentence
    assert another_program(TICKET, STEP, GOOD) is None


def used(**tags) -> StepOutput:
    return replace(GOOD, settings={**USED, **tags})


def test_a_good_step_passes_every_check():
    for check in (composition_differs, potentials_differ, settings_differ):
        assert check(TICKET, STEP, GOOD) is None
    assert electrons_unconverged(TICKET, STEP, GOOD) is None
    assert ions_unconverged(TICKET, STEP, GOOD) is None


@pytest.mark.parametrize(
    "tags",
    [
        {"ENMAX": 300.0},
        {"ISMEAR": 1},
        {"ISIF": 2},
        {"EDIFF": 1e-4},
        {"EDIFFG": -0.05},
        {"ISPIN": 2},
        {"GGA": "Ps"},
        {"LREAL": "Auto"},
        {"LHFCALC": True},
        {"METAGGA": "R2SCAN"},
        {"LDAU": True},
    ],
    ids=lambda tags: next(iter(tags)),
)
def test_a_tag_that_decides_the_numbers_is_code_300(tags):
    found = settings_differ(TICKET, STEP, used(**tags))
    assert found is not None
    assert found.code == "300"
    assert next(iter(tags)).replace("ENMAX", "ENCUT") in found.sentence


@pytest.mark.parametrize(
    "tags",
    [
        {"ALGO": "All"},
        {"SYMPREC": 1e-8},
        {"POTIM": 0.1},
        {"EDIFF": 1e-6},
        {"EDIFFG": -0.005},
        {"NELM": 200},
        {"GGA": "PE"},
        {"LASPH": ".TRUE."},
    ],
    ids=str,
)
def test_a_tag_that_only_changes_the_way_or_is_tighter_stays_valid(tags):
    assert settings_differ(TICKET, STEP, used(**tags)) is None


def test_a_coarser_mesh_is_code_300_and_a_denser_one_is_not():
    a, b, c = STEP.mesh
    assert settings_differ(TICKET, STEP, replace(GOOD, mesh=(a - 1, b, c))).code == "300"
    assert settings_differ(TICKET, STEP, replace(GOOD, mesh=(a + 1, b, c))) is None


def test_settings_of_every_step_of_both_recipes_pass_their_own_check():
    for recipe in (PAPER, MATERIALS_PROJECT):
        ticket = vasp_job(wurtzite("Fe", "O"), recipe, formula="FeO").ticket
        for step in ticket.steps:
            output = replace(GOOD, settings=dict(step.settings), mesh=step.mesh)
            assert settings_differ(ticket, step, output) is None


def test_another_potential_is_code_310():
    found = potentials_differ(
        TICKET, STEP, replace(GOOD, titles=("PAW_PBE Mg_pv 1", "PAW_PBE O 2"))
    )
    assert found.code == "310"
    assert "Mg_pv O" in found.sentence
    assert potentials_differ(TICKET, STEP, replace(GOOD, titles=())).code == "310"


def test_another_cell_is_code_320():
    found = composition_differs(TICKET, STEP, replace(GOOD, structure=rocksalt()))
    assert found.code == "320"
    assert "Mg4 O4" in found.sentence


def test_used_up_cycles_are_code_210():
    assert electrons_unconverged(TICKET, STEP, replace(GOOD, electronic_cycles=100)).code == "210"


def test_large_forces_and_used_up_steps_are_code_220_while_relaxing_only():
    assert ions_unconverged(TICKET, STEP, replace(GOOD, largest_force=0.02)).code == "220"
    assert ions_unconverged(TICKET, STEP, replace(GOOD, ionic_steps=99)).code == "220"
    assert ions_unconverged(TICKET, STEP, replace(GOOD, largest_force=0.010001)) is None
    static = TICKET.steps[2]
    assert ions_unconverged(TICKET, static, replace(GOOD, largest_force=0.5)) is None


def test_each_atom_is_measured_by_its_own_nearest_neighbour():
    ratios = nearest_ratios(rocksalt())
    assert max(ratios) - min(ratios) < 1e-9
    assert 0.9 < ratios[0] < 1.3
    apart = Structure([[30, 0, 0], [0, 30, 0], [0, 0, 30]], ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    assert nearest_ratios(apart) == [float("inf")] * 2
    assert len(nearest_ratios(oblique())) == 5


def test_the_gravest_finding_decides():
    found = [Finding("230", ""), Finding("310", ""), Finding("210", "")]
    judgement = Judgement(tuple(found), {})
    assert judgement.worst.code == "310"
    assert not judgement.usable
    assert Judgement((Finding("230", ""), Finding("400", "")), {}).usable
    assert Judgement((), {}).worst is None


def test_every_code_has_a_meaning_and_an_action():
    expected = {"20", "21", "100", "110", "200", "210", "220", "230", "240", "300", "310", "320"}
    assert set(CODES) == expected | {"250", "260", "270", "330", "400", "410", "900"}
    assert all(meaning and isinstance(action, Action) for meaning, action in CODES.values())
