from __future__ import annotations

import pytest
from pydantic import ValidationError

from dft_inputs.engines import recipe_named, recipes
from dft_inputs.recipes.recipe import IncarSettings, Recipe, Step, Supercell
from dft_inputs.recipes.shipped import GPAW, MATERIALS_PROJECT, PAPER
from structure.errors import ConfigError


def test_the_paper_recipe_relaxes_with_the_published_settings():
    tags = PAPER.step("00-relax1").incar.as_incar()
    published = {"GGA": "PE", "ENCUT": 400.0, "EDIFF": 1e-5, "EDIFFG": -0.01}
    assert published.items() <= tags.items()


def test_the_paper_recipe_relaxes_twice_then_takes_energy_gap_and_bands():
    required = [step.name for step in PAPER.steps if not step.optional]
    assert required == ["00-relax1", "01-relax2", "02-static", "03-uniform", "04-bands"]


def test_every_choice_the_paper_leaves_open_is_a_sentence():
    for recipe in recipes().values():
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
    assert len({recipe.hash for recipe in recipes().values()}) == len(recipes())


HASHES_OF_OLD = {
    "agd-paper": "53b4379a335175649e0ac75555fdd53b695140933ade679ecf2c7684327180df",
    "materials-project": "9fdb6d9405ba891f2ec0650b82ea3550992b9af04a7a579e71c446e3ff36b338",
    "gpaw-pbe": "15ac62f42837c04a4ba50374c24e433d26dd14884435a7ae19d1355d4811edf0",
}
"""Labels and job ids of campaigns that exist carry these."""


@pytest.mark.parametrize("name", HASHES_OF_OLD)
def test_the_hash_of_a_recipe_without_optional_steps_stays_what_it_was(name):
    assert recipe_named(name).with_steps(()).hash == HASHES_OF_OLD[name]


def test_the_hash_of_elastic_constants_and_phonons_at_gamma_stays_what_it_was():
    both = PAPER.with_steps(["05-dfpt", "06-elastic"])
    assert both.hash == "94aefa9246cb42d6d33d8d9bdbd59a22c4d28fef49cd691345abc7b15a6f471c"


def test_phonons_are_finite_displacements_of_a_supercell_in_one_run():
    step = PAPER.step("07-phonons")
    tags = step.incar.as_incar()
    wanted = {"IBRION": 6, "NFREE": 2, "POTIM": 0.015, "ISIF": 2, "NSW": 1, "EDIFF": 1e-8}
    assert wanted.items() <= tags.items()
    assert tags["LREAL"] is False
    assert not {"NCORE", "NPAR"} & set(tags)
    assert step.optional
    assert step.supercell == Supercell(edge_A=9.0, most_atoms=100)


def test_the_size_of_the_supercell_is_part_of_the_hash():
    phonons = PAPER.with_steps(["07-phonons"])
    step = phonons.steps[-1]
    larger = step.model_copy(update={"supercell": Supercell(edge_A=12.0)})
    other = phonons.model_copy(update={"steps": (*phonons.steps[:-1], larger)})
    assert other.hash != phonons.hash


def test_a_recipe_read_back_from_json_has_the_same_hash():
    for recipe in recipes().values():
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


def test_only_open_shells_are_spin_polarised_by_the_paper_recipe():
    assert PAPER.spin_polarised(["Sr", "Fe", "O"])
    assert not PAPER.spin_polarised(["Sr", "Y", "F"])
    assert MATERIALS_PROJECT.spin_polarised(["Sr", "Y", "F"])
    assert not GPAW.spin_polarised(["Fe"])


def test_an_unknown_recipe_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match="agd-paper"):
        recipe_named("vasp")
