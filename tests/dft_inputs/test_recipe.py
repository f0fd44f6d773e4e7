from __future__ import annotations

import pytest
from pydantic import ValidationError

from dft_inputs.recipe import GpawSettings, IncarSettings, Recipe, Step
from dft_inputs.recipes import GPAW, MATERIALS_PROJECT, PAPER, RECIPES, recipe_named
from structure.errors import ConfigError


def test_the_paper_recipe_relaxes_with_the_published_settings():
    tags = PAPER.step("00-relax1").incar.as_incar()
    published = {"GGA": "PE", "ENCUT": 400.0, "EDIFF": 1e-5, "EDIFFG": -0.01}
    assert published.items() <= tags.items()


def test_the_paper_recipe_relaxes_twice_then_takes_energy_gap_and_bands():
    required = [step.name for step in PAPER.steps if not step.optional]
    assert required == ["00-relax1", "01-relax2", "02-static", "03-uniform", "04-bands"]


def test_every_choice_the_paper_leaves_open_is_a_sentence():
    for recipe in RECIPES.values():
        assert recipe.choices
        assert all(choice.endswith(".") for choice in recipe.choices)


def test_a_later_step_never_reads_a_file_that_no_former_step_keeps():
    for recipe in (PAPER, MATERIALS_PROJECT):
        for step in recipe.steps:
            if step.density_from is not None:
                assert "CHGCAR" in recipe.step(step.density_from).keeps


def test_the_hash_sees_every_setting_and_no_prose():
    prose = PAPER.model_copy(update={"name": "other", "choices": ("Other words.",)})
    softer = IncarSettings(encut=380.0)
    changed = PAPER.model_copy(
        update={"steps": (Step(name="00-relax1", incar=softer), *PAPER.steps[1:])}
    )
    assert prose.hash == PAPER.hash
    assert changed.hash != PAPER.hash
    assert len({recipe.hash for recipe in RECIPES.values()}) == len(RECIPES)


def test_a_recipe_read_back_from_json_has_the_same_hash():
    for recipe in RECIPES.values():
        assert Recipe.model_validate_json(recipe.model_dump_json()).hash == recipe.hash


def test_optional_steps_come_only_when_asked_for():
    assert [s.name for s in PAPER.with_steps(["06-elastic"]).steps][-2:] == [
        "04-bands",
        "06-elastic",
    ]
    assert PAPER.with_steps([]).hash != PAPER.hash
    with pytest.raises(ConfigError, match="07-magic"):
        PAPER.with_steps(["07-magic"])


def test_a_step_cannot_start_from_one_that_comes_later():
    with pytest.raises(ValidationError, match="not before it"):
        Recipe(
            name="x",
            engine="vasp",
            steps=(Step(name="00-a", structure_from="01-b"), Step(name="01-b")),
        )


def test_a_gpaw_step_has_no_place_in_a_vasp_recipe():
    with pytest.raises(ValidationError, match="not one of engine vasp"):
        Recipe(name="x", engine="vasp", steps=(Step(name="00-a", gpaw=GpawSettings()),))


def test_only_open_shells_are_spin_polarised_by_the_paper_recipe():
    assert PAPER.spin_polarised(["Sr", "Fe", "O"])
    assert not PAPER.spin_polarised(["Sr", "Y", "F"])
    assert MATERIALS_PROJECT.spin_polarised(["Sr", "Y", "F"])
    assert not GPAW.spin_polarised(["Fe"])


def test_an_unknown_recipe_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match="agd-paper"):
        recipe_named("vasp")
