"""The two kinds of typed records that are read from files and pass between stages.

In: fields from YAML, JSON or code. Out: an object that cannot change and has no field it should
not have. `Settings` are what a person may set; `Record` is everything else that is kept.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """What is written once and read back: it never changes, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(Record):
    """What a person may set. The text below each field describes it, in the schema too."""

    model_config = ConfigDict(use_attribute_docstrings=True)
