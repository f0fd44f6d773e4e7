from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from dft_inputs.cluster import runner
from dft_inputs.job.cell import elements_of, job_structure
from dft_inputs.properties import phonons
from dft_inputs.properties.phonon_bands import bands
from dft_inputs.properties.phonons import Phonons, phonons_of, read_phonons
from dft_inputs.recipes.shipped import DISPLACEMENT_A, PAPER
from dft_inputs.vasp import outputs
from dft_inputs.vasp.inputs import potcar_symbols, step_inputs
from dft_inputs.vasp.jobs import vasp_job
from dft_inputs.vasp.judgement import judge
from structure.errors import Rejection
from tests.dft_inputs.cells import rocksalt, wurtzite

phonopy = pytest.importorskip("phonopy")

FAKE = Path(__file__).parents[2] / "engines" / "fake_vasp"
SILICON = Path(__file__).parents[1] / "golden" / "si-gpaw-forces.json"
STEP = "07-phonons"


def calculate(folder: Path, structure: Structure, fake: str = "", name: str = STEP) -> Path:
    """Run the stand-in for one step, as the runner prepares it."""
    cell, step = job_structure(structure), PAPER.step(name)
    place = folder / name
    place.mkdir(parents=True)
    for file, text in step_inputs(PAPER, step, cell).items():
        (place / file).write_text(text)
    first = step_inputs(PAPER, PAPER.steps[0], cell)["POSCAR"]
    (place / "POSCAR").write_text(runner.repeated(first, step.repeats(cell)))
    symbols = potcar_symbols(PAPER, elements_of(cell))
    subprocess.run([FAKE, "--make-potcars", folder / "potcars", *symbols], check=True)
    parts = [(folder / "potcars" / s / "POTCAR").read_text() for s in symbols]
    (place / "POTCAR").write_text("".join(parts))
    subprocess.run([FAKE], cwd=place, env={**os.environ, "FAKE_VASP": f"*={fake}"}, check=True)
    return place


def phonons_in(place: Path, supercell=(3, 3, 3)) -> Phonons:
    found = read_phonons(place, supercell)
    assert isinstance(found, Phonons), found
    return found


def refusal(place: Path, supercell=(3, 3, 3)) -> str:
    found = read_phonons(place, supercell)
    assert isinstance(found, Rejection)
    assert found.code == "200"
    assert found.sentence.startswith(f"{place.name}/vasprun.xml")
    return found.sentence


def springs(supercell: Structure, strength: float = 5.0, across: float = 0.2) -> np.ndarray:
    """Force constants of springs between atoms and images closer than 4 A, in eV/A^2."""
    n = len(supercell)
    constants = np.zeros((n, n, 3, 3))
    for i, j, length, vector in zip(*neighbours(supercell), strict=True):
        along = vector / length
        part = across * np.eye(3) + (1 - across) * np.outer(along, along)
        constants[i, j] -= strength / length**2 * part
        constants[i, i] += strength / length**2 * part
    return constants


def neighbours(supercell: Structure):
    centres, others, images, lengths = supercell.get_neighbor_list(4.0)
    coords = supercell.frac_coords
    vectors = (coords[others] + images - coords[centres]) @ supercell.lattice.matrix
    return centres, others, lengths, vectors


@pytest.fixture(scope="module")
def stable(tmp_path_factory) -> Path:
    return calculate(tmp_path_factory.mktemp("stable"), rocksalt())


@pytest.fixture(scope="module")
def unstable(tmp_path_factory) -> Path:
    return calculate(tmp_path_factory.mktemp("unstable"), rocksalt(), "unstable")


def test_a_finished_step_gives_bands_that_start_at_zero(stable):
    found = phonons_in(stable)
    assert found.stable
    assert found.supercell == (3, 3, 3)
    assert [s.labels for s in found.segments][:3] == [("Γ", "X"), ("X", "W"), ("W", "K")]
    first = found.segments[0]
    assert first.frequencies.shape == (len(first.qpoints), 6)
    assert first.frequencies[0, :3] == pytest.approx([0, 0, 0], abs=1e-3)
    assert first.frequencies[:, 3:].min() > 5
    assert found.lowest_at == "Γ"


def test_every_atom_pulls_back_as_much_as_all_others_pull_away(stable):
    constants = phonons_in(stable).force_constants
    assert np.abs(constants.sum(axis=1)).max() < 1e-6
    assert constants == pytest.approx(constants.transpose(1, 0, 3, 2), abs=1e-9)


def test_an_unstable_crystal_is_called_so_with_the_place_of_its_softest_mode(unstable):
    found = phonons_in(unstable)
    assert not found.stable
    assert found.lowest_THz < -1
    assert found.lowest_at == "X"
    assert "unstable, lowest frequency -" in found.sentence
    assert "at X; 3 x 3 x 3 cells, shortest edge" in found.sentence


def test_a_lowest_frequency_of_nothing_is_told_without_a_minus(stable):
    found = dataclasses.replace(phonons_in(stable), lowest_THz=-0.004)
    assert "lowest frequency 0.00 THz" in found.sentence


def test_perturbation_theory_gives_gamma_alone_with_acoustic_modes_at_zero(tmp_path):
    found = read_phonons(calculate(tmp_path, rocksalt(), name="05-dfpt"), None)
    assert isinstance(found, Phonons)
    assert found.stable
    assert found.segments == ()
    assert (found.lowest_THz, found.lowest_at) == (pytest.approx(0, abs=1e-3), "Γ")
    assert found.sentence.startswith("phonons at Gamma: stable")


def test_a_packed_step_reads_the_same(stable, tmp_path):
    place = tmp_path / STEP
    place.mkdir()
    with gzip.open(place / "vasprun.xml.gz", "wb") as out:
        out.write((stable / "vasprun.xml").read_bytes())
    one, other = phonons_in(stable), phonons_in(place)
    assert one.segments[3].frequencies == pytest.approx(other.segments[3].frequencies)


def changed(stable: Path, tmp_path: Path, old: str, new: str) -> Path:
    text = (stable / "vasprun.xml").read_text()
    assert old in text
    place = tmp_path / STEP
    place.mkdir()
    (place / "vasprun.xml").write_text(text.replace(old, new))
    return place


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("<dynmat>", "<other>", "cannot|gives no phonons"),
        ('name="hessian"', 'name="other"', "gives no phonons"),
        ("    <v> ", "    <v> nan ", "gives no phonons"),
        ('name="NELM">100<', 'name="NELM">9<', "electrons did not converge in 3 of 3 steps"),
        ("<modeling>", "<!DOCTYPE x [<!ENTITY a 'b'>]><modeling>", "never does"),
    ],
)
def test_a_file_without_sound_force_constants_is_a_reason(stable, tmp_path, old, new, sentence):
    assert re.search(sentence, refusal(changed(stable, tmp_path, old, new)))


@settings(max_examples=10)
@given(share=st.floats(0, 0.99))
def test_a_file_that_is_cut_off_is_a_reason(stable, tmp_path_factory, share):
    content = (stable / "vasprun.xml").read_bytes()
    place = tmp_path_factory.mktemp("cut") / STEP
    place.mkdir()
    (place / "vasprun.xml").write_bytes(content[: int(share * len(content))])
    refusal(place)


def test_an_archive_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "LARGEST_XML_BYTES", 1_000_000)
    place = tmp_path / STEP
    place.mkdir()
    with gzip.open(place / "vasprun.xml.gz", "wb") as out:
        for _ in range(3):
            out.write(b" " * 1_000_000)
    assert "expands beyond" in refusal(place)


def test_a_supercell_that_repeats_another_cell_is_refused(stable):
    assert "repeated" in refusal(stable, (2, 3, 3))


def test_without_phonopy_the_reason_says_what_to_install(stable, monkeypatch):
    monkeypatch.setattr(phonons, "find_spec", lambda name: None)
    found = read_phonons(stable, (3, 3, 3))
    assert isinstance(found, Rejection)
    assert found.code == "phonopy"
    assert "agd-pipeline[phonons]" in found.sentence


@given(seed=st.integers(0, 1000))
@settings(max_examples=15)
def test_phonons_do_not_depend_on_the_order_of_the_atoms(seed):
    cell = job_structure(wurtzite("Zn", "O"))
    supercell = cell.make_supercell((2, 2, 1), in_place=False)
    constants = springs(supercell)
    order = np.random.default_rng(seed).permutation(len(supercell))
    shuffled = Structure.from_sites([supercell[i] for i in order])
    one = phonons_of(supercell, (2, 2, 1), constants)
    other = phonons_of(shuffled, (2, 2, 1), constants[np.ix_(order, order)])
    for a, b in zip(one.segments, other.segments, strict=True):
        assert a.frequencies == pytest.approx(b.frequencies, abs=1e-4)


def displaced_forces(supercell: Structure, wanted: list[np.ndarray]) -> list[np.ndarray]:
    """Forces by ASE's effective-medium potential in eV/A."""
    from ase import Atoms
    from ase.calculators.emt import EMT

    found = []
    for positions in wanted:
        atoms = Atoms([s.specie.symbol for s in supercell], positions,
                      cell=supercell.lattice.matrix, pbc=True)  # fmt: skip
        atoms.calc = EMT()
        found.append(np.asarray(atoms.get_forces()))
    return found


@pytest.mark.parametrize(
    ("group", "edge", "holds"), [("Fm-3m", 3.59, True), ("Im-3m", 2.86, False)]
)
def test_every_atom_displaced_gives_what_phonopys_own_workflow_gives(group, edge, holds):
    """Copper by the effective-medium potential; in the bcc lattice it is unstable towards N."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = job_structure(Structure.from_spacegroup(group, Lattice.cubic(edge), ["Cu"], [[0, 0, 0]]))
    times = (2, 2, 2)
    supercell = cell.make_supercell(times, in_place=False)
    n = len(supercell)
    constants = np.zeros((n, n, 3, 3))
    for atom in range(n):
        for axis in range(3):
            moved = np.repeat(supercell.cart_coords[None], 2, axis=0)
            moved[:, atom, axis] += DISPLACEMENT_A, -DISPLACEMENT_A
            there, back = displaced_forces(supercell, list(moved))
            constants[atom, :, axis, :] = -(there - back) / (2 * DISPLACEMENT_A)
    ours = phonons_of(supercell, times, constants)

    atoms = PhonopyAtoms(symbols=["Cu"], cell=cell.lattice.matrix, scaled_positions=[[0, 0, 0]])
    peer = Phonopy(atoms, np.diag(times), primitive_matrix="P")
    peer.generate_displacements(distance=DISPLACEMENT_A, is_plusminus=True)
    moved = [np.asarray(s.positions) for s in peer.supercells_with_displacements]
    peer.forces = displaced_forces(supercell, moved)
    peer.produce_force_constants()
    peer.symmetrize_force_constants(show_drift=False)
    for segment in ours.segments:
        theirs = peer.run_qpoints(segment.qpoints).frequencies
        assert segment.frequencies == pytest.approx(theirs, abs=0.02)
    assert ours.stable is holds
    if not holds:
        assert ours.lowest_at == "N"


def test_silicons_forces_by_gpaw_give_its_measured_frequencies():
    """Neutrons (Nilsson and Nelin 1972), THz; PBE is some percent softer."""
    kept = json.loads(SILICON.read_text())
    structure = Structure.from_spacegroup(
        "Fd-3m", Lattice.cubic(kept["edge_A"]), ["Si"], [[0, 0, 0]]
    )
    cell = job_structure(structure)
    supercell = cell.make_supercell((2, 2, 2), in_place=False)
    forces = np.array(kept["forces_eV_per_A"][:6])
    rows = -(forces[0::2] - forces[1::2]).transpose(1, 0, 2) / (2 * kept["displacement_A"])
    found = phonons_of(supercell, (2, 2, 2), by_symmetry(supercell, rows))
    at = {s.labels[1]: s.frequencies[-1] for s in found.segments}
    assert at["Γ"][3:] == pytest.approx([15.53] * 3, rel=0.04)
    assert at["X"][[0, 2, 5]] == pytest.approx([4.49, 12.32, 13.90], rel=0.08)
    assert at["L"][[0, 2, 5]] == pytest.approx([3.43, 11.35, 14.68], rel=0.08)
    assert found.stable


def by_symmetry(supercell: Structure, rows: np.ndarray) -> np.ndarray:
    """All force constants from those of the first atom, where all atoms are alike."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    n = len(supercell)
    constants = np.full((n, n, 3, 3), np.nan)
    for operation in SpacegroupAnalyzer(supercell).get_symmetry_operations(cartesian=True):
        moved = operation.operate_multi(supercell.cart_coords)
        images = supercell.lattice.get_fractional_coords(moved)
        goes_to = supercell.lattice.get_all_distances(images, supercell.frac_coords).argmin(axis=1)
        turn = operation.rotation_matrix
        constants[goes_to[0], goes_to] = np.einsum("xa,jab,yb->jxy", turn, rows, turn)
    return constants


class TestVerdict:
    """A cubic cell of 4 A, 4 cells to each side: wave vectors shorter than a quarter are near."""

    cell = Structure(Lattice.cubic(4.0), ["Si"], [[0, 0, 0]])

    def verdict(self, depth_near: float, depth_far: float):
        """Judge a branch of one frequency near Gamma and one elsewhere, in THz."""

        def frequencies(qpoints: np.ndarray) -> np.ndarray:
            length = np.linalg.norm((qpoints + 0.5) % 1 - 0.5, axis=1)
            near = [length < 1e-9, length < 0.25 - 1e-6]
            return np.select(near, [0.0, depth_near], depth_far)[:, None]

        segments = tuple(bands(self.cell, frequencies))
        return phonons._verdict(self.cell, (4, 4, 4), segments, frequencies)

    @pytest.mark.parametrize(
        ("near", "far", "stable"),
        [
            (1.0, 2.0, True),
            (-0.25, 1.0, True),
            (-0.35, 1.0, False),
            (1.0, -0.05, True),
            (1.0, -0.15, False),
        ],
    )
    def test_more_is_forgiven_near_gamma_than_elsewhere(self, near, far, stable):
        assert self.verdict(near, far)[2] is stable

    def test_the_frequency_told_is_the_one_that_decides(self):
        lowest, where, stable = self.verdict(-0.25, -0.15)
        assert (lowest, stable) == (-0.15, False)
        assert where != "Γ"


def test_the_checks_expect_the_atoms_of_the_supercell(stable):
    job = vasp_job(rocksalt(), PAPER.with_steps([STEP]), formula="MgO")
    only = job.ticket.model_copy(update={"steps": job.ticket.steps[-1:]})
    judged = judge(stable.parent, only)
    assert list(judged.outputs) == [STEP]
    assert judged.remarks == ()
    step = only.steps[0].model_copy(update={"supercell": (2, 2, 2)})
    judged = judge(stable.parent, only.model_copy(update={"steps": (step,)}))
    assert not judged.outputs
    assert judged.remarks == (f"{STEP} was left out: the cell holds Mg27 O27, the ticket Mg8 O8",)
