"""Phonons of a finished job: serves collect.

In: a step folder in which VASP displaced the atoms of a supercell (IBRION 6) or perturbed those of
the cell (IBRION 8). Out: `Phonons`: force constants, bands along the cell's standard path, the
lowest frequency, where it is, and whether the crystal is stable; or the reason there are none.
phonopy does the lattice dynamics; where it is not installed, that is the reason. Long-range fields
of polar crystals are left out: optical branches do not split at Gamma.
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dft_inputs.properties.phonon_bands import GAMMA, Frequencies, Segment, bands
from dft_inputs.vasp.energies import cycles_of
from dft_inputs.vasp.outputs import sound_xml
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

NEAR_GAMMA_THZ = 0.3
"""How far below zero a frequency near Gamma may lie in a stable crystal (chosen). Near is: nearer
than the shortest wave vector that fits the supercell. There, bands are interpolated, and forces
that miss rotational invariance by a little bend acoustic branches below zero."""

ELSEWHERE_THZ = 0.1
"""The same elsewhere (chosen): force constants are good to some 1e-3 eV/A^2 (EDIFF 1e-8, 0.015 A),
which is 0.07 THz for a mass of 50."""

SAME_PLACE_A = 0.02
"""Largest distance of an atom of the supercell from its place in a repetition of the cell (chosen:
twice the tolerance of the symmetry search)."""

SAME_FREQUENCY_THZ = 1e-3
"""Frequencies of equivalent wave vectors differ by less (chosen)."""


@dataclass(frozen=True)
class Phonons:
    """Harmonic vibrations of a crystal.

    Attributes
    ----------
    cell : Structure
        The relaxed cell, in the setting of the job.
    supercell : tuple of int
        How often it was repeated along each edge.
    force_constants : ndarray, shape (n, n, 3, 3)
        eV/A^2, of the supercell's atoms in phonopy's order; acoustic sum rule applied.
    segments : tuple of Segment
        Empty where only Gamma is known.
    lowest_THz : float
        The lowest frequency, or the lowest of those that make the crystal unstable.
    lowest_at : str
        Where it is.
    stable : bool
        No frequency on the path, or at a wave vector that fits the supercell, is further below zero
        than `NEAR_GAMMA_THZ` near Gamma or `ELSEWHERE_THZ` elsewhere.
    """

    cell: Structure = field(repr=False)
    supercell: tuple[int, int, int]
    force_constants: np.ndarray = field(repr=False)
    segments: tuple[Segment, ...] = field(repr=False)
    lowest_THz: float
    lowest_at: str
    stable: bool

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        word = "stable" if self.stable else "unstable"
        times = " x ".join(str(n) for n in self.supercell)
        edges = zip(self.cell.lattice.abc, self.supercell, strict=True)
        shortest = min(edge * n for edge, n in edges)
        known = "" if self.segments else " at Gamma"
        lowest = round(self.lowest_THz, 2) + 0.0  # without a minus before zero
        return (
            f"phonons{known}: {word}, lowest frequency {lowest:.2f} THz at "
            f"{self.lowest_at}; {times} cells, shortest edge {shortest:.1f} A"
        )


def read_phonons(folder: Path, supercell: tuple[int, int, int] | None) -> Phonons | Rejection:
    """Read a step folder that came back.

    Parameters
    ----------
    folder : Path
    supercell : tuple of int or None
        How often the cell was repeated; None where the step calculated the cell itself, of which
        only the phonons at Gamma are known.

    Returns
    -------
    Phonons or Rejection
        Code ``"phonopy"`` where it is not installed; ``"200"`` when vasprun.xml is missing, cut
        off, damaged or too large, holds no force constants, is no repetition of a cell, or when the
        electrons of a displacement did not converge.
    """
    if find_spec("phonopy") is None:
        return Rejection(
            "phonopy",
            f"{folder.name} was not read: phonopy is not installed (agd-pipeline[phonons])",
        )
    path = sound_xml(folder)
    if isinstance(path, Rejection):
        return path
    try:
        found, constants = _calculated(path)
        return phonons_of(found, supercell or (1, 1, 1), constants, supercell is not None)
    except Exception as error:  # pymatgen and phonopy let any exception out of a damaged file
        kind = "" if type(error) is ValueError else f"{type(error).__name__} "
        reason = (str(error).splitlines() or [""])[0][:200]
        return Rejection("200", f"{folder.name}/{path.name} gives no phonons: {kind}{reason}")


def _calculated(path: Path) -> tuple[Structure, np.ndarray]:
    """Return the undisplaced structure and its force constants in eV/A^2, in VASP's order."""
    from phonopy.interface.vasp import parse_force_constants

    from dft_inputs.vasp.vasprun import parsed

    run = parsed(path, eigenvalues=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        constants, _ = parse_force_constants(path)
    limit = int(run.parameters.get("NELM", 60))
    bad = sum(cycles_of(step) >= limit for step in run.ionic_steps)
    if bad:
        raise ValueError(f"electrons did not converge in {bad} of {len(run.ionic_steps)} steps")
    start: Structure = run.initial_structure
    if len(constants) != len(start) or not np.isfinite(constants).all():
        raise ValueError("force constants are not finite, or not of all atoms")
    return start, constants


def phonons_of(
    found: Structure,
    supercell: tuple[int, int, int],
    force_constants: np.ndarray,
    dispersion: bool = True,
) -> Phonons:
    """Return the phonons that force constants give.

    Parameters
    ----------
    found : Structure
        The supercell without displacements, atoms in any order.
    supercell : tuple of int
        How often it repeats its cell along each edge.
    force_constants : ndarray, shape (n, n, 3, 3)
        eV/A^2, atoms in the order of `found`.
    dispersion : bool
        Whether to calculate bands along the standard path; if not, only Gamma counts.

    Raises
    ------
    ValueError
        If `found` is no repetition of a cell.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = repeated_cell(found, supercell)
    atoms = PhonopyAtoms(
        symbols=[site.specie.symbol for site in cell],
        cell=cell.lattice.matrix,
        scaled_positions=cell.frac_coords,
    )
    lattice = Phonopy(atoms, np.diag(supercell), primitive_matrix="P", is_symmetry=False)
    order = _places(found, lattice.supercell.scaled_positions, lattice.supercell.symbols)
    lattice.force_constants = force_constants[np.ix_(order, order)].copy()
    lattice.symmetrize_force_constants(level=2, show_drift=False)

    def frequencies(qpoints: np.ndarray) -> np.ndarray:
        return np.asarray(lattice.run_qpoints(qpoints).frequencies)

    segments = tuple(bands(cell, frequencies)) if dispersion else ()
    lowest_THz, lowest_at, stable = _verdict(cell, supercell, segments, frequencies)
    return Phonons(
        cell=cell,
        supercell=supercell,
        force_constants=np.asarray(lattice.force_constants),
        segments=segments,
        lowest_THz=lowest_THz,
        lowest_at=lowest_at,
        stable=stable,
    )


def _verdict(
    cell: Structure,
    supercell: tuple[int, int, int],
    segments: tuple[Segment, ...],
    frequencies: Frequencies,
) -> tuple[float, str, bool]:
    """Return the telling frequency in THz, where it is, and whether the crystal is stable."""
    fitting = np.array(list(itertools.product(*(range(n) for n in supercell)))) / supercell
    # Corners first: of equal frequencies, the one with the best name is told.
    parts = [(s.qpoints[[0, -1]], s.frequencies[[0, -1]]) for s in segments]
    parts += [(s.qpoints, s.frequencies) for s in segments]
    parts += [(fitting, frequencies(fitting))]
    qpoints = np.vstack([part[0] for part in parts])
    lowest = np.vstack([part[1] for part in parts]).min(axis=1)
    tolerance = np.where(_near_gamma(cell, supercell, qpoints), NEAR_GAMMA_THZ, ELSEWHERE_THZ)
    broken = lowest < -tolerance
    telling = np.where(broken, lowest, np.inf) if broken.any() else lowest
    place = int(np.argmax(telling < telling.min() + SAME_FREQUENCY_THZ))
    value = round(float(lowest[place]), 4) + 0.0
    return value, _name(qpoints[place], segments), not broken.any()


def repeated_cell(found: Structure, supercell: tuple[int, int, int]) -> Structure:
    """Return the cell that a supercell repeats.

    Raises
    ------
    ValueError
        If its atoms do not come as often as the cell is repeated.
    """
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(found.lattice.matrix / np.array(supercell)[:, None])
    margin = SAME_PLACE_A / np.array(lattice.abc)
    inside = (np.mod(found.frac_coords + margin / supercell, 1.0) * supercell < 1.0).all(axis=1)
    if inside.sum() * math.prod(supercell) != len(found):
        raise ValueError(f"the atoms are not those of a cell repeated {supercell} times")
    species = [found[i].specie for i in np.flatnonzero(inside)]
    coords = found.frac_coords[inside] * supercell
    return Structure(lattice, species, coords)


def _places(found: Structure, wanted: np.ndarray, symbols: list[str]) -> np.ndarray:
    """Return for each wanted place, in fractions of the supercell, the atom that is there."""
    apart = found.lattice.get_all_distances(wanted, found.frac_coords)
    order: np.ndarray = apart.argmin(axis=1)
    there = apart.min(axis=1).max() < SAME_PLACE_A and len(set(order)) == len(found)
    if not there or [found[i].specie.symbol for i in order] != list(symbols):
        raise ValueError("an atom of the supercell is not at its place in the repeated cell")
    return order


def _near_gamma(
    cell: Structure, supercell: tuple[int, int, int], qpoints: np.ndarray
) -> np.ndarray:
    """Return which wave vectors are shorter than the shortest that fits the supercell."""
    from pymatgen.core import Lattice

    reciprocal = cell.lattice.reciprocal_lattice
    fitting = Lattice(reciprocal.matrix / np.array(supercell)[:, None])
    shortest = min(fitting.get_lll_reduced_lattice().abc)
    near: np.ndarray = reciprocal.get_all_distances([0, 0, 0], qpoints)[0] < shortest * (1 - 1e-6)
    return near


def _name(qpoint: np.ndarray, segments: tuple[Segment, ...]) -> str:
    """Return the name of a wave vector: a corner, between two corners, or its coordinates."""
    for segment in segments:
        for label, corner in zip(segment.labels, segment.qpoints[[0, -1]], strict=True):
            if np.allclose((qpoint - corner + 0.5) % 1.0, 0.5, atol=1e-6):
                return label
    for segment in segments:
        if (segment.qpoints == qpoint).all(axis=1).any():
            return f"a point between {segment.labels[0]} and {segment.labels[1]}"
    if not qpoint.any():
        return GAMMA
    return f"q = ({', '.join(f'{x:.3g}' for x in qpoint)})"
