"""A plain script for many VASP calculations, as a careful student writes it; for handoff_peers.py.

It is meant as a fair peer. It loops over candidates, writes inputs with pymatgen, runs five VASP
steps one after another, and skips every step whose vasprun.xml is complete and converged. A step
that is not gets one more launch. Results are read again from all folders each time, into one CSV;
a folder counts by the composition of its own first POSCAR, whatever it is called, and a vasprun.xml
of other atoms is left out. There is no state but the folders, so there is little that can break.

    VASP=... POTCARS=... python plain_peer.py run ROOT
    python plain_peer.py collect ROOT --more FOLDER

In: ``ROOT/candidates.json``. Out: ``ROOT/runs/FORMULA/STEP``, ``ROOT/results.csv``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import shutil
import subprocess
import warnings
from pathlib import Path

from pymatgen.core import Structure
from pymatgen.io.vasp import Incar, Kpoints, Poscar, Vasprun
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.bandstructure import HighSymmKpath

STEPS = ("00-relax1", "01-relax2", "02-static", "03-uniform", "04-bands")
ELECTRONS = {
    "GGA": "PE",
    "PREC": "Accurate",
    "ENCUT": 400,
    "EDIFF": 1e-5,
    "NELM": 100,
    "ALGO": "Normal",
    "ISMEAR": 0,
    "SIGMA": 0.05,
    "LREAL": False,
    "LASPH": True,
    "LORBIT": 11,
    "LWAVE": False,
}
OF_STEP = {
    "00-relax1": {"IBRION": 2, "ISIF": 3, "NSW": 99, "EDIFFG": -0.01, "LCHARG": False},
    "01-relax2": {"IBRION": 2, "ISIF": 3, "NSW": 99, "EDIFFG": -0.01, "LCHARG": False},
    "02-static": {"IBRION": -1, "NSW": 0, "LCHARG": True},
    "03-uniform": {"IBRION": -1, "NSW": 0, "ICHARG": 11, "LCHARG": False},
    "04-bands": {"IBRION": -1, "NSW": 0, "ICHARG": 11, "LCHARG": False},
}
MESH = {"00-relax1": 64, "01-relax2": 64, "02-static": 128, "03-uniform": 256}
LAUNCHES = 2


def candidates(root: Path) -> dict[str, Structure]:
    """Return the candidates by formula, in their standard primitive cells."""
    cells = json.loads((root / "candidates.json").read_text())
    return {
        formula: SpacegroupAnalyzer(Structure.from_dict(cell)).get_primitive_standard_structure()
        for formula, cell in cells.items()
    }


def write_inputs(folder: Path, step: str, structure: Structure, density: Path | None) -> None:
    """Write INCAR, KPOINTS, POSCAR and POTCAR, and bring the charge density."""
    structure = structure.get_sorted_structure()
    folder.mkdir(parents=True, exist_ok=True)
    Incar(ELECTRONS | OF_STEP[step]).write_file(folder / "INCAR")
    if step in MESH:
        kpoints = Kpoints.automatic_density_by_vol(structure, MESH[step], force_gamma=True)
    else:
        points, labels = HighSymmKpath(structure).get_kpoints(20, coords_are_cartesian=False)
        kpoints = Kpoints(
            comment="band path",
            num_kpts=len(points),
            style=Kpoints.supported_modes.Reciprocal,
            kpts=points,
            kpts_weights=[1] * len(points),
            labels=labels,
        )
    kpoints.write_file(folder / "KPOINTS")
    Poscar(structure).write_file(folder / "POSCAR")
    symbols = dict.fromkeys(site.specie.symbol for site in structure)
    library = sorted(Path(os.environ["POTCARS"]).iterdir())
    parts = [next(p for p in library if p.name.split("_")[0] == symbol) for symbol in symbols]
    (folder / "POTCAR").write_text("".join((p / "POTCAR").read_text() for p in parts))
    if density is not None:
        shutil.copyfile(density / "CHGCAR", folder / "CHGCAR")


def good_run(folder: Path, eigenvalues: bool = False) -> Vasprun | None:
    """Return the parsed vasprun.xml if it is complete and converged."""
    try:
        run = Vasprun(
            folder / "vasprun.xml",
            parse_dos=False,
            parse_eigen=eigenvalues,
            parse_potcar_file=False,
        )
        return run if run.converged else None
    except Exception:  # whatever is wrong with the file, the step is not finished
        return None


def relaxed(folder: Path, atoms: int) -> Structure | None:
    """Return the structure in CONTCAR if it is whole."""
    try:
        structure = Structure.from_file(folder / "CONTCAR")
    except Exception:
        return None
    return structure if len(structure) == atoms else None


def run_step(folder: Path, step: str, structure: Structure, density: Path | None) -> bool:
    """Run a step unless it is finished; return whether it is now."""

    def finished() -> bool:
        whole = step not in STEPS[:2] or relaxed(folder, len(structure)) is not None
        return whole and good_run(folder) is not None

    for _ in range(LAUNCHES):
        if finished():
            return True
        write_inputs(folder, step, structure, density)
        with (folder / "vasp.out").open("w") as out:
            subprocess.run(shlex.split(os.environ["VASP"]), cwd=folder, stdout=out, stderr=out)
    return finished()


def run_candidate(folder: Path, structure: Structure) -> bool:
    """Run the steps of one candidate until one cannot be finished."""
    for step in STEPS:
        density = folder / "02-static" if step in STEPS[3:] else None
        if not run_step(folder / step, step, structure, density):
            print(f"{folder.name}: {step} did not finish", flush=True)
            return False
        if step in STEPS[:2]:
            structure = relaxed(folder / step, len(structure)) or structure
    return True


def read_results(folder: Path) -> dict[str, object] | None:
    """Return a candidate's row, or None if anything is unfinished or of another crystal."""
    runs = [good_run(folder / step, step in STEPS[3:]) for step in STEPS]
    if None in runs:
        return None
    asked = Structure.from_file(folder / STEPS[0] / "POSCAR").composition
    if any(run.final_structure.composition != asked for run in runs):
        print(f"{folder.name}: results of other atoms", flush=True)
        return None
    return {
        "formula": asked.reduced_formula,
        "energy_eV_per_atom": float(runs[2].final_energy) / asked.num_atoms,
        "gap_eV": min(float(run.eigenvalue_band_properties[0]) for run in runs[3:]),
    }


def collect(root: Path, more: list[Path]) -> None:
    """Write one CSV of all finished candidates; a candidate found twice is written once."""
    rows = {}
    for place in (root / "runs", *more):
        for folder in sorted(place.iterdir()):
            if row := read_results(folder):
                rows[row["formula"]] = row
    with (root / "results.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["formula", "energy_eV_per_atom", "gap_eV"])
        writer.writeheader()
        writer.writerows(rows.values())


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "collect"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    if options.what == "collect":
        collect(options.root, options.more)
        return
    for formula, structure in candidates(options.root).items():
        run_candidate(options.root / "runs" / formula, structure)


if __name__ == "__main__":
    main()
