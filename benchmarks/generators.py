"""Composition generators beside a random baseline and the published figures.

Draws from the shipped weights with several seeds, fits variants from scratch with equal CPU time,
judges all of them on the same held-out formulas, and writes docs/results/generators.md. Fits are
checkpointed in ``--work``: the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import data_folder, publish, setting

from models.compositions.autoencoder import Autoencoder
from models.compositions.generation_metrics import generation_metrics
from models.compositions.generator import CompositionGenerator, load_generator
from models.compositions.generator_training import CompositionSet, autoencoder_metrics
from models.compositions.matgan import MatGANConfig, published
from models.compositions.matgan_training import fit_matgan
from models.compositions.sequence import SequenceConfig, fit_sequence
from models.fitting.datasets import load_training_data
from models.fitting.loop import FitBudget
from models.pretrained import shipped
from structure.composition import reduce
from structure.rules.validity import RuleSet, matched_random, neutral, valid

SHIPPED = shipped("")
DRAWS = 100_000
PAPERS_LIST = RuleSet(oxidation_states="smact14")
Metrics = dict[str, float]

COLUMNS: tuple[tuple[str, str], ...] = (
    ("neutral", "neutral"),
    ("strict", "strict"),
    ("pymatgen_sp", "sp"),
    ("neutral_2019", "neutral, smact14"),
    ("strict_2019", "strict, smact14"),
    ("novel_strict", "strict, novel"),
    ("unique_20000", "distinct of 20k"),
    ("unique_100000", "distinct of 100k"),
    ("novel", "novel"),
    ("recovered_training", "training drawn"),
    ("recovered_held_out", "held-out drawn"),
)


class RandomBaseline:
    """Random compositions with the marginals of given ones, as a generator."""

    name = "random"

    def __init__(self, counts: np.ndarray):
        self._counts = counts

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Draw `n` compositions."""
        return matched_random(self._counts, n, np.random.default_rng(seed))


def judged(
    generator: CompositionGenerator, training: np.ndarray, held_out: np.ndarray, seed: int
) -> Metrics:
    began = time.process_time()
    drawn = generator.sample(DRAWS, seed)
    rate = DRAWS / (time.process_time() - began)
    rng = np.random.default_rng(seed)
    reduced = reduce(drawn)
    compound = (reduced > 0).sum(axis=1) >= 2
    return {
        **generation_metrics(drawn, training, held_out, rng),
        "neutral_2019": float((compound & neutral(reduced, PAPERS_LIST)).mean()),
        "strict_2019": float((compound & valid(reduced, PAPERS_LIST)).mean()),
        "rate": rate,
    }


def variants(cpu_seconds: float) -> dict[str, MatGANConfig | SequenceConfig]:
    """Configurations fitted from scratch, each for the same CPU time."""
    budget = FitBudget(steps=1_000_000, cpu_seconds=cpu_seconds, probe_every=200)
    slot = MatGANConfig(budget=budget)
    paper = published("icsd").model_copy(update={"valid_only": True})
    few = budget.model_copy(update={"probe_every": 20})
    return {
        "slot, likelihood and game": slot.model_copy(
            update={"likelihood_steps": int(15 * cpu_seconds)}
        ),
        "slot, game alone": slot.model_copy(
            update={"likelihood_steps": 0, "rate_generator": 1e-3, "rate_critic": 2e-3}
        ),
        "slot, likelihood alone": slot.model_copy(update={"likelihood_steps": 1_000_000}),
        "published small network, penalty": paper.model_copy(update={"budget": few}),
        "published small network, clipping": paper.model_copy(
            update={"budget": few, "loss": "clipping"}
        ),
        "sequence": SequenceConfig(budget=budget.model_copy(update={"steps": 4_000})),
    }


def fitted(
    name: str, config: MatGANConfig | SequenceConfig, data: CompositionSet, seed: int, work: Path
) -> Metrics:
    """Fit and judge one variant; a result already in `work` is read instead."""
    place = work / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}"
    result = place / "metrics.json"
    if not result.exists():
        print(f"fitting {name}, seed {seed}")
        place.mkdir(parents=True, exist_ok=True)
        if isinstance(config, MatGANConfig):
            model, fit = fit_matgan(data.training, config, seed, place, data.sha256)
        else:
            model, fit = fit_sequence(data.training, config, seed, place, data.sha256)
        used = (data.training, data.held_out)
        training, held_out = (counts[config.usable(counts)] for counts in used)
        metrics = judged(model, training, held_out, seed + 100)
        metrics |= {"steps": float(fit.steps), "cpu_seconds": fit.cpu_seconds}
        result.write_text(json.dumps(metrics))
    return json.loads(result.read_text())


def spread(values: Sequence[float], write: Callable[[float], str]) -> str:
    """Write mean and sample standard deviation."""
    if len(values) == 1:
        return write(values[0])
    return f"{write(float(np.mean(values)))} ± {write(float(np.std(values, ddof=1)))}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def line(name: str, runs: Sequence[Metrics]) -> str:
    cells = [spread([m[key] for m in runs], percent) for key, _ in COLUMNS]
    rate = spread([m["rate"] for m in runs], lambda x: f"{x:,.0f}")
    return f"| {name} | " + " | ".join(cells) + f" | {rate} |"


def table(rows: Sequence[tuple[str, Sequence[Metrics]]]) -> list[str]:
    heads = " | ".join(head for _, head in COLUMNS)
    return [
        f"| | {heads} | draws/s |",
        "|---|" + "---:|" * (len(COLUMNS) + 1),
        *(line(name, runs) for name, runs in rows),
        "",
    ]


def histogram(rows: Sequence[tuple[str, Metrics, str]]) -> list[str]:
    lines = ["| elements | 1 | 2 | 3 | 4 | 5 | 6 | 7 |", "|---|" + "---:|" * 7]
    for name, metrics, prefix in rows:
        cells = " | ".join(percent(metrics[f"{prefix}elements_{k}"]) for k in range(1, 8))
        lines.append(f"| {name} | {cells} |")
    return [*lines, ""]


def autoencoder_lines(data: CompositionSet, seeds: int) -> list[str]:
    """Judge the shipped autoencoder."""
    model = Autoencoder.load(SHIPPED / "autoencoder")
    training, held_out = (
        counts[model.config.usable(counts)] for counts in (data.training, data.held_out)
    )
    began = time.process_time()
    latents = model.encode(training)
    encode = len(training) / (time.process_time() - began)
    began = time.process_time()
    model.decode(latents)
    decode = len(training) / (time.process_time() - began)
    runs = [autoencoder_metrics(model, training, held_out, seed) for seed in range(seeds)]
    lines = [
        "## Autoencoder (shipped)",
        "",
        f"Every element and number right: {percent(runs[0]['exact_training'])} % of training, "
        f"{percent(runs[0]['exact_held_out'])} % of {len(held_out):,} held-out compositions with "
        f"at most 20 atoms of each of 87 elements. Encoding {encode:,.0f}/s, decoding "
        f"{decode:,.0f}/s.",
        "",
        "| latent vectors | not empty % | two or more elements % | strict % | distinct % |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, words in (
        ("box", "uniform in the box of encoded training compositions, as in AGD"),
        ("around", "encoded training composition moved by up to 10 % of the box"),
        ("between", "half way between two encoded training compositions"),
    ):
        kinds = ("not_empty", "decodable", "valid", "distinct")
        cells = [spread([m[f"{name}_{kind}"] for m in runs], percent) for kind in kinds]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        "Published: AGD's search decodes 741 and 853 of 1,000 suggestions (74 and 85 %, Table 1; "
        "the paper does not say what counts as decoded). MatGAN's own autoencoder reproduces "
        "96.3 % of training and 95.5 % of test compositions, from 291,840 OQMD compositions with "
        "at most 8 atoms of an element (sec. 2.4).",
        "",
    ]


PUBLISHED = [
    "## Published",
    "",
    "MatGAN (sec. 2.4, Fig. 4a): of the draws of its network trained on charge-neutral and "
    "balanced ICSD compounds, 92.1 % are neutral and 84.5 % balanced, by smact's oxidation states "
    "of 2019; its network trained on all of the Materials Project reaches 84.8 % neutral. It "
    "finds 48.8 % of held-out Materials Project formulas with 2 million draws (Table 1), 60 % of "
    "those of ICSD. Other data and another list of states: the figures here are to be read beside "
    "the random baseline of the same table, not beside those.",
    "",
]

NOTES = [
    "Shares in percent of 100,000 draws as drawn, nothing filtered. *neutral*: oxidation states "
    "can balance. *strict*: they can, with every cation less electronegative than every anion, "
    "no pass for alloys, two or more elements (smact's default states). *sp*: strict with the "
    "shorter list `pymatgen_sp`. *smact14*: the list of smact's that MatGAN used in 2019; the "
    "training set was chosen by the default list. *strict, novel*: strict among distinct draws "
    "that are in neither the training nor the held-out set. *random*: elements, counts and numbers "
    "of elements drawn "
    "independently with the training set's frequencies; only what lies above it was learnt.",
    "",
]


def how_it_ran() -> list[str]:
    """Return the lines on command and machine; rates here are means, not least times."""
    options = " ".join(sys.argv[1:])
    lines = setting(["torch", "numpy", "smact"])
    lines[0] = f"Command: `OMP_NUM_THREADS=1 python benchmarks/generators.py {options}`."
    return [line.replace(", the least of several runs", "") for line in lines]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the draws (default: 3)")
    parser.add_argument("--fit-seconds", type=float, default=120.0, help="CPU time of each fit")
    parser.add_argument("--fit-seeds", type=int, default=1, help="fits of each variant; 0: none")
    parser.add_argument("--work", type=Path, default=Path("runs/generators"))
    return parser.parse_args()


def main() -> None:
    asked = parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    loaded = load_training_data(data_folder(asked.data))
    data = CompositionSet.split(loaded.counts, list(loaded.sources.values()))
    config = MatGANConfig()
    training, held_out = (c[config.usable(c)] for c in (data.training, data.held_out))
    generators: list[CompositionGenerator] = [
        RandomBaseline(training),
        load_generator(SHIPPED / "matgan"),
        load_generator(SHIPPED / "sequence"),
    ]
    runs = {
        g.name: [judged(g, training, held_out, seed) for seed in range(asked.seeds)]
        for g in generators
    }
    lines = ["# Composition generators", "", *how_it_ran(), *NOTES]
    lines += [
        f"{len(training):,} strictly valid training formulas, {len(held_out):,} held out.",
        "",
        f"## Shipped weights ({asked.seeds} seeds of the draws, one of the fit)",
        "",
        *table(list(runs.items())),
        *histogram(
            [
                ("training set", runs["matgan"][0], "training_"),
                *((name, metrics[0], "") for name, metrics in runs.items()),
            ]
        ),
    ]
    if asked.fit_seeds:
        chosen = variants(asked.fit_seconds)
        rows = [
            (name, [fitted(name, c, data, s, asked.work) for s in range(asked.fit_seeds)])
            for name, c in chosen.items()
        ]
        lines += [
            f"## Fits from scratch, {asked.fit_seconds:.0f} CPU-seconds each "
            f"({asked.fit_seeds} seed{'s' if asked.fit_seeds > 1 else ''})",
            "",
            *table(rows),
            "Steps made: "
            + "; ".join(f"{n} {np.mean([m['steps'] for m in r]):,.0f}" for n, r in rows)
            + ". The published networks train for 1,000 epochs (about 800,000 steps on ICSD): "
            "these are their first steps, not their best.",
            "",
        ]
    lines += autoencoder_lines(data, asked.seeds)
    publish("generators", lines + PUBLISHED)


if __name__ == "__main__":
    main()
