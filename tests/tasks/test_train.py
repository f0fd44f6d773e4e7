from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from models.fitting.checkpoints import WEIGHTS_NAME, ModelConfig, save_model_folder
from models.properties.boosting import BoostingConfig
from models.properties.forest import ForestConfig, ForestModel
from models.properties.prediction import load_property_model
from structure.composition import parse_formulas
from structure.errors import CampaignError, ConfigError, ModelError
from structure.files import write_json
from structure.properties.band_gap import BAND_GAP
from tasks import train as stage
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, ModelHandle, handle_for, write_table
from tasks.campaign.outputs import Ingested
from tasks.train import SHIPPED, ScreeningConfig, TrainConfig, refit_screening, train

SMALL = BoostingConfig(
    trees=30, leaves=5, learning_rate=0.15, min_rows=3, error_trees=10, error_leaves=4, folds=2
)
FORMULAS = [
    f"{c}{n}{a}" for c in "Li Na K Rb Mg Ca Sr Ba Zn Al".split() for a in "F Cl O S".split()
    for n in ("", 2)
]  # fmt: skip


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-in for the folder of shipped weights, with one array in each."""
    folder = tmp_path / "shipped"
    for i, name in enumerate(SHIPPED):
        config = ModelConfig(
            kind=name,
            settings={},
            elements=("H",),
            trained_on=f"data of {name}",
            data_sha256="",
            seed=i,
            metrics={"mae": 0.1},
        )
        save_model_folder(folder / name, {"x": np.full(3, i)}, config, "card")
    monkeypatch.setattr(stage, "shipped", lambda name: folder / name)
    return folder


def ingested(root: Path, values: np.ndarray | None = None) -> Ingested:
    write_json(root / "empty.json", {})
    empty = handle_for(root, root / "empty.json", 0, "json")
    counts = parse_formulas(FORMULAS).counts
    gaps = 5.0 * (counts[:, 8] > 0) + counts[:, 7] if values is None else values
    initial = write_table(
        root,
        root / "initial.parquet",
        {"formula": FORMULAS, "band_gap_eV": np.asarray(gaps, dtype=np.float64)},
        "initial",
        counts=counts,
    )
    return Ingested(initial=initial, known=empty, templates=empty, manifest=empty)


def visited(root: Path, rows: list[tuple[str, str, float]]) -> Handle:
    return write_table(
        root,
        root / "visited.parquet",
        {
            "status": np.array([s for _, s, _ in rows], dtype=np.str_),
            "band_gap_eV": np.array([g for _, _, g in rows], dtype=np.float64),
        },
        "visited",
        counts=parse_formulas([f for f, _, _ in rows]).counts,
    )


def test_the_shipped_weights_are_checked_and_recorded(tmp_path: Path, shipped: Path) -> None:
    with Campaign(tmp_path / "c", {}, 1) as campaign:
        trained = campaign.run(train, TrainConfig())
        assert list(trained.models) == list(SHIPPED)
        assert {h.place for h in trained.models.values()} == {"shipped"}
        recorded = {m["name"]: m["sha256"] for m in campaign.ledger.models()}
        assert recorded == {name: h.sha256 for name, h in trained.models.items()}


def test_damaged_weights_stop_the_stage_with_their_path(tmp_path: Path, shipped: Path) -> None:
    (shipped / "oracle" / WEIGHTS_NAME).write_bytes(b"half a file")
    with Campaign(tmp_path / "c", {}, 1) as campaign, pytest.raises(ModelError, match="oracle"):
        campaign.run(train, TrainConfig())
    with pytest.raises(ModelError, match="oracle"):
        stage.verify_shipped()


def test_a_campaign_does_not_go_on_with_other_weights(tmp_path: Path, shipped: Path) -> None:
    with Campaign(tmp_path / "c", {}, 1) as campaign:
        first = campaign.run(train, TrainConfig())
        assert campaign.run(train, TrainConfig()) == first
        config = stage.checked(shipped / "gatgnn")
        save_model_folder(shipped / "gatgnn", {"x": np.full(3, 99)}, config, "card")
        with pytest.raises(CampaignError, match="'gatgnn' are not the ones"):
            campaign.run(train, TrainConfig())


def test_a_changed_calibration_stops_the_resumed_campaign_wherever_it_is(
    tmp_path: Path, shipped: Path
) -> None:
    with Campaign(tmp_path / "c", {}, 1) as campaign:
        campaign.run(train, TrainConfig())
        path = shipped / "oracle" / "config.json"
        path.write_text(path.read_text().replace('"mae": 0.1', '"mae": 0.2'))
        assert stage.checked(shipped / "oracle").metrics == {"mae": 0.2}
        with pytest.raises(CampaignError, match=r"config\.json of 'oracle' are not the ones"):
            campaign.run(train, TrainConfig())


def test_a_handle_from_before_configurations_were_hashed_is_compared_by_its_weights(
    tmp_path: Path, shipped: Path
) -> None:
    with Campaign(tmp_path / "c", {}, 1) as campaign:
        trained = campaign.run(train, TrainConfig())
        old = trained.models["oracle"].model_copy(update={"config_sha256": ""})
        assert old.checked(shipped / "oracle") == shipped / "oracle"
        stage._unchanged(campaign, old)
        save_model_folder(
            shipped / "oracle", {"x": np.full(3, 99)}, stage.checked(shipped / "oracle"), "card"
        )
        with pytest.raises(CampaignError, match="'oracle'"):
            stage._unchanged(campaign, old)


def test_a_screening_model_whose_calibration_was_changed_is_not_used(tmp_path: Path) -> None:
    campaign = refit(tmp_path, ScreeningConfig(boosting=SMALL), FOUND)
    path = tmp_path / "models" / "screening" / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "metrics": {**content["metrics"], "mae": 9.0}}))
    handle = ModelHandle.model_validate_json(outputs(tmp_path)["screening"])
    with pytest.raises(CampaignError, match="Restore the folder from a copy"):
        handle.folder(campaign.root)
    with pytest.raises(CampaignError, match="'screening'"):
        refit(tmp_path, ScreeningConfig(boosting=SMALL), FOUND)


def outputs(root: Path) -> dict[str, str]:
    with Campaign(root, {}, 1) as campaign:
        return {part["stage"]: part["output"] for part in campaign.ledger.stages()}


def test_fitting_models_needs_a_folder_of_data() -> None:
    with pytest.raises(ValidationError, match="data"):
        TrainConfig(fit=("oracle",))


def test_an_unset_variable_in_the_data_folder_is_named(
    tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    config = TrainConfig(fit=("oracle",), data="${NO_SUCH_FOLDER}/x")
    with (
        Campaign(tmp_path / "c", {}, 1) as campaign,
        pytest.raises(ConfigError, match="NO_SUCH_FOLDER"),
    ):
        campaign.run(train, config)


def refit(root: Path, config: ScreeningConfig, rows: list[tuple[str, str, float]]) -> Campaign:
    with Campaign(root, {}, 1) as campaign:
        handle = campaign.run(
            refit_screening,
            TrainConfig(screening=config),
            ingested(root),
            visited(root, rows),
        )
        assert (handle.name, handle.place) == ("screening", "campaign")
    return campaign


FOUND = [("BaF2", "labelled", 7.0), ("YF3", "labelled", 8.0), ("YN", "invalid", float("nan"))]


@pytest.mark.parametrize(
    "config",
    [
        ScreeningConfig(boosting=SMALL),
        ScreeningConfig(kind="forest", forest=ForestConfig(trees=10)),
    ],
    ids=["boosting", "forest"],
)
def test_the_screening_model_learns_from_first_labels_and_finds(
    tmp_path: Path, config: ScreeningConfig
) -> None:
    refit(tmp_path, config, FOUND)
    model = load_property_model(tmp_path / "models" / "screening")
    mean = model.predict(parse_formulas(["SrF2", "ZnS"]).counts).mean
    assert mean[0] > mean[1] + 1.0
    known = stage.checked(tmp_path / "models" / "screening")
    assert known.trained_on.startswith(f"{len(FORMULAS) + 2} labels")


def test_labels_are_taken_once_and_only_where_there_is_one(tmp_path: Path) -> None:
    rows = [("LiF", "labelled", 99.0), ("YF3", "labelled", 8.0), ("YN", "merged", 3.0)]
    with Campaign(tmp_path, {}, 1) as campaign:
        values = np.full(len(FORMULAS), 2.0)
        values[5] = np.nan
        counts, found = stage._labels(
            campaign.root, ingested(tmp_path, values).initial, visited(tmp_path, rows), BAND_GAP
        )
    assert len(counts) == len(FORMULAS)
    assert 99.0 not in found
    assert found[-1] == 8.0


def test_too_few_labels_say_how_many_are_needed(tmp_path: Path) -> None:
    counts = parse_formulas(["NaCl", "MgO"]).counts
    with pytest.raises(ModelError, match="2 labelled"):
        ForestModel.fit(counts, np.ones(2), seed=0)


def test_the_screening_model_is_the_same_when_a_campaign_is_run_again(tmp_path: Path) -> None:
    shas = []
    for name in ("one", "two"):
        refit(tmp_path / name, ScreeningConfig(boosting=SMALL), FOUND)
        shas.append(stage.checked(tmp_path / name / "models" / "screening").sha256)
    assert shas[0] == shas[1]


def test_the_shipped_weights_are_whole() -> None:
    assert stage.verify_shipped() == list(SHIPPED)


def test_weights_of_ones_own_are_copied_into_the_campaign_and_checked(
    tmp_path: Path, shipped: Path
) -> None:
    own = tmp_path / "own"
    about = stage.checked(shipped / "oracle").model_copy(update={"kind": "forest"})
    save_model_folder(own, {"x": np.arange(4)}, about, "card")
    config = TrainConfig(own={"mine": str(own), "oracle": str(own)})
    with Campaign(tmp_path / "c", {}, 1) as campaign:
        trained = campaign.run(train, config)
        assert list(trained.models) == [*SHIPPED, "mine"]
        assert {trained.models[n].place for n in ("mine", "oracle")} == {"campaign"}
        copied = trained.models["mine"].folder(campaign.root)
        assert (copied / WEIGHTS_NAME).read_bytes() == (own / WEIGHTS_NAME).read_bytes()
        (own / WEIGHTS_NAME).unlink()
        assert campaign.run(train, config) == trained
        (copied / WEIGHTS_NAME).write_bytes(b"other")
        with pytest.raises(ModelError, match="not the ones"):
            campaign.run(train, config)


def test_weights_of_a_kind_that_nobody_brings_stop_the_stage(tmp_path: Path, shipped: Path) -> None:
    about = stage.checked(shipped / "oracle").model_copy(update={"kind": "crystal-ball"})
    save_model_folder(tmp_path / "own", {}, about, "card")
    config = TrainConfig(own={"mine": str(tmp_path / "own")})
    with (
        Campaign(tmp_path / "c", {}, 1) as campaign,
        pytest.raises(ConfigError, match="'crystal-ball'"),
    ):
        campaign.run(train, config)


@pytest.mark.parametrize(
    "settings",
    [{"own": {"../x": "w"}}, {"own": {"oracle": "w"}, "fit": ["oracle"], "data": "d"}],
)
def test_own_weights_have_a_plain_name_and_are_not_also_fitted(settings: dict) -> None:
    with pytest.raises(ValidationError, match=r"own|one of your own"):
        TrainConfig.model_validate(settings)
