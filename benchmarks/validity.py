"""Speed and verdicts of the validity rules beside smact's, in one run and one process.

    OMP_NUM_THREADS=1 python benchmarks/validity.py --data FOLDER

Ours judges every distinct Materials Project formula; smact judges a random sample of them, and the
verdicts on that sample are compared one by one. Random formulas with the same marginals are judged
by both as well.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from measuring import data_folder, materials_project_formulas, publish, rate, setting, timed
from smact.screening import smact_validity

from structure.composition import formulas_of, parse_formulas
from structure.rules.validity import RuleSet, matched_random, valid

RULES = {
    "strict, default list": RuleSet(),
    "charge only, default list": RuleSet(pauling=False),
    "smact's default (alloys pass)": RuleSet(alloys=True),
    "strict, smact14 (MatGAN's)": RuleSet("smact14"),
    "strict, icsd16": RuleSet("icsd16"),
    "strict, icsd24": RuleSet("icsd24"),
    "strict, pymatgen_sp": RuleSet("pymatgen_sp"),
    "strict, wiki": RuleSet("wiki"),
    "mixed valence, default list": RuleSet(mixed_valence=True),
}


def theirs(formulas: list[str], rules: RuleSet) -> list[bool]:
    """Judge formulas with smact."""
    states = None if rules.oxidation_states == "default" else rules.oxidation_states
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            smact_validity(
                formula,
                use_pauling_test=rules.pauling,
                include_alloys=rules.alloys,
                oxidation_states_set=states,
                mixed_valence=rules.mixed_valence,
            )
            for formula in formulas
        ]


def compare(formulas: list[str], sample: int, seed: int) -> list[str]:
    """Return the table rows of one set of formulas."""
    rng = np.random.default_rng(seed)
    rows = []
    counts = parse_formulas(formulas).counts
    for name, rules in RULES.items():
        n = min(sample // 10 if rules.mixed_valence else sample, len(formulas))
        chosen = rng.choice(len(formulas), n, replace=False)
        asked = [formulas[i] for i in chosen]
        theirs(asked[:20], rules)
        their_time, verdicts = timed(lambda f=asked, r=rules: theirs(f, r), 2)
        valid(counts[:100], rules)
        our_time, ours = timed(lambda r=rules: valid(counts, r))
        text_time, _ = timed(lambda r=rules: valid(parse_formulas(formulas).counts, r))
        different = int((ours[chosen] != np.array(verdicts)).sum())
        per_formula = their_time / n
        rows.append(
            f"| {name} | {100 * ours.mean():.1f} % | {rate(n, their_time)} | "
            f"{rate(len(formulas), our_time)} | {per_formula / (our_time / len(formulas)):,.0f} | "
            f"{rate(len(formulas), text_time)} | "
            f"{per_formula / (text_time / len(formulas)):,.0f} | {different} of {n:,} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sample", type=int, default=5000, help="formulas smact judges a setting")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    formulas = materials_project_formulas(data_folder(arguments.data))
    known = parse_formulas(formulas).counts
    rng = np.random.default_rng(arguments.seed)
    random = formulas_of(matched_random(known, len(formulas), rng))
    head = (
        "| rules | valid | smact | ours, from counts | ratio | ours, from text | ratio | "
        "different verdicts |"
    )
    publish(
        "validity",
        [
            "# Validity rules beside smact",
            "",
            *setting(("smact", "numpy", "pymatgen")),
            "smact takes text; ours is timed from the composition matrix, which is what the",
            "pipeline holds, and from text. With mixed valence smact judges a tenth of the sample.",
            "",
            f"## {len(formulas):,} distinct formulas of the Materials Project",
            "",
            head,
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *compare(formulas, arguments.sample, arguments.seed),
            "",
            f"## {len(random):,} random formulas with the same marginals",
            "",
            "The valid share here is the baseline: it owes nothing to chemistry.",
            "",
            head,
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *compare(random, arguments.sample, arguments.seed + 1),
        ],
    )


if __name__ == "__main__":
    main()
