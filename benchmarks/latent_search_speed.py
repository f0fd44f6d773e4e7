"""Time to suggest a batch of 20 in 128 dimensions, beside the package as it comes.

Registers labels of encoded known compounds and suggests 20 candidates, with the defaults of the
bayesian-optimization package and with our two backends, on one thread.

    AGD_DATA_DIR=... python benchmarks/latent_search_speed.py
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from models.compositions.autoencoder import Autoencoder
from models.pretrained import shipped
from models.search.latent_pool import PoolShares, propose
from models.search.latent_search import BATCH, Acquisition, LatentSearch
from structure.composition import first_of_each, keys_of, parse_formulas

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = shipped("")
PACKAGE_LIMIT = 300  # labels up to which the package as it comes is run


def clock(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def package_default(z: np.ndarray, y: np.ndarray, box: np.ndarray) -> tuple[float, float]:
    """Return the seconds the package takes, as it comes, to register and to suggest one point."""
    from bayes_opt import BayesianOptimization, acquisition

    bounds = {f"z{i:03d}": (float(a), float(b)) for i, (a, b) in enumerate(box.T)}
    optimiser = BayesianOptimization(
        None,
        bounds,
        acquisition_function=acquisition.UpperConfidenceBound(kappa=10.0),
        random_state=0,
        verbose=0,
        allow_duplicate_points=True,
    )

    def register() -> None:
        for point, value in zip(z, y, strict=True):
            optimiser.register(point, float(value))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clock(register), clock(optimiser.suggest)


def ours(box: np.ndarray, z: np.ndarray, y: np.ndarray, backend: str) -> dict[str, float]:
    """Return the seconds our search takes for one batch of 20 after n labels."""
    search = LatentSearch(box, Acquisition(kappa=10.0), backend)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    pools = [propose(2000, PoolShares(), box, z, y, rng).latents for _ in range(3)]
    taken = {"register": clock(lambda: search.register(z, y))}
    taken["first suggest"] = clock(lambda: search.suggest(pools[0]))
    search.register(pools[0][:BATCH], np.full(BATCH, y.mean()))
    taken["next suggest"] = clock(lambda: search.suggest(pools[1]))
    return taken


def timing(box: np.ndarray, z: np.ndarray, y: np.ndarray, sizes: list[int]) -> list[str]:
    """Measure registering and suggesting; return Markdown rows."""
    rows = []
    for n in sizes:
        own = {b: ours(box, z[:n], y[:n], b) for b in ("bayesian-optimization", "batch")}
        per_20, peer = np.nan, "not run"
        if n <= PACKAGE_LIMIT:
            registering, suggesting = package_default(z[:n], y[:n], box)
            per_20 = registering + BATCH * suggesting
            peer = f"{registering:.1f} + {suggesting:.1f} x 20 = {per_20:.0f}"
        cells = [f"{n:,}", peer]
        for name in ("bayesian-optimization", "batch"):
            t = own[name]
            total = t["register"] + t["first suggest"]
            ratio = f" ({per_20 / total:.0f}x)" if np.isfinite(per_20) else ""
            cells += [f"{total:.2f}{ratio}", f"{t['next suggest']:.2f}"]
        rows.append("| " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("AGD_DATA_DIR"))
    parser.add_argument("--autoencoder", type=Path, default=SHIPPED / "autoencoder")
    parser.add_argument("--sizes", type=int, nargs="*", default=[300, 1000, 2000])
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/latent_search_speed.md")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the folder with mp_gap.csv.gz with --data or AGD_DATA_DIR")
    space = Autoencoder.load(arguments.autoencoder)
    table = pd.read_csv(Path(arguments.data) / "mp_gap.csv.gz")
    parsed = parse_formulas(table["formula"])
    rows = first_of_each(keys_of(parsed.counts))
    rows = rows[space.accepts(parsed.counts[rows])]
    rows = np.random.default_rng(0).permutation(rows)[: max(arguments.sizes)]
    z = space.encode(parsed.counts[rows]).astype(float)
    y = table["gap"].to_numpy(float)[parsed.rows[rows]]
    times = timing(space.box, z, y, arguments.sizes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page(arguments.sizes, times))
    print(arguments.out)


def page(sizes: list[int], times: list[str]) -> str:
    packages = ("bayesian-optimization", "scikit-learn", "scipy", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    machine = f"{platform.machine()}, {os.cpu_count()} shared cores, one thread"
    return f"""# Time of the latent search

`python benchmarks/latent_search_speed.py --sizes {" ".join(map(str, sizes))}` with
`OMP_NUM_THREADS=1`; Python {platform.python_version()}, {versions}; {machine}. CPU seconds.

128 dimensions, labels of encoded compounds. The package as it comes registers points one by one and
suggests one point at a time; one suggestion is measured and counted 20 times. Ours registers all
points, fits the kernel and chooses 20 from 2,000 candidates; "next" is a later batch, with 20 more
labels and the kernel kept. The ratio is to the package as it comes, in the same run.

| n | package as it comes | package backend | next | batch backend | next |
|---|---|---|---|---|---|
{chr(10).join(times)}
"""


if __name__ == "__main__":
    main()
