"""Who labels compositions, and what they answer: shared by the oracle and the explore stage.

In: a batch of reduced compositions. Out: an `Answer`: for each a value, a job that will bring it,
or a reason why there will be none. The machine-learning oracle stands in for DFT as in the paper's
experiments (AGD sec. 2.1) and answers at once; a table answers from what is known and refuses the
rest; oracles that run DFT (`tasks.oracles.dft`) answer with jobs in flight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import model_validator

from models.properties.prediction import PropertyModel
from structure.errors import ConfigError, ModelError, Rejection
from structure.records import Settings
from structure.sources.quantities import UnitMap
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import ModelHandle
from tasks.ledger.ledger import Origin
from tasks.oracles.dft_settings import DFTOracleConfig

PROPERTY = "band_gap_eV"
"""What the search maximises a utility of."""

SEARCH = "search"
"""Who asked for a job, by ``asked_by`` of its story, where it was not the hand-off stage."""


@dataclass(frozen=True)
class Answer:
    """Labels of a batch of compositions, as far as they are known.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
        NaN where not known.
    sigmas : ndarray of float64, shape (n,)
        Standard uncertainty in the same unit; NaN where not known or not given.
    jobs : tuple of (str or None), length n
        Id of the calculation in flight; None where there is none.
    refusals : tuple of (Rejection or None), length n
        Why there will never be a label; None where there is or may be one.
    """

    values: np.ndarray
    sigmas: np.ndarray
    jobs: tuple[str | None, ...]
    refusals: tuple[Rejection | None, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.values), len(self.sigmas), len(self.jobs), len(self.refusals)}
        if len(lengths) != 1:
            raise ValueError("the parts of an answer differ in length")

    @property
    def known(self) -> np.ndarray:
        """Which compositions have a value, shape (n,), bool."""
        return np.isfinite(self.values)

    @property
    def pending(self) -> np.ndarray:
        """Which compositions have a calculation in flight, shape (n,), bool."""
        return ~self.known & np.array([job is not None for job in self.jobs], dtype=bool)


@dataclass(frozen=True)
class Asked:
    """What the search knows of the compositions it asks for; it becomes part of their jobs' story.

    Attributes
    ----------
    iteration : int
    quantity : {"gap", "utility"}
        What was predicted: the gap, or nearness to the centre of a closed window; both in eV.
    values, sigmas : ndarray of float64, shape (n,)
    ways : tuple of str, length n
        How each was proposed (`models.search.latent_pool.SOURCES`).
    """

    iteration: int
    quantity: Literal["gap", "utility"]
    values: np.ndarray
    sigmas: np.ndarray
    ways: tuple[str, ...]

    def story(self, i: int) -> dict[str, Any]:
        """Return what is known of one composition, as JSON can hold it."""
        return {
            "asked_by": SEARCH,
            "iteration": self.iteration,
            "generator": self.ways[i],
            f"predicted_{self.quantity}_eV": round(float(self.values[i]), 6),
            f"predicted_{self.quantity}_sigma_eV": round(float(self.sigmas[i]), 6),
        }

    def words(self, i: int) -> str:
        """Say the same in half a sentence."""
        return (
            f"asked by the search in iteration {self.iteration}, predicted {self.quantity} "
            f"{self.values[i]:.2f} +- {self.sigmas[i]:.2f} eV"
        )


class Oracle(Protocol):
    """Gives labels, at once or later.

    Attributes
    ----------
    property : str
        What is labelled, with its unit, e.g. ``"band_gap_eV"``.
    origin : {"dft-vasp", "dft-gpaw", "table", "ml"}
    source : str
        Model or recipe hash, or the name of a table.
    later : bool
        Whether an answer may be a calculation that has yet to run.
    """

    property: str
    origin: Origin
    source: str
    later: bool

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Return which of ``counts (n, 103)`` it can be asked for, shape (n,), bool.

        Cheap, and never wrong about what it turns away: the search looks at thousands of
        compositions to choose a few, and must not spend its choice on what nobody can answer.
        """
        ...

    def room(self) -> int | None:
        """Return how many more calculations it may be asked for now; None where there is no limit.

        What it may not be asked for now it may be later.
        """
        ...

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Label reduced compositions ``counts (n, 103)``.

        Asking again is free: a composition in flight gives the same job until its answer is there,
        and nothing is computed twice.
        """
        ...


class OracleConfig(Settings):
    """Who labels the compositions that the search asks for.

    Attributes
    ----------
    kind : {"ml", "table", "vasp", "gpaw"}
        A model's prediction, a table of known values, or calculations: their answers come later,
        and the search goes on meanwhile.
    model : str
        Name of the model, for ``kind: ml``.
    table : str or None
        CSV, Parquet or JSON-lines file with a formula column and a value column, for
        ``kind: table``; ``${NAME}`` stands for an environment variable.
    formula_column, value_column : str
    units : UnitMap
        ``band_gap`` is the unit of the values.
    dft : DFTOracleConfig
        For ``kind: vasp`` and ``kind: gpaw``.
    """

    kind: Literal["ml", "table", "vasp", "gpaw"] = "ml"
    model: str = "oracle"
    table: str | None = None
    formula_column: str = "formula"
    value_column: str = PROPERTY
    units: UnitMap = UnitMap()
    dft: DFTOracleConfig = DFTOracleConfig()

    @model_validator(mode="after")
    def _complete(self) -> OracleConfig:
        if (self.kind == "table") != (self.table is not None):
            raise ValueError("`table` names a file if, and only if, `kind` is 'table'")
        if self.kind in ("vasp", "gpaw"):
            self.dft.recipe_for(self.kind)
        return self

    @property
    def wait_h(self) -> float:
        """Hours that the search may wait for an answer; only DFT oracles let it wait."""
        return self.dft.wait_h if self.kind in ("vasp", "gpaw") else 0.0


class MLOracle:
    """Labels with a property model.

    Parameters
    ----------
    model : PropertyModel
    source : str
        Hash of the weights.
    """

    origin: Origin = "ml"
    later = False

    def __init__(self, model: PropertyModel, source: str):
        self.property = model.property
        self.source = source
        self._model = model

    @classmethod
    def load(cls, handle: ModelHandle, root: Path) -> MLOracle:
        """Load the model a handle names, given the campaign directory.

        Raises
        ------
        ModelError
            If the weights are missing or damaged, or predict something else.
        """
        from models.properties.boosting import BoostingModel

        folder = handle.folder(root)
        model = BoostingModel.load(folder)
        if model.property != PROPERTY:
            raise ModelError(
                f"the oracle predicts {model.property}, the search needs {PROPERTY}",
                where=folder,
                fix="Name a band-gap model, or train one with `agd train`.",
            )
        return cls(model, handle.sha256)

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Predictions can be made of everything."""
        return np.ones(len(counts), dtype=bool)

    def room(self) -> None:
        """Predictions have no limit."""

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Label every composition at once. See `Oracle`."""
        mean, sigma = self._model.predict(counts)
        nothing = (None,) * len(counts)
        return Answer(np.asarray(mean, float), np.asarray(sigma, float), nothing, nothing)


def check_ready(config: OracleConfig) -> None:
    """Check, before anything is computed, that the oracle can be asked on this machine.

    Raises
    ------
    ConfigError
        If calculations are to run here and a program they need is missing.
    DataError
        If the table cannot be used.
    """
    if config.table is not None:
        from tasks.oracles.table import table_oracle

        table_oracle(config)
    if config.kind in ("vasp", "gpaw"):
        from tasks.oracles.dft import check_machine

        check_machine(config.kind, config.dft)


def oracle_for(
    campaign: Campaign, config: OracleConfig, models: Mapping[str, ModelHandle]
) -> Oracle:
    """Build the oracle that a configuration names.

    Parameters
    ----------
    campaign : Campaign
    config : OracleConfig
    models : mapping of str to ModelHandle
        The campaign's weights by name.

    Raises
    ------
    ConfigError, DataError, ModelError
        If the model or the table cannot be used, or jobs cannot run here that shall.
    """
    if config.kind in ("vasp", "gpaw"):
        from tasks.oracles.dft import DFTOracle

        return DFTOracle(campaign, config.kind, config.dft)
    if config.table is not None:
        from tasks.oracles.table import table_oracle

        return table_oracle(config)
    if config.model not in models:
        raise ConfigError(
            f"the oracle's model {config.model!r} is not among the campaign's models",
            where=", ".join(sorted(models)) or "no models",
            fix="Name one of them with `oracle.model`.",
        )
    return MLOracle.load(models[config.model], campaign.root)
