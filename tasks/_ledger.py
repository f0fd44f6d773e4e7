"""The campaign's ledger: one database that knows every label, candidate, job and finished stage.

In: facts from stages, each change one transaction. Out: the story of a campaign, so that the same
command resumes after a kill and nothing is labelled or emitted twice. SQLite inside the campaign
directory by default; any SQLAlchemy URL (PostgreSQL) otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from structure.errors import CampaignError, Rejection
from tasks._handles import SCHEMA_VERSION
from tasks._sql import durable_sqlite, insert_ignore, ledger_url, refuse_unusable

Origin = Literal["dft-vasp", "dft-gpaw", "table", "ml"]

_METADATA = sa.MetaData()

_FACTS = sa.Table(
    "facts",
    _METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_STAGES = sa.Table(
    "stages",
    _METADATA,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Text, nullable=False),
)
_LABELS = sa.Table(
    "labels",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("formula", sa.Text, nullable=False, index=True),
    sa.Column("property", sa.Text, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("sigma", sa.Float),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("quality", sa.Text, nullable=False, default=""),
    sa.Column("iteration", sa.Integer, nullable=False),
    sa.Column("added_at", sa.Text, nullable=False),
    sa.UniqueConstraint("formula", "property", "origin", "source", name="one_label_a_question"),
)
_QUESTION = ("formula", "property", "origin", "source")
_CANDIDATES = sa.Table(
    "candidates",
    _METADATA,
    sa.Column("formula", sa.Text, primary_key=True),
    sa.Column("rank", sa.Integer),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False, default=""),
    sa.Column("sentence", sa.Text, nullable=False, default=""),
    sa.Column("story", sa.Text, nullable=False, default="{}"),
)
_JOBS = sa.Table(
    "jobs",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("formula", sa.Text, nullable=False, index=True),
    sa.Column("batch", sa.Text, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("recipe", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("code", sa.Integer),
    sa.Column("story", sa.Text, nullable=False, default="{}"),
    sa.Column("changed_at", sa.Text, nullable=False),
)
_MODELS = sa.Table(
    "models",
    _METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("trained_on", sa.Text, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
)


class Label(BaseModel):
    """One value of one property of one composition, with where it came from.

    Attributes
    ----------
    formula : str
        As `structure.composition.formulas_of` writes it.
    property : str
        With its unit, e.g. ``"band_gap_eV"``.
    value : float
    sigma : float or None
        Standard uncertainty, same unit.
    origin : {"dft-vasp", "dft-gpaw", "table", "ml"}
    source : str
        Model or recipe hash, or the name of a table.
    quality : str
        Codes that qualify the value; empty when there is nothing to say.
    iteration : int
        0 for initial labels and what the search has not asked for; otherwise the iteration in
        which the search learned it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    formula: str
    property: str
    value: float
    sigma: float | None = None
    origin: Origin
    source: str
    quality: str = ""
    iteration: int = 0


class Candidate(BaseModel):
    """One generated compound that reached the structure stage or beyond.

    Attributes
    ----------
    formula : str
    rank : int or None
        1 is best; None for a rejected one.
    status : {"selected", "reserve", "rejected"}
        Selected ones have job directories; reserve ones passed but were beyond the limit.
    code, sentence : str
        Why it was rejected; empty otherwise.
    story : dict
        Predictions, template, distance, model hashes: what `agd why` prints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    formula: str
    rank: int | None = None
    status: Literal["selected", "reserve", "rejected"]
    code: str = ""
    sentence: str = ""
    story: dict[str, Any] = {}

    @classmethod
    def rejected(cls, formula: str, why: Rejection, story: dict[str, Any]) -> Candidate:
        """Record a candidate that a stage turned down."""
        return cls(
            formula=formula, status="rejected", code=why.code, sentence=why.sentence, story=story
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Ledger:
    """Read and change a campaign's ledger.

    Parameters
    ----------
    url : str
        SQLAlchemy URL; see `Ledger.in_folder` for the SQLite default.

    Raises
    ------
    CampaignError
        If the database was made by another version of the product.
    """

    def __init__(self, url: str):
        try:
            patience = {"timeout": 60} if url.startswith("sqlite") else {}
            self._engine = sa.create_engine(url, connect_args=patience)
            if patience:
                sa.event.listen(self._engine, "connect", durable_sqlite)
            sa.event.listen(self._engine, "handle_error", refuse_unusable)
            _METADATA.create_all(self._engine)
        except sa.exc.SQLAlchemyError as error:
            raise CampaignError(
                f"the ledger cannot be opened: {getattr(error, 'orig', None) or error}",
                where=url.split("@")[-1],
                fix="Check the path or the database URL; `agd doctor` tests it.",
            ) from error
        with self._engine.begin() as connection:
            insert_ignore(connection, _FACTS, [{"name": "schema", "value": str(SCHEMA_VERSION)}])
        found = self.fact("schema")
        if found != str(SCHEMA_VERSION):
            raise CampaignError(
                f"the ledger has schema version {found}, this release uses {SCHEMA_VERSION}",
                where=url.split("@")[-1],
                fix="Use the release that made the campaign, or start a new campaign directory.",
            )

    @classmethod
    def in_folder(cls, root: Path) -> Ledger:
        """Open the ledger of a campaign directory: ``ledger.sqlite`` in it, or the one it names."""
        root.mkdir(parents=True, exist_ok=True)
        return cls(ledger_url(root))

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    def fact(self, name: str) -> str | None:
        """Return a named fact (seed, versions, data hashes), or None."""
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(_FACTS.c.value).where(_FACTS.c.name == name))

    def set_fact(self, name: str, value: str) -> None:
        """Set or change a named fact."""
        with self._engine.begin() as connection:
            changed = connection.execute(
                sa.update(_FACTS).where(_FACTS.c.name == name).values(value=value)
            )
            if not changed.rowcount:
                connection.execute(sa.insert(_FACTS).values(name=name, value=value))

    def finished(self, stage: str, part: str) -> str | None:
        """Return the output of a finished stage part as JSON, or None if it has not finished."""
        query = sa.select(_STAGES.c.output).where(_STAGES.c.stage == stage, _STAGES.c.part == part)
        with self._engine.connect() as connection:
            return connection.scalar(query)

    def finish(self, stage: str, part: str, output: str, seconds: float) -> None:
        """Record the output of a stage part; a second record of it changes nothing."""
        row = {
            "stage": stage,
            "part": part,
            "output": output,
            "seconds": seconds,
            "finished_at": _now(),
        }
        with self._engine.begin() as connection:
            insert_ignore(connection, _STAGES, [row])

    def forget(self, stage: str) -> None:
        """Drop the record that a stage has finished, so that it is done again."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_STAGES).where(_STAGES.c.stage == stage))

    def stages(self) -> list[dict[str, Any]]:
        """Return the finished stage parts in the order in which they finished."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(_STAGES).order_by(_STAGES.c.finished_at, _STAGES.c.stage, _STAGES.c.part)
            )
            return [dict(r._mapping) for r in rows]

    def add_labels(self, labels: Iterable[Label]) -> int:
        """Add labels that are not known yet, in one transaction; return how many were new.

        A label that collect had added before the search knew of it learns its iteration.
        """
        rows = [{**label.model_dump(), "added_at": _now()} for label in labels]
        with self._engine.begin() as connection:
            new = insert_ignore(connection, _LABELS, rows)
            for row in rows if new < len(rows) else ():
                same = [_LABELS.c[name] == row[name] for name in _QUESTION]
                connection.execute(
                    sa.update(_LABELS)
                    .where(*same, _LABELS.c.iteration == 0)
                    .values(iteration=row["iteration"])
                )
        return new

    def labels(self, property: str, formula: str | None = None) -> list[Label]:
        """Return labels of one property in the order in which they were added."""
        query = sa.select(_LABELS).where(_LABELS.c.property == property).order_by(_LABELS.c.id)
        if formula is not None:
            query = query.where(_LABELS.c.formula == formula)
        fields = Label.model_fields
        with self._engine.connect() as connection:
            return [
                Label(**{k: v for k, v in r._mapping.items() if k in fields})
                for r in connection.execute(query)
            ]

    def replace_candidates(self, candidates: Sequence[Candidate]) -> None:
        """Set the campaign's candidates in one transaction."""
        rows = [
            {**c.model_dump(exclude={"story"}), "story": json.dumps(c.story, sort_keys=True)}
            for c in candidates
        ]
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_CANDIDATES))
            if rows:
                connection.execute(sa.insert(_CANDIDATES), rows)

    def candidates(self, status: str | None = None) -> list[Candidate]:
        """Return candidates by rank, rejected ones last and by formula."""
        query = sa.select(_CANDIDATES).order_by(
            _CANDIDATES.c.rank.is_(None), _CANDIDATES.c.rank, _CANDIDATES.c.formula
        )
        if status is not None:
            query = query.where(_CANDIDATES.c.status == status)
        with self._engine.connect() as connection:
            return [
                Candidate(**{**r._mapping, "story": json.loads(r._mapping["story"])})
                for r in connection.execute(query)
            ]

    def candidate(self, formula: str) -> Candidate | None:
        """Return one candidate by formula, or None."""
        query = sa.select(_CANDIDATES).where(_CANDIDATES.c.formula == formula)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Candidate(**{**row._mapping, "story": json.loads(row._mapping["story"])})

    def add_job(
        self,
        id: str,
        *,
        formula: str,
        batch: str,
        folder: str,
        recipe: str,
        story: dict[str, Any],
        state: str = "EMITTED",
    ) -> bool:
        """Record an emitted DFT job; False if its id is already known."""
        given = {"id": id, "formula": formula, "batch": batch, "folder": folder, "recipe": recipe}
        return self.add_jobs([{**given, "state": state, "story": story}]) == 1

    def add_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> int:
        """Record emitted DFT jobs in one transaction; return how many were not known.

        Parameters
        ----------
        jobs : iterable of mapping
            Each with what `add_job` is given.
        """
        usual = {"state": "EMITTED", "changed_at": _now()}
        rows = [{**usual, **job, "story": json.dumps(job["story"], sort_keys=True)} for job in jobs]
        with self._engine.begin() as connection:
            return insert_ignore(connection, _JOBS, rows)

    def set_job_state(
        self,
        id: str,
        state: str,
        code: int | None = None,
        labels: Sequence[Label] = (),
        story: dict[str, Any] | None = None,
    ) -> None:
        """Move a job to another state and add the labels it earned, in one transaction."""
        values: dict[str, Any] = {"state": state, "code": code, "changed_at": _now()}
        if story is not None:
            values["story"] = json.dumps(story, sort_keys=True)
        with self._engine.begin() as connection:
            connection.execute(sa.update(_JOBS).where(_JOBS.c.id == id).values(**values))
            rows = [{**label.model_dump(), "added_at": _now()} for label in labels]
            insert_ignore(connection, _LABELS, rows)

    def jobs(self, state: str | None = None) -> list[dict[str, Any]]:
        """Return jobs by batch and id, each with its story decoded."""
        query = sa.select(_JOBS).order_by(_JOBS.c.batch, _JOBS.c.id)
        if state is not None:
            query = query.where(_JOBS.c.state == state)
        with self._engine.connect() as connection:
            return [
                {**r._mapping, "story": json.loads(r._mapping["story"])}
                for r in connection.execute(query)
            ]

    def add_model(self, name: str, sha256: str, trained_on: str, metrics: dict[str, Any]) -> None:
        """Record a model the campaign used."""
        row = {
            "name": name,
            "sha256": sha256,
            "trained_on": trained_on,
            "metrics": json.dumps(metrics, sort_keys=True),
        }
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_MODELS).where(_MODELS.c.name == name))
            connection.execute(sa.insert(_MODELS).values(**row))

    def models(self) -> list[dict[str, Any]]:
        """Return the models the campaign used, by name."""
        with self._engine.connect() as connection:
            return [
                {**r._mapping, "metrics": json.loads(r._mapping["metrics"])}
                for r in connection.execute(sa.select(_MODELS).order_by(_MODELS.c.name))
            ]
