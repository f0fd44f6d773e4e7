from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dft_inputs
from dft_inputs.gpaw.jobs import GPAW_ELEMENTS
from dft_inputs.recipes.shipped import GPAW
from dft_inputs.references.reference_phases import formation_energy
from structure.composition import counts_of, formulas_of
from structure.errors import Rejection
from structure.templates.library import TemplateLibrary

SET = Path(dft_inputs.__file__).parent / "data" / "gpaw_set.jsonl"
LARGEST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [json.loads(line) for line in SET.read_text().splitlines()]


def test_the_set_is_small_and_holds_every_question_once(rows):
    assert SET.stat().st_size < LARGEST_BYTES
    ids = [row["material_id"] for row in rows]
    assert len(ids) == len(set(ids)) > 0


def test_every_line_was_made_by_the_shipped_recipe(rows):
    assert {row["recipe_hash"] for row in rows} == {GPAW.hash}
    assert {row["origin"] for row in rows} == {"dft-gpaw"}
    assert len({row["energy_scheme"] for row in rows}) == 1


def test_formation_energies_follow_from_the_elements_in_the_same_file(rows):
    energies = {
        row["species"][0]: row["energy_eV"] / len(row["species"])
        for row in rows
        if row["role"] == "reference"
    }
    for row in rows:
        cell = {symbol: row["species"].count(symbol) for symbol in row["species"]}
        expected = formation_energy(row["energy_eV"], cell, energies)
        if isinstance(expected, Rejection):
            assert row["formation_energy_eV_per_atom"] is None
        else:
            assert row["formation_energy_eV_per_atom"] == pytest.approx(expected, abs=2e-4)


def test_the_gap_is_the_smallest_that_mesh_and_path_show(rows):
    for row in rows:
        if row["role"] == "reference":
            assert row["band_gap_eV"] is None
            continue
        assert 0 <= row["band_gap_eV"] <= row["direct_gap_eV"] + 1e-4
        seen = [row["gap_on_mesh_eV"], row["gap_on_path_eV"]]
        assert row["band_gap_eV"] <= min(g for g in seen if g is not None) + 1e-4


def test_the_set_holds_metals_and_wide_gaps(rows):
    gaps = np.array([row["band_gap_eV"] for row in rows if row["band_gap_eV"] is not None])
    assert (gaps == 0).any()
    assert (gaps > 6).any()


def test_formulas_are_written_as_everywhere_else_or_at_least_parse_to_the_cell(rows):
    for row in rows:
        cell = {symbol: row["species"].count(symbol) for symbol in row["species"]}
        assert set(cell) <= GPAW_ELEMENTS
        written = counts_of(row["formula"])
        calculated = counts_of("".join(f"{e}{n}" for e, n in cell.items()))
        assert formulas_of(written[None]) == formulas_of(calculated[None])


def test_every_structure_serves_as_a_template(rows):
    library = TemplateLibrary.from_jsonl([SET])
    assert len(library) == len(rows)
    assert np.isfinite(library.formation_energies).any()
