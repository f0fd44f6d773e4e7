"""The campaign's ledger: one database that knows every label, candidate, job and finished stage.

In: facts from stages, each change one transaction. Out: the story of a campaign, so that the same
command resumes after a kill and nothing is labelled or emitted twice. Where it lies is told by
`tasks.ledger.database`, whose it is by `tasks.ledger.claim`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field, StringConstraints

from structure.errors import Rejection
from structure.records import Record
from tasks.ledger.claim import Hold, check_owner, claim
from tasks.ledger.database import Place, engine_for, parsed, place_of
from tasks.ledger.making import has_begun, lost, make_tables, refuse_lost, schema_version
from tasks.ledger.migrations import copy_in_memory, latest, migrate
from tasks.ledger.sql_tables import (
    CANDIDATES,
    FACTS,
    JOBS,
    LABELS,
    MODELS,
    QUESTION,
    STAGES,
    insert_ignore,
    now,
)

Origin = Annotated[str, StringConstraints(pattern=r"^(table|ml|(dft|mlp)-[a-z][a-z0-9-]{0,30})$")]
"""Who made a value: a user's ``table``, the shipped oracle ``ml``, a DFT code ``dft-<code>``, or a
machine-learned potential ``mlp-<program>`` that stood in for one. Origins are never mixed."""


class Label(Record):
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
    origin : str
        See `Origin`.
    source : str
        Model or recipe hash, or the name of a table.
    quality : str
        Codes that qualify the value; empty when there is nothing to say.
    iteration : int
        0 for initial labels and what the search has not asked for; otherwise the iteration in
        which the search learned it.
    """

    formula: str
    property: str
    value: float
    sigma: float | None = None
    origin: Origin
    source: str
    quality: str = ""
    iteration: int = 0


class Candidate(Record):
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

    formula: str
    rank: int | None = None
    status: Literal["selected", "reserve", "rejected"]
    code: str = ""
    sentence: str = ""
    story: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def rejected(cls, formula: str, why: Rejection, story: dict[str, Any]) -> Candidate:
        """Record a candidate that a stage turned down."""
        return cls(
            formula=formula, status="rejected", code=why.code, sentence=why.sentence, story=story
        )


class Ledger:
    """Read and change a campaign's ledger.

    Parameters
    ----------
    place : Place or str
        Where it lies, or an SQLAlchemy URL; see `Ledger.in_folder` for the usual one.
    make : bool
        Make it where it is missing or was not made to its end.
    reading : bool
        Change nothing, not even beside the file; `read_ledger` is how to read.

    Attributes
    ----------
    place : Place
    engine : sqlalchemy.Engine
    home : sqlalchemy.Engine
        Of the place itself. `engine` is another one where a ledger of an earlier release is read:
        that of a copy in memory, brought up to date.

    Raises
    ------
    CampaignError
        If it cannot be opened, is lost, or was made by a later release. One of an earlier release
        is brought up to date.
    ConfigError
        If the URL cannot be used.
    """

    def __init__(self, place: Place | str, *, make: bool = True, reading: bool = False):
        self.place = Place(parsed(place)) if isinstance(place, str) else place
        self._hold: Hold | None = None
        if not make:
            refuse_lost(self.place)
        self.engine = self.home = engine_for(self.place, reading)
        try:
            found = schema_version(self.engine, self.place)
            if found is None and make:
                make_tables(self.engine, self.place)
            elif found is None:
                raise lost(self.place)
            elif found < latest() and reading:
                self.engine = copy_in_memory(self.home, self.place)
            elif found < latest():
                migrate(self.engine, self.place)
        except BaseException:
            self.close()
            raise

    @classmethod
    def in_folder(cls, root: Path, anew: bool = False) -> Ledger:
        """Open the ledger of a campaign directory: ``ledger.sqlite`` in it, or the one it names.

        It is made where nothing of the campaign has been made yet, and with `anew`. Otherwise a
        missing or empty ledger is a lost one, and an error.
        """
        root.mkdir(parents=True, exist_ok=True)
        place = place_of(root)
        ledger = cls(place, make=anew or not has_begun(root))
        try:
            if not place.inside:
                check_owner(root, ledger)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def claim(self, root: Path) -> None:
        """Make this the ledger of a campaign directory, and its run the only one, until `close`."""
        self._hold = claim(root, self)

    def close(self) -> None:
        """Give back the hold and the connections."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None
        self.engine.dispose()
        self.home.dispose()

    @contextmanager
    def _change(self) -> Iterator[sa.Connection]:
        """Give a transaction, if this run may still write."""
        if self._hold is not None:
            self._hold.keep()
        with self.engine.begin() as connection:
            yield connection

    def fact(self, name: str) -> str | None:
        """Return a named fact (seed, versions, data hashes), or None."""
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(FACTS.c.value).where(FACTS.c.name == name))

    def set_fact(self, name: str, value: str) -> None:
        """Set or change a named fact."""
        with self._change() as connection:
            changed = connection.execute(
                sa.update(FACTS).where(FACTS.c.name == name).values(value=value)
            )
            if not changed.rowcount:
                connection.execute(sa.insert(FACTS).values(name=name, value=value))

    def finished(self, stage: str, part: str) -> str | None:
        """Return the output of a finished stage part as JSON, or None if it has not finished."""
        query = sa.select(STAGES.c.output).where(STAGES.c.stage == stage, STAGES.c.part == part)
        with self.engine.connect() as connection:
            return connection.scalar(query)

    def finish(self, stage: str, part: str, output: str, seconds: float) -> None:
        """Record the output of a stage part; a second record of it changes nothing."""
        row = {
            "stage": stage,
            "part": part,
            "output": output,
            "seconds": seconds,
            "finished_at": now(exactly=True),
        }
        with self._change() as connection:
            insert_ignore(connection, STAGES, [row])

    def forget(self, stage: str) -> None:
        """Drop the record that a stage has finished, so that it is done again."""
        with self._change() as connection:
            connection.execute(sa.delete(STAGES).where(STAGES.c.stage == stage))

    def stages(self) -> list[dict[str, Any]]:
        """Return the finished stage parts in the order in which they finished."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(STAGES).order_by(STAGES.c.finished_at, STAGES.c.stage, STAGES.c.part)
            )
            return [dict(r._mapping) for r in rows]

    def add_labels(self, labels: Iterable[Label]) -> int:
        """Add labels that are not known yet, in one transaction; return how many were new.

        A label that collect had added before the search knew of it learns its iteration.
        """
        rows = [{**label.model_dump(), "added_at": now()} for label in labels]
        with self._change() as connection:
            new = insert_ignore(connection, LABELS, rows)
            for row in rows if new < len(rows) else ():
                same = [LABELS.c[name] == row[name] for name in QUESTION]
                connection.execute(
                    sa.update(LABELS)
                    .where(*same, LABELS.c.iteration == 0)
                    .values(iteration=row["iteration"])
                )
        return new

    def labels(self, property: str, formula: str | None = None) -> list[Label]:
        """Return labels of one property in the order in which they were added."""
        query = sa.select(LABELS).where(LABELS.c.property == property).order_by(LABELS.c.id)
        if formula is not None:
            query = query.where(LABELS.c.formula == formula)
        fields = Label.model_fields
        with self.engine.connect() as connection:
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
        with self._change() as connection:
            connection.execute(sa.delete(CANDIDATES))
            if rows:
                connection.execute(sa.insert(CANDIDATES), rows)

    def candidates(self, status: str | None = None) -> list[Candidate]:
        """Return candidates by rank, rejected ones last and by formula."""
        query = sa.select(CANDIDATES).order_by(
            CANDIDATES.c.rank.is_(None), CANDIDATES.c.rank, CANDIDATES.c.formula
        )
        if status is not None:
            query = query.where(CANDIDATES.c.status == status)
        with self.engine.connect() as connection:
            return [
                Candidate(**{**r._mapping, "story": json.loads(r._mapping["story"])})
                for r in connection.execute(query)
            ]

    def candidate(self, formula: str) -> Candidate | None:
        """Return one candidate by formula, or None."""
        query = sa.select(CANDIDATES).where(CANDIDATES.c.formula == formula)
        with self.engine.connect() as connection:
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
        usual = {"state": "EMITTED", "changed_at": now()}
        rows = [{**usual, **job, "story": json.dumps(job["story"], sort_keys=True)} for job in jobs]
        with self._change() as connection:
            return insert_ignore(connection, JOBS, rows)

    def set_job_state(
        self,
        id: str,
        state: str,
        code: int | None = None,
        labels: Sequence[Label] = (),
        story: dict[str, Any] | None = None,
    ) -> None:
        """Move a job to another state and add the labels it earned, in one transaction."""
        values: dict[str, Any] = {"state": state, "code": code, "changed_at": now()}
        if story is not None:
            values["story"] = json.dumps(story, sort_keys=True)
        with self._change() as connection:
            connection.execute(sa.update(JOBS).where(JOBS.c.id == id).values(**values))
            rows = [{**label.model_dump(), "added_at": now()} for label in labels]
            insert_ignore(connection, LABELS, rows)

    def jobs(self, state: str | None = None, formula: str | None = None) -> list[dict[str, Any]]:
        """Return jobs by batch and id, each with its story decoded."""
        query = sa.select(JOBS).order_by(JOBS.c.batch, JOBS.c.id)
        if state is not None:
            query = query.where(JOBS.c.state == state)
        if formula is not None:
            query = query.where(JOBS.c.formula == formula)
        with self.engine.connect() as connection:
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
        with self._change() as connection:
            connection.execute(sa.delete(MODELS).where(MODELS.c.name == name))
            connection.execute(sa.insert(MODELS).values(**row))

    def models(self) -> list[dict[str, Any]]:
        """Return the models the campaign used, by name."""
        with self.engine.connect() as connection:
            return [
                {**r._mapping, "metrics": json.loads(r._mapping["metrics"])}
                for r in connection.execute(sa.select(MODELS).order_by(MODELS.c.name))
            ]
