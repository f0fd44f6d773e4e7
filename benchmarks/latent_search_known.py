"""The search's surrogates on true labels: which find the widest DFT gaps of known compounds.

A pool of known compounds with their gaps from a table, 300 random ones labelled; each method asks
for 500 more, 20 at a time. No model answers here, so surrogate and oracle share nothing. Both
backends of the search are judged, on latents and on descriptors, beside a tree ensemble.

    AGD_DATA_DIR=... python benchmarks/latent_search_known.py --seeds 5
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from models.compositions.autoencoder import Autoencoder
from models.pretrained import shipped
from models.properties.descriptors import descriptors
from models.search.latent_search import BATCH, LatentSearch
from models.search.surrogate_inputs import StandardDescriptors
from structure.composition import keys_of, parse_formulas

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = shipped("")
TREES = 60
TREE_KAPPA = 1.0
METHODS = {
    "random": None,
    "batch, latents": ("batch", "latents"),
    "batch, descriptors": ("batch", "descriptors"),
    "bayesian-optimization, descriptors": ("bayesian-optimization", "descriptors"),
    "trees, descriptors": None,
}
"""Backend of the search and what its surrogate sees, where there is one."""

SHIPPED_METHOD = "bayesian-optimization, descriptors"
"""What the shipped campaigns but one set; the default of a campaign of one's own is ``batch``."""


def labelled(path: Path, space: Autoencoder) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct compositions that can be encoded, with the median of their gaps."""
    table = pd.read_csv(path)
    parsed = parse_formulas(table["formula"])
    gaps = pd.Series(table["gap"].to_numpy(float)[parsed.rows])
    _, first, group = np.unique(keys_of(parsed.counts), return_index=True, return_inverse=True)
    medians = gaps.groupby(group).median().to_numpy()
    counts = parsed.counts[first]
    usable = space.accepts(counts) & ((counts > 0).sum(axis=1) >= 2)
    return counts[usable], medians[usable]


def ask(
    method: str, space: Autoencoder, counts: np.ndarray, gaps: np.ndarray, start: int, calls: int
) -> np.ndarray:
    """Return the rows asked for; the first `start` rows are labelled from the beginning."""
    taken = list(range(start))
    if method == "random":
        return np.arange(start, start + calls)
    search = None
    if (found := METHODS[method]) is None:
        inputs = descriptors(counts).astype(np.float32)
    else:
        backend, seen = found
        standard = StandardDescriptors(counts[:start])
        inputs = standard(counts) if seen == "descriptors" else space.encode(counts).astype(float)
        search = LatentSearch(standard.box if seen == "descriptors" else space.box, None, backend)
        search.register(inputs[:start], gaps[:start])
    while len(taken) < start + calls:
        rest = np.setdiff1d(np.arange(len(counts)), taken)
        if search is None:
            best = rest[_by_trees(inputs[taken], gaps[taken], inputs[rest])]
        else:
            best = rest[search.suggest(inputs[rest], BATCH)]
            search.register(inputs[best], gaps[best])
        taken.extend(best.tolist())
    return np.array(taken[start:])


def _by_trees(x: np.ndarray, y: np.ndarray, pool: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(TREES, max_features=1 / 3, random_state=0, n_jobs=1).fit(x, y)
    votes = np.stack([tree.predict(pool) for tree in forest.estimators_])
    worth = votes.mean(axis=0) + TREE_KAPPA * votes.std(axis=0)
    return np.argsort(-worth, kind="stable")[:BATCH]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("AGD_DATA_DIR"))
    parser.add_argument("--autoencoder", type=Path, default=SHIPPED / "autoencoder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=8000)
    parser.add_argument("--initial", type=int, default=300)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--windows", type=float, nargs="+", default=[5.0, 6.0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/latent_search_known.md")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the folder with mp_gap.csv.gz with --data or AGD_DATA_DIR")
    space = Autoencoder.load(arguments.autoencoder)
    counts, gaps = labelled(Path(arguments.data) / "mp_gap.csv.gz", space)
    found: dict[str, list[list[float]]] = {method: [] for method in arguments.methods}
    for seed in range(arguments.seeds):
        rows = np.random.default_rng(seed).permutation(len(counts))[: arguments.pool]
        pool, truth = counts[rows], gaps[rows]
        open_ = truth[arguments.initial :]
        for method in arguments.methods:
            began = time.process_time()
            asked = ask(method, space, pool, truth, arguments.initial, arguments.calls)
            shares = [(truth[asked] > g).sum() / (open_ > g).sum() for g in arguments.windows]
            found[method].append([*shares, time.process_time() - began])
            print(seed, method, *(f"{value:.3f}" for value in found[method][-1]), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page(arguments, found))
    print(arguments.out)


def page(arguments: argparse.Namespace, found: dict[str, list[list[float]]]) -> str:
    rows = []
    for method, numbers in found.items():
        *shares, seconds = np.array(numbers).T
        cells = [f"{100 * s.mean():.1f} ± {100 * _spread(s):.1f}" for s in shares]
        name = f"**{method}**" if method == SHIPPED_METHOD else method
        rows.append("| " + " | ".join([name, *cells, f"{seconds.mean():.0f}"]) + " |")
    settings = " ".join(
        f"--{n} {getattr(arguments, n)}" for n in ("seeds", "pool", "initial", "calls")
    )
    heads = " | ".join(f"> {g:g} eV found, %" for g in arguments.windows)
    return f"""# The search's surrogates on true labels

`python benchmarks/latent_search_known.py {settings}` with `OMP_NUM_THREADS=1`; Python
{platform.python_version()}, bayesian-optimization {version("bayesian-optimization")},
scikit-learn {version("scikit-learn")}, numpy {version("numpy")}; {platform.machine()},
{os.cpu_count()} shared cores.

A pool of {arguments.pool:,} random known compounds with their PBE gaps (Matbench mp_gap, medians by
composition); {arguments.initial} labelled, {arguments.calls} asked for, {BATCH} at a time.
Percentage of the wide-gap compounds in the pool that were asked for, mean ± standard deviation
over {arguments.seeds} seeds, and CPU seconds of a search. A method is a backend of the search and
what its surrogate sees; in bold what the shipped campaigns set, but for `agd-bandgap-gpaw`, which
leaves the default `batch`. Their window begins at 5 eV (`agd-semiconductor`: 2 to 4 eV). The trees
are {TREES} extremely randomised ones, mean plus {TREE_KAPPA:g} standard deviation. The autoencoder
was trained on formulas of this table, not on its gaps.

| method | {heads} | CPU s |
|---|{"---|" * len(arguments.windows)}---|
{chr(10).join(rows)}
"""


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
