"""Which recipe measures a property: serves the configuration, DFT oracles and hand-off.

In: a recipe and a property. Out: the optional steps that measure it, or why none does.
"""

from __future__ import annotations

from dft_inputs.recipes.recipe import Recipe
from structure.errors import ConfigError
from structure.properties.quantity import Property


def steps_for(recipe: Recipe, sought: Property) -> tuple[str, ...]:
    """Return the optional steps of a recipe that measure a property; empty where none is needed."""
    ends = tuple(f"-{end}" for end in sought.steps or ())
    return tuple(step.name for step in recipe.steps if step.optional and step.name.endswith(ends))


def unmeasured(recipe: Recipe, sought: Property) -> ConfigError | None:
    """Return the error that a recipe, with the steps it has, does not measure a property."""
    if sought.steps is None:
        return ConfigError(
            f"no calculation gives the {sought.words}",
            where="explore.oracle.kind",
            fix="Let a table or a model answer: 'kind: table' or 'kind: ml'.",
        )
    lacking = [end for end in sought.steps if not any(s.name.endswith(end) for s in recipe.steps)]
    if not lacking:
        return None
    return ConfigError(
        f"the recipe {recipe.name} has no step that measures the {sought.words}",
        where=f"recipe {recipe.name}",
        fix=f"Choose a recipe with a step named '...-{lacking[0]}', such as agd-paper with VASP.",
    )
