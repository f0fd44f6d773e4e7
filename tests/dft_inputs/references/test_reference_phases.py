from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius

from dft_inputs.recipes.shipped import GPAW, PAPER
from dft_inputs.references.prototypes import PROTOTYPES, build
from dft_inputs.references.reference_phases import (
    REFERENCES,
    competing_phases,
    formation_energy,
    reference_job,
    reference_jobs,
    reference_structure,
    unreferenced,
)
from structure.composition import formulas_of
from structure.errors import CalculationError, ConfigError, Rejection
from structure.templates.library import TemplateLibrary


def closest_over_radii(structure) -> float:
    radii = np.array([CovalentRadius.radius[site.specie.symbol] for site in structure])
    one, two, _, distances = structure.get_neighbor_list(r=7.0)
    return float(np.min(distances / (radii[one] + radii[two])))


def test_formation_energy_follows_equation_4():
    energies = {"Ca": -2.0, "F": -1.5}
    assert formation_energy(-17.0, {"Ca": 1, "F": 2}, energies) == pytest.approx(-4.0)


@given(
    st.dictionaries(st.sampled_from(sorted(REFERENCES)), st.integers(1, 20), min_size=1),
    st.integers(1, 5),
    st.floats(-500, 500),
)
def test_formation_energy_per_atom_does_not_depend_on_the_cell_chosen(cell, times, energy):
    elements = {symbol: -float(i) for i, symbol in enumerate(cell)}
    larger = {symbol: n * times for symbol, n in cell.items()}
    one = formation_energy(energy, cell, elements)
    assert formation_energy(energy * times, larger, elements) == pytest.approx(one, abs=1e-9)


def test_a_missing_reference_leaves_the_label_open_and_says_which():
    outcome = formation_energy(-17.0, {"Ca": 1, "F": 2}, {"Ca": -2.0})
    assert isinstance(outcome, Rejection)
    assert outcome.code == "410"
    assert "F" in outcome.sentence


def test_an_empty_cell_has_no_formation_energy():
    with pytest.raises(CalculationError):
        formation_energy(0.0, {}, {})


@pytest.mark.parametrize("element", sorted(REFERENCES))
def test_reference_cells_hold_one_element_with_bonds_of_sensible_length(element):
    structure = reference_structure(element)
    assert {site.specie.symbol for site in structure} == {element}
    moments = REFERENCES[element].moments
    assert moments is None or len(moments) == len(structure)
    if element not in ("He", "Ne", "Ar", "Kr", "Xe"):
        assert 0.7 < closest_over_radii(structure) < 1.35


def test_an_element_without_a_reference_state_is_named():
    assert unreferenced(["Ca", "Np", "Pu"]) == ["Np", "Pu"]
    outcome = reference_job("Np", PAPER)
    assert isinstance(outcome, Rejection)
    assert outcome.code == "410"


def test_the_same_reference_has_the_same_id_in_every_batch():
    first = reference_jobs(["F", "Ca"], PAPER)
    second = reference_jobs(["Ca", "Cl", "F", "F"], PAPER)
    assert [job.ticket.formula for job in first] == ["Ca", "F"]
    assert {job.ticket.id for job in first} < {job.ticket.id for job in second}
    assert all(job.ticket.role == "reference" for job in second)


def test_references_of_another_recipe_are_other_jobs():
    vasp, gpaw = (reference_jobs(["Ca"], recipe)[0].ticket.id for recipe in (PAPER, GPAW))
    assert vasp != gpaw


def test_competing_phases_are_the_known_ones_on_the_hull():
    structures = [
        ("stable", build("fluorite", ("Ca", "F"))),
        ("above", build("rutile", ("Ca", "F"))),
        ("unknown", build("cdi2", ("Ca", "F"))),
        ("other", build("rocksalt", ("Na", "F"))),
        ("decomposes", build("rocksalt", ("Ca", "F"))),
    ]
    energies = {"stable": -4.0, "above": -3.9, "other": -3.0, "decomposes": -1.0}
    library = TemplateLibrary.from_structures(structures, energies)
    chosen = competing_phases(["Ca", "F"], library)
    assert [library.ids[i] for i in chosen] == ["stable"]
    assert formulas_of(library.counts[chosen]) == ["CaF2"]


SPACE_GROUPS = {
    "rocksalt": 225,
    "zincblende": 216,
    "wurtzite": 186,
    "cscl": 221,
    "fluorite": 225,
    "rutile": 136,
    "anatase": 141,
    "perovskite": 221,
    "halfheusler": 216,
    "cdi2": 164,
    "cdcl2": 166,
    "mos2": 194,
    "delafossite": 166,
    "matlockite": 129,
    "chalcopyrite": 122,
    "k2nif4": 139,
    "caal2si2": 164,
    "thalliumiodide": 63,
    "k2ptcl6": 225,
    "cuprite": 224,
    "blackphosphorus": 64,
    "selenium": 152,
}


@pytest.mark.parametrize(("name", "number"), SPACE_GROUPS.items())
def test_prototypes_have_the_symmetry_of_their_mineral(name, number):
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    roles = 1 + max(role for role, _ in PROTOTYPES[name].sites)
    structure = build(name, ("Na", "Cl", "O", "S")[:roles])
    analyzer = SpacegroupAnalyzer(structure, symprec=0.01)
    assert analyzer.get_space_group_number() == number
    assert len(analyzer.find_primitive()) == len(structure)


def test_a_prototype_takes_the_volume_it_is_given():
    assert build("rocksalt", ("Na", "Cl"), volume_A3=22.0).volume == pytest.approx(44.0)


def test_a_prototype_refuses_a_wrong_number_of_elements():
    with pytest.raises(ConfigError, match="3 roles"):
        build("perovskite", ("Ca", "O"))
    with pytest.raises(ConfigError, match="no prototype"):
        build("unobtainite", ("Ca", "O"))
