"""Every setting in words: serves `agd config` and the settings page of the guide.

In: a `CampaignConfig`. Out: the YAML of all its settings with what each means, which reads back to
the same configuration; and one page with every setting there is and its default.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from flows.config import SHORTHANDS, CampaignConfig

_WIDTH = 100


def commented_yaml(config: CampaignConfig) -> str:
    """Return all settings of a campaign as YAML, each below a comment that describes it."""
    return "\n".join(_lines(config, 0)).strip() + "\n"


def short_yaml(config: CampaignConfig) -> str:
    """Return what a campaign sets otherwise than the defaults, as YAML."""
    own = config.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(own, sort_keys=False, allow_unicode=True)


def settings_page() -> str:
    """Return the page of the guide that lists every setting, as Markdown."""
    parts = [
        "# Settings",
        "Every setting of a campaign file, with its default and what it means. This page is made "
        "from the code by `python -m flows.settings_text > docs/guide/settings.md`. "
        "`agd config --full NAME` prints the same for one campaign, as a YAML file to start from.",
        *_sections(CampaignConfig, ""),
        *(part for name, model in SHORTHANDS.items() for part in _sections(model, f"{name}.")),
    ]
    return "\n\n".join(parts) + "\n"


def _lines(model: BaseModel, depth: int) -> Iterator[str]:
    """Yield the settings of one section; those of sections inside it are indented."""
    indent = "  " * depth
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if not depth:
            yield ""
        for line in textwrap.wrap(_plain(field.description or ""), _WIDTH - len(indent) - 2):
            yield f"{indent}# {line}"
        if _is_section(value):
            yield f"{indent}{name}:"
            yield from _lines(value, depth + 1)
        else:
            plain = model.model_dump(mode="json", include={name})
            text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=_WIDTH)
            yield from textwrap.indent(text, indent).splitlines()


def _is_section(value: Any) -> bool:
    """Whether a value is written as one mapping of its settings."""
    if not isinstance(value, BaseModel):
        return False
    dumped = value.model_dump(mode="json")
    return isinstance(dumped, dict) and list(dumped) == list(type(value).model_fields)


def _sections(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield one table for a section, then those of the sections inside it."""
    rows, inner = [], []
    for name, field in model.model_fields.items():
        kinds = _models(field.annotation)
        meaning = _cell(field.description or "")
        rows.append(f"| `{prefix}{name}` | {_default(field, bool(kinds))} | {meaning} |")
        listed = _is_list(field.annotation)
        inner += [(kind, f"{prefix}{name}{'[]' if listed else ''}.") for kind in kinds]
    heading = f"## `{prefix.removesuffix('.')}`{_tag(model)}" if prefix else "## At the top"
    first = _plain((model.__doc__ or "").split("\n\n")[0])
    yield "\n\n".join(
        part
        for part in (
            heading,
            first,
            "\n".join(["| setting | default | what it means |", "|---|---|---|", *rows]),
        )
        if part
    )
    for kind, place in inner:
        yield from _sections(kind, place)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a setting holds: itself, or the kinds of entries of a list."""
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _models(annotation.model_fields["root"].annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _models(part)]


def _tag(model: type[BaseModel]) -> str:
    """Say by which value an entry of a list is told to be of this kind."""
    fixed = [
        f"`{name}: {get_args(field.annotation)[0]}`"
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    ]
    return f" with {fixed[0]}" if fixed else ""


def _is_list(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        annotation = annotation.model_fields["root"].annotation
    return get_origin(annotation) in (tuple, list)


def _default(field: FieldInfo, section: bool) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if section and _is_section(value):
        return "see below"
    return f"`{_value(value)}`"


def _value(value: Any) -> str:
    """Return a default as one line of YAML."""
    plain = to_jsonable_python(value)
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10_000)
    return _cell(text.removesuffix("...\n").strip())


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(settings_page())
