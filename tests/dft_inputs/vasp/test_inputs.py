from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar, Kpoints, Poscar

from dft_inputs.job.cell import elements_of, job_structure
from dft_inputs.job.treatment import Treatment
from dft_inputs.recipes.shipped import MATERIALS_PROJECT, PAPER
from dft_inputs.vasp.inputs import potcar_symbols, step_inputs
from structure.errors import CalculationError, Rejection
from tests.dft_inputs.cells import oblique, rocksalt, wurtzite

GOLDEN = Path(__file__).parents[1] / "golden"


def all_inputs(recipe, structure: Structure) -> str:
    cell = job_structure(structure)
    return "".join(
        f"=== {step.name}/{name}\n{text}"
        for step in recipe.steps
        for name, text in step_inputs(recipe, step, cell).items()
    )


@pytest.mark.parametrize("recipe", [PAPER, MATERIALS_PROJECT], ids=lambda r: r.name)
@pytest.mark.parametrize("structure", [rocksalt(), oblique()], ids=["MgO", "SrClF3"])
def test_every_emitted_text_is_as_reviewed(recipe, structure):
    """Regenerate with AGD_REGENERATE=1 and read the difference."""
    name = f"{recipe.name}-{structure.composition.reduced_formula}.txt"
    text = all_inputs(recipe, structure)
    if os.environ.get("AGD_REGENERATE"):
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_the_papers_settings_are_in_every_incar():
    cell = job_structure(rocksalt())
    for step in PAPER.steps:
        incar = Incar.from_str(step_inputs(PAPER, step, cell)["INCAR"])
        assert incar["ENCUT"] == 400
        assert incar["EDIFF"] <= 1e-5
        assert incar["GGA"].upper() == "PE"
        assert "LDAU" not in incar
    relax = Incar.from_str(step_inputs(PAPER, PAPER.steps[0], cell)["INCAR"])
    assert relax["EDIFFG"] == -0.01


def test_meshes_are_gamma_centred_and_denser_for_energies():
    cell = job_structure(wurtzite("Zn", "O"))
    points = []
    for name in ("00-relax1", "02-static", "03-uniform"):
        mesh = Kpoints.from_str(step_inputs(PAPER, PAPER.step(name), cell)["KPOINTS"])
        assert mesh.style.name == "Gamma"
        points.append(mesh.kpts[0][0] * mesh.kpts[0][1] * mesh.kpts[0][2])
    assert points == sorted(points) and len(set(points)) == 3


def test_the_band_path_is_written_in_the_cell_of_poscar():
    cell = job_structure(rocksalt())
    files = step_inputs(PAPER, PAPER.step("04-bands"), cell)
    path = Kpoints.from_str(files["KPOINTS"])
    ends = {label: k for label, k in zip(path.labels, path.kpts, strict=True) if label}
    assert ends["X"] == pytest.approx((0.5, 0.0, 0.5))
    assert ends["L"] == pytest.approx((0.5, 0.5, 0.5))
    poscar = Poscar.from_str(step_inputs(PAPER, PAPER.steps[0], cell)["POSCAR"])
    assert len(poscar.structure) == 2


def test_open_shell_elements_are_spin_polarised_and_others_are_not():
    step = PAPER.steps[0]
    iron = Incar.from_str(step_inputs(PAPER, step, job_structure(wurtzite("Fe", "N")))["INCAR"])
    assert iron["ISPIN"] == 2
    assert iron["MAGMOM"] == [5, 5, 0.6, 0.6]
    zinc = Incar.from_str(step_inputs(PAPER, step, job_structure(wurtzite("Zn", "O")))["INCAR"])
    assert zinc["ISPIN"] == 1
    assert "MAGMOM" not in zinc


@pytest.mark.parametrize("element", ["Pr", "Nd", "Sm", "Tb", "Er", "Tm", "Yb"])
def test_f_electrons_in_the_core_of_a_potential_make_no_spin(element):
    cell = job_structure(rocksalt(element, "N", 5.0))
    assert potcar_symbols(PAPER, [element]) == (f"{element}_3",)
    incar = Incar.from_str(step_inputs(PAPER, PAPER.steps[0], cell)["INCAR"])
    assert incar["ISPIN"] == 1
    assert "MAGMOM" not in incar


@pytest.mark.parametrize("element", ["Ce", "Eu", "Gd", "U"])
def test_f_electrons_that_are_calculated_make_spin(element):
    cell = job_structure(rocksalt(element, "N", 5.0))
    incar = Incar.from_str(step_inputs(PAPER, PAPER.steps[0], cell)["INCAR"])
    assert incar["ISPIN"] == 2
    assert incar["MAGMOM"] == [5, 0.6]


def test_beside_an_open_shell_f_electrons_in_the_core_start_like_any_other_element():
    cell = job_structure(wurtzite("Er", "Fe"))
    incar = Incar.from_str(step_inputs(PAPER, PAPER.steps[0], cell)["INCAR"])
    moments = dict(zip([s.specie.symbol for s in cell], incar["MAGMOM"], strict=True))
    assert moments == {"Er": 0.6, "Fe": 5}


def test_a_molecule_keeps_its_box_and_samples_gamma_only():
    box = Structure([[9, 0, 0], [0, 9.2, 0], [0, 0, 10.3]], ["O", "O"], [[0, 0, 0], [0, 0, 0.117]])
    around = Treatment("molecule", (1.0, 1.0))
    files = step_inputs(PAPER, PAPER.steps[0], box, around)
    incar = Incar.from_str(files["INCAR"])
    assert incar["ISIF"] == 2
    assert incar["MAGMOM"] == [1, 1]
    assert tuple(Kpoints.from_str(files["KPOINTS"]).kpts[0]) == (1, 1, 1)


def test_the_tetrahedron_method_is_left_out_where_the_mesh_is_too_small():
    large = Structure([[40, 0, 0], [0, 40, 0], [0, 0, 40]], ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    step = MATERIALS_PROJECT.steps[2]
    incar = Incar.from_str(step_inputs(MATERIALS_PROJECT, step, large)["INCAR"])
    assert incar["ISMEAR"] == 0


def test_potcars_are_named_in_the_order_of_poscar():
    cell = job_structure(oblique())
    files = step_inputs(PAPER, PAPER.steps[0], cell)
    symbols = files["POTCAR.spec"].split()
    assert [s.split("_")[0] for s in symbols] == list(elements_of(cell))
    assert files["POSCAR"].splitlines()[5].split() == list(elements_of(cell))


def test_an_element_without_a_potential_is_refused_with_its_name():
    refused = potcar_symbols(PAPER, ["Md", "O"])
    assert isinstance(refused, Rejection)
    assert "Md" in refused.sentence
    with pytest.raises(CalculationError, match="Md"):
        step_inputs(PAPER, PAPER.steps[0], rocksalt("Md", "O"))


def test_coinciding_atoms_are_refused_with_the_formula():
    bad = Structure([[4, 0, 0], [0, 4, 0], [0, 0, 4]], ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]])
    with pytest.raises(CalculationError, match="NaCl"):
        job_structure(bad)


def test_no_potcar_key_or_network_is_needed():
    """A fresh interpreter without pymatgen's settings writes all inputs with sockets closed."""
    code = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = no\n"
        "from tests.dft_inputs.vasp.test_inputs import all_inputs\n"
        "from tests.dft_inputs.cells import rocksalt\n"
        "from dft_inputs.recipes.shipped import PAPER\n"
        "print(len(all_inputs(PAPER, rocksalt())))\n"
    )
    env = {k: v for k, v in os.environ.items() if not re.match("PMG|MP_|VASP", k)}
    env["HOME"] = "/nonexistent"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000
