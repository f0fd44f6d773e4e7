from __future__ import annotations

from functools import cache

from pymatgen.core import Lattice, Structure


@cache
def _rocksalt() -> Structure:
    """Return MgO; pymatgen takes a second for the operations of Fm-3m, each time anew."""
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def rocksalt(cation: str = "Mg", anion: str = "O", edge: float = 4.25) -> Structure:
    species = [{"Mg": cation, "O": anion}[site.specie.symbol] for site in _rocksalt()]
    return Structure(Lattice.cubic(edge), species, _rocksalt().frac_coords)


def wurtzite(cation: str = "Fe", anion: str = "N") -> Structure:
    return Structure.from_spacegroup(
        "P6_3mc",
        Lattice.hexagonal(3.2, 5.2),
        [cation, anion],
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.377]],
    )


def oblique() -> Structure:
    """A triclinic cell without symmetry."""
    lattice = Lattice.from_parameters(4.44, 4.75, 8.30, 102.3, 90.1, 90.1)
    return Structure(
        lattice,
        ["Sr", "Cl", "F", "F", "F"],
        [[0.01, 0.02, 0.03], [0.5, 0.52, 0.55], [0.1, 0.5, 0.2], [0.6, 0.1, 0.3], [0.3, 0.3, 0.75]],
    )
