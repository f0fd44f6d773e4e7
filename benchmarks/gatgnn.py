"""Accuracy of the shipped formation-energy network, also on the structures it is used on.

    python benchmarks/gatgnn.py --data DIR

Judges it on formulas held out of its training: on their own relaxed structures, and, as in a
campaign, on structures made by substitution into templates of other formulas. Writes
docs/results/gatgnn.md.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from measuring import data_folder, publish, rate, setting

from models.fitting.datasets import load_training_data, split_by_formula
from models.pretrained import shipped
from models.properties.gatgnn import EnergySet, FormationEnergyModel, GatgnnConfig, energy_set
from models.properties.gatgnn_network import Gatgnn
from models.properties.metrics import regression_metrics, sign_metrics
from structure.composition import formulas_of, keys_of
from structure.errors import Rejection
from structure.templates.library import TemplateLibrary
from structure.templates.substitution import substitute

SIZES = ((1, 4), (5, 8), (9, 14), (15, 20))
TEMPLATES = 10


def held_out(data: EnergySet, config: GatgnnConfig, seed: int) -> tuple[EnergySet, EnergySet]:
    """The training and test sets of the shipped weights."""
    shares = (config.validation_share, config.test_share)
    train, _, test = split_by_formula(keys_of(data.counts), shares, seed)
    return data.take(train), data.take(test)


def own_structures(model: FormationEnergyModel, test: EnergySet) -> list[str]:
    began = time.process_time()
    predicted = model.predict_graphs(test.graphs)
    seconds = time.process_time() - began
    m, s = regression_metrics(test.energies, predicted), sign_metrics(test.energies, predicted)
    saved = model.metrics
    sizes = np.diff(test.graphs.starts)
    lines = [
        f"Relaxed structures of {len(predicted):,} held-out entries (DFT energies):",
        "",
        "| model | MAE, eV/atom | RMSE | R² |",
        "| --- | ---: | ---: | ---: |",
        f"| mean of the training set | {saved['mae_mean']:.3f} | | |",
        f"| boosting on the composition alone | {saved['mae_composition']:.3f} | | |",
        f"| **this network** | **{m['mae']:.3f}** | {m['rmse']:.3f} | {m['r2']:.4f} |",
        "",
        f"Sign right: {100 * s['sign_accuracy']:.1f} %, where always answering 'negative' is right "
        f"in {100 * s['base_rate']:.1f} %; {100 * s['positives_caught']:.0f} % of the positive "
        "energies are told as such.",
        "",
        f"Speed, one thread: {rate(len(predicted), seconds)} from graphs.",
        "",
        "| atoms a cell | structures | MAE, eV/atom |",
        "| --- | ---: | ---: |",
    ]
    for low, high in SIZES:
        rows = (sizes >= low) & (sizes <= high)
        error = np.abs(predicted - test.energies)[rows].mean()
        lines.append(f"| {low} to {high} | {rows.sum():,} | {error:.3f} |")
    return lines


def substituted(
    model: FormationEnergyModel, test: EnergySet, library: TemplateLibrary, limit: int, seed: int
) -> list[str]:
    """Predict held-out formulas on structures borrowed from other formulas."""
    keys, first = np.unique(keys_of(test.counts), return_index=True)
    lowest = {k: test.energies[keys_of(test.counts) == k].min() for k in keys.tolist()}
    order = np.random.default_rng(seed).permutation(len(first))[:limit]
    structures, truth, distances = [], [], []
    failed = 0
    for i in first[order]:
        row = test.counts[i]
        for template, emd in library.nearest(row, TEMPLATES, one_per_formula=True):
            made = substitute(library.structure(template), row)
            if not isinstance(made, Rejection):
                structures.append(made.structure)
                truth.append(lowest[int(keys_of(row[None])[0])])
                distances.append(emd)
                break
        else:
            failed += 1
    predicted = model.predict(structures)
    energies, emd = np.array(truth), np.array(distances)
    m, s = regression_metrics(energies, predicted), sign_metrics(energies, predicted)
    shift = float((predicted - energies).mean())
    lines = [
        f"Of {len(order):,} held-out formulas {len(structures):,} get a structure by substitution "
        f"into a template of another formula, {failed:,} get none. Predicted on that unrelaxed "
        "structure, against the DFT energy of the formula's most stable entry:",
        "",
        "| measure | value |",
        "| --- | ---: |",
        f"| mean absolute error | {m['mae']:.3f} eV/atom |",
        f"| mean error (predicted less DFT) | {shift:+.3f} eV/atom |",
        f"| R² | {m['r2']:.3f} |",
        f"| sign right | {100 * s['sign_accuracy']:.1f} % |",
        f"| always answering 'negative' | {100 * s['base_rate']:.1f} % |",
        f"| positive energies told as such | {100 * s['positives_caught']:.0f} % |",
        "",
        "| distance to the template (EMD) | formulas | MAE, eV/atom |",
        "| --- | ---: | ---: |",
    ]
    edges = [0.0, *np.quantile(emd, [0.25, 0.5, 0.75]), np.inf]
    for low, high in pairwise(edges):
        rows = (emd >= low) & (emd < high)
        if rows.any():
            error = np.abs(predicted - energies)[rows].mean()
            upper = f"to {high:.2f}" if np.isfinite(high) else "and more"
            lines.append(f"| {low:.2f} {upper} | {rows.sum():,} | {error:.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="default: AGD_DATA_DIR")
    parser.add_argument("--substitutions", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0, help="of the drawn formulas")
    args = parser.parse_args()
    folder = data_folder(args.data)
    model = FormationEnergyModel.load(shipped("gatgnn"))
    config = GatgnnConfig.model_validate(model.settings)
    train, test = held_out(energy_set(load_training_data(folder), config.max_sites), config, seed=0)
    library = TemplateLibrary.from_jsonl([folder / "mp_structures.jsonl.gz"])
    library = library.take(~np.isin(keys_of(library.counts), keys_of(test.counts)))
    library = library.take(library.n_sites <= config.max_sites)
    parameters = sum(p.numel() for p in Gatgnn().parameters())
    publish(
        "gatgnn",
        [
            "# Formation energies from structures",
            "",
            *setting(["torch", "numpy", "pymatgen"]),
            f"GATGNN with composition attention, {parameters:,} parameters (the published network "
            f"has as many), {config.epochs} epochs over {len(train.energies):,} structures of at "
            f"most {config.max_sites} atoms. Split by reduced formula "
            f"({len(set(formulas_of(test.counts))):,} formulas held out).",
            "",
            "## On relaxed structures",
            "",
            *own_structures(model, test),
            "",
            "The reference reports 0.039 eV/atom after 200 epochs on 60,000 structures (its "
            "README); that is another data set, a random split and a GPU.",
            "",
            "## On substituted templates, as in a campaign",
            "",
            *substituted(model, test, library, args.substitutions, args.seed),
        ],
    )


if __name__ == "__main__":
    main()
