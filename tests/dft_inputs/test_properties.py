from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dft_inputs.properties import band_gap, elasticity, hull_distance
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
