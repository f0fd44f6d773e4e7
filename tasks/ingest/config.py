"""What ingest takes: the settings of the first stage.

In: values of a campaign file. Out: sources, rules and what stands in where a source is missing.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import Field, model_validator

from structure.records import Settings
from structure.rules.dataset_rules import LowestEnergyPerFormula, NoSingleElements, Rule
from tasks.ingest.embedded import EmbeddedConfig
from tasks.ingest.sources import SourceConfig


class InitialConfig(Settings):
    """Which labelled compounds the search starts from."""

    count: int = Field(default=300, ge=1)
    """How many, for ``rule: random``. AGD's Exp3 starts from 300, Exp2 from 1,000 (sec. 3.3)."""
    rule: Literal["random", "all"] = "random"
    """Draw at random, or take all."""
    maximum_eV: float | None = None
    """Only from compounds with gaps below it: 3.0 in AGD's Exp4 (sec. 3.3)."""


class IngestConfig(Settings):
    """What a campaign starts from."""

    sources: tuple[SourceConfig, ...] = ()
    """Empty: the embedded data."""
    rules: tuple[Rule, ...] = (LowestEnergyPerFormula(), NoSingleElements())
    """Applied in order to the labelled compounds (`structure.rules.dataset_rules`). Whatever they
    are, each formula is used once."""
    initial: InitialConfig = InitialConfig()
    """Which of the labelled compounds the search starts from."""
    embedded: EmbeddedConfig = EmbeddedConfig()
    """What fills the roles that no source has."""
    earlier: tuple[str, ...] = ()
    """Earlier campaigns, as paths relative to this one's directory: what their finished
    calculations labelled joins the initial labels, and compounds they gave jobs are known."""

    @model_validator(mode="after")
    def _distinct_names(self) -> IngestConfig:
        repeated = [n for n, times in Counter(s.name for s in self.sources).items() if times > 1]
        if repeated:
            raise ValueError(f"two sources are named {repeated[0]!r}; set 'name'")
        return self
