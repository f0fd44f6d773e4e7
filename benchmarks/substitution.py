"""How good structures by substitution are, on Materials Project compounds whose structure is known.

    OMP_NUM_THREADS=1 python benchmarks/substitution.py --data FOLDER

Volumes: for compounds whose nearest template has the same space group and number of sites, the
volume of several rules beside the true one. Structures: every compound is predicted from the
library without it; the prediction counts as right if its space group is, or if pymatgen's
StructureMatcher matches it to the known lowest-energy structure.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from measuring import data_folder, publish, setting
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Structure
from pymatgen.core.structure_prediction.volume_predictor import DLSVolumePredictor

from structure.elements import ELEMENTS, INDEX
from structure.errors import Rejection
from structure.library import TemplateLibrary
from structure.substitution import MINIMUM_RATIO, closest, covalent_radii, substitute
from structure.template_sources import SYMPREC

IONIC = np.array([float(Element(e).average_ionic_radius or np.nan) for e in ELEMENTS])


def radii_of(structure: Structure, table: np.ndarray) -> np.ndarray:
    return table[[INDEX[site.specie.symbol] for site in structure]]


def volume_rules(template: Structure, made: Structure) -> dict[str, float]:
    """Return the volume that each rule gives the substituted structure, Å³."""
    old, new = (radii_of(s, covalent_radii()) for s in (template, made))
    ions = [radii_of(s, IONIC) for s in (template, made)]
    unscaled = made.copy()
    unscaled.scale_lattice(template.volume)
    return {
        "the template's volume": template.volume,
        "mean covalent radius, cubed (ours)": made.volume,
        "sum of cubed covalent radii": template.volume * (new**3).sum() / (old**3).sum(),
        "sum of cubed ionic radii": template.volume * (ions[1] ** 3).sum() / (ions[0] ** 3).sum(),
        "pymatgen's DLSVolumePredictor": DLSVolumePredictor().predict(unscaled),
    }


def volumes(library: TemplateLibrary, wanted: int, rng: np.random.Generator) -> list[str]:
    """Compare volume rules; return the lines of the table."""
    errors: dict[str, list[float]] = {}
    for i in rng.permutation(len(library)).tolist():
        if (library.counts[i] > 0).sum() < 2 or library.n_sites[i] > 40:
            continue
        for j, emd in library.nearest(library.counts[i], 12, one_per_formula=True):
            alike = library.n_sites[j] == library.n_sites[i]
            if not alike or emd == 0 or library.spacegroups[i] != library.spacegroups[j]:
                continue
            made = substitute(library.structure(j), library.counts[i], minimum_ratio=0)
            if isinstance(made, Rejection):
                break
            true = library.structure(i).volume
            for rule, volume in volume_rules(library.structure(j), made.structure).items():
                errors.setdefault(rule, []).append(abs(np.log(volume / true)))
            break
        if errors and len(errors["the template's volume"]) == wanted:
            break
    lines = [f"{wanted:,} compounds. Error: |ln(volume / true volume)|.", ""]
    lines += ["| rule | mean | median | 95th percentile |", "|---|---:|---:|---:|"]
    for rule, values in errors.items():
        good = np.array(values)[np.isfinite(values)]
        lines.append(
            f"| {rule} | {good.mean():.3f} | {np.median(good):.3f} | "
            f"{np.percentile(good, 95):.3f} |"
        )
    return lines


def distances(library: TemplateLibrary, wanted: int, rng: np.random.Generator) -> str:
    """Say how many known structures keep the least distance we ask for."""
    small = np.flatnonzero(library.n_sites <= 60)
    chosen = rng.choice(small, min(wanted, len(small)), replace=False).tolist()
    ratios = np.array([closest(library.structure(i))[0] for i in chosen])
    return (
        f"Of {len(ratios):,} known structures of up to 60 sites, "
        f"{100 * (ratios >= MINIMUM_RATIO).mean():.2f} % keep every distance above "
        f"{MINIMUM_RATIO:g} of the covalent radii; the least ratio is {ratios.min():.3f}."
    )


def predictions(library: TemplateLibrary, wanted: int, rng: np.random.Generator) -> list[str]:
    """Predict known structures without themselves; return the lines of the table."""
    small = library.take(library.n_sites <= 40)
    targets = [i for i in small.preferred.tolist() if (small.counts[i] > 0).sum() > 1]
    matcher = StructureMatcher()
    tally = {"template found": 0, "space group": [0, 0], "structure": [0, 0]}
    n = min(wanted, len(targets))
    for i in rng.choice(targets, n, replace=False).tolist():
        near = [
            j
            for j, emd in small.nearest(small.counts[i], 12, one_per_formula=True)
            if not (small.counts[j] == small.counts[i]).all()
        ]
        made = [substitute(small.structure(j), small.counts[i]) for j in near]
        usable = [m.structure for m in made if not isinstance(m, Rejection)][:5]
        tally["template found"] += bool(usable)
        true = small.structure(i)
        groups = [
            s.get_space_group_info(symprec=SYMPREC)[1] == small.spacegroups[i] for s in usable
        ]
        fits = [matcher.fit(s, true) for s in usable]
        for name, right in (("space group", groups), ("structure", fits)):
            tally[name][0] += bool(right) and right[0]
            tally[name][1] += any(right)
    share = {k: np.array(v) / n * 100 for k, v in tally.items()}
    return [
        f"{n:,} compounds of up to 40 sites; {share['template found']:.1f} % have a usable "
        "template of their stoichiometry.",
        "",
        "| right | nearest template | one of the five nearest |",
        "|---|---:|---:|",
        *(
            f"| {name} | {share[name][0]:.1f} % | {share[name][1]:.1f} % |"
            for name in ("space group", "structure")
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--structures", type=int, default=3000)
    parser.add_argument("--predictions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = data_folder(arguments.data)
    library = TemplateLibrary.from_jsonl([folder / "mp_structures.jsonl.gz"])
    rng = np.random.default_rng(arguments.seed)
    publish(
        "substitution",
        [
            "# Structures by substitution",
            "",
            *setting(("pymatgen", "ase", "numpy")),
            f"{len(library):,} Materials Project structures.",
            "",
            "## Volume",
            "",
            *volumes(library, arguments.pairs, rng),
            "",
            "## Distances",
            "",
            distances(library, arguments.structures, rng),
            "",
            "## Structures of known compounds, each predicted without itself",
            "",
            *predictions(library, arguments.predictions, rng),
            "",
            "Right means: the space group of the known lowest-energy structure, or a match by",
            "pymatgen's StructureMatcher with its default tolerances. The library is close to its",
            "own compounds; for compounds of other chemistry the shares are lower.",
        ],
    )


if __name__ == "__main__":
    main()
