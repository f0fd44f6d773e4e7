"""Records and settings never change, know their own keys only, and settings describe themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

from structure.records import Record, Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("structure", "models", "dft_inputs", "tasks", "flows")


class Oven(Settings):
    temperature_K: float = 300.0
    """How hot it is."""


class Reading(Record):
    value: float = 1.0


@pytest.mark.parametrize("kind", [Oven, Reading])
def test_an_unknown_key_is_an_error_and_nothing_changes_afterwards(kind):
    with pytest.raises(ValidationError, match="colour"):
        kind.model_validate({"colour": "red"})
    one = kind()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(one, next(iter(kind.model_fields)), 2.0)


def test_the_text_below_a_setting_is_its_description_in_the_schema():
    properties = Oven.model_json_schema()["properties"]
    assert properties["temperature_K"]["description"] == "How hot it is."


def test_every_typed_record_of_the_product_is_one_of_the_two():
    direct = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) in ("BaseModel", "pydantic.BaseModel") for base in node.bases)
    ]
    assert direct == ["structure/records.py: Record"]
