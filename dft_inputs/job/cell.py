"""The cell that a job calculates: serves every DFT engine.

In: a structure as it was generated. Out: its standard primitive cell, species grouped, or an error
that says why it can be no crystal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dft_inputs.job.symmetry import standard_primitive
from structure.errors import CalculationError

if TYPE_CHECKING:
    from pymatgen.core import Structure

CLOSEST_A = 0.4
"""Atoms closer than this, in A, are an error of the structure (chosen: H-H is 0.74 A)."""


def job_structure(structure: Structure) -> Structure:
    """Return the cell that all steps of a job use: the standard primitive one, species grouped.

    The band path of the last step is written in the setting of this cell (Setyawan and Curtarolo),
    so POSCAR has to be in it from the first step on.

    Raises
    ------
    CalculationError
        If atoms coincide, or no symmetry can be found.
    """
    from pymatgen.symmetry.analyzer import SymmetryUndeterminedError

    bare = structure.copy()
    for key in list(bare.site_properties):
        bare.remove_site_property(key)
    bare.remove_oxidation_states()
    if not bare.is_valid(tol=CLOSEST_A):
        raise CalculationError(
            f"atoms in the structure of {bare.composition.reduced_formula} are closer than "
            f"{CLOSEST_A} A",
            fix="Relax or drop the candidate.",
        )
    try:
        standard = standard_primitive(bare)
    except (SymmetryUndeterminedError, TypeError, ValueError) as error:
        raise CalculationError(
            f"no symmetry was found in the structure of {bare.composition.reduced_formula}",
            fix="Relax or drop the candidate.",
        ) from error
    if standard.composition.reduced_formula != bare.composition.reduced_formula:
        raise CalculationError(
            f"the primitive cell of {bare.composition.reduced_formula} holds "
            f"{standard.composition.reduced_formula}",
            fix="The structure is near-symmetric beyond the tolerance; relax it first.",
        )
    standard.sort()
    return standard


def elements_of(structure: Structure) -> tuple[str, ...]:
    """Return the elements in the order in which POSCAR names them."""
    return tuple(dict.fromkeys(site.specie.symbol for site in structure))
