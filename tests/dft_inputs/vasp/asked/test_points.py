from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Kpoints

from dft_inputs.recipes.shipped import MATERIALS_PROJECT, PAPER
from dft_inputs.vasp.asked.points import SAME_POINT, listed_mesh, mesh_of, path_of, points_on
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import oblique, rocksalt, wurtzite

CELLS = {
    "face-centred cubic": rocksalt(),
    "hexagonal": wurtzite(),
    "triclinic": oblique(),
    "body-centred cubic": Structure(Lattice.cubic(3.2), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]),
    "orthorhombic": Structure(Lattice.orthorhombic(3, 4, 5), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]),
}


@pytest.mark.parametrize("recipe", [PAPER, MATERIALS_PROJECT], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_path_of_a_ticket_gives_back_every_point_of_its_kpoints(cell, recipe):
    job = vasp_job(cell, recipe, formula="X")
    text = job.files["04-bands/KPOINTS"]
    written = np.array(Kpoints.from_str(text).kpts)
    assert len(job.ticket.steps[4].path) < len(written) / 3
    assert np.abs(points_on(path_of(text)) - written).max() < SAME_POINT / 10
    assert job.ticket.steps[4].path == path_of(text)


def test_a_mesh_is_no_path_and_a_path_no_mesh():
    job = vasp_job(rocksalt(), PAPER, formula="MgO")
    assert path_of(job.files["02-static/KPOINTS"]) == ()
    assert mesh_of(job.files["04-bands/KPOINTS"]) is None
    assert mesh_of(job.files["02-static/KPOINTS"]) == job.ticket.steps[2].mesh


def listed(style: str, divisions: tuple[int, ...], shift: tuple[float, ...] = (0, 0, 0)):
    """Return what pymatgen reads from vasprun.xml."""
    return SimpleNamespace(style=SimpleNamespace(name=style), kpts=[divisions], kpts_shift=shift)


@pytest.mark.parametrize(
    ("kpoints", "mesh"),
    [
        (listed("Gamma", (4, 4, 4)), (4, 4, 4)),
        (listed("Gamma", (4, 4, 4), (1, 0, -2)), (4, 4, 4)),
        (listed("Gamma", (4, 4, 4), (0.5, 0, 0)), None),
        (listed("Monkhorst", (3, 5, 1)), (3, 5, 1)),
        (listed("Monkhorst", (4, 4, 4)), None),
        (listed("Monkhorst", (4, 4, 4), (0.5, 0.5, 0.5)), (4, 4, 4)),
        (listed("Monkhorst", (3, 3, 4)), None),
        (listed("Reciprocal", (0, 0, 0)), None),
        (listed("Automatic", (40,)), None),
    ],
)
def test_a_mesh_counts_where_gamma_is_one_of_its_points(kpoints, mesh):
    assert listed_mesh(kpoints) == mesh
