"""What 1,000 oracle calls find, by method: the latent search beside random points, AGD's and trees.

The oracle is the shipped band-gap model; every search starts from 300 random labels of known
compounds (AGD experiment 3), the same for all methods of one seed. Finished runs are kept in a file
and not repeated. The methods of `SHIPPED_METHODS` put what the shipped campaigns set beside its
rivals at their window:

    AGD_DATA_DIR=... python benchmarks/latent_search.py --seeds 5
    AGD_DATA_DIR=... python benchmarks/latent_search.py --seeds 3 --shipped
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from models.compositions.autoencoder import Autoencoder
from models.pretrained import shipped
from models.properties.boosting import BoostingModel
from models.properties.descriptors import descriptors
from models.search.gaussian_process import MaternProcess, Observations
from models.search.latent_pool import PoolShares, propose
from models.search.latent_search import BATCH, KAPPA_AGD_BEST
from models.search.surrogate_inputs import StandardDescriptors
from structure.composition import first_of_each, keys_of, parse_formulas, reduce
from structure.properties.band_gap import BAND_GAP
from structure.properties.gap_window import band_gaps
from structure.rules.validity import valid
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import write_table
from tasks.campaign.outputs import Ingested, Trained
from tasks.explore.stage import ExploreConfig, explore
from tasks.explore.state import Rows
from tasks.oracles.ml import MLOracle

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = shipped("")
BOX_ONLY = PoolShares(box=1, around=0, between=0, offspring=0)
TREES, TREE_KAPPA = 60, 1.0
GENERATED = 20_000
FEWER = ExploreConfig(pool_size=2000)


@dataclass
class World:
    """What all methods share."""

    space: Autoencoder
    oracle: BoostingModel
    known: np.ndarray
    budget: int
    initial: int

    def start(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the initial compositions of a seed and their labels."""
        rows = np.random.default_rng(seed).permutation(len(self.known))[: self.initial]
        counts = self.known[rows]
        return counts, self.oracle.predict(counts).mean


@dataclass
class Found:
    """Labels in the order in which they were asked for."""

    counts: np.ndarray
    gaps: np.ndarray


def within_limits(counts: np.ndarray) -> np.ndarray:
    elements = (counts > 0).sum(axis=1)
    return (elements >= 2) & (elements <= 5) & (counts.sum(axis=1) <= 20)


def searched(config: ExploreConfig) -> Callable[[World, int], Found]:
    """Return the explore stage with these settings."""

    def run(world: World, seed: int) -> Found:
        counts, gaps = world.start(seed)
        spent = config.model_copy(update={"budget": world.budget})
        with tempfile.TemporaryDirectory() as folder, Campaign(Path(folder), {}, seed) as campaign:
            path = campaign.root / "initial.parquet"
            table = write_table(
                campaign.root, path, {BAND_GAP.column: gaps}, "initial", counts=counts
            )
            explored = campaign.run(
                explore,
                spent,
                band_gaps(),
                Ingested(initial=table, known=table, templates=table, manifest=table),
                Trained(models={}),
                oracle=MLOracle(world.oracle, "benchmark"),
                space=world.space,
            )
            rows = Rows.read(campaign, explored.visited, world.space.box.shape[1])
            labelled = np.array([status == "labelled" for status in rows.statuses])
            return Found(rows.counts[labelled], rows.gaps[labelled])

    return run


def changed(**settings: object) -> Callable[[World, int], Found]:
    """Return our search over fewer candidates with one thing changed."""
    return searched(FEWER.model_copy(update=settings))


def random_latents(strict: bool) -> Callable[[World, int], Found]:
    """Return the search without a surrogate: uniform points of the box, in order."""

    def run(world: World, seed: int) -> Found:
        rng = np.random.default_rng([seed, 1])
        start, _ = world.start(seed)
        taken, kept = set(keys_of(start).tolist()), []
        while len(kept) < world.budget:
            pool = propose(2000, BOX_ONLY, world.space.box, np.zeros((1, 128)), np.zeros(1), rng)
            counts = reduce(world.space.decode(pool.latents))
            usable = within_limits(counts)
            if strict:
                usable[usable] = valid(counts[usable])
            for row, key in zip(counts[usable], keys_of(counts[usable]).tolist(), strict=True):
                if key not in taken:
                    taken.add(key)
                    kept.append(row)
        counts = np.array(kept[: world.budget])
        return Found(counts, world.oracle.predict(counts).mean)

    return run


def tree_search(pool_of: Callable[[World, int], Callable[..., np.ndarray]]) -> Callable[..., Found]:
    """Return the simplest baseline: trees on descriptors, mean plus spread, best 20 of a pool."""

    def run(world: World, seed: int) -> Found:
        from sklearn.ensemble import ExtraTreesRegressor

        start, start_gaps = world.start(seed)
        counts, gaps, next_pool = start, start_gaps, pool_of(world, seed)
        while len(gaps) < len(start) + world.budget:
            pool = next_pool(counts, gaps)
            pool = pool[~np.isin(keys_of(pool), keys_of(counts))]
            forest = ExtraTreesRegressor(TREES, max_features=1 / 3, random_state=seed, n_jobs=1)
            forest.fit(descriptors(counts), gaps)
            inputs = descriptors(pool).astype(np.float32)
            votes = np.stack([tree.predict(inputs) for tree in forest.estimators_])
            worth = votes.mean(axis=0) + TREE_KAPPA * votes.std(axis=0)
            best = pool[np.argsort(-worth, kind="stable")[:BATCH]]
            counts = np.concatenate([counts, best])
            gaps = np.concatenate([gaps, world.oracle.predict(best).mean])
        return Found(counts[len(start) :], gaps[len(start) :])

    return run


def known_pool(world: World, seed: int) -> Callable[..., np.ndarray]:
    pool = world.known[valid(world.known)]
    return lambda counts, gaps: pool


def generated_pool(world: World, seed: int) -> Callable[..., np.ndarray]:
    from models.compositions.generator import load_generator

    drawn = reduce(load_generator(SHIPPED / "sequence").sample(5 * GENERATED, seed))
    drawn = drawn[within_limits(drawn) & world.space.accepts(drawn)]
    drawn = drawn[first_of_each(keys_of(drawn))]
    pool = drawn[valid(drawn)][:GENERATED]
    return lambda counts, gaps: pool


def latent_pool(config: ExploreConfig, world: World, seed: int) -> Callable[..., np.ndarray]:
    rng = np.random.default_rng([seed, 2])

    def draw(counts: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        latents = world.space.encode(counts)
        pool = propose(config.pool_size, config.shares, world.space.box, latents, gaps, rng)
        decoded = reduce(world.space.decode(pool.latents))
        decoded = decoded[within_limits(decoded)]
        decoded = decoded[valid(decoded)]
        return decoded[first_of_each(keys_of(decoded))]

    return draw


METHODS: dict[str, Callable[[World, int], Found]] = {
    "random latent points (box)": random_latents(strict=False),
    "random latent points (box), valid only": random_latents(strict=True),
    "AGD's way, kappa 100": searched(ExploreConfig.agd(iterations=None)),
    "AGD's way, kappa 10": searched(ExploreConfig.agd(iterations=None, kappa=KAPPA_AGD_BEST)),
    "ours, 6,000 candidates (defaults)": searched(ExploreConfig()),
    "ours, 6,000 candidates, kappa 1": searched(ExploreConfig(kappa=1.0)),
    "2,000 candidates": searched(FEWER),
    "2,000 candidates, package backend": changed(backend="bayesian-optimization"),
    "2,000 candidates, kappa 1": changed(kappa=1.0),
    "2,000 candidates, kappa 10": changed(kappa=KAPPA_AGD_BEST),
    "2,000 candidates, expected improvement": changed(acquisition="ei"),
    "2,000 candidates, surrogate on re-encoded latents": changed(surrogate_inputs="encoded"),
    "2,000 candidates, surrogate on proposed latents": changed(surrogate_inputs="proposed"),
    "2,000 candidates, box only": changed(shares=BOX_ONLY),
    "2,000 candidates, any chemistry": changed(chemistry="any"),
    "trees over known formulas": tree_search(known_pool),
    "trees over generated formulas": tree_search(generated_pool),
    "trees over 2,000 of our candidates": tree_search(partial(latent_pool, FEWER)),
    "trees over 6,000 of our candidates": tree_search(partial(latent_pool, ExploreConfig())),
    "ours, 6,000 candidates, package backend": searched(
        ExploreConfig(backend="bayesian-optimization")
    ),
}

SHIPPED_METHODS = (
    "AGD's way, kappa 10",
    "ours, 6,000 candidates, package backend",
    "ours, 6,000 candidates (defaults)",
    "trees over generated formulas",
    "trees over 6,000 of our candidates",
)
"""The second is what the shipped campaigns set; ``agd-bandgap-gpaw`` leaves the third."""


def quality(
    world: World, seeds: int, names: list[str], window: float, cache: Path
) -> dict[str, list[dict]]:
    """Run the methods for every seed, once; return the numbers of all finished runs by method."""
    done: dict[tuple[str, int], dict] = {}
    if cache.exists():
        for line in cache.read_text().splitlines():
            row = json.loads(line)
            done[row["method"], row["seed"]] = row
    known_keys = keys_of(world.known)
    for seed in range(seeds):
        for name in names:
            if (name, seed) in done:
                continue
            began = time.process_time()
            found = METHODS[name](world, seed)
            seconds = time.process_time() - began
            wide = found.gaps > window
            sound = valid(found.counts)
            new = ~np.isin(keys_of(found.counts), known_keys)
            row = {
                "method": name,
                "seed": seed,
                "calls": len(found.gaps),
                "best": float(found.gaps.max()),
                "best_valid": float(found.gaps[sound].max(initial=0)),
                "wide": int(wide.sum()),
                "wide_valid": int((wide & sound).sum()),
                "wide_valid_new": int((wide & sound & new).sum()),
                "wide_at_200": int(wide[:200].sum()),
                "wide_at_500": int(wide[:500].sum()),
                "cpu_s": seconds,
            }
            done[name, seed] = row
            with cache.open("a") as handle:
                handle.write(json.dumps(row) + "\n")
            print(row, flush=True)
    runs = {name: [row for (method, _), row in done.items() if method == name] for name in METHODS}
    return {name: rows for name, rows in runs.items() if rows}


def mean_and_spread(rows: list[dict], key: str, digits: int) -> str:
    values = np.array([row[key] for row in rows], dtype=float)
    mean = f"{values.mean():.{digits}f}"
    return f"{mean} ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else mean


def quality_rows(results: dict[str, list[dict]]) -> list[str]:
    columns = [("best", 2), ("wide", 0), ("wide_valid", 0), ("wide_valid_new", 0)]
    columns += [("wide_at_200", 0), ("wide_at_500", 0), ("cpu_s", 0)]
    return [
        "| "
        + " | ".join([name, str(len(rows)), *(mean_and_spread(rows, k, d) for k, d in columns)])
        + " |"
        for name, rows in results.items()
    ]


def surrogate_rows(world: World, seeds: int) -> list[str]:
    """Return how well surrogates predict unseen known compounds, by number of labels."""
    from sklearn.ensemble import ExtraTreesRegressor

    def process(x: np.ndarray, y: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        return MaternProcess().belief(Observations(x, y, (len(y),)), unseen).mean

    def trees(x: np.ndarray, y: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        forest = ExtraTreesRegressor(TREES, max_features=1 / 3, random_state=0, n_jobs=1)
        return forest.fit(x, y).predict(unseen)

    rows = []
    for n in (300, 1000):
        scores: dict[str, list[float]] = {"latents": [], "descriptors": [], "trees": []}
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(world.known))
            seen, unseen = world.known[order[:n]], world.known[order[-2000:]]
            y, truth = world.oracle.predict(seen).mean, world.oracle.predict(unseen).mean
            z, other = (world.space.encode(c).astype(float) for c in (seen, unseen))
            see = StandardDescriptors(seen)
            for name, guess in (
                ("latents", process(z, y, other)),
                ("descriptors", process(see(seen), y, see(unseen))),
                ("trees", trees(descriptors(seen), y, descriptors(unseen))),
            ):
                scores[name].append(1 - float(np.mean((guess - truth) ** 2) / truth.var()))
        cells = [f"{np.mean(s):.2f} ± {np.std(s, ddof=1):.2f}" for s in scores.values()]
        rows.append("| " + " | ".join([f"{n:,}", *cells]) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("AGD_DATA_DIR"))
    parser.add_argument("--autoencoder", type=Path, default=SHIPPED / "autoencoder")
    parser.add_argument("--oracle", type=Path, default=SHIPPED / "oracle")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--initial", type=int, default=300)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--window", type=float, default=6.0)
    parser.add_argument("--shipped", action="store_true", help="SHIPPED_METHODS above 5 eV")
    parser.add_argument("--cache", type=Path, default=Path("latent_search_runs.jsonl"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/latent_search.md")
    arguments = parser.parse_args()
    if arguments.shipped:
        arguments.methods, arguments.window = list(SHIPPED_METHODS), 5.0
        arguments.out = arguments.out.with_stem(f"{arguments.out.stem}_shipped")
    if arguments.data is None:
        parser.error("name the folder with mp_gap.csv.gz with --data or AGD_DATA_DIR")

    space = Autoencoder.load(arguments.autoencoder)
    known = known_compositions(Path(arguments.data) / "mp_gap.csv.gz", space)
    oracle = BoostingModel.load(arguments.oracle, threads=1)
    world = World(space, oracle, known, arguments.budget, arguments.initial)
    fit = surrogate_rows(world, max(arguments.seeds, 2))
    results = quality(world, arguments.seeds, arguments.methods, arguments.window, arguments.cache)
    command = "python benchmarks/latent_search.py " + " ".join(
        f"--{name} {getattr(arguments, name)}" for name in ("seeds", "budget", "initial")
    )
    command += " --shipped" * arguments.shipped
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page(command, world, fit, results, arguments.seeds, arguments.window))
    print(arguments.out)


def known_compositions(path: Path, space: Autoencoder) -> np.ndarray:
    """Read the distinct compositions of a table that a search may start from."""
    counts = parse_formulas(pd.read_csv(path)["formula"]).counts
    counts = counts[within_limits(counts) & space.accepts(counts)]
    return counts[first_of_each(keys_of(counts))]


def page(
    command: str,
    world: World,
    fit: list[str],
    results: dict[str, list[dict]],
    seeds: int,
    window: float,
) -> str:
    wide = f"> {window:g} eV"
    packages = ("bayesian-optimization", "scikit-learn", "lightgbm", "torch", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    machine = f"{platform.machine()}, {os.cpu_count()} shared cores, one thread"
    return f"""# What the latent search finds

`{command}` with `OMP_NUM_THREADS=1`; Python {platform.python_version()}, {versions}; {machine}.
What follows from it is in `docs/decisions/latent-search.md`; what the shipped campaigns set, at
their window, is in `latent_search_shipped.md` ("package backend"). Where a row has fewer seeds,
the runs were stopped for time; the rows of 2,000 candidates change one thing each.

## What the surrogate knows

R² on 2,000 unseen known compounds, {max(seeds, 2)} seeds: our Gaussian process on latents (AGD)
and on descriptors of the composition (ours), and {TREES} extremely randomised trees.

| labels | process on latents | process on descriptors | trees on descriptors |
|---|---|---|---|
{chr(10).join(fit)}

## What {world.budget:,} oracle calls find

From {world.initial} random labels of known compounds; the oracle is the shipped band-gap model, so
a gap is a prediction. Mean ± standard deviation over seeds. "{wide}" counts labels above it;
"valid" those that are neutral with balanced electronegativity; "new" those of them that are not
among {len(world.known):,} known compositions. AGD's way pays only for suggestions that decode and
are new, so the ones it loses cost it nothing here.

| method | seeds | best, eV | {wide} | valid | valid, new | first 200 | first 500 | CPU s |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(quality_rows(results))}
"""


if __name__ == "__main__":
    main()
