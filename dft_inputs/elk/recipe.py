"""The recipe of Elk, and the settings it consists of: serves the hand-off step.

In: nothing. Out: `ELK`, a ground state and bands without pseudopotentials. It relaxes nothing: its
use is to check other codes at a geometry that is given.
"""

from __future__ import annotations

from typing import Literal

from dft_inputs.recipes.recipe import Recipe, Step
from structure.records import Settings


class ElkSettings(Settings):
    """One ground state followed by bands in its potential. Lengths of k-space in 1/A, with 2 pi."""

    xc: Literal["PBE"] = "PBE"
    """Exchange-correlation functional."""
    rgkmax: float = 8.0
    """Product of the mean muffin-tin radius and the largest plane wave (Elk's default is 7)."""
    gmaxvr_per_bohr: float = 16.0
    """Largest plane wave of density and potential (Elk's default is 12)."""
    radial_step: int = 1
    """Every radial point counts. Elk's default, every fourth, loses charge: 0.028 electrons in LiF,
    whose gap is 0.1 eV off by it (measured)."""
    local_orbitals: int = 2
    """Largest angular momentum that gets another local orbital. Elk's species files have none
    beyond p, with which the gap of CaO, whose conduction band is of d states, is 0.4 eV too wide
    (measured)."""
    spacing_per_A: float = 0.35
    """Largest distance between neighbouring points of the Gamma-centred mesh."""
    smearing_hartree: float = 0.001
    """Width of the Fermi-Dirac occupations."""
    potential_convergence: float = 1e-5
    """Root mean square change of the potential, Hartree. Below it, Elk's default of 1e-6, that of
    LiH only wavers while its energy stands still to 1e-12 Hartree (measured)."""
    energy_convergence_hartree: float = 1e-6
    """Change of the energy at which the cycle ends, hartree."""
    path_points: int = 48
    """Points on the band path; 0 skips the path."""
    most_loops: int = 60
    """Steps after which a cycle that has not converged is given up."""


ELK = Recipe(
    name="elk-pbe",
    engine="elk",
    spin="never",
    steps=(Step(name="00-ground-state", settings=ElkSettings().model_dump()),),
    choices=(
        "One ground state at the given geometry: relaxing belongs to the geometry's origin.",
        "All electrons, by the species files of the Elk that runs; their hashes go with the label.",
        "Spin-paired compounds, scalar-relativistic, no +U and no spin-orbit coupling.",
        "No molecules in a box and no magnetic references: formation energies need another code.",
    ),
)
"""PBE in linearised augmented plane waves: gap and total energy of small cells on one core."""
