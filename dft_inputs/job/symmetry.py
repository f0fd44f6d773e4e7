"""The symmetry of a cell, looked for no more than needed: serves VASP inputs and phonon bands.

In: a structure. Out: its standard primitive cell, and the standard path through that cell's
Brillouin zone. Spglib takes up to 20 ms a search in a crystal of high symmetry, which is most of
the time that a job's inputs take; pymatgen, asked for both, searches five times, this module twice.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from structure.errors import ConfigError

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
    from pymatgen.symmetry.kpath import KPathSetyawanCurtarolo

SYMMETRY_TOLERANCE_A = 0.01
"""Tolerance of the symmetry search (chosen; pymatgen's and spglib's usual value)."""


def standard_primitive(structure: Structure) -> Structure:
    """Return the standard primitive cell of Setyawan and Curtarolo (2010).

    Raises
    ------
    SymmetryUndeterminedError, TypeError, ValueError
        As pymatgen lets them out, where spglib finds no symmetry.
    """
    found = _analyzer()(structure, symprec=SYMMETRY_TOLERANCE_A)
    return found.get_primitive_standard_structure(international_monoclinic=False)


def standard_path(cell: Structure) -> KPathSetyawanCurtarolo:
    """Return the high-symmetry path of Setyawan and Curtarolo (2010) for a cell.

    Parameters
    ----------
    cell : Structure
        Points are given in units of the reciprocal vectors of its standard primitive cell. What is
        returned has that cell's vectors in its attribute ``prim``, but not its atoms.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path: KPathSetyawanCurtarolo = _paths().KPathSetyawanCurtarolo(
            cell, symprec=SYMMETRY_TOLERANCE_A
        )
    return path


@cache
def _analyzer(only_lattice: bool = False) -> type[SpacegroupAnalyzer]:
    """Return pymatgen's analyzer, made to take the refined cell from the search for the group.

    Parameters
    ----------
    only_lattice : bool
        Refined, standard and primitive cells hold a single atom: they are wanted for their vectors.
    """
    from pymatgen.core import Structure
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    class OneSearch(SpacegroupAnalyzer):
        def get_refined_structure(self, keep_site_properties: bool = False) -> Structure:
            found = self.get_symmetry_dataset()
            n = 1 if only_lattice else len(found.std_types)
            species = [self._unique_species[kind - 1] for kind in found.std_types[:n]]
            refined = Structure(found.std_lattice, species, found.std_positions[:n])
            return refined.get_sorted_structure()

    return OneSearch


@cache
def _paths() -> Any:
    """Return a copy of our own of pymatgen's module of paths, whose analyzer searches once.

    A path makes its analyzer itself, and pymatgen's own module must stay as others know it.
    """
    spec = importlib.util.find_spec("pymatgen.symmetry.kpath")
    if spec is None or spec.loader is None:
        raise ConfigError(
            "the installed pymatgen has no pymatgen.symmetry.kpath",
            fix="Install the pymatgen version of constraints.txt.",
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SpacegroupAnalyzer = _analyzer(only_lattice=True)  # type: ignore[attr-defined]
    return module
