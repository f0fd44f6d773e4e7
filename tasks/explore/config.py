"""What decides a search: the explore stage's configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from models.search.gaussian_process import REFIT_EVERY
from models.search.latent_pool import PoolShares
from models.search.latent_search import (
    BATCH,
    KAPPA,
    KAPPA_AGD_EXPERIMENTS,
    XI,
    Acquisition,
    Backend,
)
from structure.records import Settings
from tasks.oracles.oracle import OracleConfig

BUDGET = 1000
"""Labels the search may ask for (AGD sec. 3.2, experiments 2 to 4)."""


class ExploreConfig(Settings):
    """Settings of the search."""

    oracle: OracleConfig = OracleConfig()
    """Who labels."""
    budget: int = Field(default=BUDGET, ge=1)
    """Labels the search may ask the oracle for, answered or in flight."""
    batch: int = Field(default=BATCH, ge=1)
    """Suggestions an iteration, 20 in AGD."""
    iterations: int | None = Field(default=None, ge=1)
    """Most iterations; None allows three times those the budget needs (chosen), which only a space
    that is used up can reach. AGD counts suggestions, decodable or not: its experiments are
    ``iterations: 50`` with ``decode_first: false``."""
    backend: Backend = "batch"
    """Our own Gaussian process, or scikit-learn's with the container of points and the acquisition
    functions of the package AGD used, whose optimiser is run by neither."""
    acquisition: Literal["ucb", "ei"] = "ucb"
    """What a candidate's worth is: upper confidence bound, or expected improvement."""
    kappa: float = Field(default=KAPPA, ge=0)
    """Of ``ucb``: standard uncertainties added to the mean
    (`models.search.latent_search.Acquisition`)."""
    xi: float = Field(default=XI, ge=0)
    """Of ``ei``: improvement that does not count yet
    (`models.search.latent_search.Acquisition`)."""
    refit_every: int = Field(default=REFIT_EVERY, ge=1)
    """Points between fits of the surrogate's kernel."""
    pool_size: int = Field(default=6000, ge=1)
    """Candidates proposed in each iteration (chosen)."""
    shares: PoolShares = PoolShares()
    """How they are made."""
    decode_first: bool = True
    """Decode the whole pool and choose among what decodes to a new composition, so that no
    suggestion is lost; False chooses first, as in AGD."""
    surrogate_inputs: Literal["descriptors", "encoded", "proposed"] = "descriptors"
    """What the surrogate sees of a candidate: descriptors of its composition (chosen: they predict
    gaps far better), the latent of its composition, or the latent as it was proposed, as in AGD.
    Only the last is known before decoding."""
    chemistry: Literal["strict", "any"] = "strict"
    """Ask only for compositions that are neutral with balanced electronegativity, or for all that
    keep the limits below, as in AGD."""
    minimum_elements: int = Field(default=2, ge=1)
    """What has fewer elements counts as not decoded."""
    maximum_elements: int = Field(default=5, ge=1)
    """What has more elements is not asked for."""
    maximum_atoms: int = Field(default=20, ge=1)
    """In the reduced formula; with the limit on elements, AGD's limits for candidates (sec.
    3.2)."""
    initial_at_most: int = Field(default=1000, ge=1)
    """The surrogate starts from at most this many labels: half the best, half drawn at random
    (chosen: its cost grows with the cube of their number)."""
    in_flight_at_most: int = Field(default=100, ge=1)
    """Where the oracle answers later: the search rests while this many answers are outstanding."""

    @model_validator(mode="after")
    def _possible(self) -> ExploreConfig:
        if self.surrogate_inputs != "proposed" and not self.decode_first:
            raise ValueError("without `decode_first`, `surrogate_inputs` must be 'proposed'")
        if self.minimum_elements > self.maximum_elements:
            raise ValueError("`minimum_elements` is above `maximum_elements`")
        return self

    @classmethod
    def agd(cls, **changes: Any) -> ExploreConfig:
        """Return AGD's search (sec. 2.3 and 3.2), with changes.

        Parts of the named package on box samples, chosen before decoding; 1,000 suggestions in 50
        iterations; everything that decodes to a composition within the limits is labelled.
        """
        settings: dict[str, Any] = {
            "backend": "bayesian-optimization",
            "kappa": KAPPA_AGD_EXPERIMENTS,
            "iterations": BUDGET // BATCH,
            "shares": PoolShares(box=1, around=0, between=0, offspring=0),
            "decode_first": False,
            "surrogate_inputs": "proposed",
            "chemistry": "any",
        }
        return cls(**(settings | changes))

    @property
    def most_iterations(self) -> int:
        """The limit on iterations, whether given or derived from the budget."""
        return self.iterations or 3 * -(-self.budget // self.batch)

    @property
    def worth(self) -> Acquisition:
        """The acquisition function."""
        return Acquisition(self.acquisition, kappa=self.kappa, xi=self.xi)
