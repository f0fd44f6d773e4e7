"""Model cards: what a person should know before using shipped weights; serves the train stage.

In: facts and metrics of one trained model. Out: the Markdown text of its ``CARD.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DataSource:
    """One data set that weights were fitted on.

    Attributes
    ----------
    name : str
        E.g. ``"Materials Project, all formulas (2024)"``.
    licence : str
    rows : int
        Rows in the file.
    """

    name: str
    licence: str
    rows: int


@dataclass(frozen=True)
class ModelCard:
    """The parts of a model card, in the order in which they are read.

    Attributes
    ----------
    title, purpose : str
    sources : sequence of DataSource
    data_note : str
        How rows became training compositions, with counts.
    data_sha256 : str
    method : str
        Network and fit, with the paper it follows and where it departs from it.
    tables : mapping of str to (header, rows)
        Caption of each table of metrics, its column names and its rows.
    limits : sequence of str
    command : str
        What trains it again.
    """

    title: str
    purpose: str
    sources: Sequence[DataSource]
    data_note: str
    data_sha256: str
    method: str
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]]
    limits: Sequence[str]
    command: str

    def text(self) -> str:
        """Return the card as Markdown."""
        data = markdown_table(
            ("data set", "licence", "rows"),
            [(s.name, s.licence, f"{s.rows:,}") for s in self.sources],
        )
        parts = [f"# {self.title}", self.purpose, "## Data"]
        if self.sources:
            parts.append(data)
        parts += [self.data_note, f"SHA-256 of the training compositions: `{self.data_sha256}`."]
        parts += ["## Method", self.method, "## Results"]
        for caption, (header, rows) in self.tables.items():
            parts += [caption, markdown_table(header, rows)]
        parts += ["## Limits", "\n".join(f"- {line}" for line in self.limits)]
        parts += ["## Train it again", f"```\n{self.command}\n```"]
        return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
