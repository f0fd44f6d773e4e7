"""The same campaign under our own hand-off, submit.sh, runner and collect; for handoff_peers.py.

    VASP=... POTCARS=... PYTHON=... python handoff_ours.py run ROOT
    python handoff_ours.py collect ROOT --more FOLDER

In: ``ROOT/candidates.json``. Out: ``ROOT/campaign/``, ``ROOT/results.csv``. References are left
out, since the peers have none, and so is custodian: the runner's own rules decide what is tried
again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dft_inputs.batch.cluster_settings import ClusterSettings  # noqa: E402
from dft_inputs.job.folder import batches  # noqa: E402
from tasks.campaign.directory import Campaign  # noqa: E402
from tasks.campaign.handles import write_table  # noqa: E402
from tasks.campaign.outputs import Filtered, Trained  # noqa: E402
from tasks.collect import collect_campaign  # noqa: E402
from tasks.handoff import HandoffConfig, hand_off  # noqa: E402
from tasks.ledger.ledger import Ledger  # noqa: E402


def survivors(campaign: Campaign, cells: dict[str, dict[str, object]]) -> Filtered:
    """Write the survivors table that the filter stage would write."""
    import numpy as np
    from pymatgen.core import Structure

    from structure.composition import counts_from, formulas_of
    from structure.crystals.crystal_text import structure_json

    structures = [Structure.from_dict(cell) for cell in cells.values()]
    counts = counts_from(
        [{e: int(n) for e, n in s.composition.as_dict().items()} for s in structures]
    )
    table = write_table(
        campaign.root,
        campaign.folder("filter") / "survivors.parquet",
        {
            "rank": np.arange(1, len(structures) + 1),
            "formula": formulas_of(counts),
            "structure_json": [structure_json(s) for s in structures],
            "status": ["selected"] * len(structures),
        },
        "survivors",
        counts=counts,
    )
    return Filtered(survivors=table, rejected=table)


def run(root: Path) -> None:
    """Write the batch if it is not there, and run what is not done."""
    cluster = ClusterSettings(
        scheduler="shell",
        hours=0,
        vasp=os.environ["VASP"],
        potcars=os.environ["POTCARS"],
        python=os.environ["PYTHON"],
        custodian=False,
    )
    with Campaign(root / "campaign", {}, 0) as campaign:
        if campaign.ledger.finished("handoff", "all") is None:
            filtered = survivors(campaign, json.loads((root / "candidates.json").read_text()))
            config = HandoffConfig(cluster=cluster, references=False)
            campaign.run(hand_off, config, filtered, Trained(models={}))
    for batch in batches(root / "campaign" / "handoff"):
        subprocess.run(["sh", "submit.sh"], cwd=batch)


def collect(root: Path, more: list[Path]) -> None:
    """Take the finished jobs in, and write the ledger's labels as a CSV like the peers'."""
    print("\n".join(collect_campaign(root / "campaign", sources=more).lines()))
    results = {}
    for path in sorted((root / "campaign" / "results").glob("*.json")):
        result = json.loads(path.read_text())
        results[result["formula"]] = result["properties"].get("energy_eV_per_atom")
    ledger = Ledger.in_folder(root / "campaign")
    labels = ledger.labels("band_gap_eV")
    ledger.close()
    with (root / "results.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["formula", "energy_eV_per_atom", "gap_eV"])
        writer.writerows([x.formula, results[x.formula], x.value] for x in labels)


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "collect"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    if options.what == "run":
        run(options.root)
    else:
        collect(options.root, options.more)


if __name__ == "__main__":
    main()
