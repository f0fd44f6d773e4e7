"""Physical properties from finished calculations: serves collect.

In: energies, gaps and VASP's elastic tensor. Out: the gap a label gets, distance to the convex
hull, elastic moduli and mechanical stability. Formation energies (paper Eq. 4) are in
`dft_inputs.references.reference_phases`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from structure.errors import CalculationError, Rejection

GAP_DISAGREEMENT_EV = 0.1
"""Gaps from mesh and path that differ by more are flagged (chosen)."""

KBAR_PER_GPA = 10.0

VOIGT_FROM_VASP = (0, 1, 2, 4, 5, 3)
"""VASP prints xx yy zz xy yz zx; Voigt's order is xx yy zz yz zx xy."""


class Gap(NamedTuple):
    """A band gap and what qualifies it."""

    eV: float
    finding: Rejection | None


def band_gap(mesh_eV: float, path_eV: float | None) -> Gap:
    """Combine the gaps of the uniform mesh and of the band path; the smaller one counts.

    Parameters
    ----------
    mesh_eV : float
    path_eV : float or None
        None where no path was calculated.

    Returns
    -------
    Gap
        With code ``"400"`` when they differ by more than `GAP_DISAGREEMENT_EV`, or when one is a
        metal's.
    """
    if path_eV is None:
        return Gap(mesh_eV, None)
    smaller = min(mesh_eV, path_eV)
    apart = abs(mesh_eV - path_eV)
    if (mesh_eV == 0) != (path_eV == 0):
        metal = "mesh" if mesh_eV == 0 else "path"
        sentence = f"a metal on the {metal}, a gap of {max(mesh_eV, path_eV):.2f} eV on the other"
        return Gap(smaller, Rejection("400", sentence))
    if apart > GAP_DISAGREEMENT_EV:
        sentence = f"gap {mesh_eV:.2f} eV on the mesh, {path_eV:.2f} eV on the path"
        return Gap(smaller, Rejection("400", sentence))
    return Gap(smaller, None)


def hull_distance(
    cell: Mapping[str, int],
    formation_energy_eV: float,
    phases: Sequence[tuple[Mapping[str, int], float]],
) -> float:
    """Return the energy above the convex hull of the other phases, in eV/atom.

    Parameters
    ----------
    cell : mapping of str to int
    formation_energy_eV : float
        eV/atom, against elements at zero.
    phases : sequence of (cell, eV/atom)
        Competing phases of the same recipe.

    Returns
    -------
    float
        Negative when the compound lies below the hull of the others.
    """
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    entries = [PDEntry(Composition(element), 0.0) for element in cell]
    for other, energy in phases:
        composition = Composition(dict(other))
        if set(other) <= set(cell):
            entries.append(PDEntry(composition, energy * composition.num_atoms))
    own = Composition(dict(cell))
    diagram = PhaseDiagram(entries)
    return formation_energy_eV - float(diagram.get_hull_energy_per_atom(own))


@dataclass(frozen=True)
class Elasticity:
    """Elastic properties of a crystal, in GPa.

    Attributes
    ----------
    constants : ndarray, shape (6, 6)
        Voigt order, symmetrised.
    bulk_voigt, bulk_reuss, bulk, shear_voigt, shear_reuss, shear : float
        Bounds, and Hill's averages of them.
    young : float
        9KG / (3K + G).
    poisson : float
    stable : bool
        Born's criterion: every eigenvalue of the matrix of constants is positive.
    smallest_eigenvalue : float
    """

    constants: np.ndarray
    bulk_voigt: float
    bulk_reuss: float
    shear_voigt: float
    shear_reuss: float
    smallest_eigenvalue: float

    @property
    def bulk(self) -> float:
        """Hill's bulk modulus."""
        return 0.5 * (self.bulk_voigt + self.bulk_reuss)

    @property
    def shear(self) -> float:
        """Hill's shear modulus."""
        return 0.5 * (self.shear_voigt + self.shear_reuss)

    @property
    def young(self) -> float:
        """Young's modulus of the polycrystal."""
        return 9 * self.bulk * self.shear / (3 * self.bulk + self.shear)

    @property
    def poisson(self) -> float:
        """Poisson's ratio of the polycrystal."""
        return (3 * self.bulk - 2 * self.shear) / (2 * (3 * self.bulk + self.shear))

    @property
    def stable(self) -> bool:
        """Whether every homogeneous strain costs energy."""
        return self.smallest_eigenvalue > 0


def elasticity(vasp_kbar: np.ndarray) -> Elasticity:
    """Turn VASP's elastic tensor into moduli (Hill 1952; Born by eigenvalues, Mouhat 2014).

    Parameters
    ----------
    vasp_kbar : ndarray of float, shape (6, 6)
        "TOTAL ELASTIC MODULI" of the OUTCAR: kBar, order xx yy zz xy yz zx.

    Raises
    ------
    CalculationError
        If the shape is not (6, 6), a value is not finite, or the matrix has no inverse.
    """
    raw = np.asarray(vasp_kbar, dtype=np.float64)
    if raw.shape != (6, 6) or not np.isfinite(raw).all():
        raise CalculationError(f"an elastic tensor of shape {raw.shape} or with holes in it")
    order = np.array(VOIGT_FROM_VASP)
    c = raw[np.ix_(order, order)] / KBAR_PER_GPA
    c = 0.5 * (c + c.T)
    smallest = float(np.linalg.eigvalsh(c)[0])
    try:
        s = np.linalg.inv(c)
    except np.linalg.LinAlgError as error:
        raise CalculationError("the elastic tensor has no inverse") from error
    normal, mixed, shear = np.trace(c[:3, :3]), c[0, 1] + c[0, 2] + c[1, 2], np.trace(c[3:, 3:])
    s_normal, s_mixed, s_shear = (
        np.trace(s[:3, :3]),
        s[0, 1] + s[0, 2] + s[1, 2],
        np.trace(s[3:, 3:]),
    )
    return Elasticity(
        constants=c,
        bulk_voigt=float(normal + 2 * mixed) / 9,
        bulk_reuss=float(1 / (s_normal + 2 * s_mixed)),
        shear_voigt=float(normal - mixed + 3 * shear) / 15,
        shear_reuss=float(15 / (4 * s_normal - 4 * s_mixed + 3 * s_shear)),
        smallest_eigenvalue=smallest,
    )
