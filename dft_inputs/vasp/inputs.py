"""VASP input files for the hand-off step: one recipe step and one structure in, file texts out.

In: a `Recipe` and a pymatgen ``Structure``. Out: the texts of INCAR, KPOINTS, POTCAR.spec and, for
the first step, POSCAR. POTCARs are licensed: none is read, written or shipped; POTCAR.spec names
them, one symbol a line in the order of POSCAR, as pymatgen does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dft_inputs.job.cell import elements_of
from dft_inputs.job.meshes import lattice_rotations, mesh_divisions, symmetric_divisions
from dft_inputs.job.symmetry import SYMMETRY_TOLERANCE_A, standard_path
from dft_inputs.job.treatment import CRYSTAL, Treatment
from structure.errors import CalculationError, ConfigError, Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.recipes.recipe import Recipe, Step

POSCAR_DIGITS = 10
"""Decimals of lattice vectors and fractional coordinates in POSCAR (chosen)."""

OPEN_SHELL_MOMENT = 5.0
"""Starting moment in Bohr magnetons of open-shell d and f elements (chosen: ferromagnetic, high
spin, as in the Materials Project's sets)."""

OTHER_MOMENT = 0.6
"""Starting moment of every other element in a spin-polarised run (the Materials Project's)."""

F_IN_CORE = ("_2", "_3")
"""Endings of the symbols of potentials that keep the f electrons in their core (VASP's manual)."""

POTENTIAL_REMARKS = {
    "Yb_2": "Yb_2 keeps ytterbium divalent: energies of compounds of Yb3+ are wrong with it.\n"
    "pymatgen warns of it too; the recipe agd-paper takes Yb_3.",
    "W_pv": "W_pv is no part of the releases of PBE from 54 on, which have W_sv.",
}
"""What whoever calculates with a potential should know, by its symbol."""


@cache
def _potcar_table(base: str) -> dict[str, str]:
    """Return the element -> POTCAR symbol table of one of pymatgen's input sets."""
    return dict(_input_set(base).CONFIG["POTCAR"])


def _input_set(name: str) -> Any:
    from pymatgen.io.vasp import sets

    if not hasattr(sets, name):
        raise ConfigError(
            f"the installed pymatgen has no VASP input set {name!r}",
            fix="Install the pymatgen version of constraints.txt.",
        )
    return getattr(sets, name)


def potcar_symbols(recipe: Recipe, elements: Sequence[str]) -> tuple[str, ...] | Rejection:
    """Return the POTCAR symbol of each element.

    Parameters
    ----------
    recipe : Recipe
    elements : sequence of str
        In the order of POSCAR.

    Returns
    -------
    tuple of str, or Rejection
        Code ``"potcar"`` when the recipe's table has no potential for an element.
    """
    table = {**_potcar_table(recipe.potcar_base or "MPRelaxSet"), **dict(recipe.potcar_overrides)}
    missing = [e for e in elements if e not in table]
    if missing:
        return Rejection(
            "potcar", f"{recipe.potcar_base} names no potential for {', '.join(missing)}"
        )
    return tuple(table[e] for e in elements)


def step_inputs(
    recipe: Recipe, step: Step, structure: Structure, treatment: Treatment = CRYSTAL
) -> dict[str, str]:
    """Write the inputs of one step.

    Parameters
    ----------
    recipe, step
        A VASP recipe and one of its steps.
    structure : Structure
        As `job_structure` gives it.
    treatment : Treatment

    Returns
    -------
    dict of str to str
        File name to text: INCAR, KPOINTS, POTCAR.spec, and POSCAR if the step starts the job.

    Raises
    ------
    CalculationError
        If an element has no potential in the recipe's table.
    """
    from pymatgen.io.vasp import Poscar

    symbols = potcar_symbols(recipe, elements_of(structure))
    if isinstance(symbols, Rejection):
        raise CalculationError(symbols.sentence, fix="Leave the element out or use another recipe.")
    calculated = structure
    if (times := step.repeats(structure)) is not None:
        calculated = structure.make_supercell(times, in_place=False)
    files = {
        "INCAR": _incar(recipe, step, calculated, treatment),
        "KPOINTS": _kpoints(step, structure, treatment),
        "POTCAR.spec": "".join(f"{symbol}\n" for symbol in symbols),
    }
    if step.structure_from is None:
        poscar = Poscar(structure, comment=structure.composition.formula)
        files["POSCAR"] = poscar.get_str(significant_figures=POSCAR_DIGITS)
    return files


def _incar(recipe: Recipe, step: Step, structure: Structure, treatment: Treatment) -> str:
    from pymatgen.io.vasp import Incar

    tags: dict[str, Any] = {}
    if step.pymatgen_set is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags.update(_set_for(step, structure).incar)
    tags.update(step.incar.as_incar())
    if step.pymatgen_set is None:
        tags.update(_spin(recipe, structure, treatment))
        tags.update(_mixing(structure))
    elif treatment.magnetic_moments is not None:
        tags.update(ISPIN=2, MAGMOM=list(treatment.magnetic_moments))
    if treatment.molecule or (tags.get("ISMEAR") == -5 and _mesh_points(step, structure) < 4):
        tags.update(ISMEAR=0, SIGMA=0.05)
    if treatment.molecule and tags.get("ISIF") == 3:
        tags["ISIF"] = 2
    return Incar(tags).get_str(sort_keys=True)


def _set_for(step: Step, structure: Structure) -> Any:
    """Return pymatgen's input set for a step of the compatible profile."""
    kind = _input_set(step.pymatgen_set or "")
    if step.pymatgen_set == "MPNonSCFSet":
        if step.line_density is not None:
            return kind(structure, mode="line", kpoints_line_density=step.line_density)
        return kind(structure, mode="uniform", reciprocal_density=step.k_density)
    if step.pymatgen_set == "MPRelaxSet":
        return kind(structure, user_kpoints_settings={"reciprocal_density": step.k_density})
    return kind(structure, reciprocal_density=step.k_density)


def _spin(recipe: Recipe, structure: Structure, treatment: Treatment) -> dict[str, Any]:
    if treatment.magnetic_moments is not None:
        return {"ISPIN": 2, "MAGMOM": list(treatment.magnetic_moments)}
    magnetic = _with_open_shells(recipe, structure)
    if not recipe.spin_polarised(magnetic):
        return {"ISPIN": 1}
    symbols = [site.specie.symbol for site in structure]
    moments = [OPEN_SHELL_MOMENT if s in magnetic else OTHER_MOMENT for s in symbols]
    return {"ISPIN": 2, "MAGMOM": moments}


def _with_open_shells(recipe: Recipe, structure: Structure) -> set[str]:
    """Return the elements whose open shell is among the electrons that are calculated."""
    from dft_inputs.recipes.recipe import OPEN_SHELL

    elements = elements_of(structure)
    symbols = potcar_symbols(recipe, elements)
    if isinstance(symbols, Rejection):
        return set(OPEN_SHELL.intersection(elements))
    return {
        element
        for element, symbol in zip(elements, symbols, strict=True)
        if element in OPEN_SHELL and not symbol.endswith(F_IN_CORE)
    }


def _mixing(structure: Structure) -> dict[str, Any]:
    """Keep d and f one-centre densities in CHGCAR, which fixed-density runs start from."""
    blocks = {site.specie.block for site in structure}
    if "f" in blocks:
        return {"LMAXMIX": 6}
    return {"LMAXMIX": 4} if "d" in blocks else {}


def _mesh_points(step: Step, structure: Structure) -> int:
    """Return how many points the full mesh of a step has; the tetrahedron method needs four."""
    mesh = _mesh(step, structure)
    return math.prod(mesh.kpts[0]) if mesh is not None else 0


def _mesh(step: Step, structure: Structure) -> Any:
    """Return the mesh of a cell; where a step repeats the cell, the same mesh, divided."""
    from pymatgen.core import Lattice
    from pymatgen.io.vasp import Kpoints

    if step.k_density is None:
        return None
    divisions = mesh_divisions(structure, round(step.k_density))
    if (times := step.repeats(structure)) is not None:
        repeated = Lattice(structure.lattice.matrix * np.array(times)[:, None])
        least = [math.ceil(n / t) for n, t in zip(divisions, times, strict=True)]
        divisions = symmetric_divisions(least, lattice_rotations(repeated))
    return Kpoints.gamma_automatic(divisions)


def _kpoints(step: Step, structure: Structure, treatment: Treatment) -> str:
    from pymatgen.io.vasp import Kpoints

    if treatment.molecule:
        mesh = Kpoints.gamma_automatic((1, 1, 1))
        mesh.comment = "Gamma only: a molecule in a box"
        return str(mesh)
    if step.line_density is not None:
        return _band_path(structure, step.line_density)
    mesh = _mesh(step, structure)
    if mesh is None:
        raise ConfigError(f"step {step.name} has neither a mesh nor a path")
    mesh.comment = f"Gamma-centred, {step.k_density:g} k-points per reciprocal cubic Angstrom"
    if (times := step.repeats(structure)) is not None:
        mesh.comment += f", of the cell repeated {' x '.join(map(str, times))} times"
        mesh.comment += _too_short(step, structure, times)
    return str(mesh)


def _too_short(step: Step, structure: Structure, times: tuple[int, int, int]) -> str:
    """Return a remark on a supercell that had to stay smaller than asked for."""
    asked = step.supercell
    edges = [edge * n for edge, n in zip(structure.lattice.abc, times, strict=True)]
    if asked is None or min(edges) > asked.edge_A * (1 - SYMMETRY_TOLERANCE_A):
        return ""
    return f"; {asked.edge_A:g} A would be over {asked.most_atoms} atoms"


def _band_path(structure: Structure, line_density: int) -> str:
    """Return explicit k-points along the high-symmetry path of the standard primitive cell."""
    path = standard_path(structure)
    points, labels = path.get_kpoints(line_density, coords_are_cartesian=False)
    lines = [f"High-symmetry path, {line_density} points per reciprocal Angstrom"]
    lines += [f"{len(points)}", "Reciprocal"]
    for point, label in zip(points, labels, strict=True):
        x, y, z = (round(float(c), POSCAR_DIGITS) + 0.0 for c in point)
        lines.append(f"{x:.10f} {y:.10f} {z:.10f} 1 {label}".rstrip())
    return "\n".join(lines) + "\n"
