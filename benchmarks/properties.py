"""Check elastic moduli, Born's criterion and hull distances beside pymatgen, in one run.

In: random tensors whose eigenvalues are known by construction, random sets of phases, published
numbers. Out: ``docs/results/properties.md``.

    OMP_NUM_THREADS=1 python benchmarks/properties.py
"""

from __future__ import annotations

import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import publish, timed  # noqa: E402
from dft_inputs.properties.corrections import elasticity, hull_distance  # noqa: E402

SEEDS = (0, 1, 2, 3, 4)
TENSORS = 2000
"""A seed."""

PHASE_SETS = 200
"""A seed."""

VASP_FROM_VOIGT = (0, 1, 2, 5, 3, 4)
"""VASP prints xx yy zz xy yz zx; Voigt's order is xx yy zz yz zx xy."""

SRCLF3 = {"K": 41.26, "G": 15.61, "E": 41.587}
"""GPa; AGD paper, section 2.4."""

FORSTERITE = {"C11": 328, "C22": 200, "C33": 235, "C44": 66.7, "C55": 81.3, "C66": 80.9,
              "C12": 69, "C13": 69, "C23": 73, "K": 129.5, "G": 81.1}  # fmt: skip
"""GPa; Bass 1995, table of single-crystal moduli: orthorhombic, so that no two axes are alike."""

ELEMENTS = "Sr Y F Cl O Na Al Si".split()
Cell = Mapping[str, int]
PhaseSet = tuple[Cell, float, list[tuple[Cell, float]]]


def as_vasp(voigt_gpa: np.ndarray) -> np.ndarray:
    """Return a Voigt matrix (6, 6) in GPa as VASP prints it: its own order, kBar."""
    return 10.0 * voigt_gpa[np.ix_(VASP_FROM_VOIGT, VASP_FROM_VOIGT)]


def tensors(seed: int, number: int) -> Iterator[tuple[np.ndarray, float]]:
    """Yield symmetric matrices (6, 6) in GPa with their smallest eigenvalue, known beforehand.

    Every second one is indefinite, with one to five negative eigenvalues. The eigenvalue that
    decides is between 1e-6 and 100 GPa in size, evenly in its logarithm.
    """
    chance = np.random.default_rng(seed)
    for k in range(number):
        values = chance.uniform(1.0, 300.0, 6)
        if k % 2:
            values[: chance.integers(1, 6)] *= -1
            values[0] = -(10.0 ** chance.uniform(-6, 2))
        else:
            values[0] = 10.0 ** chance.uniform(-6, 2)
        turn, _ = np.linalg.qr(chance.normal(size=(6, 6)))
        matrix = turn * values @ turn.T
        yield 0.5 * (matrix + matrix.T), float(values.min())


def born() -> list[str]:
    """Count the tensors that are classified as they were built."""
    rows = []
    for seed in SEEDS:
        right = {True: 0, False: 0}
        total = {True: 0, False: 0}
        worst = 0.0
        for matrix, smallest in tensors(seed, TENSORS):
            found = elasticity(as_vasp(matrix))
            total[smallest > 0] += 1
            right[smallest > 0] += found.stable == (smallest > 0)
            worst = max(worst, abs(found.smallest_eigenvalue - smallest))
        rows.append(
            f"| {seed} | {right[True]} of {total[True]} | {right[False]} of {total[False]} | "
            f"{worst:.1e} |"
        )
    return [
        "| seed | positive definite, called stable | indefinite, called unstable | "
        "largest error of the smallest eigenvalue (GPa) |",
        "|---:|---:|---:|---:|",
        *rows,
    ]


def moduli() -> list[str]:
    """Compare moduli with pymatgen's on the positive-definite tensors, and time both."""
    from pymatgen.core.elasticity import ElasticTensor

    names = {"bulk_voigt": "k_voigt", "bulk_reuss": "k_reuss", "bulk": "k_vrh",
             "shear_voigt": "g_voigt", "shear_reuss": "g_reuss", "shear": "g_vrh"}  # fmt: skip
    matrices = [m for seed in SEEDS for m, low in tensors(seed, TENSORS) if low > 1e-2]
    worst = dict.fromkeys(names, 0.0)
    for matrix in matrices:
        ours, peer = elasticity(as_vasp(matrix)), ElasticTensor.from_voigt(matrix)
        for name, other in names.items():
            a, b = getattr(ours, name), float(getattr(peer, other))
            worst[name] = max(worst[name], abs(a - b) / abs(b))
    few = [as_vasp(m) for m in matrices[:300]]
    ours_s, _ = timed(lambda: [(e := elasticity(m)).bulk + e.shear for m in few], 3)
    peer_s, _ = timed(lambda: [_peer_moduli(m) for m in few], 3)
    rows = [f"| {n} | {other} | {worst[n]:.1e} |" for n, other in names.items()]
    return [
        f"{len(matrices)} positive-definite tensors (smallest eigenvalue above 0.01 GPa, so that "
        "1e-8 can be asked of an inverse in double precision), handed to us as VASP prints them "
        "(kBar; xx yy zz xy yz zx) and to pymatgen in GPa and Voigt's order.",
        "",
        "| ours | pymatgen | largest relative difference |",
        "|---|---|---:|",
        *rows,
        "",
        f"One tensor takes {1e6 * ours_s / len(few):.0f} us here and "
        f"{1e6 * peer_s / len(few):.0f} us with pymatgen ({peer_s / ours_s:.0f} times), each from "
        "VASP's matrix to Hill's two averages.",
    ]


def _peer_moduli(vasp_kbar: np.ndarray) -> float:
    from pymatgen.core.elasticity import ElasticTensor

    order = [0, 1, 2, 4, 5, 3]
    tensor = ElasticTensor.from_voigt(vasp_kbar[np.ix_(order, order)] / 10)
    return float(tensor.k_vrh + tensor.g_vrh)


def published() -> list[str]:
    """Put the relation between the moduli beside the paper's numbers."""
    k, g = SRCLF3["K"], SRCLF3["G"]
    c44, c12 = g, k - 2 * g / 3
    isotropic = np.zeros((6, 6))
    isotropic[:3, :3] = c12
    isotropic[range(3), range(3)] = c12 + 2 * c44
    isotropic[range(3, 6), range(3, 6)] = c44
    found = elasticity(as_vasp(isotropic))
    apart = abs(found.young - SRCLF3["E"]) / SRCLF3["E"]
    assert apart < 1e-3
    return [
        "| SrClF3 | K (GPa) | G (GPa) | E = 9KG/(3K+G) (GPa) | Poisson |",
        "|---|---:|---:|---:|---:|",
        f"| paper | {k} | {g} | {SRCLF3['E']} | not given |",
        f"| ours, from the paper's K and G | {found.bulk:.2f} | {found.shear:.2f} | "
        f"{found.young:.3f} | {found.poisson:.3f} |",
        "",
        f"E differs by {apart:.1e} of itself (wanted: 1e-3). The paper prints two of the 21 "
        "constants, so K and G themselves cannot be derived from it.",
    ]


def conventions() -> list[str]:
    """Check the order of components with forsterite, upright and turned."""
    from pymatgen.core.elasticity import ElasticTensor
    from pymatgen.core.operations import SymmOp

    c = FORSTERITE
    upright = np.diag([c[f"C{i}{i}"] for i in range(1, 7)]).astype(float)
    for i, j in ((1, 2), (1, 3), (2, 3)):
        upright[i - 1, j - 1] = upright[j - 1, i - 1] = c[f"C{i}{j}"]
    found = elasticity(as_vasp(upright))
    spin = SymmOp.from_axis_angle_and_translation((1, 2, 3), 37)
    turned = ElasticTensor.from_voigt(upright).rotate(spin.rotation_matrix, tol=1e-2)
    raw = np.zeros((6, 6))
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))
    for a, (i, j) in enumerate(pairs):
        for b, (k, m) in enumerate(pairs):
            raw[a, b] = 10 * float(np.asarray(turned)[i, j, k, m])
    seen = elasticity(raw)
    order = np.abs(seen.constants - turned.voigt).max()
    same = max(abs(seen.bulk - found.bulk), abs(seen.shear - found.shear))
    naive = np.abs(raw / 10 - turned.voigt).max()
    assert order < 1e-9
    assert same < 1e-9
    return [
        f"Forsterite, Mg2SiO4 (Bass 1995): K {found.bulk:.1f} and G {found.shear:.1f} GPa by Hill, "
        f"published {c['K']} and {c['G']}. Turned by 37 degrees about [1 2 3] as a tensor of rank "
        "four, all 21 constants differ from zero; written component by component as xx yy zz xy yz "
        f"zx in kBar and read back, they differ from pymatgen's Voigt matrix by at most "
        f"{order:.0e} GPa, and K and G from those of the upright crystal by {same:.0e} GPa. Read "
        f"without the change of order they would be off by {naive:.0f} GPa. Moduli alone cannot "
        "tell: K and G do not change when shear components are swapped.",
    ]


def phase_sets(seed: int, number: int) -> Iterator[PhaseSet]:
    """Yield a compound, its formation energy in eV/atom, and competing phases, 2 to 4 elements.

    In every fifth set a competing phase has the compound's own composition: a polymorph.
    """
    chance = np.random.default_rng(seed)
    for k in range(number):
        elements = chance.choice(ELEMENTS, 2 + k % 3, replace=False).tolist()

        def amounts(chosen: Sequence[str]) -> dict[str, int]:
            return {e: int(chance.integers(1, 7)) for e in chosen}

        def some(among: list[str] = elements) -> dict[str, int]:
            size = chance.integers(2, len(among) + 1)
            return amounts(chance.choice(among, size, replace=False).tolist())

        phases = [(some(), float(chance.uniform(-3, 0.3))) for _ in range(chance.integers(1, 40))]
        cell = amounts(elements)
        if k % 5 == 0:
            phases.append(({e: 2 * n for e, n in cell.items()}, float(chance.uniform(-3, 0.3))))
        yield cell, float(chance.uniform(-3.5, 0.5)), phases


def pymatgens(case: PhaseSet) -> float:
    """Return the energy above the hull, below it the phase separation energy, by pymatgen."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    cell, energy, phases = case
    entries = [PDEntry(Composition(e), 0.0) for e in cell]
    for other, value in [*phases, (cell, energy)]:
        composition = Composition(dict(other))
        entries.append(PDEntry(composition, value * composition.num_atoms))
    diagram = PhaseDiagram(entries)
    if entries[-1] in diagram.stable_entries:
        return float(diagram.get_phase_separation_energy(entries[-1]))
    return float(diagram.get_e_above_hull(entries[-1]))


def by_linear_programme(case: PhaseSet) -> float:
    """Return the same without any hull: the cheapest mixture of the other phases, by scipy."""
    from scipy.optimize import linprog

    cell, energy, phases = case
    rows = [*({e: 1} for e in cell), *(other for other, _ in phases)]
    shares = np.array([[row.get(e, 0) for e in cell] for row in rows], dtype=float)
    shares /= shares.sum(axis=1, keepdims=True)
    costs = [0.0] * len(cell) + [value for _, value in phases]
    wanted = np.array(list(cell.values())) / sum(cell.values())
    return energy - float(linprog(costs, A_eq=shares.T, b_eq=wanted, method="highs").fun)


def hulls() -> list[str]:
    """Compare hull distances, and time them."""
    cases = [case for seed in SEEDS for case in phase_sets(seed, PHASE_SETS)]
    rows = []
    for size in (2, 3, 4):
        some = [case for case in cases if len(case[0]) == size]
        ours = np.array([hull_distance(*case) for case in some])
        programme = np.array([by_linear_programme(case) for case in some])
        comparable = [k for k, case in enumerate(some) if ours[k] > 0 or not has_polymorph(case)]
        peer = np.array([pymatgens(some[k]) for k in comparable])
        times = [
            timed(partial(_all, work, some[:60]), 3)[0] / 60
            for work in (lambda case: hull_distance(*case), pymatgens, by_linear_programme)
        ]
        rows.append(
            f"| {size} | {len(some)} | {int((ours < 0).sum())} | {len(comparable)} | "
            f"{np.abs(ours[comparable] - peer).max():.0e} | {np.abs(ours - programme).max():.0e} | "
            f"{1e3 * times[0]:.2f} | {1e3 * times[1]:.2f} | {times[1] / times[0]:.2f} |"
        )
    return [
        "`hull_distance` builds the hull of the *other* phases with pymatgen's `PhaseDiagram`, so "
        "that a compound below it gets a negative distance. It is held against the way pymatgen "
        "is used directly (the compound among the entries; `get_e_above_hull`, and "
        "`get_phase_separation_energy` where the compound is on the hull), and against a linear "
        "programme of scipy that builds no hull at all. 1 to 40 competing phases, in every fifth "
        "set one of the compound's own composition. Where the compound lies below the hull and "
        "has such a polymorph, pymatgen leaves the polymorph out and we do not; these sets are "
        "held against the programme only.",
        "",
        "| elements | sets | below the hull | compared with pymatgen | largest difference from "
        "pymatgen (eV/atom) | from the programme | ours (ms) | pymatgen (ms) | speed ratio |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *rows,
    ]


def has_polymorph(case: PhaseSet) -> bool:
    """Return whether a competing phase has the compound's composition."""
    from pymatgen.core import Composition

    own = Composition(dict(case[0])).reduced_formula
    return any(Composition(dict(other)).reduced_formula == own for other, _ in case[2])


def _all(work: Callable[[PhaseSet], float], cases: Sequence[PhaseSet]) -> list[float]:
    return [work(case) for case in cases]


def main() -> None:
    warnings.filterwarnings("ignore")
    versions = ", ".join(f"{p} {version(p)}" for p in ("numpy", "scipy", "pymatgen"))
    total = len(SEEDS) * TENSORS
    sections: dict[str, list[str]] = {
        f"Born's criterion on {total:,} tensors": born(),
        "Moduli": moduli(),
        "The paper's SrClF3": published(),
        "Conventions": conventions(),
        "Distance to the hull": hulls(),
    }
    lines = [
        "# Elastic properties and hull distances beside pymatgen",
        "",
        "Command: `OMP_NUM_THREADS=1 python benchmarks/properties.py`.",
        "",
        f"Machine: {os.cpu_count()} cores, shared, load {os.getloadavg()[0]:.1f} at the end; "
        f"Python {platform.python_version()}, {versions}. Times are CPU times of one thread, the "
        "least of three runs.",
    ]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    publish("properties", [re.sub(r"e([-+])0(\d)", r"e\1\2", line) for line in lines])


if __name__ == "__main__":
    main()
