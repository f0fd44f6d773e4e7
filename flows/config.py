"""The campaign's configuration: serves every step, in one YAML file.

In: the name of a shipped campaign or a YAML path, and dotted overrides. Out: a frozen
`CampaignConfig` composed of each stage's own config. A key nobody knows is an error that names the
nearest one; everything else has a default.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, RootModel, ValidationError, model_validator

from flows.running.workers import WorkersConfig
from structure.errors import ConfigError
from structure.properties.gap_window import Window
from structure.properties.target import Targets
from structure.records import Settings
from tasks.campaign.weights import weights_of
from tasks.explore.stage import ExploreConfig
from tasks.filter import FilterConfig
from tasks.handoff import HandoffConfig
from tasks.ingest.stage import IngestConfig
from tasks.report.stage import ReportConfig
from tasks.sample import SampleConfig
from tasks.screen.stage import ScreenConfig
from tasks.template import TemplateConfig
from tasks.train import TrainConfig


class CampaignConfig(Settings):
    """Everything a campaign depends on; frozen into its directory when it begins."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Lower case letters, digits and dashes; also the default directory under ``campaigns/``."""
    seed: int = Field(default=0, ge=0)
    """The one seed; every stage part draws from a generator derived from it."""
    targets: Targets = Targets()
    """What is sought, e.g. ``[{property: band_gap, minimum: 5.0}]``; ``window: {minimum_eV: 5.0}``
    is short for this one."""
    ledger: str | None = None
    """SQLAlchemy URL of a database for the ledger: PostgreSQL, in which each campaign has a schema
    of its own, or an SQLite file, which serves one campaign; ``${NAME}`` stands for an environment
    variable. None: ``ledger.sqlite`` in the campaign directory."""
    ingest: IngestConfig = IngestConfig()
    """What the campaign starts from."""
    train: TrainConfig = TrainConfig()
    """Where the weights come from."""
    explore: ExploreConfig = ExploreConfig()
    """How the search goes."""
    sample: SampleConfig = SampleConfig()
    """How many compositions are drawn, and by whom."""
    screen: ScreenConfig = ScreenConfig()
    """How drawn compositions are screened."""
    template: TemplateConfig = TemplateConfig()
    """How candidates get their crystal structures."""
    filter: FilterConfig = FilterConfig()
    """Which structures go on."""
    handoff: HandoffConfig = HandoffConfig()
    """Which jobs are written, and for which cluster."""
    report: ReportConfig = ReportConfig()
    """What the report shows."""
    workers: WorkersConfig = WorkersConfig()
    """Where the stages run. Decides nothing of what comes out, and is not frozen."""

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, document: Any) -> Any:
        """Take ``window`` for what it is short for."""
        if not isinstance(document, Mapping) or "window" not in document:
            return document
        if "targets" in document:
            raise ValueError("give either 'targets' or 'window', which is short for one of them")
        try:
            window = Window.model_validate(document["window"])
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(_complaint({**first, "loc": ("window", *first["loc"])})) from error
        rest = {key: value for key, value in document.items() if key != "window"}
        return rest | {"targets": window.targets()}

    @model_validator(mode="after")
    def _can_be_told(self) -> CampaignConfig:
        """Refuse a target that nothing here can predict or measure, before anything is spent."""
        targets, oracle = self.targets, self.explore.oracle
        try:
            if targets.first.sought.of_composition is not None:
                raise ConfigError(
                    f"the composition decides the {targets.first.sought.words}: there is nothing "
                    "to search for",
                    fix="Put a property that an oracle labels before it.",
                )
            own = "oracle" in self.train.fit or "oracle" in self.train.own
            if oracle.kind == "ml" and oracle.model == "oracle" and not own:
                weights_of(targets.first)
            oracle.check_measures(targets.first.sought)
            self.handoff.check_measures(targets)
            for target in targets.further:
                if target.sought.of_composition is None:
                    weights_of(target)
        except ConfigError as error:
            raise ValueError(f"{error.what}. {error.fix}") from error
        return self


SHORTHANDS: dict[str, type[BaseModel]] = {"window": Window}
"""Settings that stand for others, with what they hold."""

_ANY_WORKERS = {"workers": WorkersConfig()}


def shipped_configs() -> list[str]:
    """Return the names of the campaigns in ``flows/configs``, sorted."""
    files = resources.files("flows.configs").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def load_config(source: str, overrides: Mapping[str, Any] | None = None) -> CampaignConfig:
    """Read a campaign's configuration.

    Parameters
    ----------
    source : str
        Name of a shipped campaign, e.g. ``"agd-bandgap"``, or the path of a YAML file.
    overrides : mapping of str to object, optional
        Values by dotted key, e.g. ``{"explore.budget": 100}``.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown or a value does not fit.
    """
    text, place = _read(source)
    try:
        document = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"the file is not valid YAML: {' '.join(str(error).split())}",
            where=place,
            fix="Correct the line named above.",
        ) from error
    if not isinstance(document, dict):
        raise ConfigError(
            "a campaign file holds keys and values at its top level",
            where=place,
            fix="Begin with `name: my-campaign`; flows/configs/agd-bandgap.yaml is a full example.",
        )
    for key, value in (overrides or {}).items():
        _set(document, key, value)
    return validated(document, place)


def validated(document: Mapping[str, Any], place: str) -> CampaignConfig:
    """Check a configuration given as plain data.

    Raises
    ------
    ConfigError
        If a key is unknown or a value does not fit.
    """
    known = sorted(valid_keys(CampaignConfig))
    for key in _keys(document, CampaignConfig):
        if key not in known:
            raise ConfigError(f"unknown setting '{key}'", where=place, fix=_nearest(key, known))
    try:
        return CampaignConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_complaint(e) for e in error.errors()),
            where=place,
            fix="Correct the value; `agd config --full` says what each setting means.",
        ) from error


def as_begun(config: CampaignConfig, root: Path) -> dict[str, Any]:
    """Return a configuration as data: as a campaign has frozen it, where that means the same.

    A campaign begun by an older release lacks the settings that came later; with their defaults it
    goes on as it began.

    Parameters
    ----------
    config : CampaignConfig
    root : Path
        Campaign directory, begun or not.
    """
    try:
        begun = json.loads((root / "campaign.json").read_bytes())["config"]
        if CampaignConfig.model_validate(begun) == config.model_copy(update=_ANY_WORKERS):
            assert isinstance(begun, dict)
            return begun
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a damaged file is named where it is opened
    return config.model_dump(mode="json", exclude=set(_ANY_WORKERS))


def parse_overrides(settings: Iterable[str]) -> dict[str, Any]:
    """Turn ``key=value`` words into overrides; values are read as YAML.

    Raises
    ------
    ConfigError
        If a word has no ``=`` or its value is not YAML.
    """
    overrides = {}
    for word in settings:
        key, equals, value = word.partition("=")
        try:
            if not equals or not key.strip():
                raise ValueError("there is no '='")
            overrides[key.strip()] = yaml.safe_load(value)
        except (ValueError, yaml.YAMLError) as error:
            raise ConfigError(
                f"the setting {word!r} is not key=value",
                where="--set",
                fix="Write for example `--set explore.budget=100`.",
            ) from error
    return overrides


def valid_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a config model, sections included."""
    sections = {name: _section(field.annotation) for name, field in model.model_fields.items()}
    for name, section in {**sections, **({} if prefix else SHORTHANDS)}.items():
        yield prefix + name
        if section is not None:
            yield from valid_keys(section, f"{prefix}{name}.")


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; merged keys (``<<``) may be given again."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return a setting's model if it has settings of its own, or is a list of such."""
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        annotation = annotation.model_fields["root"].annotation
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    nested = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if nested else None


def _keys(document: Mapping[str, Any], model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys a document uses, down to where a model has no sections."""
    for name, value in document.items():
        yield f"{prefix}{name}"
        field = model.model_fields.get(str(name))
        section = _section(field.annotation) if field is not None else None
        if field is None and not prefix:
            section = SHORTHANDS.get(str(name))
        if section is not None:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Mapping):
                    yield from _keys(item, section, f"{prefix}{name}.")


def _nearest(key: str, known: list[str]) -> str:
    """Say which known key was probably meant: the same last word, or the nearest spelling."""
    last = key.rpartition(".")[2]
    by_place = {k.rpartition(".")[2]: k for k in reversed(known)}
    found = difflib.get_close_matches(key, known, 1, 0.75)
    if not found and (near := difflib.get_close_matches(last, by_place, 1, 0.6)):
        found = [by_place[near[0]]]
    if found:
        return f"Did you mean '{found[0]}'?"
    section = key.partition(".")[0]
    inside = [k for k in known if k.startswith(f"{section}.")] or [k for k in known if "." not in k]
    return f"Settings there are: {', '.join(inside)}."


def _complaint(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "the file"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("model_type", "model_attributes_type", "tuple_type"):
        kind = "a list" if error["type"] == "tuple_type" else "a section of settings"
        return f"'{place}' is {error['input']!r}, and must be {kind}"
    if error["type"] == "value_error" and isinstance(error["input"], Mapping):
        return f"'{place}': {message}"
    if error["type"] == "missing":
        return f"'{place}' is missing"
    if error["type"] == "extra_forbidden":
        return f"unknown setting '{place}'"
    return f"'{place}' is {error['input']!r}: {message[0].lower()}{message[1:]}"


def _set(document: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = document.get(section)
        if not isinstance(inner, dict):
            inner = document[section] = {}
        document = inner
    document[last] = value


def _read(source: str) -> tuple[str, str]:
    """Return the text of a configuration and the place to name in messages."""
    if source in shipped_configs():
        file = resources.files("flows.configs") / f"{source}.yaml"
        return file.read_text(encoding="utf-8"), f"{source}.yaml"
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8"), source
    except (OSError, UnicodeDecodeError) as error:
        close = difflib.get_close_matches(source, shipped_configs(), 1)
        raise ConfigError(
            f"there is no campaign of this name and no readable file: {error}",
            where=source,
            fix=(f"Did you mean '{close[0]}'? " if close else "")
            + f"Shipped campaigns: {', '.join(shipped_configs())}.",
        ) from error
