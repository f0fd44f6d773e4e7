"""Time and memory of ``agd status`` and ``agd why`` on a large campaign that nobody may write to.

    OMP_NUM_THREADS=1 python benchmarks/status.py --rows 200000

Makes a campaign directory whose ledger and stage tables have that many labels and candidates, takes
away the right to write, and runs the commands as a user would, beside a script that makes an object
of each row of the ledger and counts those. Every file is hashed before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import numpy as np
from measuring import publish

from structure.composition import N_ELEMENTS, formulas_of, keys_of, reduce
from structure.files import sha256_of, write_json
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import handle_for, write_table
from tasks.campaign.outputs import ScreenedShard
from tasks.ledger.ledger import Candidate, Label, Ledger

SHARD = 100_000
SHARDS = 10
STORY = {
    "assignment": "As->K, Cu->Li, S->F",
    "energy_scheme": "PBE formation energy with Materials Project corrections (2018), eV/atom",
    "models": dict.fromkeys(("autoencoder", "gatgnn", "matgan", "oracle"), "0" * 64),
    "template_formula": "Cu3AsS4",
}
LIMIT_S, LIMIT_MB = 3.0, 300


def compositions(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return distinct reduced compositions of four elements, shape (count, 103)."""
    found = np.zeros((0, N_ELEMENTS), dtype=np.int16)
    while len(found) < count:
        drawn = np.zeros((count, N_ELEMENTS), dtype=np.int16)
        elements = rng.permuted(np.tile(np.arange(N_ELEMENTS), (count, 1)), axis=1)[:, :4]
        np.put_along_axis(drawn, elements, rng.integers(1, 9, (count, 4)), axis=1)
        both = np.concatenate([found, reduce(drawn).astype(np.int16)])
        found = both[np.sort(np.unique(keys_of(both), return_index=True)[1])]
    return found[:count]


def large_campaign(root: Path, rows: int, rng: np.random.Generator) -> str:
    """Make a campaign with as many labels and as many candidates; return a candidate's formula."""
    counts = compositions(rows, rng)
    formulas = formulas_of(counts)
    gaps = rng.uniform(5, 9, rows)
    with Campaign(root, {"name": "large"}, 0) as campaign:
        campaign.ledger.add_labels(
            Label(formula=f, property="band_gap_eV", value=g, origin="ml", source="0" * 64)
            for f, g in zip(formulas, gaps, strict=True)
        )
        status = ("selected", "reserve")
        campaign.ledger.replace_candidates(
            [
                Candidate(formula=f, rank=i + 1, status=status[i >= 1000], story=STORY)
                for i, f in enumerate(formulas)
            ]
        )
        stage_tables(campaign, counts, formulas, gaps, rng)
        (root / "campaign.log").write_text("12:00:00  explore: iteration 1\n" * rows)
    return str(formulas[rows // 2])


def stage_tables(
    campaign: Campaign,
    counts: np.ndarray,
    formulas: list[str],
    gaps: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Write the tables of the stages that ``agd why`` looks through, each with every candidate."""
    root, rows = campaign.root, len(counts)
    rank = np.arange(1, rows + 1)
    common = {"rank": rank, "formula": formulas, "generator": ["matgan"] * rows}
    placed = {
        **common,
        "band_gap_eV": gaps,
        "template_id": ["aflow-AB3C4_cP8_215_a_c_e"] * rows,
        "template_formula": ["Cu3AsS4"] * rows,
        "emd": rng.uniform(0, 9, rows),
        "spacegroup": np.full(rows, 215),
        "n_sites": np.full(rows, 8),
        "volume_scale": rng.uniform(0.8, 1.3, rows),
        "structure_json": [json.dumps(xyz.tolist()) for xyz in rng.random((rows, 8, 3))],
    }
    energies = {
        "formation_energy_eV_per_atom": rng.uniform(-3, 0, rows),
        "energy_scheme": [STORY["energy_scheme"]] * rows,
        "status": ["reserve"] * rows,
    }
    visited = {
        "iteration": rank // 20,
        "source": ["box"] * rows,
        "formula": formulas,
        "status": ["labelled"] * rows,
        "band_gap_eV": gaps,
        "latent": list(rng.random((rows, 128), dtype=np.float32)),
    }

    def table(name: str, columns: dict[str, object], schema: str) -> dict[str, object]:
        handle = write_table(root, root / name, columns, schema, counts=counts)
        return handle.model_dump()

    nothing = root / "explore" / "summary.json"
    write_json(nothing, {})
    summary = handle_for(root, nothing, 0, "search-summary").model_dump()
    told = {
        "explore": {"visited": table("explore/visited.parquet", visited, "visited")},
        "screen": {
            "candidates": table("screen/candidates.parquet", {**common, "score": gaps}, "screened")
        },
        "template": {"structures": table("template/structures.parquet", placed, "structures")},
        "filter": {
            "survivors": table("filter/survivors.parquet", {**placed, **energies}, "filtered")
        },
    }
    told["screen"]["candidates"]["schema_name"] = "candidates"
    for shard in range(SHARDS):
        drawn = np.concatenate([counts[shard::SHARDS], compositions(SHARD, rng)])[:SHARD]
        columns = {
            "key": keys_of(drawn),
            "verdict": ["passed"] * SHARD,
            "band_gap_eV": rng.random(SHARD),
        }
        path = root / "screen" / f"shard-{shard:04d}.parquet"
        handle = write_table(root, path, columns, "screened", counts=drawn)
        one = ScreenedShard(table=handle, generator="matgan", drawn=SHARD, empty=0)
        campaign.ledger.finish("screen", f"shard-{shard:04d}", one.model_dump_json(), 1.0)
    told["explore"]["summary"] = summary
    parts = {"screen": "merge"}
    for stage, output in told.items():
        campaign.ledger.finish(stage, parts.get(stage, "all"), json.dumps(output), 1.0)


def run(command: list[str]) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak memory in MB of a command."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {child.returncode}")
    seconds = time.monotonic() - began
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def count_objects(root: Path) -> None:
    """Count a ledger's rows by making an object of each."""
    with closing(Ledger.in_folder(root)) as ledger:
        print(len([one.origin for one in ledger.labels("band_gap_eV")]))
        print(len([one.status for one in ledger.candidates()]))


def hashes(root: Path) -> dict[str, str]:
    """Return the hash of every file of a directory."""
    return {str(p.relative_to(root)): sha256_of(p) for p in sorted(root.rglob("*")) if p.is_file()}


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--objects", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(large_campaign(options.make, options.rows, np.random.default_rng(0)))
        return 0
    if options.objects:
        count_objects(options.objects)
        return 0
    agd = str(Path(sys.executable).with_name("agd"))
    may_not = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "large"
        # In a process of its own: a child's peak memory begins with its parent's.
        make = [sys.executable, __file__, "--rows", str(options.rows), "--make", str(root)]
        formula = subprocess.run(make, check=True, capture_output=True, text=True).stdout.strip()
        objects = [sys.executable, __file__, "--objects", str(root)]
        before = hashes(root)
        size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file()) / 1e6
        size_ledger = (root / "ledger.sqlite").stat().st_size / 1e6
        subprocess.run(["chmod", "-R", "a-w", str(root)], check=True)
        commands = {
            "`agd status DIR`": [*may_not, agd, "status", str(root)],
            "`agd why FORMULA`, a candidate": [*may_not, agd, "why", formula, "-c", str(root)],
            "`agd why FORMULA`, met nowhere": [*may_not, agd, "why", "NaCl", "-c", str(root)],
        }
        found = {
            name: [run(command) for _ in range(options.repeats)]
            for name, command in commands.items()
        }
        changed = hashes(root) != before
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)
        found["an object a row of the ledger, counted"] = [run(objects) for _ in range(2)]
        shutil.rmtree(root)
    report(found, options, size, size_ledger, changed)
    return 1 if changed else 0


def report(
    found: dict[str, list[tuple[float, float, float]]],
    options: argparse.Namespace,
    size: float,
    size_ledger: float,
    changed: bool,
) -> None:
    """Write docs/results/status.md."""
    rows = [
        f"| {name} | {statistics.median(r[0] for r in runs):.1f} "
        f"| {statistics.median(r[1] for r in runs):.1f} | {max(r[2] for r in runs):.0f} |"
        for name, runs in found.items()
    ]
    publish(
        "status",
        [
            "# A large campaign's status and stories",
            "",
            f"{options.rows:,} labels and as many candidates with their stories in the ledger "
            f"({size_ledger:.0f} MB), {SHARDS} screened shards of {SHARD:,}, and tables of the "
            f"other stages with a row a candidate ({size:.0f} MB in all). The directory and its "
            "files may not be written to; files are in the page cache.",
            "",
            f"Command: `OMP_NUM_THREADS=1 python benchmarks/status.py --rows {options.rows}`.",
            "",
            f"Machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python "
            f"{platform.python_version()}, sqlalchemy {version('sqlalchemy')}, pyarrow "
            f"{version('pyarrow')}, SQLite {sqlite3.sqlite_version}.",
            "",
            "| command, with the start of Python | s | CPU s | peak MB |",
            "|---|---:|---:|---:|",
            *rows,
            "",
            f"`agd status` takes {ratio(found, 0):.0f} times less time, {ratio(found, 1):.0f} "
            f"times less processor time and {ratio(found, 2):.0f} times less memory than counting "
            "objects.",
            "",
            f"Seconds are the median of {options.repeats} runs, memory is the most of them. "
            f"Target: {LIMIT_S:.0f} s, {LIMIT_MB} MB. Files changed by the commands: "
            f"{'some' if changed else 'none'}.",
        ],
    )


def ratio(found: dict[str, list[tuple[float, float, float]]], which: int) -> float:
    """Return how much more the last command takes than the first."""
    first, *_, last = [statistics.median(run[which] for run in runs) for runs in found.values()]
    return last / first


if __name__ == "__main__":
    raise SystemExit(main())
