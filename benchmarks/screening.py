"""Speed, memory and yield of the screen step, beside smact's validity check alone.

    OMP_NUM_THREADS=1 python benchmarks/screening.py --generators matgan sequence

Draws a million compositions from the shipped generators, screens them in shards as a campaign does
(with the shipped filter of known formulas and a screening model fitted on 1,300 labels of the
shipped oracle), merges the shards, and times each part. smact judges a sample of the same formulas.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from measuring import publish, rate, setting, timed
from smact.screening import smact_validity

from models.compositions.generator import load_generator
from models.pretrained import shipped
from models.properties.boosting import BoostingModel
from structure.composition import formulas_of, reduce
from structure.properties.gap_window import band_gaps
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import ModelHandle, read_table, write_table
from tasks.campaign.outputs import Explored, Ingested, Sampled, ScreenedShard
from tasks.ingest.stage import IngestConfig, ingest
from tasks.screen.stage import ScreenConfig, merge_screened, screen_shard
from tasks.train import TrainConfig

LABELS = 1300  # 300 first labels and a search of 1,000, as in AGD's Exp3


def screening_model(campaign: Campaign, ingested: Ingested, seed: int) -> tuple[ModelHandle, float]:
    """Fit the screening model on as many labels as a campaign has; also give the CPU seconds."""
    columns, counts = read_table(campaign.root, ingested.initial)
    assert counts is not None
    gaps = columns["band_gap_eV"]
    settings = TrainConfig().screening.boosting
    seconds, model = timed(lambda: BoostingModel.fit(counts, gaps, settings, seed=seed), 1)
    folder = campaign.root / "models" / "screening"
    saved = model.save(
        folder, trained_on="benchmark", counts=counts, values=gaps, seed=seed, card="# Benchmark\n"
    )
    handle = ModelHandle(
        name="screening", place="campaign", path="models/screening", sha256=saved.sha256
    )
    return handle, seconds


def drawn(campaign: Campaign, names: list[str], shards: int, seed: int) -> list[Sampled]:
    """Draw the shards, the generators in turn."""
    generators = {name: load_generator(shipped(name)) for name in names}
    out = []
    for shard in range(shards):
        name = names[shard % len(names)]
        counts = generators[name].sample(100_000, seed + shard)
        path = campaign.root / "sample" / f"{shard}.parquet"
        out.append(
            Sampled(
                table=write_table(campaign.root, path, {}, "sampled", counts=counts),
                generator=name,
            )
        )
        print(f"drew shard {shard} from {name}", flush=True)
    return out


def smact_rate(campaign: Campaign, sampled: Sampled, n: int) -> float:
    """Return how many of the drawn formulas smact judges a second."""
    _, counts = read_table(campaign.root, sampled.table)
    assert counts is not None
    counts = reduce(counts)
    formulas = formulas_of(counts[(counts > 0).sum(axis=1) > 1][:n])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, _ = timed(lambda: [smact_validity(f, include_alloys=False) for f in formulas], 2)
    return len(formulas) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generators", nargs="+", default=["matgan", "sequence"])
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--minimum-gap", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    window, config = band_gaps(minimum_eV=options.minimum_gap), ScreenConfig()
    with (
        tempfile.TemporaryDirectory() as folder,
        Campaign(Path(folder) / "c", {}, options.seed) as campaign,
    ):
        ingested = campaign.run(
            ingest,
            IngestConfig.model_validate(
                {
                    "initial": {"count": LABELS},
                    "embedded": {"initial": "oracle", "generator": options.generators[0]},
                }
            ),
        )
        model, fit_seconds = screening_model(campaign, ingested, options.seed)
        samples = drawn(campaign, options.generators, options.shards, options.seed)
        nothing = write_table(
            campaign.root,
            campaign.root / "visited.parquet",
            {
                "status": np.array([], dtype=np.str_),
                "band_gap_eV": np.array([], dtype=float),
                "band_gap_sigma_eV": np.array([], dtype=float),
            },
            "visited",
            counts=np.zeros((0, 103), dtype=np.int16),
        )
        explored = Explored(visited=nothing, summary=nothing)
        shards: list[ScreenedShard] = []
        began = time.process_time()
        for number, sampled in enumerate(samples):
            shards.append(
                campaign.run(screen_shard, config, window, ingested, sampled, model, number)
            )
        shard_seconds = time.process_time() - began
        began = time.process_time()
        screened = campaign.run(merge_screened, config, window, shards, ingested, explored, model)
        merge_seconds = time.process_time() - began
        funnel = (campaign.root / screened.funnel.path).read_text()
        peer = smact_rate(campaign, samples[0], 2000)
    report(options, funnel, shard_seconds, merge_seconds, fit_seconds, peer)


def report(
    options: argparse.Namespace,
    funnel_text: str,
    shard_seconds: float,
    merge_seconds: float,
    fit_seconds: float,
    peer: float,
) -> None:
    """Write the page."""
    funnel = json.loads(funnel_text)
    n = 100_000 * options.shards
    total = shard_seconds + merge_seconds
    names = sorted(funnel["steps"][0]["by_generator"])
    names.remove("search")
    validity = funnel["validity"]
    names_given = " ".join(options.generators)
    machine = setting(["numpy", "lightgbm", "pyarrow", "smact"])[2]
    lines = [
        "# Screening a million drawn compositions",
        "",
        f"Command: `OMP_NUM_THREADS=1 python benchmarks/screening.py --generators {names_given}`.",
        "",
        machine.replace(", the least of several runs", "; each part ran once"),
        "",
        f"{n:,} compositions in {options.shards} shards, window from {options.minimum_gap:g} eV, "
        f"screening model fitted on {LABELS:,} labels ({fit_seconds:.0f} s, not counted below).",
        "",
        "| part | CPU s | compositions |",
        "|---|---:|---:|",
        f"| reduce, de-duplicate, novelty, rules, gaps, tables | {shard_seconds:.1f} | "
        f"{rate(n, shard_seconds)} |",
        f"| merge, rank, funnel, validity beside the baseline | {merge_seconds:.1f} | "
        f"{rate(n, merge_seconds)} |",
        f"| both | {total:.1f} | {rate(n, total)} |",
        f"| smact's `smact_validity` alone, 2,000 of them | | {peer:,.0f}/s |",
        "",
        f"Ratio, the whole screen to smact's validity check alone: {n / total / peer:,.0f}. "
        f"Peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB.",
        "",
        "## Funnel",
        "",
        "| step | all | " + " | ".join(names) + " |",
        "|---|---:|" + "---:|" * len(names),
        *(
            f"| {s['name']} | {s['count']:,} | "
            + " | ".join(f"{s['by_generator'][g]:,}" for g in names)
            + " |"
            for s in funnel["steps"]
        ),
        "",
        f"## Validity of {validity['sample']:,} novel compositions",
        "",
        "| rules | drawn | random with the same marginals |",
        "|---|---:|---:|",
        *(
            f"| {rules} | {100 * validity[rules]:.1f} % | "
            f"{100 * validity['matched_random'][rules]:.1f} % |"
            for rules in validity["matched_random"]
        ),
        "",
        "By generator, strict: "
        + ", ".join(f"{g} {100 * v:.1f} %" for g, v in validity["strict_by_generator"].items())
        + ".",
    ]
    publish("screening", lines)


if __name__ == "__main__":
    main()
