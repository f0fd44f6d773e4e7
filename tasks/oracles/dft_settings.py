"""How a DFT oracle asks: the settings that the search's configuration has for it.

In: values of a campaign file. Out: a frozen section that knows its recipe and the structures it
may use.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.engines import DftEngine, recipes
from dft_inputs.recipes.recipe import Recipe
from structure.errors import ConfigError
from structure.records import Settings
from structure.templates.substitution import MAXIMUM_EMD, VOLUME_SCALES
from tasks.campaign.library import StructureConfig


class DFTOracleConfig(Settings):
    """How calculations are asked for; counts only where ``kind`` is a DFT code."""

    recipe: str | None = None
    """Of the same code as the kind; None: that code's first, such as ``agd-paper`` for VASP."""
    optional_steps: tuple[str, ...] = ()
    """Optional steps of the recipe to include."""
    cluster: ClusterSettings = ClusterSettings()
    """First contents of ``cluster.env`` of every batch."""
    neighbours: int = Field(default=10, ge=1)
    """As ``template.neighbours``."""
    minimum_ratio: float = Field(default=0.70, gt=0, lt=2)
    """As ``template.minimum_ratio``."""
    maximum_emd: float = Field(default=MAXIMUM_EMD, ge=0)
    """As ``template.maximum_emd``."""
    minimum_volume_scale: float = Field(default=VOLUME_SCALES[0], gt=0, le=1)
    """As ``template.minimum_volume_scale``."""
    maximum_volume_scale: float = Field(default=VOLUME_SCALES[1], ge=1)
    """As ``template.maximum_volume_scale``."""
    maximum_sites: int | None = Field(default=None, ge=1)
    """Largest template; None: what the code says, such as 80 for VASP, 10 for GPAW."""
    submit: Literal["by-hand", "here"] = "by-hand"
    """Who calls ``submit.sh``: a person, or this machine. With scheduler ``shell`` the jobs then
    run here, one after another in the background, also after the campaign's process has ended."""
    wait_h: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Hours the search waits for its next answer when it has nothing else to do. 0: the campaign
    goes on with what it has, and the answers count from the next night on."""
    core_hours: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What the jobs asked for within a night (20 hours) may cost; None: no limit. A job counts as
    much as the campaign's finished ones took on average, and ``hours`` x ``nodes`` x
    ``tasks_per_node`` of `cluster` before any has finished. References of new elements are counted
    too, but follow their compounds, so that the last batch may exceed it by them."""

    @model_validator(mode="after")
    def _can_be_counted(self) -> DFTOracleConfig:
        if self.core_hours is not None and not self.cluster.hours:
            raise ValueError(
                "`core_hours` needs `cluster.hours` above 0: it bounds a job before one is measured"
            )
        return self

    def recipe_for(self, engine: DftEngine) -> Recipe:
        """Return the recipe with the optional steps that were asked for.

        Raises
        ------
        ValueError
            If there is no such recipe or step, or the recipe is one of another engine.
        """
        every = recipes()
        name = self.recipe or engine.recipes[0].name
        if name not in every:
            raise ValueError(f"there is no recipe {name!r}; choose one of {', '.join(every)}")
        recipe = every[name]
        if recipe.engine != engine.name:
            own = ", ".join(known.name for known in engine.recipes)
            raise ValueError(
                f"recipe {name!r} is one of {recipe.engine}, and `kind` is {engine.name!r}; its "
                f"recipes are {own}"
            )
        try:
            return recipe.with_steps(self.optional_steps)
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.fix}") from error

    def structures_for(self, engine: DftEngine) -> StructureConfig:
        """Return how compositions get their structures."""
        return StructureConfig(
            neighbours=self.neighbours,
            minimum_ratio=self.minimum_ratio,
            maximum_emd=self.maximum_emd,
            minimum_volume_scale=self.minimum_volume_scale,
            maximum_volume_scale=self.maximum_volume_scale,
            maximum_sites=self.maximum_sites or engine.most_sites,
        )
