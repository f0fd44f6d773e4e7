from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from models.search.latent_pool import PoolShares
from structure.composition import formulas_of, parse_formulas
from structure.files import write_json
from structure.properties.gap_window import band_gaps
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, handle_for, write_table
from tasks.campaign.outputs import (
    Explored,
    Filtered,
    HandedOff,
    Ingested,
    Screened,
    Templated,
    Trained,
)
from tasks.explore.stage import ExploreConfig
from tasks.ledger.ledger import Label
from tasks.report.stage import ReportConfig, write_report
from tests.tasks.search_world import search

SEARCH = {
    "backend": "batch",
    "surrogate_inputs": "descriptors",
    "decode_first": True,
    "chemistry": "strict",
    "pool_size": 6000,
    "batch": 20,
    "acquisition": "ucb",
    "kappa": 10.0,
    "best_gap_eV": 9.0,
    "sources": {
        "box": {
            "decoded": 100,
            "fraction_decodable": 0.58,
            "fraction_valid": 0.21,
            "fraction_new": 0.2,
            "suggested": 4,
        },
        "offspring": {
            "decoded": 0,
            "fraction_decodable": None,
            "fraction_valid": None,
            "fraction_new": None,
            "suggested": 0,
        },
    },
}

MANIFEST = {
    "sources": [
        {"name": "mine", "roles": ["labels", "known"]},
        {"name": "others", "roles": ["templates"]},
        {"name": "theirs", "roles": ["known"]},
    ],
    "known": {
        "shipped_filter": 1000,
        "shipped_filter_sha256": "cd" * 32,
        "sources": 200,
        "templates": 30,
        "total": 1234,
    },
    "earlier": {"labels": 3, "with_jobs": 5},
}


class _Audit(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and value:
                self.links.append(value)


def _structure(a: str, b: str) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), [a, b], [[0, 0, 0], [0.5, 0, 0]])


def _json_handle(root: Path, name: str, content: object) -> Handle:
    path = root / "data" / name
    write_json(path, content)
    return handle_for(root, path, 0, name)


def _rows(formulas: list[str]) -> dict[str, object]:
    n = len(formulas)
    return {
        "rank": np.arange(1, n + 1),
        "formula": formulas,
        "generator": ["matgan"] * n,
        "band_gap_eV": np.full(n, 6.5),
        "band_gap_sigma_eV": np.full(n, 0.4),
    }


@pytest.fixture
def stages(tmp_path: Path):
    """Give a function that fills a campaign with tables for the named survivors."""

    def fill(survivors: list[str], emd: float = 1.25):
        campaign = Campaign(tmp_path / "c", {"name": "<wide & wider>"}, seed=3)
        root = campaign.root
        initial = parse_formulas(["NaCl", "MgO", "CaF2", "SiO2", "Al2O3", "LiF", "KBr", "GaN"])
        n = len(initial.counts)
        labels = write_table(
            root,
            root / "data/initial.parquet",
            {
                "formula": formulas_of(initial.counts),
                "band_gap_eV": np.linspace(1, 8, n),
                "formation_energy_eV_per_atom": np.full(n, np.nan),
                "origin": ["ml"] * n,
                "source": ["oracle"] * n,
            },
            "initial",
            counts=initial.counts,
        )
        visited = write_table(
            root,
            root / "data/visited.parquet",
            {
                "iteration": np.ones(n, dtype=int),
                "source": ["around", "box"] * (n // 2),
                "formula": formulas_of(initial.counts),
                "status": ["labelled", "undecodable"] * (n // 2),
                "band_gap_eV": np.linspace(2, 9, n),
                "band_gap_sigma_eV": np.full(n, 0.3),
                "utility": np.linspace(2, 9, n),
            },
            "visited",
            counts=initial.counts,
        )
        parsed = parse_formulas(survivors)
        structures = [_structure(*re.findall("[A-Z][a-z]?", f)[:2]) for f in survivors]
        columns = {
            **_rows(survivors),
            "template_id": ["proto-1"] * len(survivors),
            "template_formula": ["NaCl"] * len(survivors),
            "emd": np.full(len(survivors), emd),
            "spacegroup": np.full(len(survivors), 225),
            "n_sites": np.full(len(survivors), 8),
            "volume_scale": np.ones(len(survivors)),
            "closest_ratio": np.ones(len(survivors)),
            "structure_json": [json.dumps(s.as_dict()) for s in structures],
        }
        templated = write_table(
            root, root / "data/t.parquet", columns, "structures", counts=parsed.counts
        )
        survived = write_table(
            root,
            root / "data/s.parquet",
            {
                **columns,
                "formation_energy_eV_per_atom": np.full(len(survivors), -3.21),
                "energy_scheme": ["scheme-x"] * len(survivors),
                "status": ["selected"] * len(survivors),
            },
            "survivors",
            counts=parsed.counts,
        )
        rejected = write_table(
            root,
            root / "data/r.parquet",
            {"formula": ["XeF2"], "code": ["too-close"], "sentence": ["Xe and F touch"]},
            "rejected",
        )
        candidates = write_table(
            root, root / "data/c.parquet", {**_rows(survivors), "score": np.ones(len(survivors))},
            "candidates", counts=parsed.counts,
        )  # fmt: skip
        passed = len(survivors)
        funnel = {
            "steps": [
                {"name": "drawn", "count": 1000, "by_generator": {"matgan": 1000}},
                {"name": "unique, novel and valid", "count": 400, "by_generator": {"matgan": 400}},
                {"name": "in the gap window", "count": passed, "by_generator": {"matgan": passed}},
            ],
            "validity": {
                "sample": 900,
                "strict": 0.7,
                "matched_random": {"strict": 0.45},
                "strict_by_generator": {"matgan": 0.7},
            },
        }
        for formula in survivors:
            campaign.ledger.add_job(
                f"id-{formula}", formula=formula, batch="batch-0001",
                folder=f"handoff/batch-0001/{formula}--id", recipe="r", story={},
            )  # fmt: skip
        campaign.ledger.add_model("oracle", "ab" * 32, "tables", {})
        outputs = (
            Ingested(
                initial=labels, known=labels, templates=labels,
                manifest=_json_handle(root, "manifest.json", MANIFEST),
            ),
            Trained(models={}),
            Explored(visited=visited, summary=_json_handle(root, "search.json", SEARCH)),
            Screened(candidates=candidates, funnel=_json_handle(root, "funnel.json", funnel)),
            Templated(structures=templated, rejected=rejected),
            Filtered(survivors=survived, rejected=rejected),
            HandedOff(batch="batch-0001", jobs=passed, manifest=labels),
        )  # fmt: skip
        return campaign, outputs

    return fill


def _page(stages, survivors: list[str]) -> tuple[str, Campaign]:
    campaign, outputs = stages(survivors)
    config = ReportConfig(map_points=50)
    reported = campaign.run(write_report, config, band_gaps(), *outputs, name="<wide & wider>")
    return (campaign.root / reported.page.path).read_text(), campaign


def test_the_page_needs_nothing_from_outside(stages) -> None:
    page, campaign = _page(stages, ["KF", "RbF"])
    audit = _Audit()
    audit.feed(page)
    outside = [x for x in audit.links if not x.startswith(("#", "data:", "../", "candidates.csv"))]
    assert outside == []
    assert len(audit.ids) == len(set(audit.ids))
    assert "http://www.w3.org" in page and "@import" not in page
    campaign.close()


def test_every_survivor_has_a_row_with_its_numbers_and_its_job(stages) -> None:
    page, campaign = _page(stages, ["KF", "RbF"])
    for formula in ("KF", "RbF"):
        assert f'data-v="{formula}"' in page
        assert f'href="../handoff/batch-0001/{formula}--id"' in page
    assert page.count("data:chemical/x-cif;base64,") == 2
    assert "6.50&nbsp;±&nbsp;0.40" in page
    assert "scheme-x" in page
    table = (campaign.root / "report/candidates.csv").read_text().splitlines()
    assert len(table) == 3
    assert table[1].startswith("1,KF,selected,6.5000,0.4000,-3.2100,scheme-x,matgan,proto-1,NaCl")
    campaign.close()


def test_the_page_says_what_new_was_checked_against(stages) -> None:
    page, campaign = _page(stages, ["KF"])
    told = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "New means in none of these 1,234 compositions: 1,000 formulas of Materials" in told
    assert "(the shipped filter, cdcdcdcdcdcd); 200 formulas of mine, theirs; the 30 comp" in told
    assert "gave jobs. Other databases and the literature were not asked." in told
    campaign.close()


def test_a_campaign_without_the_shipped_filter_does_not_name_it(stages, monkeypatch) -> None:
    monkeypatch.setitem(MANIFEST["known"], "shipped_filter", 0)
    page, campaign = _page(stages, ["KF"])
    assert "200 formulas of mine" in page and "the shipped filter" not in page
    campaign.close()


def test_the_page_says_what_the_search_did(stages) -> None:
    page, campaign = _page(stages, ["KF"])
    search = page.split("<h2>Search</h2>")[1]
    assert "The process sees descriptors of a candidate's composition" in html.unescape(search)
    assert "(backend batch)" in search and "κ = 10.0" in search
    assert "<td>box</td>" in search and "<td>offspring</td>" not in search
    campaign.close()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shares": PoolShares(box=0, around=1, between=0, offspring=0)},
        {"surrogate_inputs": "proposed", "decode_first": False, "chemistry": "any"},
        None,
    ],
    ids=["default", "one source", "chosen before decoding", "the paper's"],
)
@pytest.mark.parametrize("backend", ["batch", "bayesian-optimization"])
def test_the_page_of_a_search_is_written_whatever_its_settings(stages, settings, backend) -> None:
    campaign, outputs = stages(["KF"])
    small = {"budget": 4, "batch": 2, "pool_size": 60, "iterations": 2, "backend": backend}
    config = ExploreConfig.agd(**small) if settings is None else ExploreConfig(**settings, **small)
    outputs = (*outputs[:2], search(campaign, config), *outputs[3:])
    reported = campaign.run(write_report, ReportConfig(map_points=0), band_gaps(), *outputs)
    page = (campaign.root / reported.page.path).read_text()
    assert f"(backend {backend})" in page
    campaign.close()


@pytest.mark.parametrize(("emd", "far"), [(1.99, 0), (2.01, 2)])
def test_the_page_warns_of_far_templates_and_marks_them(stages, emd: float, far: int) -> None:
    page, campaign = _page(lambda survivors: stages(survivors, emd), ["KF", "RbF"])
    assert (f"{far} of 2 cells come from a far template" in page) == bool(far)
    assert page.count('<br><span class="tag">far</span>') == far
    assert page.count('<td class="n" data-v="1.0">1.00</td>') == 2
    campaign.close()


def test_names_are_escaped(stages) -> None:
    page, campaign = _page(stages, ["KF"])
    assert "&lt;wide &amp; wider&gt;" in page
    assert "<wide & wider>" not in page
    campaign.close()


def test_labels_of_a_model_are_said_to_be_predictions(stages) -> None:
    page, campaign = _page(stages, ["KF"])
    assert "The initial labels come from a machine-learned oracle, not from DFT" in page
    campaign.close()


def test_answers_of_a_model_to_the_search_are_said_to_be_predictions(stages) -> None:
    campaign, outputs = stages(["KF"])
    asked = Label(
        formula="KF", property="band_gap_eV", value=6.0, origin="ml", source="x", iteration=1
    )
    campaign.ledger.add_labels([asked])
    reported = campaign.run(write_report, ReportConfig(map_points=0), band_gaps(), *outputs)
    page = (campaign.root / reported.page.path).read_text()
    assert "The initial labels and every answer to the search come from a machine-learned" in page
    campaign.close()


def test_validity_stands_beside_its_baseline_and_decodability_beside_its_source(stages) -> None:
    page, campaign = _page(stages, ["KF"])
    rows = [re.sub(r"<[^>]+>", "|", r) for r in re.findall(r"<tr>.*?</tr>", page, re.S)]
    assert any("electronegativity balanced" in r and "70.0 %" in r and "45.0 %" in r for r in rows)
    assert any("box" in r and "58.0 %" in r and "21.0 %" in r for r in rows)
    campaign.close()


def test_an_empty_campaign_says_where_the_funnel_closed(stages) -> None:
    page, campaign = _page(stages, [])
    assert "The funnel closed at “in the gap window”" in page
    assert "No compound passed every step" in page
    campaign.close()


def test_the_same_campaign_gives_the_same_page(stages, tmp_path: Path) -> None:
    first, campaign = _page(stages, ["KF", "RbF"])
    campaign.close()
    (tmp_path / "c").rename(tmp_path / "before")
    second, campaign = _page(stages, ["KF", "RbF"])
    campaign.close()
    assert first == second


def test_calculations_that_the_search_asked_for_are_counted_and_linked(stages) -> None:
    campaign, outputs = stages(["KF", "RbF"])
    for n, formula in enumerate(("KF", "CsF")):
        campaign.ledger.add_job(
            f"asked-{n}", formula=formula, batch="batch-0000", recipe="r",
            folder=f"handoff/batch-0000/{formula}--asked", story={"asked_by": "search"},
            state="EMITTED" if n else "INGESTED",
        )  # fmt: skip
    written = campaign.run(
        write_report, ReportConfig(map_points=0), band_gaps(), *outputs, name="c"
    )
    page = (campaign.root / written.page.path).read_text()
    assert "It asked for 2 calculations by DFT: 1 emitted, 1 ingested." in page
    assert 'href="../handoff/batch-0001/KF--id"' in page
    assert "CsF" not in page.split("<h2>Search</h2>")[0]
    campaign.close()
