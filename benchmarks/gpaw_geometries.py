"""Make the geometries of the shipped GPAW set: prototypes relaxed by CHGNet 0.3.0.

In: ``dft_inputs/data/gpaw_compounds.txt`` and the elements' reference states. Out: JSON lines, one
primitive cell each. A compound's volume is first scanned over a wide range, because the guess from
radii is crude, then cell and sites are relaxed within the prototype's symmetry. An element keeps
its table cell when CHGNet changes the volume by more than a tenth: it has no dispersion forces, and
molecular solids fall apart. Runs again from where it stopped.

    python benchmarks/gpaw_geometries.py --out geometries.jsonl
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius

from dft_inputs.gpaw.jobs import GPAW_ELEMENTS
from dft_inputs.references.prototypes import build
from dft_inputs.references.reference_phases import REFERENCES, is_molecule, reference_structure

COMPOUNDS = Path(__file__).parents[1] / "dft_inputs" / "data" / "gpaw_compounds.txt"
ORIGIN = "prototype relaxed by CHGNet 0.3.0"
TABLE_ORIGIN = "reference cell at experimental volume or bond length"
LARGEST_ELEMENT_CHANGE = 0.10
VOLUMES_A3_PER_ATOM = np.geomspace(6.0, 80.0, 32)
CLOSEST_OVER_RADII = 0.7
LARGEST_FORCE_EV_PER_A = 0.03
MOST_STEPS = 200


def compounds() -> list[tuple[str, tuple[str, ...]]]:
    """Return (prototype, elements by role): the first of each prototype, then the second ..."""
    rows = []
    for line in COMPOUNDS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, members = line.partition(":")
            rows += [(name, tuple(member.split("-"))) for member in members.split()]
    members: Counter[str] = Counter()
    ranked = []
    for row in dict.fromkeys(rows):
        ranked.append((members[row[0]], row))
        members[row[0]] += 1
    return [row for _, row in sorted(ranked, key=lambda pair: pair[0])]


def closest_ratio(structure) -> float:
    """Return the smallest distance between atoms over the sum of their covalent radii."""
    radii = np.array([CovalentRadius.radius[site.specie.symbol] for site in structure])
    one, two, _, distances = structure.get_neighbor_list(r=4.0)
    return float(np.min(distances / (radii[one] + radii[two]), initial=np.inf))


def relaxed(structure, optimiser):
    """Return the relaxed structure and its CHGNet energy, or None if it did not converge."""
    model = optimiser.calculator.model
    trials = [structure.copy() for _ in VOLUMES_A3_PER_ATOM]
    for trial, volume in zip(trials, VOLUMES_A3_PER_ATOM, strict=True):
        trial.scale_lattice(volume * len(trial))
    trials = [trial for trial in trials if closest_ratio(trial) > CLOSEST_OVER_RADII]
    energies = [float(p["e"]) for p in model.predict_structure(trials, task="e", batch_size=32)]
    best = trials[int(np.argmin(energies))]
    out = optimiser.relax(
        best, fmax=LARGEST_FORCE_EV_PER_A, steps=MOST_STEPS, verbose=False, assign_magmoms=False
    )
    if len(out["trajectory"].energies) > MOST_STEPS:
        return None
    return out["final_structure"]


def described(structure) -> dict[str, object]:
    """Return formula, space group and cell of a structure as JSON values."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    return {
        "formula": structure.composition.reduced_formula,
        "spacegroup": SpacegroupAnalyzer(structure, symprec=0.001).get_space_group_number(),
        "lattice": np.round(structure.lattice.matrix, 10).tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": np.round(structure.frac_coords % 1.0, 10).tolist(),
    }


def compound(name: str, elements: tuple[str, ...], optimiser) -> dict[str, object]:
    """Return the line of a compound, in its standard primitive setting."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    row: dict[str, object] = {"prototype": name, "elements": list(elements)}
    structure = relaxed(build(name, elements), optimiser)
    if structure is None:
        return {**row, "failed": f"CHGNet did not relax it in {MOST_STEPS} steps"}
    primitive = SpacegroupAnalyzer(structure, symprec=0.01).get_primitive_standard_structure()
    return {**row, **described(primitive), "origin": ORIGIN}


def element_cell(element: str, optimiser) -> dict[str, object]:
    """Return the line of an element's reference state."""
    start = reference_structure(element)
    row: dict[str, object] = {"prototype": "element", "elements": [element]}
    if not is_molecule(element):
        out = optimiser.relax(start, fmax=LARGEST_FORCE_EV_PER_A, steps=MOST_STEPS, verbose=False)[
            "final_structure"
        ]
        if abs(out.volume / start.volume - 1) <= LARGEST_ELEMENT_CHANGE:
            return {**row, **described(out), "origin": ORIGIN}
    return {**row, **described(start), "origin": TABLE_ORIGIN}


def main() -> None:
    from chgnet.model import CHGNet, StructOptimizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {(row["prototype"], tuple(row["elements"])) for row in map(json.loads, lines)}
    optimiser = StructOptimizer(model=CHGNet.load(verbose=False), use_device="cpu")
    elements = [("element", (e,)) for e in REFERENCES if e in GPAW_ELEMENTS]
    with args.out.open("a") as out:
        for name, symbols in elements + compounds():
            if (name, symbols) not in done:
                row = (
                    element_cell(symbols[0], optimiser)
                    if name == "element"
                    else compound(name, symbols, optimiser)
                )
                out.write(json.dumps(row) + "\n")
                out.flush()


if __name__ == "__main__":
    main()
