"""Speed and values of the earth mover's distance beside ElMD, in one run.

    sh benchmarks/make_peers.sh
    OMP_NUM_THREADS=1 python benchmarks/emd.py --data FOLDER

ElMD runs in an environment of its own (the product does not depend on it) and gets the same
formulas through a pipe. Compared are single distances, a whole matrix, and the job of the template
step: the ten nearest of all Materials Project formulas for each of many new formulas.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from measuring import (
    ROOT,
    data_folder,
    materials_project_formulas,
    publish,
    rate,
    setting,
    timed,
)

from structure.composition import formulas_of, parse_formulas
from structure.rules.validity import matched_random, valid
from structure.templates.emd import EmdIndex, cumulative, distances

PEER = ROOT / ".venv-peers" / "bin" / "python"


def ask_elmd(
    pairs: list[tuple[str, str]], queries: list[str], library: list[str]
) -> dict[str, object]:
    """Run ElMD on pairs, and on each query against the whole library."""
    if not PEER.exists():
        sys.exit("run `sh benchmarks/make_peers.sh` first")
    out = subprocess.run(
        [PEER, ROOT / "benchmarks" / "elmd_peer.py"],
        input=json.dumps({"pairs": pairs, "queries": queries, "library": library}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(out.stdout)


def paired(a: list[str], b: list[str]) -> np.ndarray:
    """Return the distances of pairs of formulas, from text."""
    difference = cumulative(parse_formulas(a).counts) - cumulative(parse_formulas(b).counts)
    return np.abs(difference).sum(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--peer-queries", type=int, default=2, help="queries ElMD answers in full")
    parser.add_argument("--neighbours", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    library = materials_project_formulas(data_folder(arguments.data))
    counts = parse_formulas(library).counts
    new = matched_random(counts, 6 * arguments.queries, rng)
    new = new[valid(new)][: arguments.queries]
    chosen = rng.integers(0, len(library), (arguments.pairs, 2))
    a, b = ([library[i] for i in chosen[:, side]] for side in (0, 1))
    queries = formulas_of(new[: arguments.peer_queries])
    peer = ask_elmd(list(zip(a, b, strict=True)), queries, library)

    pair_time, ours = timed(lambda: paired(a, b))
    matrix_time, _ = timed(lambda: distances(new[:64], counts), 3)
    ready = cumulative(counts)
    build_time, index = timed(lambda: EmdIndex(ready), 3)
    k = arguments.neighbours
    search_time, (indices, emd) = timed(lambda: index.nearest(new, k), 3)
    with_build, _ = timed(lambda: EmdIndex(cumulative(counts)).nearest(new, k), 2)

    their_rows = np.array(peer["rows"])
    nearest_gap = max(
        float(np.abs(np.sort(row)[:k] - found).max())
        for row, found in zip(their_rows, emd[: len(their_rows)], strict=True)
    )
    index_gap = max(
        float(np.abs(row[found] - d).max())
        for row, found, d in zip(their_rows, indices, emd, strict=False)
    )
    text_rate = len(a) / float(peer["from_text"])
    object_rate = len(a) / float(peer["from_objects"])
    all_pairs = len(new) * len(library)

    def line(name: str, count: int, seconds: float) -> str:
        value = count / seconds
        return (
            f"| {name} | {rate(count, seconds)} | {value / text_rate:,.0f} | "
            f"{value / object_rate:,.0f} |"
        )

    per_query = search_time / len(new)
    peer_query = float(peer["searching"]) / len(queries)
    publish(
        "emd",
        [
            "# Earth mover's distance beside ElMD",
            "",
            *setting(("numpy", "scipy")),
            "ElMD 0.5.15 ran in `.venv-peers` in the same run, also one thread and CPU time, its",
            "numba code compiled beforehand.",
            "",
            "| what is counted | distances | ratio to `elmd(str, str)` | ratio to ready ElMDs |",
            "|---|---:|---:|---:|",
            line(f"ElMD `elmd(str, str)`, {len(a):,} pairs", len(a), float(peer["from_text"])),
            line("ElMD, both objects ready", len(a), float(peer["from_objects"])),
            line("ours, the same pairs from text", len(a), pair_time),
            line(f"ours, full matrix 64 x {len(library):,}", 64 * len(library), matrix_time),
            line(
                f"ours, {k} nearest of {len(library):,} for {len(new):,} new formulas *",
                all_pairs,
                search_time,
            ),
            line("the same with building the index", all_pairs, with_build),
            "",
            "\\* Pairs decided, not pairs measured: the search is exact but measures only those",
            "whose lower bound is below the k-th best distance. As time for one new formula:",
            f"ElMD {peer_query:.2f} s, ours {1000 * per_query:.3f} ms "
            f"({peer_query / per_query:,.0f} times faster); the index takes "
            f"{1000 * build_time:.0f} ms once.",
            "",
            "## Values",
            "",
            f"- Pairs: largest difference from ElMD {np.abs(ours - peer['distances']).max():.1e} "
            f"over {len(a):,} pairs.",
            f"- Nearest {k} of {len(library):,}: largest difference from ElMD's sorted distances "
            f"{nearest_gap:.1e}, and from its distances to the formulas we name {index_gap:.1e} "
            f"({len(queries)} queries in full).",
        ],
    )


if __name__ == "__main__":
    main()
