"""What three readers make of CIFs that say too little: ours, pymatgen's and ASE's.

    OMP_NUM_THREADS=1 python benchmarks/cif_reading.py --data FOLDER

Structures of the Materials Project are written by pymatgen with their symmetry and with the
formula and Z of the unit, as databases write them; then each file loses something, as files do. A
reading is right if it has the composition and the distances of what was written.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measuring import data_folder, publish, setting
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser, CifWriter
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from structure.crystals.cif import read_cif
from structure.errors import Rejection
from structure.templates.template_sources import SYMPREC

SAME_A = 0.1
SAMPLE, WITH_HYDROGEN = 300, 100
OPERATIONS = re.compile(r"loop_\n _symmetry_equiv_pos_site_id\n.*?(?=loop_)", re.DOTALL)
READINGS = ("right", "turned down", "other structure", "other compound")


def structures(folder: Path) -> Iterator[Structure]:
    """Yield structures of at most 60 sites in an order drawn once."""
    with gzip.open(folder / "mp_structures.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    for i in np.random.default_rng(0).permutation(len(rows)):
        row = rows[i]
        if row["nsites"] <= 60:
            lattice = Lattice.from_parameters(*row["lattice"])
            yield Structure(lattice, row["species"], row["frac_coords"])


def written(structure: Structure) -> tuple[str, Structure]:
    """Return the CIF of a structure, with symmetry and the unit's formula, and its whole cell."""
    text = str(CifWriter(structure, symprec=SYMPREC))
    whole = SpacegroupAnalyzer(structure, symprec=SYMPREC).get_refined_structure()
    formula, units = whole.composition.get_reduced_composition_and_factor()
    text = re.sub(r"(_chemical_formula_sum +).*", rf"\1'{formula.formula}'", text)
    return re.sub(r"(_cell_formula_units_Z +).*", rf"\g<1>{round(units)}", text), whole


def without_hydrogens(text: str) -> str:
    return re.sub(r"^  H[0-9+-]*  H\d+ .*\n", "", text, flags=re.MULTILINE)


def symbol_lost(text: str) -> str:
    text = re.sub(r"(_symmetry_space_group_name_H-M +)'?([^'\n]*)'?", r"\1'\2 ?'", text)
    return re.sub(r"_symmetry_Int_Tables_number.*\n", "", OPERATIONS.sub("", text))


def symmetry_lost(text: str) -> str:
    return re.sub(r"_symmetry_(space_group|Int).*\n", "", OPERATIONS.sub("", text))


FORMS: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: text,
    "the operations": lambda text: OPERATIONS.sub("", text),
    "the operations, Z": lambda text: re.sub(r"_cell_form.*\n", "", OPERATIONS.sub("", text)),
    "the operations, a readable symbol": symbol_lost,
    "all symmetry": symmetry_lost,
    "occupancies (a dot)": lambda text: re.sub(r"  1\.?0?$", "  .", text, flags=re.MULTILINE),
    "the hydrogens' rows": without_hydrogens,
}


def ours(text: str) -> Structure | None:
    ((_, found),) = read_cif(text)
    return None if isinstance(found, Rejection) else found


def pymatgens(text: str) -> Structure:
    return CifParser.from_str(text).parse_structures(primitive=False)[0]


def ases(text: str) -> Structure:
    from ase.io import read
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_structure(read(io.BytesIO(text.encode()), format="cif"))


READERS = {"ours": ours, "pymatgen": pymatgens, "ASE": ases}


def reading(read: Callable[[str], Structure | None], text: str, whole: Structure) -> str:
    """Say what a reader makes of a text that was written from a structure."""
    try:
        found = read(text)
    except Exception:  # readers raise anything
        found = None
    if found is None:
        return "turned down"
    if found.composition.reduced_formula != whole.composition.reduced_formula:
        return "other compound"
    return "right" if same_distances(found, whole) else "other structure"


def same_distances(one: Structure, other: Structure) -> bool:
    """Return whether all distances in two cells agree, wherever the origin is."""
    if len(one) != len(other):
        return False
    a, b = (np.sort(s.distance_matrix, axis=None) for s in (one, other))
    return bool(np.abs(a - b).max() < SAME_A)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    folder = data_folder(parser.parse_args().data)
    warnings.simplefilter("ignore")
    plain: list[tuple[str, Structure]] = []
    hydrogenous: list[tuple[str, Structure]] = []
    for structure in structures(folder):
        kind = hydrogenous if "H" in structure.symbol_set else plain
        if len(kind) < (WITH_HYDROGEN if kind is hydrogenous else SAMPLE):
            kind.append(written(structure))
        if len(plain) == SAMPLE and len(hydrogenous) == WITH_HYDROGEN:
            break
    lines = ["# CIFs that say too little", ""]
    lines += setting(["pymatgen", "ase", "spglib"])
    lines += [
        f"{SAMPLE} structures of the Materials Project without hydrogen and {WITH_HYDROGEN} with "
        "it, written with symmetry, formula and Z; then each file loses what the first column "
        "names.",
        "*Other compound* and *other structure* are read without complaint and are wrong.",
        "",
        f"| lost | reader | {' | '.join(READINGS)} |",
        f"|---|---|{'---:|' * len(READINGS)}",
    ]
    seconds: Counter[str] = Counter()
    texts = 0
    for lost, form in FORMS.items():
        used = hydrogenous if form is without_hydrogens else plain + hydrogenous
        files = [(form(text), whole) for text, whole in used]
        texts += len(files)
        for name, read in READERS.items():
            began = time.process_time()
            found = Counter(reading(read, text, whole) for text, whole in files)
            seconds[name] += time.process_time() - began
            counts = " | ".join(str(found[kind]) for kind in READINGS)
            lines.append(f"| {lost} | {name} | {counts} |")
    each = ", ".join(f"{name} {1000 * s / texts:.1f} ms" for name, s in seconds.items())
    lines += ["", f"A file takes, on average over all of these: {each}."]
    publish("cif_reading", lines)


if __name__ == "__main__":
    main()
