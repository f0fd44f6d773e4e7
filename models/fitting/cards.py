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
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("models.fitting", "."),
            keep_trailing_newline=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
        )
        rows = [(s.name, s.licence, f"{s.rows:,}") for s in self.sources]
        return environment.get_template("card.md.j2").render(card=self, sources=rows)
