"""How good structures by substitution are, on Materials Project compounds whose structure is known.

    OMP_NUM_THREADS=1 python benchmarks/substitution.py --data FOLDER

Volumes: for compounds whose nearest template has the same space group and number of sites, the
volume of several rules beside the true one. Structures: every compound is predicted from the
library without it; the prediction counts as right if its space group is, or if pymatgen's
StructureMatcher matches it to the known lowest-energy structure. Limits: the same from libraries of
several sizes, the shipped one among them, by distance to the template and by change of volume.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from pathlib import Path

import numpy as np
from measuring import data_folder, publish, setting
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Structure
from pymatgen.core.structure_prediction.volume_predictor import DLSVolumePredictor

from structure.composition import keys_of
from structure.elements import ELEMENTS, INDEX
from structure.errors import Rejection
from structure.templates.library import TemplateLibrary
from structure.templates.substitution import (
    ANY_VOLUME,
    FAR_EMD,
    MAXIMUM_EMD,
    MINIMUM_RATIO,
    VOLUME_SCALES,
    Substituted,
    closest,
    covalent_radii,
    substitute,
)
from structure.templates.template_sources import SYMPREC
from tasks.ingest.embedded import EmbeddedConfig, embedded_templates

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
            made = substitute(
                library.structure(j), library.counts[i], minimum_ratio=0, volume_limits=ANY_VOLUME
            )
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
        made = [
            substitute(small.structure(j), small.counts[i], volume_limits=ANY_VOLUME) for j in near
        ]
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


SIZES = (300, 1000, 3000, 10_000)
"""Formulas of the thinned libraries, which put the nearest template at every distance."""

EMD_EDGES = (0, 0.25, 0.5, 1, 2, 3, 4, 5, 7, 10, 15, 102)
SCALE_EDGES = (0, 0.5, 0.6, 0.75, 0.85, 0.95, 1.05, 1.2, 1.35, 1.5, 2, 100)


def nearest_usable(
    library: TemplateLibrary, row: np.ndarray
) -> tuple[float, int, Substituted] | None:
    """Return distance, template and cell by the nearest formula but the compound's own."""
    for j, emd in library.nearest(row, 11, one_per_formula=True):
        if (library.counts[j] == row).all():
            continue
        made = substitute(library.structure(j), row, volume_limits=ANY_VOLUME)
        if isinstance(made, Substituted):
            return emd, j, made
    return None


def limits(library: TemplateLibrary, wanted: int, rng: np.random.Generator) -> list[str]:
    """Predict known structures from libraries of several sizes; return the lines of the tables."""
    library = library.take(library.n_sites <= 40)
    keys = keys_of(library.counts)
    chosen = [rng.choice(np.unique(keys), size, replace=False) for size in SIZES]
    libraries = [library, embedded_templates(EmbeddedConfig())]
    libraries += [library.take(np.isin(keys, some)) for some in chosen]
    targets = [i for i in library.preferred.tolist() if (library.counts[i] > 0).sum() > 1]
    matcher = StructureMatcher()
    rows = []
    for i in rng.choice(targets, min(wanted, len(targets)), replace=False).tolist():
        true = library.structure(i)
        for source in libraries:
            found = nearest_usable(source, library.counts[i])
            if found is not None:
                emd, j, made = found
                ratio = (made.structure.volume / len(made.structure)) / (true.volume / len(true))
                group = source.spacegroups[j] == library.spacegroups[i]
                fits = matcher.fit(made.structure, true)
                rows.append((emd, made.volume_scale, np.log(ratio), fits, group))
    table = np.array(rows, dtype=np.float64)
    low, high = VOLUME_SCALES
    inside = (table[:, 1] >= low) & (table[:, 1] <= high)
    return [
        f"{wanted:,} compounds, each predicted from all structures, from those of "
        f"{', '.join(f'{size:,}' for size in SIZES)} random",
        "formulas and from the shipped templates, always by the nearest template that can be used:",
        f"{len(table):,} cells. Error: ln(volume / true volume) per atom, whatever the structure.",
        "",
        f"Distance to the template, volume scales from {low:g} to {high:g}:",
        "",
        *_by(table[inside], 0, EMD_EDGES, "distance"),
        "",
        "Volume over the template's, at any distance:",
        "",
        *_by(table, 1, SCALE_EDGES, "volume scale"),
        "",
        f"The limits are {MAXIMUM_EMD:g} for the distance and {low:g} to {high:g} for the volume "
        "scale; next to the limit of the",
        "distance three cells in four still have a volume within 20 %. Reports warn of templates "
        f"beyond {FAR_EMD:g}.",
        "Where the volume would change much, the rule of radii changes it too much, so that a cell",
        "that was to shrink is compressed.",
    ]


def _by(table: np.ndarray, column: int, edges: tuple[float, ...], name: str) -> list[str]:
    """Return a table of quality by ranges of one column."""
    lines = [
        f"| {name} | cells | right structure | right space group | median volume error | "
        "median of its size | within 20 % |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for low, high in itertools.pairwise(edges):
        part = table[(table[:, column] > low) & (table[:, column] <= high)]
        if low == 0:
            part = table[table[:, column] <= high]
        if len(part):
            error = part[:, 2]
            lines.append(
                f"| {low:g} to {high:g} | {len(part):,} | {100 * part[:, 3].mean():.0f} % | "
                f"{100 * part[:, 4].mean():.0f} % | {np.median(error):+.2f} | "
                f"{np.median(abs(error)):.2f} | {100 * (abs(error) < np.log(1.2)).mean():.0f} % |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--structures", type=int, default=3000)
    parser.add_argument("--predictions", type=int, default=300)
    parser.add_argument("--limits", type=int, default=1000)
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
            "",
            "## How far a template may be",
            "",
            *limits(library, arguments.limits, rng),
        ],
    )


if __name__ == "__main__":
    main()
