"""Hold our phonons against phonopy's own workflow on the same forces, and against experiment.

In: forces of silicon by GPAW (``tests/dft_inputs/golden/si-gpaw-forces.json``) and of copper by
ASE's effective-medium potential, fcc and bcc. Out: ``docs/results/phonons.md`` and two pictures.
For our side the force constants are taken apart from phonopy, written into a vasprun.xml by the
stand-in for VASP, in the folder that the hand-off makes, and read as collect does.

    OMP_NUM_THREADS=1 python benchmarks/phonons.py --gpaw     once: computes silicon's forces
    OMP_NUM_THREADS=1 python benchmarks/phonons.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import publish  # noqa: E402
from dft_inputs.cluster import runner  # noqa: E402
from dft_inputs.gpaw.jobs import interpreter  # noqa: E402
from dft_inputs.job.cell import elements_of, job_structure  # noqa: E402
from dft_inputs.properties.phonon_bands import band_picture  # noqa: E402
from dft_inputs.properties.phonons import Phonons, read_phonons  # noqa: E402
from dft_inputs.recipes.shipped import DISPLACEMENT_A, PAPER  # noqa: E402
from dft_inputs.vasp.inputs import potcar_symbols, step_inputs  # noqa: E402
from structure.files import write_text  # noqa: E402

FAKE = ROOT / "tests" / "engines" / "fake_vasp"
SILICON = ROOT / "tests" / "dft_inputs" / "golden" / "si-gpaw-forces.json"
RESULTS = ROOT / "docs" / "results"
STEP = "07-phonons"
SI_TIMES, SI_EDGE_A, SI_CUTOFF_EV, SI_MESH = (2, 2, 2), 5.469, 300.0, (3, 3, 3)
"""16 atoms, PBE's lattice constant; less than the recipe's 54 atoms, to be affordable on a core."""

MEASURED_SI = {("Γ", 5): 15.53, ("X", 0): 4.49, ("X", 2): 12.32, ("X", 5): 13.90,
               ("L", 0): 3.43, ("L", 2): 11.35, ("L", 3): 12.60, ("L", 5): 14.68}  # fmt: skip
"""THz, by corner and branch from below (neutrons; Nilsson and Nelin 1972)."""

MEASURED_CU = {("X", 0): 5.13, ("X", 2): 7.25, ("L", 0): 3.42, ("L", 2): 7.30}
"""THz (neutrons at 296 K; Svensson, Brockhouse and Rowe 1967)."""

Forces = Callable[[np.ndarray], np.ndarray]
"""Positions in A, shape (n, 3), to forces in eV/A."""


@dataclass
class Compared:
    """Our phonons of a crystal and the largest difference from phonopy's, THz."""

    ours: Phonons
    largest: float
    supercells: int
    displacement_A: float


def crystal(species: str, kind: str, edge_A: float) -> Any:
    """Return the cell of a job for one of three lattices of an element."""
    from pymatgen.core import Lattice, Structure

    groups = {"diamond": "Fd-3m", "fcc": "Fm-3m", "bcc": "Im-3m"}
    return job_structure(
        Structure.from_spacegroup(groups[kind], Lattice.cubic(edge_A), [species], [[0, 0, 0]])
    )


def all_displaced(supercell: Any, forces: Forces, displacement_A: float) -> np.ndarray:
    """Return force constants (n, n, 3, 3) from every atom displaced along every axis."""
    n = len(supercell)
    constants = np.zeros((n, n, 3, 3))
    for atom in range(n):
        for axis in range(3):
            moved = one_atom_moved(supercell, atom, axis, displacement_A)
            there, back = (forces(p) for p in moved)
            constants[atom, :, axis, :] = -(there - back) / (2 * displacement_A)
    return constants


def one_atom_moved(
    supercell: Any, atom: int, axis: int, displacement_A: float = DISPLACEMENT_A
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions with an atom displaced there and back, as VASP does with NFREE 2."""
    moved = np.repeat(supercell.cart_coords[None], 2, axis=0)
    moved[0, atom, axis] += displacement_A
    moved[1, atom, axis] -= displacement_A
    return moved[0], moved[1]


def filled(supercell: Any, rows: np.ndarray) -> np.ndarray:
    """Return all force constants of a crystal whose atoms are all alike, from the first atom's.

    Parameters
    ----------
    supercell : Structure
    rows : ndarray, shape (n, 3, 3)
        Force constants between the first atom and all.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    n = len(supercell)
    constants = np.full((n, n, 3, 3), np.nan)
    for operation in SpacegroupAnalyzer(supercell).get_symmetry_operations(cartesian=True):
        images = supercell.lattice.get_fractional_coords(
            operation.operate_multi(supercell.cart_coords)
        )
        goes_to = supercell.lattice.get_all_distances(images, supercell.frac_coords).argmin(axis=1)
        turn = operation.rotation_matrix
        constants[goes_to[0], goes_to] = np.einsum("xa,jab,yb->jxy", turn, rows, turn)
    assert np.isfinite(constants).all()
    return constants


def through_vasprun(place: Path, cell: Any, times: tuple[int, int, int], constants: Any) -> Phonons:
    """Hand force constants to the stand-in for VASP in a job's step folder, and read it."""
    folder = place / STEP
    folder.mkdir()
    for name, text in step_inputs(PAPER, PAPER.step(STEP), cell).items():
        (folder / name).write_text(text)
    first = step_inputs(PAPER, PAPER.steps[0], cell)["POSCAR"]
    (folder / "POSCAR").write_text(runner.repeated(first, list(times)))
    symbols = potcar_symbols(PAPER, elements_of(cell))
    subprocess.run([FAKE, "--make-potcars", place, *symbols], check=True)
    potcars = ((place / symbol / "POTCAR").read_text() for symbol in symbols)
    (folder / "POTCAR").write_text("".join(potcars))
    n = 3 * len(constants)
    matrix = constants.transpose(0, 2, 1, 3).reshape(n, n)
    (place / "constants.json").write_text(json.dumps(matrix.tolist()))
    env = {**os.environ, "FAKE_VASP_CONSTANTS": str(place / "constants.json")}
    subprocess.run([FAKE], cwd=folder, env=env, check=True)
    found = read_phonons(folder, times)
    assert isinstance(found, Phonons), found
    return found


def phonopys(cell: Any, times: tuple[int, int, int], displacement_A: float = DISPLACEMENT_A) -> Any:
    """Return phonopy's object with its own displaced supercells, there and back."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = PhonopyAtoms(
        symbols=[site.specie.symbol for site in cell],
        cell=cell.lattice.matrix,
        scaled_positions=cell.frac_coords,
    )
    peer = Phonopy(atoms, np.diag(times), primitive_matrix="P")
    peer.generate_displacements(distance=displacement_A, is_plusminus=True)
    return peer


def compared(
    ours: Phonons, peer: Any, forces: list[np.ndarray], displacement_A: float = DISPLACEMENT_A
) -> Compared:
    """Compare frequencies all along the path."""
    peer.forces = forces
    peer.produce_force_constants()
    peer.symmetrize_force_constants(show_drift=False)
    theirs = peer.run_qpoints(np.vstack([s.qpoints for s in ours.segments])).frequencies
    apart = np.abs(np.vstack([s.frequencies for s in ours.segments]) - theirs)
    return Compared(ours, float(apart.max()), len(forces), displacement_A)


def copper(place: Path, kind: str, edge_A: float, displacement_A: float) -> Compared:
    """Calculate copper by the effective-medium potential."""
    from ase import Atoms
    from ase.calculators.emt import EMT

    cell = crystal("Cu", kind, edge_A)
    times = PAPER.step(STEP).repeats(cell)
    assert times is not None
    supercell = cell.make_supercell(times, in_place=False)

    def forces_in(lattice: np.ndarray) -> Forces:
        def forces(positions: np.ndarray) -> np.ndarray:
            atoms = Atoms(["Cu"] * len(positions), positions, cell=lattice, pbc=True)
            atoms.calc = EMT()
            return np.asarray(atoms.get_forces())

        return forces

    constants = all_displaced(supercell, forces_in(supercell.lattice.matrix), displacement_A)
    ours = through_vasprun(place, cell, times, constants)
    peer = phonopys(cell, times, displacement_A)
    displaced = peer.supercells_with_displacements
    forces = [forces_in(s.cell)(s.positions) for s in displaced]
    return compared(ours, peer, forces, displacement_A)


def silicon_positions() -> tuple[Any, Any, list[np.ndarray]]:
    """Return cell, supercell and every displaced set of positions: ours, then phonopy's."""
    cell = crystal("Si", "diamond", SI_EDGE_A)
    supercell = cell.make_supercell(SI_TIMES, in_place=False)
    ours = [p for axis in range(3) for p in one_atom_moved(supercell, 0, axis)]
    theirs = [
        np.asarray(s.positions) for s in phonopys(cell, SI_TIMES).supercells_with_displacements
    ]
    return cell, supercell, [*ours, *theirs]


def compute_silicon() -> None:
    """Compute and keep the forces of the displaced supercells of silicon with GPAW."""
    _, supercell, positions = silicon_positions()
    question = {
        "species": ["Si"] * len(supercell),
        "lattice": supercell.lattice.matrix.tolist(),
        "positions": [p.tolist() for p in positions],
        "cutoff_eV": SI_CUTOFF_EV,
        "mesh": SI_MESH,
    }
    with tempfile.TemporaryDirectory() as place:
        asked, answered = Path(place) / "question.json", Path(place) / "forces.jsonl"
        asked.write_text(json.dumps(question))
        worker = ROOT / "benchmarks" / "phonon_forces_gpaw.py"
        subprocess.run([interpreter(), worker, asked, answered], check=True)
        forces = [json.loads(line) for line in answered.read_text().splitlines()]
    version_of = [interpreter(), "-c", "import gpaw; print(gpaw.__version__)"]
    said = subprocess.run(version_of, check=True, capture_output=True, text=True).stdout.strip()
    head = json.dumps({"gpaw": said, "displacement_A": DISPLACEMENT_A, "edge_A": SI_EDGE_A})
    lines = ",\n".join(json.dumps(one) for one in forces)
    write_text(SILICON, f'{head[:-1]}, "forces_eV_per_A": [\n{lines}\n]}}\n')


def silicon(place: Path) -> Compared:
    """Calculate silicon from the kept forces."""
    cell, supercell, _ = silicon_positions()
    forces = np.array(json.loads(SILICON.read_text())["forces_eV_per_A"])
    rows = -(forces[0:6:2] - forces[1:6:2]).transpose(1, 0, 2) / (2 * DISPLACEMENT_A)
    ours = through_vasprun(place, cell, SI_TIMES, filled(supercell, rows))
    return compared(ours, phonopys(cell, SI_TIMES), list(forces[6:]))


def at_corner(found: Phonons, corner: str, branch: int) -> float:
    """Return a frequency at a corner of the path, branches counted from below."""
    for segment in found.segments:
        if corner in segment.labels:
            return float(segment.frequencies[-segment.labels.index(corner), branch])
    raise KeyError(corner)


def measured(found: Phonons, values: dict[tuple[str, int], float]) -> list[str]:
    """Return a table of frequencies beside measured ones."""
    rows = [
        f"| {corner} | {branch + 1} | {at_corner(found, corner, branch):.2f} | {value:.2f} |"
        for (corner, branch), value in values.items()
    ]
    return ["| corner | branch | ours (THz) | measured (THz) |", "|---|---:|---:|---:|", *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpaw", action="store_true", help="compute silicon's forces")
    if parser.parse_args().gpaw:
        compute_silicon()
        return
    warnings.filterwarnings("ignore")
    cases: dict[str, Compared] = {}
    for name, work in (
        ("Si, diamond", silicon),
        ("Cu, fcc", lambda place: copper(place, "fcc", 3.59, DISPLACEMENT_A)),
        ("Cu, bcc", lambda place: copper(place, "bcc", 2.86, DISPLACEMENT_A)),
        ("Cu, fcc, half", lambda place: copper(place, "fcc", 3.59, DISPLACEMENT_A / 2)),
        ("Cu, bcc, half", lambda place: copper(place, "bcc", 2.86, DISPLACEMENT_A / 2)),
    ):
        with tempfile.TemporaryDirectory() as place:
            cases[name] = work(Path(place))
    for name, file in (("Si, diamond", "phonons_si.svg"), ("Cu, bcc", "phonons_bcc_cu.svg")):
        drawn = band_picture(cases[name].ours.segments, name)
        write_text(RESULTS / file, drawn.replace("<svg ", '<svg style="background:#fff" ', 1))
    publish("phonons", page(cases))


def page(cases: dict[str, Compared]) -> list[str]:
    """Return the lines of the result page."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("phonopy", "pymatgen", "ase"))
    rows = [
        f"| {name.removesuffix(', half')} | {'GPAW, PBE' if name.startswith('Si') else 'EMT'} | "
        f"{case.displacement_A} | "
        f"{' x '.join(map(str, case.ours.supercell))} ({len(case.ours.force_constants)}) | "
        f"{case.supercells} | {case.largest:.4f} | {round(case.ours.lowest_THz, 2) + 0.0:.2f} at "
        f"{case.ours.lowest_at} | {'stable' if case.ours.stable else 'unstable'} |"
        for name, case in cases.items()
    ]
    mesh = " x ".join(map(str, SI_MESH))
    gpaw = json.loads(SILICON.read_text())["gpaw"]
    return [
        "# Phonons beside phonopy's own workflow",
        "",
        "Command: `OMP_NUM_THREADS=1 python benchmarks/phonons.py` (silicon's forces once before, "
        "with `--gpaw`).",
        "",
        f"Python {platform.python_version()}, {versions}; GPAW {gpaw} under its own interpreter.",
        "",
        "Ours: atoms displaced one by one along the axes, there and back, as VASP does with "
        "IBRION 6 and NFREE 2; force constants written into a vasprun.xml by the stand-in for VASP "
        "in the step folder of a job, and read as `agd collect` does. For copper every atom was "
        "displaced along every axis; for silicon one atom, the others by symmetry operations of "
        "spglib. phonopy: the few displacements it chooses itself, forces from the same source, "
        "force constants by its own fit. Compared are all frequencies along the whole path.",
        "",
        "| crystal | forces | displacement (A) | cells (atoms) | phonopy's supercells | "
        "largest difference (THz) | telling frequency (THz) | verdict |",
        "|---|---|---:|---:|---:|---:|---|---|",
        *rows,
        "",
        "Copper's differences come from the anharmonic part of the forces, because phonopy "
        "displaces along other directions: with half the displacement they are a quarter. What "
        "silicon's comes from was not looked into.",
        "",
        "## Silicon",
        "",
        f"PBE, {SI_CUTOFF_EV:.0f} eV, mesh {mesh} of the supercell, lattice constant {SI_EDGE_A} "
        "A. The recipe's own supercell would be 3 x 3 x 3 (54 atoms). Gamma, X and L fit 2 x 2 x 2 "
        "cells, so that nothing is interpolated in this table. Measured with neutrons (Nilsson and "
        "Nelin 1972).",
        "",
        *measured(cases["Si, diamond"].ours, MEASURED_SI),
        "",
        "![Phonon bands of silicon](phonons_si.svg)",
        "",
        "## Copper",
        "",
        "The effective-medium potential is a toy beside DFT; it stands here because it is cheap "
        "enough to displace every atom. It is stiffer than copper. In the bcc lattice it is "
        "unstable: the lower transverse branch is imaginary from Gamma to N, drawn below zero. The "
        "table is of fcc copper; measured with neutrons at 296 K (Svensson, Brockhouse and Rowe "
        "1967).",
        "",
        *measured(cases["Cu, fcc"].ours, MEASURED_CU),
        "",
        "![Phonon bands of bcc copper](phonons_bcc_cu.svg)",
    ]


if __name__ == "__main__":
    main()
