"""Speed and exactness of the Magpie features beside matminer, in one run.

    python benchmarks/descriptors.py --data DIR

matminer runs in its own environment: `sh benchmarks/make_peers.sh` makes it. Writes
docs/results/descriptors.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, data_folder, materials_project_formulas, publish, rate, setting, timed

from models.properties.charge_descriptors import charge_features
from models.properties.descriptors import MAGPIE_NAMES, descriptors, magpie
from structure.composition import parse_formulas


def matminer(formulas: list[str]) -> dict[str, Any]:
    python = ROOT / ".venv-peers" / "bin" / "python"
    if not python.exists():
        sys.exit("matminer's environment is missing: run `sh benchmarks/make_peers.sh`")
    script = Path(__file__).with_name("matminer_peer.py")
    done = subprocess.run(
        [python, script],
        input=json.dumps({"formulas": formulas}),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        sys.exit(f"matminer failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="default: AGD_DATA_DIR")
    parser.add_argument("--peer-formulas", type=int, default=3000)
    parser.add_argument("--formulas", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    everything = materials_project_formulas(data_folder(args.data))
    rng = np.random.default_rng(args.seed)
    ours = [everything[i] for i in rng.choice(len(everything), args.formulas)]
    theirs = ours[: args.peer_formulas]

    peer = matminer(theirs)
    names = [label.removeprefix("MagpieData ") for label in peer["labels"]]
    reference = np.array(peer["features"])[:, [names.index(name) for name in MAGPIE_NAMES]]
    found = magpie(parse_formulas(theirs).counts)
    both = np.isfinite(reference) & np.isfinite(found)
    difference = np.abs(reference - found)[both].max()
    gaps_agree = np.array_equal(np.isfinite(reference), np.isfinite(found))

    counts = parse_formulas(ours).counts
    parsing, _ = timed(lambda: parse_formulas(ours), 3)
    magpie_s, _ = timed(lambda: magpie(counts), 3)
    charges_s, _ = timed(lambda: charge_features(counts), 3)
    all_s, _ = timed(lambda: descriptors(counts), 3)

    n, m = len(ours), len(theirs)
    ratio = (peer["seconds"] / m) / (magpie_s / n)
    text_ratio = ((peer["seconds"] + peer["parsing"]) / m) / ((magpie_s + parsing) / n)
    versions = ", ".join(f"{k} {v}" for k, v in peer["versions"].items())
    lines = [
        "# Magpie features",
        "",
        *setting(["numpy", "smact"]),
        f"Peer: {versions}, in its own environment, in the same run.",
        "",
        f"Formulas: {n:,} drawn from the Materials Project's list of 2024; matminer gets the first "
        f"{m:,}.",
        "",
        "| what | matminer | ours | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| 132 features from parsed compositions | {rate(m, peer['seconds'])} "
        f"| {rate(n, magpie_s)} | **{ratio:,.0f}x** |",
        f"| from formula strings | {rate(m, peer['seconds'] + peer['parsing'])} "
        f"| {rate(n, magpie_s + parsing)} | {text_ratio:,.0f}x |",
        f"| 14 charge-balance descriptors | | {rate(n, charges_s)} | |",
        f"| all 256 descriptors, as the models read them | | {rate(n, all_s)} | |",
        "",
        f"Largest difference over {m:,} x 132 values: **{difference:.1e}**; "
        f"{'the same values' if gaps_agree else 'NOT the same values'} are missing (NaN).",
        "",
        f"Asked for: at least 100,000/s, at least 100x, 1e-9 at most. "
        f"Met: {n / magpie_s >= 1e5}, {ratio >= 100}, {bool(difference <= 1e-9)}.",
    ]
    publish("descriptors", lines)


if __name__ == "__main__":
    main()
