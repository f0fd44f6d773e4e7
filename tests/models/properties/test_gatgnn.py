from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from models.fitting.checkpoints import ModelConfig, arrays_of, save_model_folder
from models.fitting.loop import seeded
from models.pretrained import shipped
from models.properties.atom_features import N_FEATURES, atom_features
from models.properties.gatgnn import EnergySet, FormationEnergyModel, GatgnnConfig, fit_gatgnn
from models.properties.gatgnn_network import Gatgnn
from structure.composition import counts_from, reduce
from structure.crystals.graphs import GraphTable, crystal_graph
from structure.errors import ModelError

SHIPPED = shipped("gatgnn")


def rock_salt(a: str, b: str, length: float) -> Structure:
    half = length / 2  # written out: pymatgen takes a second for the operations of Fm-3m
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]])


def perovskite() -> Structure:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(3.905), ["Sr", "Ti", "O", "O", "O"], places)


@pytest.fixture(scope="module")
def untrained() -> FormationEnergyModel:
    with seeded(1):
        network = Gatgnn()
        for layer in network.norms:  # as after training: not the identity
            layer.running_mean.normal_(0.5, 0.1)
            layer.running_var.uniform_(0.5, 2.0)
    return FormationEnergyModel(network, "test scheme", {"epochs": 0}, {})


def test_the_network_is_as_large_as_the_published_one() -> None:
    assert sum(p.numel() for p in Gatgnn().parameters()) == 122_874


def test_no_two_elements_look_alike() -> None:
    features = atom_features()
    assert features.shape == (103, N_FEATURES)
    assert len(np.unique(features[:97], axis=0)) == 97
    assert np.isfinite(features).all()


def test_the_energy_does_not_depend_on_order_origin_or_size_of_the_cell(
    untrained: FormationEnergyModel,
) -> None:
    structure = perovskite()
    shuffled = Structure.from_sites([structure[i] for i in (3, 0, 4, 1, 2)])
    moved = structure.copy().translate_sites(range(5), [0.1, 0.2, 0.3])
    doubled = structure.copy().make_supercell([2, 1, 1])
    energies = untrained.predict([structure, shuffled, moved, doubled])
    assert energies == pytest.approx(energies[0], abs=2e-5)


def test_the_energy_depends_on_elements_and_distances(untrained: FormationEnergyModel) -> None:
    energies = untrained.predict(
        [rock_salt("Na", "Cl", 5.6), rock_salt("Na", "Cl", 6.6), rock_salt("K", "Cl", 5.6)]
    )
    gaps = np.abs(energies[:, None] - energies)[np.triu_indices(3, 1)]
    assert gaps.min() > 1e-6


def test_a_crystal_is_judged_alike_alone_and_in_company(untrained: FormationEnergyModel) -> None:
    crystals = [rock_salt("Mg", "O", 4.21), perovskite(), rock_salt("Na", "Cl", 5.64)]
    together = untrained.predict(crystals)
    assert together == pytest.approx([untrained.predict([s])[0] for s in crystals], abs=1e-5)
    assert untrained.predict([]).shape == (0,)


def test_an_atom_with_few_neighbours_or_none_has_a_finite_energy(
    untrained: FormationEnergyModel,
) -> None:
    lonely = [Structure(Lattice.cubic(a), ["He"], [[0, 0, 0]]) for a in (7.9, 30.0)]
    assert np.isfinite(untrained.predict(lonely)).all()


def test_saved_weights_give_the_same_energies_and_keep_their_scheme(
    untrained: FormationEnergyModel, tmp_path: Path
) -> None:
    data = energies_of([rock_salt("Na", "Cl", 5.64)])
    untrained.save(tmp_path, trained_on="t", data=data, seed=1, card="card")
    loaded = FormationEnergyModel.load(tmp_path)
    assert loaded.energy_scheme == "test scheme"
    crystals = [perovskite(), rock_salt("Mg", "O", 4.21)]
    assert np.array_equal(loaded.predict(crystals), untrained.predict(crystals))


def test_weights_that_name_no_energy_scheme_are_refused(tmp_path: Path) -> None:
    config = ModelConfig(
        kind="gatgnn",
        settings={},
        elements=("H",),
        trained_on="t",
        data_sha256="",
        seed=0,
        metrics={},
    )
    save_model_folder(tmp_path, arrays_of(Gatgnn().state_dict()), config, "card")
    with pytest.raises(ModelError, match="energy scheme"):
        FormationEnergyModel.load(tmp_path)


def energies_of(crystals: list[Structure]) -> EnergySet:
    """Structures with invented energies: fluorides and oxides lie 2 eV/atom below the others."""
    amounts = [{str(e): int(n) for e, n in s.composition.items()} for s in crystals]
    energies = [-3.0 if {"F", "O"} & set(a) else -1.0 for a in amounts]
    table = GraphTable.pack([crystal_graph(s) for s in crystals])
    return EnergySet(table, np.array(energies), reduce(counts_from(amounts)))


CRYSTALS = [
    rock_salt(a, b, length)
    for a in ("Li", "Na", "K", "Mg", "Ca", "Sr", "Zn", "Ti")
    for b, length in (("F", 4.6), ("Cl", 5.5), ("O", 4.4), ("S", 5.4))
]


def test_training_lowers_the_error_and_repeats_itself_exactly(tmp_path: Path) -> None:
    data = energies_of(CRYSTALS)
    config = GatgnnConfig(epochs=30, batch=8, validation_share=0.1, test_share=0.1)
    states = []
    for name in ("one", "two"):
        network, train, test = fit_gatgnn(data, config, 0, tmp_path / name, "fingerprint")
        states.append(network.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    model = FormationEnergyModel(network, "s", {}, {})
    error = np.abs(model.predict_graphs(train.graphs) - train.energies).mean()
    assert error < 0.3 * np.abs(train.energies - train.energies.mean()).mean()
    together = {tuple(row) for row in train.counts} & {tuple(row) for row in test.counts}
    assert not together


@pytest.mark.parametrize(
    ("crystal", "known"),
    [
        (rock_salt("Na", "Cl", 5.69), -2.10),
        (rock_salt("Mg", "O", 4.25), -3.04),
        (perovskite(), -3.55),
    ],
    ids=["NaCl", "MgO", "SrTiO3"],
)
def test_shipped_weights_give_known_formation_energies(crystal: Structure, known: float) -> None:
    # Materials Project values, eV/atom; a load that succeeds proves nothing.
    assert FormationEnergyModel.load(SHIPPED).predict([crystal])[0] == pytest.approx(known, abs=0.2)


def test_shipped_weights_do_not_bind_a_metal_to_another_without_reason() -> None:
    alloy = rock_salt("Na", "K", 6.6)
    salt = rock_salt("Na", "F", 4.63)
    energies = FormationEnergyModel.load(SHIPPED).predict([alloy, salt])
    assert energies[0] > energies[1] + 1.5
