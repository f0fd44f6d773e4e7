"""How one job departs from a plain crystal: serves every DFT engine and the reference jobs.

In: what is known of a reference state. Out: a `Treatment`, which each engine turns into words of
its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["crystal", "metal", "molecule"]
"""How the ground state is sampled: a compound, an elemental metal, or a molecule in a box."""


@dataclass(frozen=True)
class Treatment:
    """How one job departs from a spin-paired crystal.

    Attributes
    ----------
    kind : {"crystal", "metal", "molecule"}
        A molecule keeps its box, and only Gamma is sampled.
    magnetic_moments : tuple of float, optional
        Initial moment of each site, in Bohr magnetons; makes the run spin-polarised.
    time_limit_s : int
        CPU seconds after which a code that can be told so gives up.
    """

    kind: Kind = "crystal"
    magnetic_moments: tuple[float, ...] | None = None
    time_limit_s: int = 3600

    @property
    def molecule(self) -> bool:
        """Whether it is a molecule in a box."""
        return self.kind == "molecule"


CRYSTAL = Treatment()
