"""Reference calculations of the hand-off step: elements and competing phases, and Eq. 4.

In: the elements of a batch and a recipe. Out: one job for each element, the same question in every
batch, and formation energies from finished ones. Cells are simple ones of the stable phase; where
that phase is too large, the table says what stands in for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dft_inputs.engines import engine_of
from dft_inputs.job.treatment import Kind, Treatment
from dft_inputs.references.prototypes import build
from structure.errors import CalculationError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.job.folder import Job
    from dft_inputs.recipes.recipe import Recipe
    from structure.templates.library import TemplateLibrary

BOX_A = 12.0
"""Edge of a molecule's box in A (chosen; a code may set its own margin)."""


@dataclass(frozen=True)
class ElementReference:
    """The reference state of an element.

    Attributes
    ----------
    shape : str
        A prototype of `dft_inputs.references.prototypes`, or ``"dimer"``, ``"S8"``, ``"B12"``.
    size : float
        Volume per atom in A^3 (experiment, rounded), or a dimer's bond length in A.
    c_over_a : float or None
        Where it differs from the prototype's.
    moments : tuple of float or None
        Initial magnetic moments of the sites, Bohr magnetons.
    semiconductor : bool
        Whether a compound's mesh is enough.
    note : str
        What is approximate about it.
    """

    shape: str
    size: float
    c_over_a: float | None = None
    moments: tuple[float, ...] | None = None
    semiconductor: bool = False
    note: str = ""


def _table() -> dict[str, ElementReference]:
    table: dict[str, ElementReference] = {}
    plain = {
        "bcc": """Li 21.3 Na 37.7 K 75.3 V 13.8 Rb 92.0 Nb 18.0 Mo 15.6 Cs 115.0 Ba 63.2 Eu 48.1
            Ta 18.0 W 15.9""",
        "fcc": """Ne 22.2 Al 16.6 Ar 37.5 Ca 43.6 Cu 11.8 Kr 45.0 Sr 56.2 Rh 13.8 Pd 14.7 Ag 17.1
            Xe 58.0 Ce 34.4 Yb 41.2 Ir 14.2 Pt 15.1 Au 17.0 Pb 30.3 Ac 37.5 Th 32.9""",
        "hcp": """He 32.0 Mg 23.2 Sc 25.0 Ti 17.7 Y 33.0 Zr 23.3 Tc 14.3 Ru 13.6 Gd 33.1 Tb 32.1
            Dy 31.6 Ho 31.1 Er 30.6 Tm 30.1 Lu 29.5 Hf 22.3 Re 14.7 Os 14.0 Tl 28.6""",
        "dhcp": "La 37.2 Pr 34.5 Nd 34.2 Pm 33.6 Am 29.3 Cm 30.0",
        "arsenic": "As 21.5 Sb 30.2 Bi 35.4",
    }
    for shape, members in plain.items():
        words = members.split()
        table |= {
            e: ElementReference(shape, float(v))
            for e, v in zip(words[::2], words[1::2], strict=True)
        }
    return table


REFERENCES: dict[str, ElementReference] = {
    **_table(),
    "H": ElementReference("dimer", 0.75),
    "N": ElementReference("dimer", 1.11),
    "O": ElementReference("dimer", 1.23, moments=(1.0, 1.0), note="triplet molecule"),
    "F": ElementReference("dimer", 1.42),
    "Cl": ElementReference("iodine", 28.9, semiconductor=True),
    "Br": ElementReference("iodine", 33.0, semiconductor=True),
    "I": ElementReference("iodine", 42.7, semiconductor=True),
    "S": ElementReference("S8", 2.06, note="one S8 ring for the solid of such rings"),
    "B": ElementReference("B12", 7.3, semiconductor=True, note="alpha, as in most databases"),
    "C": ElementReference("graphite", 8.8),
    "P": ElementReference("blackphosphorus", 19.0, semiconductor=True),
    "Si": ElementReference("diamond", 20.0, semiconductor=True),
    "Ge": ElementReference("diamond", 22.6),
    "Sn": ElementReference("diamond", 34.2, note="alpha"),
    "Se": ElementReference("selenium", 27.3, semiconductor=True),
    "Te": ElementReference("selenium", 34.0, c_over_a=1.33),
    "Be": ElementReference("hcp", 8.1, c_over_a=1.57),
    "Zn": ElementReference("hcp", 15.2, c_over_a=1.86),
    "Cd": ElementReference("hcp", 21.6, c_over_a=1.89),
    "Ga": ElementReference("gallium", 19.6),
    "In": ElementReference("bct", 26.2),
    "Hg": ElementReference("mercury", 23.4),
    "U": ElementReference("uranium", 20.7),
    "Sm": ElementReference("dhcp", 33.2, note="dhcp for the nine-layer stacking"),
    "Cr": ElementReference("cscl", 12.0, moments=(1.0, -1.0), note="two-atom antiferromagnet"),
    "Mn": ElementReference(
        "cscl",
        12.0,
        c_over_a=1.34,
        moments=(2.0, -2.0),
        note="antiferromagnetic gamma for the 58-atom alpha cell: about 0.07 eV/atom too high",
    ),
    "Fe": ElementReference("bcc", 11.8, moments=(2.3,)),
    "Co": ElementReference("hcp", 11.1, moments=(1.7, 1.7)),
    "Ni": ElementReference("fcc", 10.9, moments=(0.7,)),
}
"""Reference state of each element that has one; Pa, Np, Pu and heavier ones have none here."""

_B12_SITES = ((0.0103, 0.6545), (0.2211, 0.6300))
"""(x, z) of the polar and equatorial atoms of alpha boron, rhombohedral axes (Will 2001)."""

_B12_ANGLE = 58.06


def reference_structure(element: str) -> Structure | Rejection:
    """Return the starting cell of an element's reference.

    Returns
    -------
    Structure or Rejection
        Code ``"410"`` for an element without a reference state.
    """
    from pymatgen.core import Lattice, Structure

    reference = REFERENCES.get(element)
    if reference is None:
        return Rejection("410", f"there is no reference state of {element}")
    if reference.shape == "dimer":
        half = reference.size / 2 / BOX_A
        points = [[0.5, 0.5, 0.5 - half], [0.5, 0.5, 0.5 + half]]
        return Structure(Lattice.cubic(BOX_A), [element] * 2, points)
    if reference.shape == "S8":
        return _crown(element, reference.size)
    if reference.shape == "B12":
        points = [
            [sign * p for p in point]
            for x, z in _B12_SITES
            for point in ((x, x, z), (x, z, x), (z, x, x))
            for sign in (1, -1)
        ]
        lattice = Lattice.rhombohedral(5.06, _B12_ANGLE)
        boron = Structure(lattice, [element] * 12, points, to_unit_cell=True)
        boron.scale_lattice(reference.size * 12)
        return boron
    ratios = None if reference.c_over_a is None else (1.0, reference.c_over_a)
    roles = (element, element) if reference.shape == "cscl" else (element,)
    return build(reference.shape, roles, volume_A3=reference.size, ratios=ratios)


def _crown(element: str, bond_A: float) -> Structure:
    """Return an eight-ring with bonds of that length and angles of 108 degrees, in a box."""
    from pymatgen.core import Lattice, Structure

    second = 2 * bond_A * math.sin(math.radians(54))
    radius = second / (2 * math.sin(math.radians(45)))
    across = 2 * radius * math.sin(math.radians(22.5))
    height = math.sqrt(bond_A**2 - across**2) / 2
    centre = BOX_A / 2
    points = [
        [
            centre + radius * math.cos(math.radians(45 * k)),
            centre + radius * math.sin(math.radians(45 * k)),
            centre + height * (-1) ** k,
        ]
        for k in range(8)
    ]
    return Structure(Lattice.cubic(BOX_A), [element] * 8, points, coords_are_cartesian=True)


def is_molecule(element: str) -> bool:
    """Return whether an element's reference is a molecule in a box."""
    return REFERENCES[element].shape in ("dimer", "S8")


def reference_job(
    element: str, recipe: Recipe, structure: Structure | None = None
) -> Job | Rejection:
    """Prepare the reference job of one element.

    Parameters
    ----------
    element : str
    recipe : Recipe
    structure : Structure, optional
        A relaxed cell in place of the table's, for engines that do not relax.

    Returns
    -------
    Job or Rejection
        Code ``"410"`` without a reference state; codes may have reasons of their own.
    """
    cell = structure if structure is not None else reference_structure(element)
    if isinstance(cell, Rejection):
        return cell
    reference = REFERENCES[element]
    story = {"reference": reference.shape, "note": reference.note}
    kind: Kind = "crystal" if reference.semiconductor else "metal"
    return engine_of(recipe).prepare(
        cell,
        recipe,
        formula=element,
        role="reference",
        story=story,
        treatment=Treatment("molecule" if is_molecule(element) else kind, reference.moments),
    )


def reference_jobs(elements: Iterable[str], recipe: Recipe) -> list[Job]:
    """Prepare the reference jobs of these elements, in order; those without one are left out.

    See `unreferenced` for what was left out. The same element and recipe give the same job id, so
    that a folder of references grows without asking twice.
    """
    jobs = (reference_job(element, recipe) for element in sorted(set(elements)))
    return [job for job in jobs if not isinstance(job, Rejection)]


def unreferenced(elements: Iterable[str]) -> list[str]:
    """Return the elements that have no reference state, sorted."""
    return sorted(set(elements) - set(REFERENCES))


def formation_energy(
    energy_eV: float, cell: Mapping[str, int], element_energies: Mapping[str, float]
) -> float | Rejection:
    """Return the formation energy in eV/atom (paper Eq. 4).

    Parameters
    ----------
    energy_eV : float
        Total energy of the cell.
    cell : mapping of str to int
        Atoms of each element in the cell.
    element_energies : mapping of str to float
        Energy per atom of each element's reference, by the same recipe.

    Returns
    -------
    float or Rejection
        Code ``"410"`` when a reference is missing.

    Raises
    ------
    CalculationError
        If the cell is empty.
    """
    atoms = sum(cell.values())
    if atoms == 0:
        raise CalculationError("a cell without atoms has no formation energy")
    missing = sorted(set(cell) - set(element_energies))
    if missing:
        return Rejection("410", f"there is no reference energy of {', '.join(missing)} yet")
    return (energy_eV - sum(n * element_energies[e] for e, n in cell.items())) / atoms


def competing_phases(elements: Iterable[str], library: TemplateLibrary) -> list[int]:
    """Return the known phases that bound the stability of compounds of these elements.

    Parameters
    ----------
    elements : iterable of str
        One chemical system.
    library : TemplateLibrary
        With formation energies; entries without one are not considered.

    Returns
    -------
    list of int
        Indices of the library's entries of two elements or more on the convex hull of the system.
    """
    import numpy as np
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    from structure.composition import formulas_of
    from structure.elements import ELEMENTS

    system = sorted(set(elements))
    outside = np.array([symbol not in system for symbol in ELEMENTS])
    inside = ~(library.counts[:, outside] > 0).any(axis=1)
    several = (library.counts > 0).sum(axis=1) > 1
    chosen = np.flatnonzero(inside & several & np.isfinite(library.formation_energies))
    entries: list[PDEntry] = [PDEntry(Composition(symbol), 0.0) for symbol in system]
    for index, formula in zip(chosen, formulas_of(library.counts[chosen]), strict=True):
        composition = Composition(formula)
        energy = float(library.formation_energies[index]) * composition.num_atoms
        entries.append(PDEntry(composition, energy))
    stable = {id(entry) for entry in PhaseDiagram(entries).stable_entries}
    known = entries[len(system) :]
    return [int(i) for i, entry in zip(chosen, known, strict=True) if id(entry) in stable]
