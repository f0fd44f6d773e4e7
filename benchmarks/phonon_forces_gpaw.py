"""Compute forces of displaced supercells with GPAW, for ``phonons.py``.

In: a JSON file of species, lattice, positions in A (one set for each calculation) and settings.
Out: one JSON line of forces in eV/A for each set. Runs under the interpreter that has GPAW:

    OMP_NUM_THREADS=1 /usr/bin/python3 benchmarks/phonon_forces_gpaw.py question.json forces.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    from ase import Atoms
    from gpaw import GPAW, PW, FermiDirac

    question, answer = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    atoms = Atoms(
        question["species"],
        cell=question["lattice"],
        positions=question["positions"][0],
        pbc=True,
    )
    atoms.calc = GPAW(
        mode=PW(question["cutoff_eV"]),
        xc="PBE",
        kpts={"size": question["mesh"], "gamma": True},
        occupations=FermiDirac(0.01),
        symmetry={"point_group": False, "time_reversal": True},
        convergence={"density": 1e-6, "eigenstates": 1e-9},
        txt=str(answer.with_suffix(".txt")),
    )
    for positions in question["positions"]:
        # One calculator: each set starts from the density of the last, and positions move with it.
        atoms.set_positions(positions)
        forces = atoms.get_forces()
        with answer.open("a") as out:
            out.write(json.dumps(forces.round(6).tolist()) + "\n")


if __name__ == "__main__":
    main()
