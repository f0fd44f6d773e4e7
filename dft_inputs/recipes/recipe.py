"""Calculation recipes for the hand-off step: the paper's settings as frozen, hashed objects.

In: nothing. Out: `Recipe` objects that the writers (`vasp`, `gpaw`) turn into input files and the
checks compare results against. A recipe's hash goes with every label; labels of different hashes
are never one data set.

The AGD paper (sec. 3.3.4) gives VASP, PAW, PBE, a 400 eV cut-off, 1e-5 eV, 0.01 eV/A and
Gamma-centred Monkhorst-Pack meshes. It leaves the rest open; every choice made here is a sentence
in `Recipe.choices`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from structure.errors import ConfigError
from structure.records import Settings

if TYPE_CHECKING:
    from pymatgen.core import Structure

ENCUT_EV = 400.0
"""Plane-wave cut-off in eV (paper sec. 3.3.4)."""

LARGEST_VOLUME_CHANGE = 0.20
"""A relaxation that changes the volume by more than this is flagged (chosen): at 400 eV, the
ENMAX of the standard O and F potentials, Pulay stress is not small."""

OPEN_SHELL = frozenset(
    """V Cr Mn Fe Co Ni Cu Mo Ru Rh Re Os Ir
    Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Pa U Np Pu Am Cm""".split()
)
"""Elements with partly filled d or f shells in common oxidation states (chosen)."""


class IncarSettings(Settings):
    """The INCAR tags a step sets, in VASP's units. None leaves a tag out."""

    gga: str | None = None
    """Functional, such as ``PE`` for PBE."""
    prec: Literal["Normal", "Accurate"] | None = None
    """Precision of grids and projectors."""
    encut: float | None = None
    """Plane-wave cut-off, eV."""
    ediff: float | None = None
    """Change of the energy that ends an electronic cycle, eV."""
    ediffg: float | None = None
    """What ends a relaxation: below zero a force in eV/Å, above zero a change of the energy in
    eV."""
    nelm: int | None = None
    """Most steps of an electronic cycle."""
    algo: Literal["Normal", "Fast", "All"] | None = None
    """How electrons are minimised."""
    ismear: int | None = None
    """Kind of smearing: 0 is Gaussian, -5 the tetrahedron method."""
    sigma: float | None = None
    """Width of the smearing, eV."""
    lreal: bool | None = None
    """Project in real space."""
    lasph: bool | None = None
    """Non-spherical contributions inside the spheres."""
    ibrion: int | None = None
    """How ions move: 2 is conjugate gradients, 5 and 6 are finite differences, -1 is not at all."""
    isif: int | None = None
    """What relaxes: 2 ions, 3 ions, shape and volume."""
    nsw: int | None = None
    """Most ionic steps."""
    potim: float | None = None
    """Length of an ionic step or displacement, Å."""
    nfree: int | None = None
    """Displacements of each ion along each direction."""
    icharg: int | None = None
    """Where the charge density begins; 11 keeps it fixed."""
    lepsilon: bool | None = None
    """Dielectric tensor and Born charges."""
    lorbit: int | None = None
    """Projections onto orbitals."""
    lwave: bool | None = None
    """Write WAVECAR."""
    lcharg: bool | None = None
    """Write CHGCAR."""

    def as_incar(self) -> dict[str, str | float | int | bool]:
        """Return the set tags under VASP's upper-case names."""
        return {tag.upper(): value for tag, value in self if value is not None}


class GpawSettings(Settings):
    """One GPAW ground state followed by bands at fixed density. Energies in eV, lengths in A."""

    xc: Literal["PBE"] = "PBE"
    """Exchange-correlation functional."""
    cutoff_eV: float = 500.0
    """GPAW's setups of B, N, O and F are harder than VASP's: at 400 eV the gap of BN is 0.6 eV too
    small, at 500 eV 0.07 eV (measured)."""
    spacing_per_A: float = 0.35
    """Largest distance between neighbouring points of the Gamma-centred mesh (with 2 pi)."""
    smearing_eV: float = 0.05
    """Width of the Fermi-Dirac occupations; energies are extrapolated to zero width."""
    metal_spacing_per_A: float = 0.35
    """Mesh spacing of elemental metals."""
    metal_smearing_eV: float = 0.1
    """Width of the occupations of elemental metals."""
    density_convergence: float = 1e-4
    """Change of the density at which the cycle ends, electrons per valence electron."""
    energy_convergence_eV: float = 5e-4
    """Change of the energy at which the cycle ends, eV per valence electron."""
    eigenstate_convergence_eV2: float = 1e-6
    """Residual of the wave functions at which the cycle ends, eV² per valence electron."""
    most_iterations: int = 120
    """Steps after which a cycle that has not converged is given up."""
    path_points: int = 24
    """Points on the band path, evaluated at fixed density; 0 skips the path."""
    molecule_box_A: float = 9.0
    """Edge of the cubic box of a molecule, beyond its own extent."""


_EQUAL_EDGES = 1e-3
"""Relative difference of edges that symmetry makes equal (chosen: the search's tolerance)."""


class Supercell(Settings):
    """How far a cell is repeated before atoms are displaced (chosen)."""

    edge_A: float = 9.0
    """Every edge is at least this long: forces of insulators fade over some 4 A on either side."""
    most_atoms: int = 100
    """Where that makes more atoms, all edges shrink together; cost grows with their cube."""

    def divisions(self, edges_A: Sequence[float], atoms: int) -> tuple[int, int, int]:
        """Return how often a cell is repeated along each of its edges.

        Equal edges are repeated equally often, so that the supercell keeps the cell's symmetry.

        Parameters
        ----------
        edges_A : sequence of float, shape (3,)
        atoms : int
            In the cell.
        """
        lengths = {n * edge for edge in edges_A for n in range(1, self.most_atoms + 1)}
        for length in sorted({self.edge_A, *(x for x in lengths if x < self.edge_A)}, reverse=True):
            a, b, c = (max(1, math.ceil(length / edge - _EQUAL_EDGES)) for edge in edges_A)
            if atoms * a * b * c <= self.most_atoms:
                return a, b, c
        return 1, 1, 1


class Step(Settings):
    """One calculation of a job; its folder carries `name`."""

    name: str
    """``"00-relax1"`` ...; steps run in this order."""
    incar: IncarSettings = IncarSettings()
    """Every tag of a step without a `pymatgen_set`, else only the departures from that set."""
    k_density: float | None = None
    """Gamma-centred mesh in k-points per reciprocal A^3. None on a band path."""
    line_density: int | None = None
    """k-points per reciprocal A along the path (pymatgen's definition)."""
    structure_from: str | None = None
    """Former step whose relaxed structure starts this one; the first has its own from the
    ticket."""
    density_from: str | None = None
    """Former step whose charge density starts this one."""
    keeps: tuple[str, ...] = ()
    """Large files that a later step still reads; all others may be deleted after the step."""
    pymatgen_set: str | None = None
    """Class of `pymatgen.io.vasp.sets` that writes the inputs, for the compatible profile."""
    optional: bool = False
    """Emitted only when the campaign asks for it."""
    gpaw: GpawSettings | None = None
    """Given for engine gpaw, instead of INCAR tags."""
    settings: dict[str, str | int | float | bool] | None = None
    """A code's own settings by name, where it is none of those above. The code checks them."""
    supercell: Supercell | None = None
    """Given where the step calculates a repetition of the relaxed cell."""

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older recipes lack: their hashes must not change."""
        document: dict[str, Any] = write(self)
        for name in ("supercell", "settings"):
            if document[name] is None:
                del document[name]
        return document

    def repeats(self, cell: Structure) -> tuple[int, int, int] | None:
        """Return how often the step repeats a cell along each edge; None where it does not."""
        if self.supercell is None:
            return None
        return self.supercell.divisions(cell.lattice.abc, len(cell))


class Recipe(Settings):
    """Everything that decides the numbers of a calculation."""

    name: str
    """For people; the hash is what counts."""
    engine: str
    """The DFT code that calculates it."""
    steps: tuple[Step, ...]
    """What is calculated, in order."""
    potcar_functional: str | None = None
    """Family of the VASP potentials, as pymatgen names it."""
    potcar_base: str | None = None
    """The pymatgen input set whose element -> symbol table is used."""
    potcar_overrides: tuple[tuple[str, str], ...] = ()
    """Departures from that table."""
    spin: Literal["open-shell", "always", "never"] = "open-shell"
    """When a calculation is spin-polarised; "open-shell" asks `OPEN_SHELL`."""
    hubbard_u: bool = False
    """Whether +U is added by the input set."""
    choices: tuple[str, ...] = ()
    """What the paper leaves open and what was chosen; prose, not part of the hash."""

    @model_validator(mode="after")
    def _steps_come_in_order(self) -> Recipe:
        seen: list[str] = []
        for step in self.steps:
            for needed in (step.structure_from, step.density_from):
                if needed is not None and needed not in seen:
                    raise ValueError(
                        f"step {step.name} starts from {needed}, which is not before it"
                    )
            seen.append(step.name)
        if len(set(seen)) != len(seen) or not seen:
            raise ValueError("a recipe needs at least one step, and their names must differ")
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all settings, without name and prose."""
        settings = self.model_dump(mode="json", exclude={"name", "choices"})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def step(self, name: str) -> Step:
        """Return the step of that name.

        Raises
        ------
        ConfigError
            If the recipe has no such step.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise ConfigError(
            f"recipe {self.name} has no step {name!r}",
            fix=f"Its steps are {', '.join(step.name for step in self.steps)}.",
        )

    def spin_polarised(self, elements: Iterable[str]) -> bool:
        """Return whether a compound of these elements is calculated with spin."""
        return self.spin == "always" or (
            self.spin == "open-shell" and not OPEN_SHELL.isdisjoint(elements)
        )

    def with_steps(self, names: Iterable[str]) -> Recipe:
        """Return the same recipe with the required steps and only these optional ones."""
        wanted = {self.step(name).name for name in names}
        kept = tuple(step for step in self.steps if not step.optional or step.name in wanted)
        return Recipe.model_validate({**dict(self), "steps": kept})
