"""What the energy blocks of one ionic step of VASP say: serves collect.

In: an ionic step as pymatgen reads it from vasprun.xml. Out: its total energy, and the electronic
cycles of its ground state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dft_inputs.cluster.runner import ground_state_cycles

EV_PER_KBAR_A3 = 6.241509074e-4

SAME_ENERGY_EV = 1e-6
"""vasprun.xml has eight decimals."""


def total_energy(step: Mapping[str, Any], pressure_kbar: float = 0.0) -> float:
    """Return the total energy of an ionic step in eV, extrapolated to zero smearing.

    It is taken from the block that ends the step, which holds what is added after the last
    electronic cycle, such as van der Waals corrections. There are two layouts of it. In that of
    newer versions each value stands under its name, the extrapolated one between the free energy
    and the energy without entropy. In the older one, of VASP 4, 5 and early 6, the extrapolated
    energy stands under ``e_wo_entrp``, and under ``e_0_energy`` the entropy term alone.

    Parameters
    ----------
    step : mapping
        ``e_fr_energy``, ``e_wo_entrp`` and ``e_0_energy``; ``structure`` for its volume in A^3.
    pressure_kbar : float
        PSTRESS; the block then holds the enthalpy.

    Raises
    ------
    ValueError
        If there is no such block, or a number does not fit into it.
    """
    try:
        free, without, zero = (
            float(step[name]) for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        )
    except KeyError:
        raise ValueError("the last step has no total energy") from None
    if not all(map(math.isfinite, (free, without, zero))):
        raise ValueError("the last step's energy is not finite")
    lower, upper = min(free, without) - SAME_ENERGY_EV, max(free, without) + SAME_ENERGY_EV
    energy = zero if lower <= zero <= upper else without
    if pressure_kbar:
        energy -= pressure_kbar * float(step["structure"].volume) * EV_PER_KBAR_A3
    return energy


def cycles_of(step: Mapping[str, Any]) -> int:
    """Return the electronic cycles of an ionic step's ground state."""
    return ground_state_cycles([len(cycle) for cycle in step["electronic_steps"]])
