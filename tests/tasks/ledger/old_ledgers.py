"""Ledgers as earlier releases made them, written by their own statements."""

from __future__ import annotations

import sqlalchemy as sa

from tasks.ledger.database import Place, engine_for

VERSION_1 = (
    "create table facts (name text not null primary key, value text not null)",
    "create table stages (stage text not null, part text not null, output text not null, "
    "seconds float not null, finished_at text not null, primary key (stage, part))",
    "create table labels (id {serial} primary key, formula text not null, property text not null, "
    "value float not null, sigma float, origin text not null, source text not null, "
    "quality text not null, iteration integer not null, added_at text not null, "
    "constraint one_label_a_question unique (formula, property, origin, source))",
    "create index ix_labels_formula on labels (formula)",
    "create table candidates (formula text not null primary key, rank integer, "
    "status text not null, code text not null, sentence text not null, story text not null)",
    "create table jobs (id text not null primary key, formula text not null, batch text not null, "
    "folder text not null, recipe text not null, state text not null, code integer, "
    "story text not null, changed_at text not null)",
    "create index ix_jobs_formula on jobs (formula)",
    "create table models (name text not null primary key, sha256 text not null, "
    "trained_on text not null, metrics text not null)",
    "insert into facts values ('schema', '1'), ('seed', '7')",
    "insert into labels (formula, property, value, origin, source, quality, iteration, added_at) "
    "values ('NaCl', 'band_gap_eV', 5.0, 'table', 't', '', 0, '2026-01-01T00:00:00+00:00')",
    "insert into candidates values ('KCl', 1, 'selected', '', '', '{{}}')",
    "insert into jobs values ('KCl--1', 'KCl', 'batch-0001', 'handoff/batch-0001/KCl--1', 'r', "
    "'EMITTED', null, '{{}}', '2026-01-01T00:00:00+00:00')",
    "insert into stages values ('ingest', 'all', '{{}}', 1.5, '2026-01-01T00:00:00.000000+00:00')",
)


def make_version_1(place: Place) -> None:
    """Write a ledger of version 1 with a row or two."""
    engine = engine_for(place)
    on_server = place.file is None
    serial = "serial" if on_server else "integer not null"
    with engine.begin() as connection:
        if on_server and place.schema:
            connection.execute(sa.text(f"create schema {place.schema}"))
            connection.execute(sa.text(f"set local search_path to {place.schema}"))
        for statement in VERSION_1:
            connection.exec_driver_sql(statement.format(serial=serial))
    engine.dispose()
