from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from structure.composition import N_ELEMENTS, fractions_of, parse_formulas
from structure.elements import ELEMENTS
from structure.templates.emd import (
    MODIFIED_PETTIFOR,
    POSITION,
    EmdIndex,
    cumulative,
    distances,
    nearest,
    smallest,
)

PEERS_PYTHON = Path(__file__).parents[3] / ".venv-peers" / "bin" / "python"
COUNTS = arrays(
    np.int16,
    st.tuples(st.integers(1, 5), st.just(N_ELEMENTS)),
    elements=st.sampled_from([0] * 25 + [1, 2, 3, 7]),
).filter(lambda c: bool(c.any(axis=1).all()))


def counts_for(*formulas: str) -> np.ndarray:
    return parse_formulas(formulas).counts


def random_counts(n: int, seed: int, values: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    counts = np.zeros((n, N_ELEMENTS), dtype=np.int16)
    for row in counts:
        row[rng.choice(20, size=3, replace=False) * 5] = rng.integers(1, values + 1, size=3)
    return counts


def test_the_scale_holds_every_element_once() -> None:
    assert sorted(MODIFIED_PETTIFOR) == sorted(ELEMENTS)
    assert sorted(POSITION.tolist()) == list(range(103))
    assert (MODIFIED_PETTIFOR[0], MODIFIED_PETTIFOR[11], MODIFIED_PETTIFOR[102]) == (
        "He",
        "Li",
        "H",
    )


def test_one_step_of_one_atom_in_seven_is_a_seventh() -> None:
    assert distances(counts_for("SrYF5"), counts_for("BaYF5"))[0, 0] == pytest.approx(1 / 7)


@settings(deadline=None)
@given(COUNTS)
def test_the_distance_is_a_metric(counts: np.ndarray) -> None:
    d = distances(counts, counts)
    assert np.allclose(np.diag(d), 0)
    assert np.allclose(d, d.T)
    assert (d[:, :, None] <= d[:, None, :] + d.T[None] + 1e-9).all()


@settings(deadline=None, max_examples=25)
@given(COUNTS)
def test_the_distance_is_the_cost_of_the_cheapest_transport(counts: np.ndarray) -> None:
    from scipy.stats import wasserstein_distance

    places, fractions = POSITION.astype(float), fractions_of(counts)
    d = distances(counts, counts)
    for i in range(len(counts)):
        for j in range(len(counts)):
            cost = wasserstein_distance(places, places, fractions[i], fractions[j])
            assert d[i, j] == pytest.approx(cost, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_the_index_finds_what_measuring_everything_finds(seed: int, k: int) -> None:
    library, queries = random_counts(400, seed), random_counts(20, seed + 1)
    everything = distances(queries, library)
    indices, emd = EmdIndex(cumulative(library)).nearest(queries, k)
    for row, found, d in zip(everything, indices, emd, strict=True):
        assert found.tolist() == smallest(row, k).tolist()
        assert np.allclose(row[found], d)


def test_large_and_small_searches_agree() -> None:
    library, queries = cumulative(random_counts(30_000, 0, 9)), random_counts(70, 1, 9)
    together = nearest(queries, library, 4)
    alone = [nearest(q[None], library, 4) for q in queries]
    assert (together[0] == np.concatenate([i for i, _ in alone])).all()
    assert np.allclose(together[1], np.concatenate([d for _, d in alone]))


def test_more_neighbours_than_compositions_gives_them_all() -> None:
    indices, emd = nearest(counts_for("NaCl"), cumulative(counts_for("KCl", "NaCl")), 5)
    assert indices.tolist() == [[1, 0]]
    assert emd[0, 0] == 0


def test_an_empty_library_has_no_neighbours() -> None:
    indices, emd = nearest(counts_for("NaCl"), np.empty((0, N_ELEMENTS)), 3)
    assert indices.shape == emd.shape == (1, 0)


def test_ties_fall_to_the_preferred_one() -> None:
    values = np.array([2.0, 1.0, 1.0 + 1e-13, 5.0])
    assert smallest(values, 3).tolist() == [1, 2, 0]
    assert smallest(values, 3, np.array([0, 9, 1, 2])).tolist() == [2, 1, 0]


@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="benchmarks/make_peers.sh has not been run")
@pytest.mark.slow
def test_scale_and_distances_are_those_of_elmd() -> None:
    formulas = ["SrYF5", "BaYF5", "NaCl", "LiFePO4", "CaHF", "SiO2", "UO2", "YbAl3", "EuTiO3"]
    script = (
        "import json, sys\n"
        "from ElMD import elmd\n"
        "from ElMD.ElMD import _get_periodic_tab\n"
        "f = json.loads(sys.argv[1])\n"
        "tab = _get_periodic_tab('mod_petti')[0]\n"
        "print(json.dumps([{k: int(v) for k, v in tab.items()},"
        " [[elmd(a, b, metric='mod_petti') for b in f] for a in f]]))\n"
    )
    out = subprocess.run(
        [PEERS_PYTHON, "-c", script, json.dumps(formulas)], capture_output=True, check=True
    )
    places, theirs = json.loads(out.stdout)
    assert [places[e] for e in ELEMENTS] == POSITION.tolist()
    counts = counts_for(*formulas)
    assert np.allclose(distances(counts, counts), theirs, atol=1e-5)
