"""Speed of formulas to matrices and back, beside pymatgen's Composition, in one run.

    OMP_NUM_THREADS=1 python benchmarks/encoding.py --data FOLDER

Every step is timed on all distinct Materials Project formulas that fit the matrix; pymatgen on a
random sample of them, and what it reads is compared with what we read, atom by atom.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from measuring import data_folder, materials_project_formulas, publish, rate, setting, timed
from pymatgen.core import Composition

from models.compositions.encoding import (
    AGD_ENCODING,
    MATGAN_ENCODING,
    Encoding,
    counts_from_one_hot,
)
from structure.composition import (
    anonymous_formulas,
    counts_from,
    formulas_of,
    keys_of,
    parse_formulas,
)


def their_matrices(formulas: list[str], encoding: Encoding) -> np.ndarray:
    """Encode formulas with pymatgen, one at a time."""
    lines = {element: i for i, element in enumerate(encoding.elements)}
    matrices = np.zeros((len(formulas), *encoding.shape), dtype=np.uint8)
    for matrix, formula in zip(matrices, formulas, strict=True):
        amounts = {e: int(n) for e, n in Composition(formula).as_dict().items()}
        divisor = math.gcd(*amounts.values())  # reduced_composition keeps O2 as it is
        for element, amount in amounts.items():
            matrix[lines[element], amount // divisor - 1] = 1
    return matrices


def their_formulas(matrices: np.ndarray, encoding: Encoding) -> list[str]:
    """Write one-hot matrices as formulas with pymatgen, one at a time."""
    out = []
    for matrix in matrices:
        lines, places = np.nonzero(matrix)
        amounts = {
            encoding.elements[line]: int(place) + 1
            for line, place in zip(lines, places, strict=True)
        }
        out.append(Composition(amounts).reduced_formula)
    return out


def reading_and_writing(formulas: list[str], sample: list[str]) -> list[str]:
    """Return the rows on formulas and counts."""
    counts = parse_formulas(formulas).counts
    small = parse_formulas(sample).counts
    amounts = [Composition(f).as_dict() for f in sample]
    wrong = int((counts_from([{e: int(n) for e, n in a.items()} for a in amounts]) != small).sum())
    rows = []
    jobs = [
        (
            "formula to counts",
            lambda: [Composition(f).reduced_composition for f in sample],
            lambda: parse_formulas(formulas),
        ),
        (
            "counts to formula",
            lambda: [Composition(a).reduced_formula for a in amounts],
            lambda: formulas_of(counts),
        ),
        (
            "counts to anonymous formula",
            lambda: [Composition(a).anonymized_formula for a in amounts],
            lambda: anonymous_formulas(counts),
        ),
        (
            "counts to key for de-duplication",
            lambda: [hash(Composition(a)) for a in amounts],
            lambda: keys_of(counts),
        ),
    ]
    for name, theirs, ours in jobs:
        rows.append(row(name, len(sample), timed(theirs, 2)[0], len(formulas), timed(ours)[0]))
    print(f"{wrong} counts differ in {len(sample)} formulas")
    return [*rows, "", f"Counts that differ from pymatgen's: {wrong} in {len(sample):,} formulas."]


def matrices_and_back(formulas: list[str], sample_size: int, encoding: Encoding) -> list[str]:
    """Return the rows on one-hot matrices of one shape."""
    counts = parse_formulas(formulas).counts
    fitting = encoding.fits(counts)
    kept = [f for f, fits in zip(formulas, fitting, strict=True) if fits]
    counts = counts[fitting]
    sample = kept[:sample_size]
    ours = encoding.encode(counts)
    same = bool((ours[: len(sample)] == their_matrices(sample, encoding)).all())
    back = counts_from_one_hot(ours, encoding.elements)
    if not same or not (back == counts).all():
        raise SystemExit("the matrices differ from pymatgen's or do not read back")
    shape = f"{encoding.shape[0]} x {encoding.shape[1]}"
    jobs = [
        (
            f"formula to {shape}",
            lambda: their_matrices(sample, encoding),
            lambda: encoding.encode(parse_formulas(kept).counts),
        ),
        (
            f"{shape} to formula",
            lambda: their_formulas(ours[: len(sample)], encoding),
            lambda: formulas_of(counts_from_one_hot(ours, encoding.elements)),
        ),
    ]
    rows = [
        row(name, len(sample), timed(theirs, 2)[0], len(kept), timed(mine)[0])
        for name, theirs, mine in jobs
    ]
    only = [
        (f"counts to {shape}", lambda: encoding.encode(counts)),
        (f"{shape} to counts", lambda: counts_from_one_hot(ours, encoding.elements)),
    ]
    rows += [f"| {name} | - | {rate(len(kept), timed(work)[0])} | - |" for name, work in only]
    return rows


def row(name: str, n_theirs: int, their_time: float, n_ours: int, our_time: float) -> str:
    """Write one line of the table."""
    ratio = (their_time / n_theirs) / (our_time / n_ours)
    return f"| {name} | {rate(n_theirs, their_time)} | {rate(n_ours, our_time)} | {ratio:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sample", type=int, default=5000, help="formulas pymatgen works on")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    formulas = materials_project_formulas(data_folder(arguments.data))
    shuffled = np.random.default_rng(arguments.seed).permutation(np.array(formulas)).tolist()
    sample = shuffled[: arguments.sample]
    plain = reading_and_writing(shuffled, sample)
    publish(
        "encoding",
        [
            "# Formulas, counts and matrices beside pymatgen",
            "",
            *setting(("pymatgen", "numpy")),
            f"{len(formulas):,} distinct Materials Project formulas; pymatgen on "
            f"{len(sample):,} of them.",
            "",
            "| step | pymatgen | ours | ratio |",
            "|---|---:|---:|---:|",
            *matrices_and_back(shuffled, arguments.sample, MATGAN_ENCODING),
            *matrices_and_back(shuffled, arguments.sample, AGD_ENCODING),
            *plain,
            "Every matrix of the sample equals the one made with pymatgen, and every matrix reads",
            "back to its counts.",
        ],
    )


if __name__ == "__main__":
    main()
