from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.io.vasp import Vasprun
from scipy.special import erfc

from dft_inputs.vasp.band_gap import counted_gap, filled_bands
from dft_inputs.vasp.outputs import StepOutput, read_step
from tests.dft_inputs.vaspruns import vasprun, written

WIDTHS = st.floats(0.01, 0.3)
COSINE = (1 - np.cos(np.linspace(0, np.pi, 11))) / 2
EQUAL = [1 / 11] * 11


def bands(*edges: tuple[float, float]) -> np.ndarray:
    """Return bands (11 k-points, bands) from their energies at the ends of a line."""
    return np.array([a + (b - a) * COSINE for a, b in edges]).T


def smeared(levels: np.ndarray, fermi: float, width: float = 0.05) -> np.ndarray:
    """Return levels with their occupations by Gaussian smearing, as VASP rounds them."""
    return np.stack([levels, np.round(0.5 * erfc((levels - fermi) / width), 4)], axis=-1)


def gap_read(folder: Path, channels: list[np.ndarray], weights=None, **parameters) -> float:
    text = vasprun(parameters=parameters, channels=channels, weights=weights)
    output = read_step(written(folder, text))
    assert isinstance(output, StepOutput), output
    return output.gap


@given(gap=st.floats(0.01, 3.0), width=WIDTHS)
def test_a_gap_is_that_of_the_counted_bands_however_wide_the_smearing(gap, width):
    levels = bands((-2, -3), (0.0, -1.0), (gap + 0.7, gap), (5, 6))
    occupied = smeared(levels, gap / 2, width)
    assert counted_gap([occupied], EQUAL, 4.0) == pytest.approx(gap)


def test_a_gap_below_the_smearing_is_read_from_the_file(tmp_path):
    levels = bands((-5, -5), (-4, -4), (-3, -3), (0.0, -0.8), (1.1, 0.2), (4.2, 4.2))
    assert gap_read(tmp_path, [smeared(levels, 0.1)]) == pytest.approx(0.2, abs=1e-4)


def test_bands_that_overlap_are_a_metal_whose_levels_are_not(tmp_path):
    levels = bands((-5, -5), (-4, -4), (-3, -3), (0.6, -0.6), (0.6, -0.6), (4, 4))
    levels[:, 4] += 0.05  # levels of one k-point stay apart
    assert gap_read(tmp_path, [smeared(levels, 0.0)]) == 0.0


@pytest.mark.parametrize("ispin", [1, 2])
def test_an_odd_number_of_electrons_is_a_metal_without_a_moment(tmp_path, ispin):
    lithium = smeared(bands((-45, -45), (-3, 1), (2, 4)), -1.2)
    found = gap_read(tmp_path, [lithium] * ispin, NELECT=3.0, ISPIN=ispin)
    assert found == 0.0


@pytest.mark.parametrize("tag", ["LNONCOLLINEAR", "LSORBIT"])
def test_with_spin_orbit_coupling_a_band_holds_one_electron(tmp_path, tag):
    occupied = smeared(bands((-3, -3), (-1.0, -2.0), (0.0, -0.5), (1.5, 1.0), (4, 5)), 0.4)
    assert gap_read(tmp_path, [occupied], NELECT=3.0, **{tag: True}) == pytest.approx(1.0)
    assert gap_read(tmp_path, [occupied], NELECT=4.0, **{tag: True}) == pytest.approx(2.5)


@given(
    up=st.integers(0, 5),
    down=st.integers(0, 5),
    gap=st.floats(0.02, 2.0),
    width=WIDTHS,
    known=st.booleans(),
)
def test_a_magnetic_insulator_has_its_own_count_in_each_channel(up, down, gap, width, known):
    assume(up + down > 0)
    below, above = bands((0.0, -0.5), (gap, gap + 0.5)).T

    def channel(filled: int) -> np.ndarray:
        levels = [below - 3.0 * (filled - 1 - n) for n in range(filled)]
        return np.array(levels + [above + 3.0 * n for n in range(7 - filled)]).T

    occupied = [smeared(channel(n), gap / 2, width) for n in (up, down)]
    assume(round(sum(c[..., 1].sum() for c in occupied) / 11) == up + down)
    electrons = float(up + down) if known or width > gap / 3 else None
    assert filled_bands(occupied, EQUAL, electrons) == (up, down)
    assert counted_gap(occupied, EQUAL, electrons) == pytest.approx(gap)


def test_a_half_metal_is_a_metal(tmp_path):
    up = smeared(bands((-3, -3), (-2, -2), (0.5, -0.5), (0.4, -0.6), (3, 3)), 0.0)
    down = smeared(bands((-3, -3), (-2, -2), (-1.5, -1), (2, 1), (3, 3)), 0.0)
    assert gap_read(tmp_path, [up, down], NELECT=6.0, ISPIN=2) == 0.0


@given(
    levels=st.lists(st.integers(-50, 50), min_size=24, max_size=24, unique=True),
    electrons=st.integers(1, 7),
)
def test_no_metal_gets_a_gap_and_every_insulator_its_own(levels, electrons):
    """The lowest levels of two channels, three k-points and four bands are filled."""
    energies = np.sort(np.array(levels, dtype=float).reshape(2, 3, 4), axis=2)
    in_order = np.sort(energies.ravel())
    last, following = in_order[3 * electrons - 1], in_order[3 * electrons]
    shares = (energies <= last).astype(float)
    filled = shares.sum(axis=2)
    whole = bool((filled == filled[:, :1]).all())
    assume(filled.max() < 4)
    channels = list(np.stack([energies, shares], axis=-1))
    found = counted_gap(channels, [1 / 3] * 3, float(electrons))
    assert found == (following - last if whole else 0.0)


def test_points_of_no_weight_count_for_the_gap_and_not_for_the_electrons(tmp_path):
    """A hybrid functional's path: NELECT is met on the mesh only."""
    mesh = smeared(bands((-3, -3), (0.0, -0.5), (2.5, 2.0)), 1.0)[:4]
    path = smeared(bands((-3, -3), (0.3, -0.5), (2.5, 1.4)), -5.0)
    weights = [0.25] * 4 + [0.0] * 11
    channel = np.concatenate([mesh, path])
    for known in (4.0, None):
        assert gap_read(tmp_path, [channel], weights, NELECT=known) == pytest.approx(1.1)
    both = [channel, channel]
    assert gap_read(tmp_path, both, weights, ISPIN=2, NELECT=4.0) == pytest.approx(1.1)


@pytest.mark.parametrize("fermi", [-2.5, 0.1, 2.2])
def test_on_a_path_the_fermi_level_says_nothing(tmp_path, fermi):
    occupied = smeared(bands((-3, -3), (0.0, -0.5), (2.5, 2.0)), fermi, 0.2)
    assert gap_read(tmp_path, [occupied], NELECT=4.0) == pytest.approx(2.0)
    assert gap_read(tmp_path, [occupied] * 2, NELECT=4.0, ISPIN=2) == pytest.approx(2.0)


def test_without_the_number_of_electrons_the_occupations_are_added_up(tmp_path):
    occupied = smeared(bands((-3, -3), (0.0, -0.5), (0.9, 0.3)), 0.15)
    assert gap_read(tmp_path, [occupied], NELECT=None) == pytest.approx(0.3)
    partly = smeared(bands((-3, -3), (0.0, -0.5), (0.9, 0.3)), -0.25)
    assert gap_read(tmp_path, [partly], NELECT=None) == 0.0


def test_a_part_of_an_electron_is_a_metal():
    occupied = smeared(bands((-3, -3), (0.0, -0.5), (2.5, 2.0)), 1.0)
    assert counted_gap([occupied], EQUAL, 3.5) == 0.0


def test_levels_in_any_order_are_counted_by_energy():
    occupied = smeared(bands((0.0, -0.5), (2.5, 2.0), (-3, -3)), 1.0)
    assert counted_gap([occupied], EQUAL, 4.0) == pytest.approx(2.0)


@pytest.mark.parametrize("electrons", [6.0, 12.0])
def test_without_empty_bands_the_gap_is_not_known(electrons):
    occupied = smeared(bands((-3, -3), (0.0, -0.5), (2.5, 2.0)), 9.0)
    assert counted_gap([occupied], EQUAL, electrons) == float("inf")


def test_without_eigenvalues_the_gap_is_not_known(tmp_path):
    assert gap_read(tmp_path, []) == float("inf")


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    points=st.integers(1, 6),
    filled=st.integers(1, 5),
    kind=st.sampled_from(["paired", "polarised", "spinors"]),
    gap=st.floats(0.1, 4.0),
)
def test_pymatgen_finds_the_same_gap_where_occupations_are_whole(seed, points, filled, kind, gap):
    rng = np.random.default_rng(seed)
    numbers = (filled, int(rng.integers(0, filled + 1))) if kind == "polarised" else (filled,)
    channels = []
    for number in numbers:
        below = -np.sort(rng.uniform(0, 8, (points, number)), axis=1)[:, ::-1]
        above = gap + np.sort(rng.uniform(0, 8, (points, 7 - number)), axis=1)
        shares = np.repeat([[1.0] * number + [0.0] * (7 - number)], points, axis=0)
        channels.append(np.stack([np.concatenate([below, above], axis=1), shares], axis=-1))
    parameters = {
        "NELECT": float(sum(numbers) * (2 if kind == "paired" else 1)),
        "ISPIN": len(numbers),
        "LNONCOLLINEAR": kind == "spinors",
    }
    with tempfile.TemporaryDirectory() as folder:
        found = gap_read(Path(folder), channels, **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Vasprun(Path(folder) / "vasprun.xml", parse_potcar_file=False, parse_dos=False)
    assert found == pytest.approx(run.eigenvalue_band_properties[0], abs=1e-9)
    assert found >= gap - 1e-3
