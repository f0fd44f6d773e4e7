"""Train stage: which weights a campaign uses.

In: the shipped weights, or a folder of training data. Out: `Trained`, the weights by name, each
checked against its hash and recorded in the ledger; and the screening model, fitted anew on the
first labels and those the search found (AGD sec. 3.2). `fit_models` fits every shipped model.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from models.fitting.checkpoints import model_hash
from models.pretrained import shipped
from models.properties.boosting import BoostingConfig
from models.properties.forest import ForestConfig
from models.shipped_models import SHIPPED, ModelName, console, fit_model, fit_models
from structure.composition import first_of_each, keys_of
from structure.errors import DataError, ModelError
from structure.files import sha256_of, write_bytes
from structure.properties.quantity import Property
from structure.properties.target import DEFAULT_TARGETS, Target, Targets
from structure.records import Settings
from tasks.campaign.combined import weights_name
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, ModelHandle, read_table
from tasks.campaign.outputs import Ingested, Trained
from tasks.campaign.place import Place
from tasks.campaign.stage import stage
from tasks.campaign.weights import weights_of

if TYPE_CHECKING:
    from models.fitting.checkpoints import ModelConfig

__all__ = ["SHIPPED", "TrainConfig", "fit_models", "refit_screening", "tables_of", "train"]

logger = logging.getLogger(__name__)


OWN_NAME = r"^[a-z0-9][a-z0-9_-]*$"


class ScreeningConfig(Settings):
    """The model that screens, fitted on a few hundred labels."""

    kind: Literal["boosting", "forest"] = "boosting"
    """On 300 and on 1,153 labels boosting is the more accurate of the two and as fast
    (``docs/results/oracle.md``); the forest is the paper's."""
    boosting: BoostingConfig = BoostingConfig(
        trees=300, leaves=15, min_rows=5, error_trees=50, error_leaves=7
    )
    """For ``kind: boosting``."""
    forest: ForestConfig = ForestConfig()
    """For ``kind: forest``."""


class TrainConfig(Settings):
    """Where the weights come from."""

    fit: tuple[ModelName, ...] = ()
    """Models to fit inside the campaign; the others are the shipped ones."""
    data: str | None = None
    """Folder of training data for them; ``${NAME}`` stands for an environment variable."""
    own: dict[Annotated[str, StringConstraints(pattern=OWN_NAME)], str] = Field(
        default_factory=dict
    )
    """Folders of weights of your own by name, copied into the campaign: generators and oracles are
    then named so. One called like a shipped model takes its place."""
    screening: ScreeningConfig = Field(default_factory=ScreeningConfig)
    """The model that screens."""

    @model_validator(mode="after")
    def _has_data(self) -> TrainConfig:
        if both := sorted(set(self.fit) & set(self.own)):
            raise ValueError(f"{both[0]!r} is to be fitted and is one of your own; choose one")
        if self.fit and self.data is None:
            raise ValueError("`fit` names models, so `data` must name a folder to fit them on")
        return self


@stage(
    "train",
    takes="labelled compositions, structures",
    gives="weights with model cards",
    in_the_flow=True,
    keeps_own_record=True,
)
def train(campaign: Campaign, config: TrainConfig, targets: Targets = DEFAULT_TARGETS) -> Trained:
    """Settle the weights of the campaign.

    Parameters
    ----------
    campaign : Campaign
    config : TrainConfig
    targets : Targets
        The model named ``oracle`` predicts the property of the first, where any does.

    Returns
    -------
    Trained

    Raises
    ------
    CampaignError
        If weights the campaign already used are no longer the same.
    ConfigError, DataError, ModelError
        If weights are missing or damaged, or cannot be fitted.
    """
    handles: dict[str, ModelHandle] = {}
    for name, target in _asked(config, targets).items():
        build = partial(_settle, campaign, config, name, target)
        handles[name] = campaign.once("train", name, ModelHandle, build)
        _unchanged(campaign.root, handles[name])
    return campaign.once("train", "all", Trained, lambda: Trained(models=handles))


def _asked(config: TrainConfig, targets: Targets) -> dict[str, Target | None]:
    """Return the weights that are needed, each with the target whose property it predicts."""
    asked: dict[str, Target | None] = dict.fromkeys((*SHIPPED, *config.own))
    asked["oracle"] = targets.first
    told = targets.first.model or targets.first.sought.model
    if not (told or "oracle" in config.fit or "oracle" in config.own):
        del asked["oracle"]
    predicted = [one for one in targets.further if one.sought.of_composition is None]
    return asked | {weights_name(one): one for one in predicted}


def _settle(
    campaign: Campaign, config: TrainConfig, name: str, target: Target | None
) -> ModelHandle:
    """Check, copy or fit one model, and record it; of a target, where it is a target's."""
    own = config.own.get(name, target.model if target is not None else None)
    inside = name in config.fit or own is not None
    shipped_as = name if inside or target is None else weights_of(target).name
    path = f"models/{name}" if inside else shipped_as
    folder = campaign.root / path if inside else shipped(path)
    if own is not None:
        _copy_inside(own, folder)
    elif inside:
        _fit_inside(campaign, config, name, target)
    saved = checked(folder)
    campaign.ledger.add_model(name, saved.sha256, saved.trained_on, dict(saved.metrics))
    return ModelHandle(
        name=name,
        place="campaign" if inside else "shipped",
        path=path,
        sha256=saved.sha256,
        config_sha256=model_hash(folder),
    )


def _fit_inside(campaign: Campaign, config: TrainConfig, name: str, target: Target | None) -> None:
    """Fit a model in the campaign's own folder; a killed fit goes on."""
    from models.fitting.datasets import load_training_data
    from structure.sources.tables import resolve_path

    assert config.data is not None
    folder = resolve_path(config.data)
    seed = campaign.seed_of("train", name)
    if target is not None and target.sought.model != "oracle":
        from models.properties.table_training import train_from_table

        with console(name) as report:
            train_from_table(folder, target.sought, seed, campaign.root / "models" / name, report)
        return
    data = load_training_data(folder)
    work = campaign.folder("train") / name
    with console(name) as report:
        fit_model(data, name, campaign.root / "models" / name, seed, work, report)


def _copy_inside(source: str, folder: Path) -> None:
    """Copy a folder of weights into the campaign; ``config.json`` comes last."""
    from models.fitting.checkpoints import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
    from models.registry import check_kind
    from structure.sources.tables import resolve_path

    given = resolve_path(source)
    check_kind(checked(given).kind)
    for file in (WEIGHTS_NAME, CARD_NAME, CONFIG_NAME):
        if (given / file).exists():
            write_bytes(folder / file, (given / file).read_bytes())


def checked(folder: Path) -> ModelConfig:
    """Return a model's configuration after checking that its weights are what it says.

    Raises
    ------
    ModelError
        If the folder is missing, damaged or changed.
    """
    from models.fitting.checkpoints import WEIGHTS_NAME, read_config

    config = read_config(folder)
    weights = folder / WEIGHTS_NAME
    if not weights.exists() or sha256_of(weights) != config.sha256:
        raise ModelError(
            "the weights are not the ones that config.json describes",
            where=weights,
            fix="Restore the folder, or train the model again with `agd train`.",
        )
    return config


def _unchanged(root: Path, handle: ModelHandle) -> None:
    """Refuse to go on with another model than the campaign began with."""
    inside = handle.place == "campaign"
    folder = root / handle.path if inside else shipped(handle.path)
    handle.checked(folder)
    if checked(folder).sha256 != handle.sha256:
        raise handle.changed(folder)


def verify_shipped() -> list[str]:
    """Check the hashes of all shipped weights; return their names.

    Raises
    ------
    ModelError
        If a folder is missing, damaged or changed.
    """
    for name in SHIPPED:
        checked(shipped(name))
    return list(SHIPPED)


def _tell(campaign: Campaign, handle: ModelHandle) -> None:
    saved = checked(handle.folder(campaign.root))
    campaign.ledger.add_model("screening", saved.sha256, saved.trained_on, dict(saved.metrics))


def _check(campaign: Campaign, handle: ModelHandle) -> None:
    _unchanged(campaign.root, handle)


@stage(
    "screening",
    takes="initial labels, those of the search",
    gives="the screening model, fitted anew",
    tell=_tell,
    check=_check,
)
def refit_screening(
    place: Place,
    config: TrainConfig,
    ingested: Ingested,
    visited: Handle,
    targets: Targets = DEFAULT_TARGETS,
) -> ModelHandle:
    """Fit the screening model on the first labels and those the search found.

    AGD screens with a model of the labels found so far, not with the oracle.

    Parameters
    ----------
    place : Place
    config : TrainConfig
    ingested : Ingested
        Its initial labels are used.
    visited : Handle
        Table of the search (`tasks.campaign.outputs.Explored.visited`); rows labelled there are
        used.
    targets : Targets
        It predicts the property of the first.

    Returns
    -------
    ModelHandle
        Named ``screening``, inside the campaign.

    Raises
    ------
    ModelError
        If there are too few labels.
    """
    sought = targets.first.sought
    counts, values = _labels(place.root, ingested.initial, visited, sought)
    folder = place.root / "models" / "screening"
    seed = place.seed_of("screening")
    saved = _fit_screening(config.screening, counts, values, seed, folder, sought)
    mae = sought.amount(saved.metrics["mae"])
    logger.info("screening: %d labels, MAE %s", len(values), mae)
    return ModelHandle(
        name="screening",
        place="campaign",
        path="models/screening",
        sha256=saved.sha256,
        config_sha256=model_hash(folder),
    )


def _labels(
    root: Path, initial: Handle, visited: Handle, sought: Property
) -> tuple[np.ndarray, np.ndarray]:
    """Return every labelled composition once; a first label stands before one of the search."""
    parts = []
    for handle in (initial, visited):
        columns, counts = read_table(root, handle)
        if counts is None:
            raise DataError("the table of labels has no compositions", where=handle.path)
        values = columns[sought.column].astype(np.float64)
        good = np.isfinite(values) & counts.any(axis=1)
        if "status" in columns:
            good &= columns["status"].astype(np.str_) == "labelled"
        parts.append((counts[good], values[good]))
    counts, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    first = first_of_each(keys_of(counts))
    return counts[first], values[first]


def _fit_screening(
    config: ScreeningConfig,
    counts: np.ndarray,
    values: np.ndarray,
    seed: int,
    folder: Path,
    sought: Property,
) -> ModelConfig:
    from models.properties.boosting import BoostingModel
    from models.properties.forest import ForestModel

    model: Any
    if config.kind == "boosting":
        boosting = config.boosting
        if sought.lowest != 0.0:
            boosting = boosting.model_copy(update={"minimum": None})
        model = BoostingModel.fit(counts, values, boosting, seed=seed, property=sought.column)
    else:
        model = ForestModel.fit(counts, values, config.forest, seed=seed, property=sought.column)
    metrics = model.metrics
    card = (
        f"# Screening model\n\n{config.kind}, fitted on the {len(values):,} labels of this "
        f"campaign.\nErrors on labels it did not see: mean absolute {metrics['mae']:.3f} "
        f"{sought.unit}, "
        f"R² {metrics['r2']:.3f}.\n"
    )
    note = f"{len(values):,} labels of this campaign"
    return model.save(folder, trained_on=note, counts=counts, values=values, seed=seed, card=card)


def tables_of(data: Path) -> list[str]:
    """Return the properties that a folder of training data has tables of.

    Raises
    ------
    ConfigError
        If its mapping cannot be used.
    """
    from models.fitting.data_mapping import mapping_of

    return sorted(mapping_of(data).properties)
