"""Which oracle a campaign asks: serves the oracle and the explore stage.

In: the ``oracle`` section of a campaign file. Out: the `Oracle` it names. A model's predictions
stand in for DFT and answer at once; a table answers from what is known; DFT codes answer with jobs
in flight; other installed packages may bring more (``docs/extend/oracle.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from dft_inputs.engines import engine_named
from dft_inputs.engines import names as engine_names
from dft_inputs.recipes.measures import unmeasured
from structure.errors import ConfigError
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property
from structure.records import Settings
from structure.sources.quantities import UnitMap
from structure.sources.tables import resolve_path
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import ModelHandle
from tasks.oracles import brought
from tasks.oracles.answer import Oracle
from tasks.oracles.dft import DFTOracle, check_machine
from tasks.oracles.dft_settings import DFTOracleConfig
from tasks.oracles.ml import MLOracle
from tasks.oracles.table import TableOracle

AT_ONCE = ("ml", "table")
"""Our own oracles that answer at once."""


class OracleConfig(Settings):
    """Who labels the compositions that the search asks for."""

    kind: str = "ml"
    """``ml``, a model's prediction; ``table``, a table of known values; the name of a
    DFT code, such as ``vasp`` or ``gpaw``, whose answers come later while the search goes on; or an
    oracle of another installed package."""
    model: str = "oracle"
    """Name of the model, for ``kind: ml``."""
    table: str | None = None
    """CSV, Parquet or JSON-lines file with a formula column and a value column, for ``kind:
    table``; ``${NAME}`` stands for an environment variable."""
    formula_column: str = "formula"
    """Column of formulas of the table."""
    value_column: str = BAND_GAP.column
    """Column of values of the table; of another property, by default, its own."""
    units: UnitMap = UnitMap()
    """``band_gap`` is the unit of the values."""
    dft: DFTOracleConfig = DFTOracleConfig()
    """Where ``kind`` is a DFT code."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """For an oracle of another package: whatever that package describes."""

    @model_validator(mode="after")
    def _complete(self) -> OracleConfig:
        if (self.kind == "table") != (self.table is not None):
            raise ValueError("`table` names a file if, and only if, `kind` is 'table'")
        if self.calculates:
            self.dft.recipe_for(engine_named(self.kind))
        elif self.kind not in AT_ONCE and self.kind not in brought.names():
            there = ", ".join((*AT_ONCE, *engine_names(), *brought.names()))
            raise ValueError(f"there is no oracle {self.kind!r}; choose one of {there}")
        if self.settings and not self.is_brought:
            raise ValueError(f"`settings` are for oracles of other packages, not {self.kind!r}")
        return self

    @property
    def calculates(self) -> bool:
        """Whether a DFT code answers."""
        return self.kind in engine_names()

    @property
    def is_brought(self) -> bool:
        """Whether an oracle of another package answers."""
        return self.kind not in AT_ONCE and not self.calculates

    def check_measures(self, sought: Property) -> None:
        """Raise if its calculations do not give what is sought.

        Raises
        ------
        ConfigError
        """
        if self.calculates:
            recipe = self.dft.recipe_for(engine_named(self.kind))
            lacking = unmeasured(recipe, sought)
            if lacking is not None:
                raise lacking

    @property
    def wait_h(self) -> float:
        """Hours that the search may wait for an answer; only DFT oracles let it wait."""
        return self.dft.wait_h if self.calculates else 0.0


def table_oracle(config: OracleConfig, sought: Property = BAND_GAP) -> TableOracle:
    """Read the table that a configuration names.

    Raises
    ------
    ConfigError, DataError
        If it names none, or the table cannot be used; see `TableOracle.read`.
    """
    if config.table is None:
        raise ConfigError("the oracle has no table", fix="Name a file with `oracle.table`.")
    own = config.value_column == BAND_GAP.column
    return TableOracle.read(
        resolve_path(config.table),
        config.formula_column,
        sought.column if own else config.value_column,
        config.units.value or str(getattr(config.units, sought.name, sought.unit)),
        sought,
    )


def check_ready(config: OracleConfig, sought: Property = BAND_GAP) -> None:
    """Check, before anything is computed, that the oracle can be asked on this machine.

    Raises
    ------
    ConfigError
        If calculations are to run here and a program they need is missing.
    DataError
        If the table cannot be used.
    PluginError
        If the package that brings the oracle is broken.
    """
    if config.table is not None:
        table_oracle(config, sought)
    if config.is_brought:
        brought.brought_oracle(config.kind, config.settings, sought)
    if config.calculates:
        check_machine(engine_named(config.kind), config.dft)


def oracle_for(
    campaign: Campaign,
    config: OracleConfig,
    models: Mapping[str, ModelHandle],
    sought: Property = BAND_GAP,
) -> Oracle:
    """Build the oracle that a configuration names.

    Parameters
    ----------
    campaign : Campaign
    config : OracleConfig
    models : mapping of str to ModelHandle
        The campaign's weights by name.
    sought : Property
        What is to be labelled.

    Raises
    ------
    ConfigError, DataError, ModelError
        If the model or the table cannot be used, or jobs cannot run here that shall.
    """
    if config.calculates:
        return DFTOracle(campaign, engine_named(config.kind), config.dft, sought)
    if config.is_brought:
        return brought.brought_oracle(config.kind, config.settings, sought)
    if config.table is not None:
        return table_oracle(config, sought)
    if config.model not in models:
        raise ConfigError(
            f"the oracle's model {config.model!r} is not among the campaign's models",
            where=", ".join(sorted(models)) or "no models",
            fix="Name one of them with `oracle.model`.",
        )
    return MLOracle.load(models[config.model], campaign.root, sought)
