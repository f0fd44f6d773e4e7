"""The report's page: figures and rows put into the HTML template.

In: `Contents`. Out: HTML text with everything inside: styles, script, pictures, CIF files.
"""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from structure.properties.target import Target
from structure.templates.substitution import FAR_EMD
from tasks.report import figures, search_words
from tasks.report.composition_map import tsne_points
from tasks.report.contents import Contents

if TYPE_CHECKING:
    from tasks.report.stage import ReportConfig

PICTURE_SIZE = 132


def render(contents: Contents, config: ReportConfig, seed: int) -> str:
    """Return the page's HTML."""
    import jinja2

    source = files("tasks.report").joinpath("page.html.j2").read_text()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["subscript"] = _subscript
    return environment.from_string(source).render(
        c=contents,
        closed_at=contents.closed_at,
        tiles=_tiles(contents),
        rows=_rows(contents, config.candidates),
        figure=_figures(contents, config, seed),
        target=contents.targets.first,
        sought=contents.targets.first.sought,
        further=contents.targets.further,
        on_front=int(contents.on_front.sum()),
        search_text=search_words.paragraph(contents.search),
        search_rows=search_words.source_rows(contents.search),
        far=int((contents.survivors["emd"] > FAR_EMD).sum()) if len(contents.survivors) else 0,
        far_emd=FAR_EMD,
        validity_rows=_validity_rows(contents.funnel.get("validity", {})),
        initial_by_model=set(contents.origins) == {"ml"},
        search_by_model="ml" in contents.answered_by,
    )


def _tiles(contents: Contents) -> list[tuple[str, int]]:
    """Return the handful of counts that stand at the top of the page."""
    steps = contents.steps
    told = ("novel", "window", "structure")
    return [
        (name, count)
        for i, (name, count, _) in enumerate(steps)
        if i in (0, len(steps) - 1) or any(word in name for word in told)
    ]


def _subscript(formula: str) -> Any:
    """Set the numbers of a formula as subscripts."""
    import re

    from markupsafe import Markup, escape

    return Markup(re.sub(r"(\d+)", r"<sub>\1</sub>", str(escape(formula))))


def _figures(contents: Contents, config: ReportConfig, seed: int) -> dict[str, str]:
    colours = figures.COLOURS
    target = contents.targets.first
    labelled = contents.labelled
    column = target.sought.column
    initial = contents.initial[column].astype(float)
    found = contents.visited[column][labelled].astype(float)
    candidates = _values(contents.candidates, column)
    survivors = _values(contents.survivors, column)
    drawn = {
        "funnel": figures.funnel(contents.steps),
        "distributions": figures.distributions(
            [
                ("initial labels", initial, colours["initial"]),
                ("labels the search asked for", found, colours["search"]),
                (
                    "candidates in the window",
                    candidates,
                    colours["matgan"],
                ),
                ("survivors", survivors, colours["offspring"]),
            ],
            target,
        ),
        "trace": figures.search_trace(
            np.arange(1, len(found) + 1),
            found,
            contents.visited["source"][labelled].astype(str),
            _best(initial, target),
            target,
        ),
    }
    for number, other in enumerate(contents.targets.further):
        table, column_of_other = contents.survivors, other.sought.column
        drawn[f"pareto_{number}"] = figures.pareto(
            (_values(table, column), target),
            (_values(table, column_of_other), other),
            contents.on_front,
        )
    if config.map_points:
        groups = [
            contents.initial.counts,
            contents.visited.counts[labelled],
            contents.candidates.counts,
            contents.survivors.counts,
        ]
        points = tsne_points(groups, config.map_points, seed)
        styles = [
            ("initial labels", colours["initial"], "+", 26.0),
            ("visited by the search", colours["search"], "o", 12.0),
            ("generated candidates", colours["matgan"], "o", 9.0),
            ("survivors", colours["offspring"], "D", 16.0),
        ]
        drawn["map"] = figures.composition_map(
            [(n, p, c, m, s) for (n, c, m, s), p in zip(styles, points, strict=True)]
        )
    return drawn


def _values(table: Any, column: str) -> np.ndarray:
    return table[column].astype(float) if len(table) else np.zeros(0)


def _best(values: np.ndarray, target: Target) -> float:
    """Return the value that the target likes best; 0 where there is none."""
    known = values[np.isfinite(values)]
    return float(known[np.argmax(target.utility(known))]) if len(known) else 0.0


def _rows(contents: Contents, limit: int) -> list[dict[str, Any]]:
    """Return the rows of the candidate table, each with its picture and its CIF."""
    from pymatgen.core import Structure

    from structure.crystals.crystal_text import cif_text
    from structure.crystals.picture import picture

    table, sought = contents.survivors, contents.targets.first.sought
    rows, front = [], contents.on_front
    further = [target.sought for target in contents.targets.further]
    for i in range(min(limit, len(table))):
        structure = Structure.from_dict(json.loads(str(table["structure_json"][i])))
        formula = str(table["formula"][i])
        cif = base64.b64encode(cif_text(structure).encode()).decode()
        rows.append(
            {
                "rank": int(table["rank"][i]),
                "formula": formula,
                "value": float(table[sought.column][i]),
                "sigma": float(table[sought.sigma_column][i]),
                "further": [float(table[one.column][i]) for one in further],
                "front": bool(front[i]) and bool(further),
                "energy": float(table["formation_energy_eV_per_atom"][i]),
                "template_formula": str(table["template_formula"][i]),
                "template_id": str(table["template_id"][i]),
                "emd": float(table["emd"][i]),
                "far": float(table["emd"][i]) > FAR_EMD,
                "volume_scale": float(table["volume_scale"][i]),
                "spacegroup": int(table["spacegroup"][i]),
                "sites": int(table["n_sites"][i]),
                "generator": str(table["generator"][i]),
                "status": str(table["status"][i]),
                "picture": picture(structure, PICTURE_SIZE),
                "cif": cif,
                "job": contents.jobs.get(formula, ""),
            }
        )
    return rows


_RULE_NAMES = {
    "strict": "charge neutral and electronegativity balanced",
    "with_alloys": "the same, all-metal formulas pass",
    "pymatgen_sp": "the same with pymatgen's short list of oxidation states",
}


def _validity_rows(validity: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return each rule set with the share of novel compositions and of random ones that pass."""
    random = validity.get("matched_random", {})
    return [
        (words, float(validity[name]), float(random[name]))
        for name, words in _RULE_NAMES.items()
        if name in validity and name in random
    ]
