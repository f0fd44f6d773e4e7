from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition
from pymatgen.core.elasticity import ElasticTensor
from pymatgen.core.operations import SymmOp
from scipy.optimize import linprog

from dft_inputs.properties.corrections import band_gap, elasticity, hull_distance
from structure.errors import CalculationError

VASP_ORDER = ["xx", "yy", "zz", "xy", "yz", "zx"]
VOIGT_ORDER = ["xx", "yy", "zz", "yz", "zx", "xy"]


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    c = np.zeros((6, 6))
    c[:3, :3] = c12
    c[np.arange(3), np.arange(3)] = c11
    c[np.arange(3, 6), np.arange(3, 6)] = c44
    return c * 10


def test_moduli_of_a_cubic_crystal_are_the_textbooks():
    """MgO at room temperature: C11 297, C12 95.6, C44 155.7 GPa give K 162.9, G 130 (Simmons)."""
    found = elasticity(cubic(297.0, 95.6, 155.7))
    assert found.bulk == pytest.approx((297.0 + 2 * 95.6) / 3)
    assert found.bulk_voigt == pytest.approx(found.bulk_reuss)
    assert found.shear_voigt == pytest.approx((297.0 - 95.6 + 3 * 155.7) / 5)
    reuss = 5 * (297.0 - 95.6) * 155.7 / (4 * 155.7 + 3 * (297.0 - 95.6))
    assert found.shear_reuss == pytest.approx(reuss)
    assert found.stable


def test_the_papers_young_modulus_follows_from_its_bulk_and_shear():
    """SrClF3: K 41.26, G 15.61 and E 41.587 GPa (paper)."""
    c44 = 15.61
    c12 = 41.26 - 2 * c44 / 3
    found = elasticity(cubic(c12 + 2 * c44, c12, c44))
    assert found.bulk == pytest.approx(41.26)
    assert found.shear == pytest.approx(15.61)
    assert found.young == pytest.approx(41.587, abs=2e-3)


def test_vasps_order_of_shear_components_is_put_into_voigts():
    raw = np.diag([100.0, 110.0, 120.0, 31.0, 32.0, 33.0]) * 10
    by_name = dict(zip(VASP_ORDER, np.diag(raw) / 10, strict=True))
    constants = elasticity(raw).constants
    assert np.diag(constants) == pytest.approx([by_name[name] for name in VOIGT_ORDER])


@given(st.permutations(range(3)))
def test_moduli_do_not_depend_on_the_naming_of_the_axes(axes):
    rng = np.random.default_rng(0)
    half = rng.normal(size=(6, 6))
    raw = half @ half.T * 100 + np.eye(6) * 500
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)]
    renamed = [
        next(k for k, q in enumerate(pairs) if set(q) == {axes[i], axes[j]}) for i, j in pairs
    ]
    one, other = elasticity(raw), elasticity(raw[np.ix_(renamed, renamed)])
    assert other.bulk == pytest.approx(one.bulk)
    assert other.shear == pytest.approx(one.shear)
    assert other.smallest_eigenvalue == pytest.approx(one.smallest_eigenvalue)


@given(st.integers(0, 10_000))
def test_reuss_is_never_above_voigt_for_a_stable_crystal(seed):
    half = np.random.default_rng(seed).normal(size=(6, 6))
    found = elasticity(half @ half.T * 100 + np.eye(6) * 300)
    assert found.stable
    assert found.bulk_reuss <= found.bulk_voigt * (1 + 1e-9)
    assert found.shear_reuss <= found.shear_voigt * (1 + 1e-9)


def tensor_of(seed: int, values: np.ndarray) -> np.ndarray:
    """A symmetric matrix with these eigenvalues, shape (6,)."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))
    matrix = turn * values @ turn.T
    return 0.5 * (matrix + matrix.T)


def voigt_matrix(vasp_kbar: np.ndarray) -> np.ndarray:
    """Put components into Voigt's order by their labels, and kBar into GPa."""
    places = [VASP_ORDER.index(label) for label in VOIGT_ORDER]
    return vasp_kbar[places][:, places] / 10


powers_of_ten = st.lists(st.floats(-4, 4), min_size=6, max_size=6)


@given(st.integers(0, 10_000), powers_of_ten, st.integers(0, 6))
def test_a_tensor_is_stable_exactly_when_no_eigenvalue_is_negative(seed, powers, negative):
    values = 10.0 ** np.array(powers) * np.where(np.arange(6) < negative, -1, 1)
    found = elasticity(tensor_of(seed, values))
    assert found.stable == (negative == 0)
    assert found.smallest_eigenvalue == pytest.approx(values.min() / 10, abs=1e-9)


@given(st.integers(0, 10_000))
def test_moduli_are_pymatgens(seed):
    raw = tensor_of(seed, np.random.default_rng(seed).uniform(10, 3000, 6))
    found, peer = elasticity(raw), ElasticTensor.from_voigt(voigt_matrix(raw))
    assert found.bulk_voigt == pytest.approx(float(peer.k_voigt), rel=1e-8)
    assert found.bulk_reuss == pytest.approx(float(peer.k_reuss), rel=1e-8)
    assert found.bulk == pytest.approx(float(peer.k_vrh), rel=1e-8)
    assert found.shear_voigt == pytest.approx(float(peer.g_voigt), rel=1e-8)
    assert found.shear_reuss == pytest.approx(float(peer.g_reuss), rel=1e-8)
    assert found.shear == pytest.approx(float(peer.g_vrh), rel=1e-8)


def test_a_turned_crystal_keeps_its_moduli_and_its_constants_follow_the_tensor():
    """Moduli cannot tell the order of shear components; the constants of a turned crystal can."""
    upright = ElasticTensor.from_voigt(voigt_matrix(cubic(297.0, 95.6, 155.7)))
    spin = SymmOp.from_axis_angle_and_translation((1, 2, 3), 37).rotation_matrix
    turned = upright.rotate(spin, tol=1e-2)
    pairs = [tuple("xyz".index(letter) for letter in label) for label in VASP_ORDER]
    raw = np.array([[10 * float(turned[i, j, k, m]) for k, m in pairs] for i, j in pairs])
    found = elasticity(raw)
    assert found.constants == pytest.approx(np.asarray(turned.voigt), abs=1e-9)
    assert found.bulk == pytest.approx(float(upright.k_vrh))
    assert found.shear == pytest.approx(float(upright.g_vrh))


def test_forsterites_moduli_are_the_published_ones():
    """Mg2SiO4, orthorhombic: no two axes are alike (Bass 1995); in GPa."""
    constants = np.diag([328, 200, 235, 80.9, 66.7, 81.3])  # xx yy zz xy yz zx
    for i, j, value in ((0, 1, 69), (0, 2, 69), (1, 2, 73)):
        constants[i, j] = constants[j, i] = value
    found = elasticity(10 * constants)
    assert found.bulk == pytest.approx(129.5, abs=0.05)
    assert found.shear == pytest.approx(81.1, abs=0.05)


def test_borns_criterion_sees_what_the_diagonal_does_not():
    assert not elasticity(cubic(100.0, 130.0, 50.0)).stable
    assert elasticity(cubic(130.0, 100.0, 50.0)).stable


def test_a_tensor_with_holes_is_refused():
    with pytest.raises(CalculationError):
        elasticity(np.full((6, 6), np.nan))
    with pytest.raises(CalculationError):
        elasticity(np.zeros((5, 6)))
    with pytest.raises(CalculationError, match="inverse"):
        elasticity(np.zeros((6, 6)))


def test_gaps_that_agree_need_no_remark():
    assert band_gap(5.02, 4.98) == (4.98, None)
    assert band_gap(5.02, None) == (5.02, None)


@pytest.mark.parametrize(("mesh", "path"), [(5.0, 4.8), (4.8, 5.0), (0.0, 0.05), (0.05, 0.0)])
def test_gaps_that_disagree_are_flagged_and_the_smaller_counts(mesh, path):
    gap, finding = band_gap(mesh, path)
    assert gap == min(mesh, path)
    assert finding is not None
    assert finding.code == "400"


def test_the_distance_to_the_hull_is_the_decomposition_energy():
    phases = [({"Na": 1, "Cl": 1}, -2.0), ({"Na": 3, "Cl": 1}, -0.5), ({"K": 1, "Cl": 1}, -2.2)]
    assert hull_distance({"Na": 1, "Cl": 3}, -0.9, phases) == pytest.approx(-0.9 + 1.0)
    assert hull_distance({"Na": 1, "Cl": 1}, -2.1, phases) == pytest.approx(-0.1)


ELEMENTS = ["Na", "K", "Cl", "O"]
cells = st.dictionaries(st.sampled_from(ELEMENTS), st.integers(1, 6), min_size=2)
competing = st.lists(st.tuples(cells, st.floats(-3, 0.3)), min_size=1, max_size=20)


@given(cells, st.floats(-3.5, 0.5), competing)
def test_the_distance_to_the_hull_is_to_the_cheapest_mixture_of_the_others(cell, energy, phases):
    inside = [(other, value) for other, value in phases if set(other) <= set(cell)]
    rows = [*({e: 1} for e in cell), *(other for other, _ in inside)]
    costs = [0.0] * len(cell) + [value for _, value in inside]
    shares = np.array([[row.get(e, 0) for e in cell] for row in rows], dtype=float)
    shares /= shares.sum(axis=1, keepdims=True)
    wanted = np.array(list(cell.values())) / sum(cell.values())
    mixture = linprog(costs, A_eq=shares.T, b_eq=wanted, method="highs").fun
    assert hull_distance(cell, energy, phases) == pytest.approx(energy - mixture, abs=1e-7)


@given(cells, st.floats(-3.5, 0.5), competing)
def test_a_compound_above_the_hull_is_as_far_as_pymatgen_says(cell, energy, phases):
    entries = [PDEntry(Composition(element), 0.0) for element in ELEMENTS]
    for other, value in [*phases, (cell, energy)]:
        composition = Composition(other)
        entries.append(PDEntry(composition, value * composition.num_atoms))
    peer = PhaseDiagram(entries).get_e_above_hull(entries[-1])
    assert max(0.0, hull_distance(cell, energy, phases)) == pytest.approx(peer, abs=1e-7)


def test_phases_of_other_elements_do_not_count():
    phases = [({"Na": 1, "Cl": 1}, -2.0), ({"K": 1, "Cl": 1}, -9.0), ({"Na": 1, "K": 1}, -9.0)]
    assert hull_distance({"Na": 1, "Cl": 1}, -1.5, phases) == pytest.approx(0.5)
