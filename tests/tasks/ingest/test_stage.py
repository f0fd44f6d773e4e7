from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from ase.db import connect
from ase.spacegroup import crystal
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from models.pretrained import shipped
from structure.composition import counts_of, keys_of, parse_formulas
from structure.errors import ConfigError, DataError
from structure.rules.dataset_rules import Rule
from structure.rules.known_formulas import contains
from structure.templates.library import TemplateLibrary
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import read_table
from tasks.campaign.outputs import Ingested
from tasks.ingest import embedded
from tasks.ingest.stage import IngestConfig, ingest
from tasks.oracles.oracle import OracleConfig

TABLE = """formula,band_gap,e_form,id
NaCl,5.0,-2.0,a
Na2Cl2,4.9,-1.9,b
KCl,5.2,-2.1,c
Fe,0,0,d
CaF2,7.1,-4.0,e
KrF2,3.0,-0.1,f
"""
COLUMNS = {"band_gap": "band_gap", "formation_energy": "e_form"}


@pytest.fixture
def run(tmp_path: Path):
    """Give a function that ingests from a text and returns outputs and the campaign."""
    opened: list[Campaign] = []

    def ingested(
        text: str = TABLE, /, name: str = "t.csv", **settings: Any
    ) -> tuple[Ingested, Campaign]:
        (tmp_path / name).write_text(text)
        source = {"path": str(tmp_path / name), "roles": ["labels"], "columns": COLUMNS}
        source |= settings.pop("source", {})
        config = IngestConfig.model_validate(
            {"sources": [source], "initial": {"rule": "all"}, **settings}
        )
        campaign = Campaign(
            tmp_path / f"campaign-{len(opened)}", config.model_dump(mode="json"), seed=5
        )
        opened.append(campaign)
        return campaign.run(ingest, config), campaign

    yield ingested
    for campaign in opened:
        campaign.close()


def _formulas(campaign: Campaign, handle: Any) -> list[str]:
    return read_table(campaign.root, handle)[0]["formula"].tolist()


def _codes(campaign: Campaign, output: Ingested) -> dict[tuple[int, str], str]:
    assert output.rejects is not None
    rows, _ = read_table(campaign.root, output.rejects)
    return {
        (int(r), str(c)): str(s)
        for r, c, s in zip(rows["record"], rows["code"], rows["sentence"], strict=True)
    }


def _manifest(campaign: Campaign, output: Ingested) -> dict[str, Any]:
    return json.loads(output.manifest.open_in(campaign.root).read_text())


def test_initial_labels_follow_the_rules_and_say_where_they_came_from(run) -> None:
    output, campaign = run()
    columns, counts = read_table(campaign.root, output.initial)
    assert columns["formula"].tolist() == ["NaCl", "KCl", "CaF2", "KrF2"]
    assert columns["band_gap_eV"].tolist() == [5.0, 5.2, 7.1, 3.0]
    assert set(columns["origin"]) == {"table"}
    assert set(columns["source"]) == {"t"}
    assert counts is not None
    assert (counts == parse_formulas(["NaCl", "KCl", "CaF2", "KrF2"]).counts).all()
    labels = campaign.ledger.labels("band_gap_eV")
    assert [(x.formula, x.value, x.origin, x.source) for x in labels][:1] == [
        ("NaCl", 5.0, "table", "t")
    ]


def test_the_manifest_counts_what_each_rule_removed_and_rejects_keep_the_reason(run) -> None:
    output, campaign = run(
        rules=[
            {"rule": "lowest_energy_per_formula"},
            {"rule": "no_single_elements"},
            {"rule": "exclude_elements"},
        ]
    )
    manifest = _manifest(campaign, output)
    assert [(s["rule"], s["before"], s["removed"]) for s in manifest["rules"]] == [
        ("lowest_energy_per_formula", 6, 1),
        ("no_single_elements", 5, 1),
        ("exclude_elements", 4, 1),
    ]
    assert manifest["sources"][0]["records"] == 6
    assert manifest["labelled"] == 3
    codes = _codes(campaign, output)
    assert codes[2, "lowest_energy_per_formula"].startswith("record 1 of the same formula")
    assert codes[6, "exclude_elements"] == "it contains Kr"


def test_every_formula_is_used_once_whatever_the_rules(run) -> None:
    output, campaign = run(rules=[])
    assert sorted(_formulas(campaign, output.initial)) == ["CaF2", "Fe", "KCl", "KrF2", "NaCl"]


def test_units_are_converted(run) -> None:
    text = "formula,band_gap,e_form\nNaCl,5000,-385.94\nKCl,2000,-96.485332\n"
    output, campaign = run(
        text, source={"units": {"band_gap": "meV", "formation_energy": "kJ/mol/formula"}}
    )
    columns, _ = read_table(campaign.root, output.initial)
    assert columns["band_gap_eV"].tolist() == [5.0, 2.0]
    assert columns["formation_energy_eV_per_atom"] == pytest.approx([-2.0, -0.5], abs=1e-4)


def test_gaps_in_mev_declared_ev_are_refused(run) -> None:
    with pytest.raises(DataError, match=r"cannot be in eV.*would be 5100 eV; they look like meV"):
        run("formula,band_gap,e_form\nNaCl,5000,-2\nFe2O3,0,-1\nKCl,5200,-2\n")


def test_gaps_in_ev_declared_mev_are_refused(run) -> None:
    with pytest.raises(DataError, match=r"cannot be in meV.*look like eV"):
        run(source={"units": {"band_gap": "meV"}})


def test_total_energies_are_no_formation_energies(run) -> None:
    with pytest.raises(DataError, match="cannot be formation energies"):
        run("formula,band_gap,e_form\nNaCl,5,-1200\nKCl,5,-1300\n")


def test_bad_labels_keep_their_reasons_and_the_rest_goes_on(run) -> None:
    text = (
        "formula,band_gap,e_form\nNaCl,5.0,-2\nKCl,nan,-2\nLiF,,-3\nRbBr,wide,-1\n"
        "CsI,inf,-1\nBaO,-1,-2\nCaF2,7.1,n/a\nMgO,7.7,bad\n"
    )
    output, campaign = run(text)
    assert _formulas(campaign, output.initial) == ["NaCl", "CaF2"]
    codes = _codes(campaign, output)
    assert set(codes) == {
        (2, "no-label"),
        (3, "no-label"),
        (4, "value"),
        (5, "value"),
        (6, "negative-gap"),
        (8, "value"),
    }
    assert codes[4, "value"] == "'wide' is not a number"


def test_a_formula_that_does_not_parse_keeps_its_reason(run) -> None:
    text = "formula,band_gap,e_form\nNaCl,5,-2\nNaCl),5,-2\nXx2O,1,-1\nFe0.95O,1,-1\n,1,1\n"
    output, campaign = run(text)
    codes = _codes(campaign, output)
    assert set(codes) == {(2, "formula"), (3, "element"), (4, "fractional"), (5, "empty")}
    assert "unknown element 'Xx'" in codes[3, "element"]


def test_fractional_formulas_are_rounded_only_on_request(run) -> None:
    text = "formula,band_gap,e_form\nFe0.95O,1,-1\n"
    with pytest.raises(DataError, match=r"no formula .* can be used.*fractional"):
        run(text)
    output, campaign = run(text, source={"round_fractions": True})
    assert _formulas(campaign, output.initial) == ["Fe19O20"]


def test_what_a_reader_found_out_is_in_the_manifest(run) -> None:
    output, campaign = run("# mine\nformula;band_gap;e_form\nNaCl;5,0;-2,0\nKCl;5,2;-2,1\n")
    columns, _ = read_table(campaign.root, output.initial)
    assert columns["band_gap_eV"].tolist() == [5.0, 5.2]
    assert _manifest(campaign, output)["sources"][0]["notes"] == [
        "columns are parted by semicolons",
        "the header is line 2",
    ]


def test_the_initial_draw_is_random_by_seed_and_below_the_limit(run) -> None:
    text = "formula,band_gap,e_form\n" + "".join(f"Na{i}Cl,{0.1 * i},-1\n" for i in range(1, 60))
    output, campaign = run(text, initial={"count": 20, "maximum_eV": 3.0})
    columns, _ = read_table(campaign.root, output.initial)
    assert len(set(columns["formula"])) == 20
    assert columns["band_gap_eV"].max() < 3.0
    assert output.labels is not None
    assert output.labels.rows == 59


def test_asking_for_more_than_there_is_says_how_many_there_are(run) -> None:
    with pytest.raises(DataError, match=r"starts from 9 labelled compounds, the data have 4"):
        run(initial={"count": 9})


def test_a_second_call_gives_the_same_output_without_reading_again(run, tmp_path: Path) -> None:
    output, campaign = run()
    (tmp_path / "t.csv").unlink()
    config = IngestConfig(sources=(), initial={"rule": "all"})  # type: ignore[arg-type]
    assert campaign.run(ingest, config) == output


def test_labelled_and_listed_formulas_and_templates_are_known(run) -> None:
    output, campaign = run(embedded={"known": False})
    known = np.load(output.known.open_in(campaign.root))
    assert known.dtype == np.uint64
    assert (np.diff(known.astype(object)) > 0).all()
    library = TemplateLibrary.load(output.templates.open_in(campaign.root))
    assert contains(known, keys_of(library.counts)).all()
    asked = keys_of(np.stack([counts_of(f) for f in ("CaF2", "KrF2", "Rb7Tm3P2F5")]))
    assert contains(known, asked).tolist() == [True, True, False]


def test_the_shipped_filter_is_added_by_default(run) -> None:
    output, campaign = run()
    assert _manifest(campaign, output)["known"]["shipped_filter"] > 300_000
    assert output.known.rows > 300_000


def test_a_missing_column_names_the_nearest(run) -> None:
    with pytest.raises(DataError, match=r"no column 'gap' for band_gap; the nearest is 'band_gap'"):
        run(source={"columns": {"band_gap": "gap"}})


def test_a_missing_file_says_so(tmp_path: Path, run) -> None:
    with pytest.raises(DataError, match="does not exist"):
        run(source={"path": str(tmp_path / "absent.csv")})


def test_an_unset_variable_is_named_and_a_set_one_is_not_written_resolved(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_TABLES", raising=False)
    with pytest.raises(ConfigError, match="MY_TABLES is not set"):
        run(source={"path": "${MY_TABLES}/t.csv"})
    monkeypatch.setenv("MY_TABLES", str(tmp_path))
    output, campaign = run(source={"path": "${MY_TABLES}/t.csv"})
    assert _manifest(campaign, output)["sources"][0]["path"] == "${MY_TABLES}/t.csv"
    written = list(campaign.root.rglob("*.json"))
    assert written
    assert not any(str(tmp_path) in p.read_text() for p in written)


def test_a_table_cannot_be_a_source_of_templates(run) -> None:
    with pytest.raises(ConfigError, match="holds no crystal structures"):
        run(source={"roles": ["labels", "templates"]})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "a.csv", "roles": ["labels"]}, "names no column of labels"),
        ({"path": "a.csv", "roles": []}, "roles"),
        ({"path": "a.csv", "roles": ["known"], "units": {"band_gap": "mev"}}, "did you mean 'meV'"),
        ({"path": "a.csv", "roles": ["known"], "colums": {}}, "colums"),
    ],
)
def test_a_bad_source_is_refused_with_a_reason(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        IngestConfig.model_validate({"sources": [source]})


def test_two_sources_need_two_names() -> None:
    sources = [{"path": f"{p}/t.csv.gz", "roles": ["known"]} for p in "ab"]
    with pytest.raises(ValidationError, match="two sources are named 't'"):
        IngestConfig.model_validate({"sources": sources})


def _rocksalt(a: str, b: str) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), [a, b], [[0, 0, 0], [0.5, 0, 0]])


def _cif_folder(folder: Path) -> Path:
    folder.mkdir()
    for name, (a, b) in {"one": ("Na", "Cl"), "two": ("K", "Cl")}.items():
        _rocksalt(a, b).to(str(folder / f"{name}.cif"))
    (folder / "broken.cif").write_text("data_x\n_cell_length_a ?\nloop_\n")
    (folder / "properties.csv").write_text("file,gap\none.cif,5.0\ntwo,5.2\nthree,1\n")
    return folder


def test_a_folder_of_cifs_gives_labels_and_templates_and_a_broken_one_keeps_its_reason(
    run, tmp_path: Path
) -> None:
    source = {
        "path": str(_cif_folder(tmp_path / "cifs")),
        "properties": "properties.csv",
        "columns": {"band_gap": "gap", "id": "file"},
        "roles": ["labels", "templates"],
    }
    output, campaign = run(source=source)
    columns, _ = read_table(campaign.root, output.initial)
    assert dict(zip(columns["formula"], columns["band_gap_eV"], strict=True)) == {
        "NaCl": 5.0,
        "KCl": 5.2,
    }
    library = TemplateLibrary.load(output.templates.open_in(campaign.root))
    assert library.ids == ["cifs:one", "cifs:two"]
    assert library.spacegroups.tolist() == [225, 225]
    assert (1, "cif") in _codes(campaign, output)


def test_a_folder_of_cifs_without_its_table_or_files_says_so(run, tmp_path: Path) -> None:
    folder = _cif_folder(tmp_path / "cifs")
    source = {"path": str(folder), "roles": ["labels"], "columns": {"band_gap": "gap"}}
    with pytest.raises(DataError, match="Name its property table"):
        run(source=source)
    with pytest.raises(DataError, match="does not exist"):
        run(source={**source, "properties": "absent.csv"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.cif file"):
        run(source={**source, "path": str(tmp_path / "empty")})


def _ase_database(path: Path) -> Path:
    with connect(path) as database:
        for gap, (a, b) in {5.0: ("Na", "Cl"), 5.2: ("K", "Cl")}.items():
            atoms = crystal(
                [a, b], [(0, 0, 0), (0.5, 0, 0)], spacegroup=225, cellpar=[5.6] * 3 + [90] * 3
            )
            database.write(atoms, gap=gap)
    return path


def test_an_ase_database_gives_labels_and_templates(run, tmp_path: Path) -> None:
    source = {
        "path": str(_ase_database(tmp_path / "set.db")),
        "columns": {"band_gap": "gap"},
        "roles": ["labels", "templates", "known"],
    }
    output, campaign = run(source=source)
    assert sorted(_formulas(campaign, output.initial)) == ["KCl", "NaCl"]
    library = TemplateLibrary.load(output.templates.open_in(campaign.root))
    assert library.ids == ["set:1", "set:2"]


def test_a_database_without_the_key_or_of_another_kind_says_so(run, tmp_path: Path) -> None:
    source = {
        "path": str(_ase_database(tmp_path / "set.db")),
        "columns": {"band_gap": "gaps"},
        "roles": ["labels"],
    }
    with pytest.raises(DataError, match="nearest is 'gap'"):
        run(source=source)
    (tmp_path / "text.db").write_text("not a database")
    with pytest.raises(DataError, match="no ASE database"):
        run(source={**source, "path": str(tmp_path / "text.db")})
    sqlite3.connect(tmp_path / "other.db").execute("create table t (x)").connection.close()
    with pytest.raises(DataError, match=r"no readable ASE database|no ASE database|no records"):
        run(source={**source, "path": str(tmp_path / "other.db")})


def test_structures_as_json_lines_become_templates(run, tmp_path: Path) -> None:
    row = {
        "material_id": "x-1",
        "formula": "NaCl",
        "band_gap": 5.0,
        "lattice": [5.6, 5.6, 5.6, 90, 90, 90],
        "species": ["Na"] * 4 + ["Cl"] * 4,
        "frac_coords": _rocksalt("Na", "Cl").frac_coords.tolist(),
    }
    text = json.dumps(row) + "\n" + json.dumps({**row, "material_id": "x-2", "lattice": [1]}) + "\n"
    output, campaign = run(
        text,
        name="s.jsonl",
        source={"columns": {"band_gap": "band_gap"}, "roles": ["labels", "templates"]},
    )
    library = TemplateLibrary.load(output.templates.open_in(campaign.root))
    assert library.ids == ["x-1"]
    assert (0, "lattice") in _codes(campaign, output)


def test_a_missing_dft_set_says_what_to_set(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dft_inputs

    monkeypatch.setattr(dft_inputs, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(DataError, match="no DFT set"):
        run(source={"roles": ["known"]}, embedded={"initial": "dft-set"})


def test_the_dft_set_labels_where_the_configuration_names_it(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"material_id": f"g{i}", "formula": f, "band_gap_eV": g, "formation_energy_eV_per_atom": e}
        for i, (f, g, e) in enumerate([("LiF", 9.0, -3.0), ("NaCl", 5.1, -2.0)])
    ]
    path = tmp_path / "gpaw_set.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setattr(embedded, "dft_set", lambda: path)
    output, campaign = run(source={"roles": ["known"]}, embedded={"initial": "dft-set"})
    columns, _ = read_table(campaign.root, output.initial)
    assert columns["formula"].tolist() == ["LiF", "NaCl"]
    assert set(columns["origin"]) == {"dft-gpaw"}


class Draws:
    """A generator that draws common salts over and over."""

    name = "fixed"

    def sample(self, n: int, seed: int) -> np.ndarray:
        counts = parse_formulas(["KCl", "MgO", "ZnS", "Rb7Tm3P2F5"]).counts
        return counts[np.random.default_rng(seed).integers(0, 4, size=n)]


def test_without_a_source_a_campaign_starts_from_the_shipped_dft_set(tmp_path: Path) -> None:
    config = IngestConfig.model_validate({"initial": {"count": 300}})
    with Campaign(tmp_path / "c", config.model_dump(mode="json"), seed=5) as campaign:
        output = campaign.run(ingest, config)
        columns, _ = read_table(campaign.root, output.initial)
        library = TemplateLibrary.load(output.templates.open_in(campaign.root))
    assert len(set(columns["formula"])) == 300
    assert set(columns["origin"]) == {"dft-gpaw"}
    assert np.isfinite(columns["formation_energy_eV_per_atom"]).sum() > 250
    ours = [id for id in library.ids if id.startswith("gpaw-")]
    assert len(ours) > 300
    assert len(library) > len(ours) + 200


def test_known_compounds_are_labelled_by_the_shipped_oracle_where_the_configuration_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.compositions.generator.load_generator", lambda folder: Draws())
    config = IngestConfig.model_validate(
        {
            "initial": {"count": 50},
            "embedded": {"initial": "oracle", "templates": ["prototypes"]},
        }
    )
    with Campaign(tmp_path / "c", config.model_dump(mode="json"), seed=5) as campaign:
        output = campaign.run(ingest, config)
        columns, counts = read_table(campaign.root, output.initial)
        assert output.labels is not None
        pool = _formulas(campaign, output.labels)
        library = TemplateLibrary.load(output.templates.open_in(campaign.root))
        known = np.load(output.known.open_in(campaign.root))
    assert len(set(columns["formula"])) == 50
    assert set(columns["origin"]) == {"ml"}
    oracle = json.loads((shipped("oracle") / "config.json").read_text())
    assert set(columns["source"]) == {oracle["sha256"]}
    assert (columns["band_gap_eV"] >= 0).all()
    assert {"KCl", "MgO", "ZnS"} <= set(pool)
    assert "Rb7Tm3P2F5" not in pool
    assert counts is not None
    assert contains(known, keys_of(counts)).all()
    assert len(library) == 288


def test_the_examples_of_the_guide_are_valid_and_it_names_every_rule() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "data.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", guide, flags=re.S)
    assert len(examples) == 3
    for example in map(yaml.safe_load, examples):
        if "explore" in example:
            OracleConfig.model_validate(example["explore"]["oracle"])
        else:
            IngestConfig.model_validate(example["ingest"])
    for rule in get_args(get_args(Rule)[0]):
        assert f"| `{rule.model_fields['rule'].default}` |" in guide


@pytest.mark.data
def test_the_development_set_is_taken_in_whole(data_dir: Path, tmp_path: Path) -> None:
    config = IngestConfig.model_validate(
        {
            "sources": [
                {
                    "path": "${AGD_DATA_DIR}/mp_structures.jsonl.gz",
                    "columns": {
                        "band_gap": "band_gap",
                        "formation_energy": "formation_energy_per_atom",
                        "id": "material_id",
                    },
                    "roles": ["labels", "known"],
                }
            ],
            "initial": {"count": 300, "maximum_eV": 3.0},
        }
    )
    with Campaign(tmp_path / "c", config.model_dump(mode="json"), seed=1) as campaign:
        output = campaign.run(ingest, config)
        manifest = _manifest(campaign, output)
        columns, _ = read_table(campaign.root, output.initial)
    assert manifest["sources"][0]["records"] == 48_911
    assert manifest["sources"][0]["distinct_formulas"] == 38_025
    assert manifest["sources"][0]["rejected"] == {}
    assert manifest["labelled"] == 38_025 - 79
    assert len(columns["formula"]) == 300
    assert columns["band_gap_eV"].max() < 3.0
