from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dft_inputs.job.folder import Job
from dft_inputs.job.ticket import TicketStep
from dft_inputs.recipes.shipped import MATERIALS_PROJECT, PAPER
from dft_inputs.vasp.asked.settings import incar_differs, settings_differ
from dft_inputs.vasp.jobs import vasp_job
from dft_inputs.vasp.outputs import StepOutput
from structure.errors import Rejection
from tests.dft_inputs.cells import wurtzite
from tests.dft_inputs.tampering import edited
from tests.dft_inputs.vasp.test_judgement import GOOD

JOBS = {
    recipe.name: vasp_job(wurtzite("Fe", "O"), recipe, formula="FeO")
    for recipe in (PAPER, MATERIALS_PROJECT)
}


def step_of(job: Job, name: str) -> TicketStep:
    return next(step for step in job.ticket.steps if step.name == name)


def output_of(step: TicketStep, **tags: object) -> StepOutput:
    """Return a result whose vasprun.xml lists the tags as VASP does."""
    incar = {**step.settings, **tags}
    return replace(GOOD, settings=incar, incar=incar, mesh=step.mesh)


def incar_found(job: Job, name: str, place: Path, **tags: str | None) -> Rejection | None:
    (place / "INCAR").write_text(edited(job.files[f"{name}/INCAR"], tags))
    step = step_of(job, name)
    return incar_differs(job.ticket, step, output_of(step), place)


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_every_step_of_a_job_with_spin_passes_as_it_was_written(job, tmp_path):
    for step in job.ticket.steps:
        assert settings_differ(job.ticket, step, output_of(step)) is None
        assert incar_found(job, step.name, tmp_path) is None


@pytest.mark.parametrize(
    ("recipe", "step", "tags"),
    [
        ("agd-paper", "02-static", {"MAGMOM": "2*-5.0 2*0.6"}),
        ("agd-paper", "02-static", {"MAGMOM": None}),
        ("agd-paper", "02-static", {"ISPIN": None}),
        ("agd-paper", "05-dfpt", {"LEPSILON": None}),
        ("agd-paper", "05-dfpt", {"IBRION": "7"}),
        ("agd-paper", "06-elastic", {"POTIM": "0.1"}),
        ("agd-paper", "06-elastic", {"POTIM": None}),
        ("agd-paper", "06-elastic", {"NFREE": "2"}),
        ("agd-paper", "07-phonons", {"NSW": "0"}),
        ("agd-paper", "07-phonons", {"EDIFF": "1e-5"}),
        ("materials-project", "02-static", {"LDAU": None}),
        ("materials-project", "02-static", {"LDAUU": "4 0"}),
        ("materials-project", "02-static", {"EDIFF": "1e-2"}),
        ("materials-project", "00-relax1", {"EDIFFG": "-0.05"}),
        ("materials-project", "04-bands", {"SIGMA": "0.3"}),
    ],
    ids=str,
)
def test_what_only_some_steps_ask_for_is_compared_too(recipe, step, tags, tmp_path):
    found = incar_found(JOBS[recipe], step, tmp_path, **tags)
    assert found.code == "300"
    assert next(iter(tags)) in found.sentence


@pytest.mark.parametrize(
    ("recipe", "step", "tags"),
    [
        ("materials-project", "00-relax1", {"LREAL": "False", "IBRION": "1"}),
        ("materials-project", "02-static", {"GGA": "PE", "LMAXMIX": "6"}),
        ("materials-project", "03-uniform", {"ISYM": "0", "NEDOS": "5000"}),
        ("agd-paper", "00-relax1", {"POTIM": "0.2", "LDAU": "F"}),
    ],
    ids=str,
)
def test_what_is_as_good_enters(recipe, step, tags, tmp_path):
    assert incar_found(JOBS[recipe], step, tmp_path, **tags) is None


def test_tags_of_which_vasp_lists_the_first_value_only_are_compared_by_it():
    job = JOBS["materials-project"]
    step = step_of(job, "02-static")
    listed = {"LDAUU": 5.3, "LDAUL": 2, "NSW": 0}
    assert settings_differ(job.ticket, step, replace(output_of(step), parameters=listed)) is None
    other = replace(output_of(step), parameters={"LDAUU": 4.0})
    assert settings_differ(job.ticket, step, other).code == "300"


def test_displacements_that_vasp_counts_itself_are_no_difference():
    job = JOBS["agd-paper"]
    step = step_of(job, "06-elastic")
    assert (
        settings_differ(job.ticket, step, replace(output_of(step), parameters={"NSW": 61})) is None
    )


def test_without_an_incar_there_is_nothing_to_say_and_one_that_is_no_file_is_told(tmp_path):
    job = JOBS["agd-paper"]
    step = step_of(job, "02-static")
    assert incar_differs(job.ticket, step, output_of(step), tmp_path) is None
    (tmp_path / "INCAR").mkdir()
    assert incar_differs(job.ticket, step, output_of(step), tmp_path).code == "300"
