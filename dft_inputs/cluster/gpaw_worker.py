"""Run one GPAW ground state in its job folder, for the hand-off step's gpaw engine.

In: ``gpaw.json`` in the folder named on the command line (settings, structure; written by
`dft_inputs.gpaw.jobs`). Out: ``gpaw-result.json`` beside it, renamed into place when complete, with
the numbers or with a code and a sentence on what went wrong. This file imports nothing but the
standard library, ASE and GPAW: it runs under the interpreter that has GPAW, as a process of its
own.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

# Python puts this file's folder first on its path, where `gpaw` would be our own module.
sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]

NO_GPAW = 127
"""Exit code where this interpreter cannot import GPAW: nothing is wrong with the calculation."""

INPUT, RESULT, LOG = "gpaw.json", "gpaw-result.json", "gpaw.txt"

BANDS_ABOVE = 8
"""Empty bands carried above the valence band (chosen)."""

EQUAL_METRIC = 1e-4
"""Relative difference of squared lengths that symmetry makes equal (chosen)."""

PATH_EIGENSTATES_EV2 = 1e-5
"""Convergence of states on the band path; eigenvalue errors are of second order in it."""


ASKED = ("id", "recipe_hash", "kind", "gap", "magnetic_moments", "settings", "structure")
"""Keys of the input that decide the result."""


class _TimeLimitError(Exception):
    pass


def _ring(*_: object) -> None:
    raise _TimeLimitError


def question_sha256(job: dict[str, Any]) -> str:
    """Return the hash of what is asked, whatever the layout of its file."""
    asked = {name: job.get(name) for name in ASKED}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def crystal(job: dict[str, Any]) -> Any:
    """Return the ASE atoms of the job; a molecule gets a box of its own extent and a margin."""
    from ase import Atoms

    data, settings = job["structure"], job["settings"]
    atoms = Atoms(
        data["species"], cell=data["lattice"], scaled_positions=data["frac_coords"], pbc=True
    )
    if job["kind"] == "molecule":
        edges = atoms.get_positions().max(axis=0) - atoms.get_positions().min(axis=0)
        atoms.set_cell(edges + settings["molecule_box_A"], scale_atoms=False)
        atoms.center()
    if job.get("magnetic_moments"):
        atoms.set_initial_magnetic_moments(job["magnetic_moments"])
    return atoms


def mesh_of(cell: Any, spacing: float) -> list[int]:
    """Return the smallest symmetric mesh whose points are at most `spacing` (1/A) apart."""
    import numpy as np

    lengths = 2 * np.pi * np.linalg.norm(cell.reciprocal(), axis=1)
    least = [max(1, int(np.ceil(length / spacing - 1e-6))) for length in lengths]
    tied = ties(np.array(cell))
    meshes = itertools.product(*(range(n, max(least) + 1) for n in least))
    fitting = [m for m in meshes if all(m[i] % m[j] == 0 for i, j in tied)]
    smallest: tuple[int, ...] = min(fitting, key=lambda mesh: (mesh[0] * mesh[1] * mesh[2], mesh))
    return list(smallest)


def ties(vectors: Any) -> set[tuple[int, int]]:
    """Return (i, j) where a rotation of the lattice mixes b_i into the image of b_j.

    A mesh that rotations do not carry into itself gives GPAW more points to calculate, not fewer.
    Rotations are sought among whole numbers of -1 to 1, which holds them all for a reduced or
    primitive cell; in another cell the mesh is the plain one.
    """
    import numpy as np

    turns = np.array(list(itertools.product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    metric = vectors @ vectors.T
    turned = turns @ metric @ turns.transpose(0, 2, 1)
    kept = turns[np.abs(turned - metric).max(axis=(1, 2)) < EQUAL_METRIC * metric.max()]
    return {(i, j) for i, j in itertools.permutations(range(3), 2) if kept[:, i, j].any()}


def ground_state(atoms: Any, job: dict[str, Any], folder: Path) -> tuple[Any, list[int]]:
    """Converge the density; return the calculator and its mesh."""
    from gpaw import GPAW, PW, Davidson, FermiDirac

    s, kind = job["settings"], job["kind"]
    metal = kind == "metal"
    spacing = s["metal_spacing_per_A"] if metal else s["spacing_per_A"]
    mesh = [1, 1, 1] if kind == "molecule" else mesh_of(atoms.cell, spacing)
    width = s["metal_smearing_eV"] if metal else s["smearing_eV"]
    occupations = FermiDirac(0.0, fixmagmom=True) if kind == "molecule" else FermiDirac(width)
    more = {} if metal else {"nbands": -BANDS_ABOVE}
    calculator = GPAW(
        mode=PW(s["cutoff_eV"]),
        xc=s["xc"],
        kpts={"size": mesh, "gamma": True},
        eigensolver=Davidson(2),
        occupations=occupations,
        symmetry={"tolerance": 1e-5},
        spinpol=bool(job.get("magnetic_moments")),
        maxiter=s["most_iterations"],
        convergence={
            "density": s["density_convergence"],
            "energy": s["energy_convergence_eV"],
            "eigenstates": s["eigenstate_convergence_eV2"],
        },
        txt=str(folder / LOG),
        **more,
    )
    atoms.calc = calculator
    atoms.get_potential_energy()
    return calculator, mesh


def eigenvalues(calculator: Any) -> tuple[Any, Any]:
    """Return the k-points (n, 3) and the eigenvalues (n, bands) in eV of a spin-paired run."""
    import numpy as np

    points = calculator.get_ibz_k_points()
    return points, np.array([calculator.get_eigenvalues(kpt=k) for k in range(len(points))])


def band_path(calculator: Any, atoms: Any, points: int, occupied: int, folder: Path) -> Any:
    """Return k-points and eigenvalues along the cell's standard path, at fixed density."""
    from gpaw import Davidson

    path = atoms.cell.bandpath(npoints=points)
    bands = calculator.fixed_density(
        kpts=path,
        symmetry="off",
        eigensolver=Davidson(3),
        convergence={"bands": occupied + 1, "eigenstates": PATH_EIGENSTATES_EV2},
        txt=str(folder / f"bands-{LOG}"),
    )
    return eigenvalues(bands)


def gap_of(points: Any, values: Any, occupied: int) -> dict[str, Any]:
    """Return gap, direct gap (eV, not below zero) and where the band edges lie."""
    top, bottom = values[:, occupied - 1], values[:, occupied]
    return {
        "gap_eV": max(0.0, float(bottom.min() - top.max())),
        "direct_gap_eV": max(0.0, float((bottom - top).min())),
        "valence_top_k": [float(x) for x in points[int(top.argmax())]],
        "conduction_bottom_k": [float(x) for x in points[int(bottom.argmin())]],
    }


def gaps(calculator: Any, atoms: Any, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the gap on the mesh, on the path, and of both together.

    An odd number of electrons without spin is a metal by count.
    """
    import numpy as np

    electrons = round(calculator.get_number_of_electrons())
    if electrons % 2:
        return {"gap_eV": 0.0, "direct_gap_eV": 0.0, "gap_mesh_eV": 0.0, "gap_path_eV": None}
    occupied = electrons // 2
    points, values = eigenvalues(calculator)
    on_mesh = gap_of(points, values, occupied)
    path_gap = None
    if job["settings"]["path_points"] and on_mesh["gap_eV"] > 0:
        path_points, path_values = band_path(
            calculator, atoms, job["settings"]["path_points"], occupied, folder
        )
        path_gap = gap_of(path_points, path_values, occupied)["gap_eV"]
        points = np.concatenate([points, path_points])
        values = np.concatenate([values[:, : occupied + 1], path_values[:, : occupied + 1]])
    both = gap_of(points, values, occupied)
    return {**both, "gap_mesh_eV": on_mesh["gap_eV"], "gap_path_eV": path_gap}


def run(folder: Path) -> dict[str, Any]:
    """Run the job of a folder and return the content of its result file."""
    try:
        import gpaw
    except ImportError as error:
        sys.stderr.write(f"{sys.executable} has no GPAW: {error}\n")
        raise SystemExit(NO_GPAW) from error

    job = json.loads((folder / INPUT).read_text())
    started = time.monotonic()
    # CPU time, not the clock: on a shared machine a job is not at fault for waiting.
    signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, job["time_limit_s"])
    result: dict[str, Any] = {"schema": 1, "id": job["id"], "recipe_hash": job["recipe_hash"]}
    result["question_sha256"] = question_sha256(job)
    try:
        atoms = crystal(job)
        calculator, mesh = ground_state(atoms, job, folder)
        result |= {
            "status": "done",
            "energy_eV": float(calculator.get_potential_energy()),
            "mesh": mesh,
            "irreducible_points": len(calculator.get_ibz_k_points()),
            "iterations": int(calculator.get_number_of_iterations()),
            "electrons": float(calculator.get_number_of_electrons()),
            "magnetic_moment": float(calculator.get_magnetic_moment()),
            "setups": sorted({f"{s.symbol}:{s.fingerprint}" for s in calculator.wfs.setups}),
        }
        if job["gap"]:
            result |= gaps(calculator, atoms, job, folder)
    except _TimeLimitError:
        result |= {
            "status": "failed",
            "code": "210",
            "sentence": f"GPAW did not converge in {job['time_limit_s']} s of CPU time.",
        }
    except gpaw.KohnShamConvergenceError:
        limit = job["settings"]["most_iterations"]
        result |= {
            "status": "failed",
            "code": "210",
            "sentence": f"The density did not converge in {limit} iterations.",
        }
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    result["seconds"] = round(time.monotonic() - started, 1)
    result["gpaw_version"] = gpaw.__version__
    return result


def main() -> int:
    """Run the folder named on the command line; 0 when numbers were written."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    result = run(folder)
    unfinished = folder / f".tmp-{os.getpid()}-{RESULT}"
    unfinished.write_text(json.dumps(result, indent=1, sort_keys=True))
    unfinished.replace(folder / RESULT)
    return 0 if result["status"] == "done" else 1


if __name__ == "__main__":
    raise SystemExit(main())
