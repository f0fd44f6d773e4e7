from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.train import fit_shipped
from models.fitting.data_mapping import DataMapping, StructureSource, TableSource
from models.properties.boosting import BoostingModel
from models.properties.gatgnn import FormationEnergyModel
from structure.composition import parse_formulas
from structure.errors import ConfigError, DataError

CATIONS = "Li Na K Rb Mg Ca Sr Ba Zn Cd".split()
ANIONS = {"F": 8.0, "Cl": 5.0, "Br": 4.0, "O": 3.0, "S": 1.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Invented gaps and energies that depend on the anion."""
    place = tmp_path / "data"
    place.mkdir()
    rows = [f"{c}{a},{gap + 0.01 * len(c)}" for c in CATIONS for a, gap in ANIONS.items()]
    (place / "gaps.csv").write_text("\n".join(["formula,gap", *rows]) + "\n")
    crystals = [
        {
            "lattice": [3.0 + 0.1 * i, 3.0 + 0.1 * i, 3.0 + 0.1 * i, 60, 60, 60],
            "species": [cation, anion],
            "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
            "formation_energy_per_atom": 1.0 - gap,
        }
        for i, cation in enumerate(CATIONS)
        for anion, gap in ANIONS.items()
    ]
    lines = "".join(json.dumps(crystal) + "\n" for crystal in crystals)
    (place / "structures.jsonl").write_text(lines)
    mapping = DataMapping(
        band_gaps=TableSource(path="gaps.csv", value="gap", title="Our gaps", licence="CC0"),
        formation_energies=None,
        formulas=None,
        structures=StructureSource(path="structures.jsonl", energy_scheme="our scale, eV/atom"),
    )
    (place / "agd-data.json").write_text(mapping.model_dump_json())
    return place


@pytest.mark.slow
def test_ones_own_data_become_weights_with_cards_that_name_them(
    folder: Path, tmp_path: Path
) -> None:
    metrics = fit_shipped(folder, tmp_path / "out", only=["oracle", "gatgnn"])
    assert set(metrics) == {"oracle", "gatgnn"}
    oracle = BoostingModel.load(tmp_path / "out" / "oracle")
    mean = oracle.predict(parse_formulas(["CsF", "CsS"]).counts).mean
    assert mean[0] > mean[1]
    assert "| Our gaps | CC0 | 50 |" in (tmp_path / "out" / "oracle" / "CARD.md").read_text()
    network = FormationEnergyModel.load(tmp_path / "out" / "gatgnn")
    assert network.energy_scheme == "our scale, eV/atom"
    card = (tmp_path / "out" / "gatgnn" / "CARD.md").read_text()
    assert "base rate" in card
    assert "boosting on the composition alone" in card


def test_an_unknown_model_is_named_with_those_there_are(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no model 'orakel'.*\n.*\n.*oracle, matgan"):
        fit_shipped(folder, tmp_path / "out", only=["orakel"])


def test_a_model_whose_data_are_missing_says_which(folder: Path, tmp_path: Path) -> None:
    mapping = DataMapping.model_validate_json((folder / "agd-data.json").read_text())
    without = mapping.model_copy(update={"structures": None})
    (folder / "agd-data.json").write_text(without.model_dump_json())
    with pytest.raises(DataError, match="names no structures"):
        fit_shipped(folder, tmp_path / "out", only=["gatgnn"])
