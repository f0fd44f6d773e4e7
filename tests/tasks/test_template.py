from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from structure.composition import counts_from, formulas_of, parse_formulas
from structure.templates.library import TemplateLibrary
from structure.templates.substitution import volume_scales
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import handle_for, read_table, write_table
from tasks.campaign.library import Placed, StructureConfig, first_usable, within_limits
from tasks.campaign.outputs import Ingested, Screened, Templated
from tasks.template import TemplateConfig, assign_templates
from tests.dft_inputs.cells import rocksalt


def rock_salt(a: str, b: str, length: float) -> Structure:
    return rocksalt(a, b, length)


def perovskite(a: str, b: str, x: str, length: float) -> Structure:
    return Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(length),
        [a, b, x],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    )


LIBRARY = [
    ("salt", rock_salt("Na", "Cl", 5.64)),
    ("dense", rock_salt("K", "Cl", 3.0)),
    ("loose", rock_salt("K", "Br", 6.6)),
    ("perovskite", perovskite("Sr", "Ti", "O", 3.9)),
]


def run(root: Path, formulas: list[str], config: TemplateConfig) -> tuple[Campaign, Templated]:
    with Campaign(root, {}, 1) as campaign:
        library = TemplateLibrary.from_structures(LIBRARY)
        path = root / "ingest" / "templates.parquet"
        library.save(path)
        templates = handle_for(root, path, len(library), "templates")
        n = len(formulas)
        candidates = write_table(
            root,
            root / "candidates.parquet",
            {
                "rank": np.arange(n, 0, -1),
                "formula": np.array(formulas, dtype=np.str_),
                "generator": np.array(["matgan"] * n, dtype=np.str_),
                "band_gap_eV": np.linspace(5, 6, n),
                "band_gap_sigma_eV": np.full(n, 0.2),
                "score": np.zeros(n),
            },
            "candidates",
            counts=parse_formulas(formulas).counts,
        )
        ingested = Ingested(
            initial=templates, known=templates, templates=templates, manifest=templates
        )
        return campaign, campaign.run(
            assign_templates, config, ingested, Screened(candidates=candidates, funnel=candidates)
        )


@pytest.fixture
def tables(tmp_path: Path):
    formulas = ["NaBr", "BaZrO3", "KCl", "CaF2"]
    _, templated = run(tmp_path, formulas, TemplateConfig(neighbours=3))
    return (
        read_table(tmp_path, templated.structures),
        read_table(tmp_path, templated.rejected)[0],
    )


def test_candidates_get_the_nearest_usable_structure_in_the_order_of_rank(tables) -> None:
    (columns, counts), _ = tables
    assert columns["rank"].tolist() == [2, 3, 4]
    assert columns["formula"].tolist() == ["KCl", "BaZrO3", "NaBr"]
    assert formulas_of(counts) == ["KCl", "BaZrO3", "NaBr"]
    assert columns["template_id"].tolist() == ["loose", "perovskite", "salt"]
    assert columns["assignment"].tolist()[0] == "K->K, Br->Cl"
    assert columns["spacegroup"].tolist() == [225, 221, 225]
    assert columns["n_sites"].tolist() == [8, 5, 8]
    assert columns["emd"].tolist()[0] == pytest.approx(0.5)


def test_a_template_whose_atoms_would_overlap_gives_way_to_the_next(tables) -> None:
    # KCl itself is in the library, but squeezed to 3 Å.
    (columns, _), _ = tables
    assert columns["nearest_formula"].tolist()[0] == "KCl"
    assert columns["nearest_emd"].tolist()[0] == 0
    assert columns["template_formula"].tolist()[0] == "KBr"


def test_the_structures_have_the_candidates_composition(tables) -> None:
    (columns, counts), _ = tables
    for text, formula, scale, row in zip(
        columns["structure_json"], columns["formula"], columns["volume_scale"], counts, strict=True
    ):
        structure = Structure.from_dict(json.loads(text))
        parsed = parse_formulas([structure.composition.formula.replace(" ", "")]).counts[0]
        assert (parsed == row).all(), formula
        assert 0.75 <= scale <= 1.35


def test_a_template_that_would_change_its_volume_too_much_gives_way_to_the_next(
    tables, tmp_path: Path
) -> None:
    # KBr is as near to NaBr as NaCl and comes first, but would shrink to 0.69 of its volume.
    (columns, _), _ = tables
    assert columns["template_formula"].tolist()[2] == "NaCl"
    assert columns["emd"].tolist()[2] == columns["nearest_emd"].tolist()[2] == 0.5
    wide = TemplateConfig(minimum_volume_scale=0.5)
    _, templated = run(tmp_path / "wide", ["NaBr"], wide)
    columns, _ = read_table(tmp_path / "wide", templated.structures)
    assert columns["template_formula"].tolist() == ["KBr"]
    assert columns["volume_scale"][0] == pytest.approx(0.69, abs=0.01)


@pytest.mark.parametrize(
    ("formula", "config", "code", "words"),
    [
        ("LiF", {}, "volume-scale", "LiF in the structure of NaCl would have 0.33 of its volume"),
        ("CsI", {}, "volume-scale", "the limits are 0.75 and 1.35; 2 more templates fail too"),
        ("NaBr", {"maximum_volume_scale": 1.2, "maximum_emd": 0.9}, "volume-scale", "1 more"),
        ("PtC", {}, "far-template", "stoichiometry AB nearest to PtC, is at distance "),
        ("NaBr", {"maximum_emd": 0.4}, "far-template", "distance 0.50; the limit is 0.4"),
    ],
)
def test_a_template_outside_the_limits_is_turned_down_with_the_number(
    tmp_path: Path, formula: str, config: dict, code: str, words: str
) -> None:
    _, templated = run(tmp_path, [formula], TemplateConfig(**config))
    rejected, _ = read_table(tmp_path, templated.rejected)
    assert templated.structures.rows == 0
    assert rejected["code"].tolist() == [code]
    assert words in rejected["sentence"][0]


AB = st.tuples(*[st.sampled_from(("Li", "Na", "K", "Ag", "F", "Cl", "Br", "O", "S"))] * 2).filter(
    lambda pair: pair[0] != pair[1]
)


@settings(deadline=None, max_examples=50)
@given(AB, st.floats(0, 60), st.floats(0.2, 1), st.floats(1, 5))
def test_what_is_within_limits_can_be_placed_and_what_is_placed_is_within_limits(
    pair: tuple[str, str], farthest: float, low: float, high: float
) -> None:
    library = TemplateLibrary.from_structures(LIBRARY)
    config = StructureConfig(
        minimum_ratio=1e-3,
        maximum_emd=farthest,
        minimum_volume_scale=low,
        maximum_volume_scale=high,
    )
    counts = counts_from([{pair[0]: 1, pair[1]: 1}])
    placed = first_usable(library, counts[0], config)
    assert within_limits(library, counts, config)[0] == isinstance(placed, Placed)
    if isinstance(placed, Placed):
        assert placed.emd <= farthest
        assert low <= placed.result.volume_scale <= high
        assert volume_scales(library.counts[[placed.template]], counts[0]) == pytest.approx(
            placed.result.volume_scale
        )


def test_a_candidate_without_a_template_is_rejected_with_its_stoichiometry(tables) -> None:
    _, rejected = tables
    assert rejected["formula"].tolist() == ["CaF2"]
    assert rejected["code"].tolist() == ["no-template"]
    assert "AB2" in rejected["sentence"][0]


def test_a_candidate_whose_templates_all_fail_keeps_the_nearest_ones_reason(tmp_path: Path) -> None:
    config = TemplateConfig(minimum_ratio=1.9, minimum_volume_scale=0.1)
    _, templated = run(tmp_path, ["LiF"], config)
    rejected, _ = read_table(tmp_path, templated.rejected)
    assert templated.structures.rows == 0
    assert rejected["code"].tolist() == ["too-close"]
    assert "Li and F" in rejected["sentence"][0] or "F and Li" in rejected["sentence"][0]
    assert rejected["sentence"][0].endswith("2 more templates fail too")


def test_only_the_best_up_to_the_limit_are_taken(tmp_path: Path) -> None:
    _, templated = run(tmp_path, ["NaBr", "BaZrO3", "KCl"], TemplateConfig(limit=1))
    assert read_table(tmp_path, templated.structures)[0]["formula"].tolist() == ["KCl"]
    assert templated.rejected.rows == 0


def test_large_cells_are_no_templates(tmp_path: Path) -> None:
    _, templated = run(tmp_path, ["NaBr", "BaZrO3"], TemplateConfig(maximum_sites=5))
    assert read_table(tmp_path, templated.structures)[0]["formula"].tolist() == ["BaZrO3"]
    assert read_table(tmp_path, templated.rejected)[0]["formula"].tolist() == ["NaBr"]


def test_no_candidates_give_empty_tables_with_all_columns(tmp_path: Path) -> None:
    _, templated = run(tmp_path, [], TemplateConfig())
    columns, counts = read_table(tmp_path, templated.structures)
    assert counts.shape == (0, 103)
    assert {"rank", "formula", "template_id", "emd", "structure_json"} <= set(columns)


def test_the_same_campaign_gives_the_same_bytes(tmp_path: Path) -> None:
    hashes = [
        run(tmp_path / name, ["NaBr", "KCl"], TemplateConfig())[1].structures.sha256
        for name in "ab"
    ]
    assert hashes[0] == hashes[1]
