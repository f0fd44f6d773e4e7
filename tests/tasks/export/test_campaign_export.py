"""A campaign as a crate that others read: whole, with provenance, without an absolute path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from flows.cli.app import app
from structure.composition import parse_formulas
from structure.errors import CampaignError, DataError
from structure.files import TEMPORARY_PREFIX, sha256_of
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, write_table
from tasks.campaign.outputs import Filtered
from tasks.export.campaign_export import METADATA, export
from tasks.export.crate import CANDIDATES, CONFIG, PROFILES, WORKFLOW


def salt(cation: str, anion: str) -> Structure:
    lattice = Lattice.from_parameters(4.0, 4.0, 4.0, 60, 60, 60)
    return Structure(lattice, [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def finish(campaign: Campaign, stage: str, name: str, columns: dict[str, Any]) -> Handle:
    path = campaign.root / stage / f"{name}.parquet"
    handle = write_table(campaign.root, path, columns, name)
    campaign.ledger.finish(stage, "all", json.dumps({name: handle.model_dump()}), 1.5)
    return handle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A campaign of three stages with two candidates, the second of which ranks first."""
    root = tmp_path / "campaign"
    with Campaign(root, {"name": "salts"}, 1) as campaign:
        finish(campaign, "ingest", "initial", {"formula": ["NaCl"], "band_gap_eV": [5.0]})
        finish(campaign, "sample", "drawn", {"formula": ["KBr", "LiF"]})
        crystals = [salt("K", "Br"), salt("Li", "F")]
        columns = {
            "rank": [2, 1],
            "formula": ["KBr", "LiF"],
            "band_gap_eV": [4.5, np.nan],
            "n_sites": [2, 2],
            "status": ["reserve", "selected"],
            "structure_json": [json.dumps(s.as_dict()) for s in crystals],
        }
        counts = parse_formulas(["KBr", "LiF"]).counts
        folder = root / "filter"
        kept = write_table(root, folder / "survivors.parquet", columns, "filtered", counts=counts)
        none = write_table(root, folder / "rejected.parquet", {"formula": [""]}, "rejected")
        output = Filtered(survivors=kept, rejected=none).model_dump_json()
        campaign.ledger.finish("filter", "all", output, 2.5)
        (root / "report").mkdir()
        (root / "report" / "candidates.csv").write_text("formula\nLiF\n")
    return root


def graph(crate: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((crate / METADATA).read_text())["@graph"]
    assert len({entity["@id"] for entity in found}) == len(found)
    return {entity["@id"]: entity for entity in found}


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if value.keys() == {"@id"}:
            yield value["@id"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_file_is_there_with_its_sum_and_every_reference_leads_somewhere(
    root: Path, tmp_path: Path
) -> None:
    crate = tmp_path / "crate"
    assert export(root, crate) == 2
    entities = graph(crate)
    files = [e for e in entities.values() if "File" in e["@type"]]
    on_disk = {p.relative_to(crate).as_posix() for p in crate.rglob("*") if p.is_file()}
    assert {e["@id"] for e in files} == on_disk - {METADATA}
    for entity in files:
        assert entity["sha256"] == sha256_of(crate / entity["@id"])
        assert int(entity["contentSize"]) == (crate / entity["@id"]).stat().st_size
    named = {id for entity in entities.values() for id in references(entity)}
    elsewhere = {id for id in named - entities.keys() if not id.startswith("https://")}
    assert not elsewhere
    assert {CONFIG, CANDIDATES, WORKFLOW, "report/candidates.csv"} <= on_disk


def test_the_crate_tells_what_ran_when_with_what(root: Path, tmp_path: Path) -> None:
    crate = tmp_path / "crate"
    export(root, crate)
    entities = graph(crate)
    assert entities["./"]["mainEntity"] == {"@id": WORKFLOW}
    assert entities["./"]["conformsTo"] == [{"@id": profile} for profile in PROFILES]
    assert "license" not in entities["./"]
    workflow = entities[WORKFLOW]
    assert "ComputationalWorkflow" in workflow["@type"]
    assert [s["@id"] for s in workflow["step"]] == ["#step-ingest", "#step-sample", "#step-filter"]
    action = entities["#filter-all"]
    assert action["instrument"] == {"@id": "#tool-filter"}
    assert {"@id": "sample/drawn.parquet"} in action["object"]
    assert {"@id": "filter/survivors.parquet"} in action["result"]
    times = [datetime.fromisoformat(action[name]) for name in ("startTime", "endTime")]
    assert (times[1] - times[0]).total_seconds() == pytest.approx(2.5)
    whole = entities["#run"]
    assert whole["object"] == [{"@id": CONFIG}]
    assert {"@id": CANDIDATES} in whole["result"]
    assert entities["#organised"]["result"] == {"@id": "#run"}


def test_no_path_in_a_crate_is_absolute_and_it_may_be_moved(root: Path, tmp_path: Path) -> None:
    crate = tmp_path / "crate"
    export(root, crate)
    for name in (METADATA, CANDIDATES, CONFIG):
        assert str(tmp_path) not in (crate / name).read_text()


def test_a_licence_is_the_users_to_state(root: Path, tmp_path: Path) -> None:
    licence = "https://spdx.org/licenses/CC0-1.0"
    export(root, tmp_path / "crate", licence)
    assert graph(tmp_path / "crate")["./"]["license"] == {"@id": licence}


def test_candidates_come_best_first_with_their_crystals(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "crate")
    lines = [json.loads(x) for x in (tmp_path / "crate" / CANDIDATES).read_text().splitlines()]
    header, info, *entries = lines
    assert header["x-optimade"]["meta"]["api_version"] == "1.2.0"
    assert info["properties"]["_agd_band_gap_ev"]["unit"] == "eV"
    assert [e["id"] for e in entries] == ["LiF", "KBr"]
    assert [e["attributes"]["_agd_band_gap_ev"] for e in entries] == [None, 4.5]
    found = entries[0]["attributes"]
    back = Structure(
        found["lattice_vectors"],
        found["species_at_sites"],
        found["cartesian_site_positions"],
        coords_are_cartesian=True,
    )
    assert back.matches(salt("Li", "F"))
    assert found["chemical_formula_reduced"] == "FLi"
    assert found["chemical_formula_anonymous"] == "AB"


def test_candidates_are_entries_of_optimade(root: Path, tmp_path: Path) -> None:
    models = pytest.importorskip("optimade.models", reason="optimade is not installed")
    export(root, tmp_path / "crate")
    lines = (tmp_path / "crate" / CANDIDATES).read_text().splitlines()
    for line in lines[2:]:
        models.StructureResource(**json.loads(line))


def test_a_crate_is_read_by_the_library_of_its_makers(root: Path, tmp_path: Path) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed")
    export(root, tmp_path / "crate")
    assert rocrate.ROCrate(tmp_path / "crate").mainEntity.id == WORKFLOW


def test_a_campaign_that_may_not_be_written_to_is_exported(root: Path, tmp_path: Path) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in root.rglob("*"))
    export(root, tmp_path / "crate")
    assert sorted((p, p.stat().st_mtime_ns) for p in root.rglob("*")) == before


def test_a_changed_file_is_not_exported_and_nothing_is_left(root: Path, tmp_path: Path) -> None:
    (root / "sample" / "drawn.parquet").write_bytes(b"PAR1")
    with pytest.raises(CampaignError, match="was changed"):
        export(root, tmp_path / "crate")
    assert [p.name for p in tmp_path.iterdir()] == ["campaign"]


def test_a_place_that_exists_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "crate").mkdir()
    with pytest.raises(DataError, match="exists"):
        export(root, tmp_path / "crate")


def test_a_place_that_cannot_be_written_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written") as refused:
        export(root, tmp_path / "file" / "crate")
    assert "next:" in str(refused.value)


def test_a_campaign_without_a_finished_stage_says_so(tmp_path: Path) -> None:
    with Campaign(tmp_path / "c", {}, 1):
        pass
    with pytest.raises(CampaignError, match="no stage of the campaign has finished"):
        export(tmp_path / "c", tmp_path / "crate")
    assert not list(tmp_path.glob(f"{TEMPORARY_PREFIX}*"))


def test_the_command_says_what_it_wrote(root: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(root), "--to", str(tmp_path / "crate")])
    assert result.exit_code == 0, result.output
    assert "with 2 candidates" in result.output
    shutil.rmtree(tmp_path / "crate")
