"""The input of Elk: one structure and settings in, the text of ``elk.in`` out.

In: a cell, `ElkSettings`, and whether bands are asked for. Out: the text, in Bohr and Hartree. It
names no folder: species files are expected beside it, where the runner puts them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dft_inputs.job.meshes import lattice_rotations, symmetric_divisions
from dft_inputs.job.symmetry import standard_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

    from dft_inputs.elk.recipe import ElkSettings

BOHR_A = 0.529177210903
"""One Bohr in A (CODATA 2018)."""

PBE = 20
"""Elk's number of the functional of Perdew, Burke and Ernzerhof."""

GROUND_STATE, BANDS = 0, 20
"""Elk's numbers of tasks."""

MESH_ROUNDING = 1e-6


def mesh_for(structure: Structure, spacing_per_A: float) -> tuple[int, int, int]:
    """Return the smallest mesh of that spacing which has the symmetry of the lattice."""
    lengths = structure.lattice.reciprocal_lattice.abc
    least = [max(1, math.ceil(length / spacing_per_A - MESH_ROUNDING)) for length in lengths]
    return symmetric_divisions(least, lattice_rotations(structure.lattice))


def path_vertices(structure: Structure) -> list[tuple[float, float, float]]:
    """Return the corners of the standard path, in reciprocal coordinates; jumps are walked too."""
    found = standard_path(structure).kpath
    corners: list[tuple[float, float, float]] = []
    for line in found["path"]:
        for label in line:
            x, y, z = (round(float(c), 8) + 0.0 for c in found["kpoints"][label])
            if not corners or corners[-1] != (x, y, z):
                corners.append((x, y, z))
    return corners


def elk_input(structure: Structure, settings: ElkSettings, *, bands: bool) -> str:
    """Return the text of ``elk.in``.

    Parameters
    ----------
    structure : Structure
        In its standard primitive setting where `bands` is true.
    settings : ElkSettings
    bands : bool
        Whether eigenvalues along the standard path are asked for too.
    """
    tasks = [f" {GROUND_STATE}"]
    blocks: list[tuple[str, Sequence[str]]] = []
    if bands and settings.path_points:
        tasks.append(f" {BANDS}")
        corners = path_vertices(structure)
        points = max(settings.path_points, len(corners))
        rows = [_numbers(corner, 8) for corner in corners]
        blocks.append(("plot1d", [f" {len(corners)} {points}", *rows]))
    mesh = mesh_for(structure, settings.spacing_per_A)
    lattice = structure.lattice.matrix / BOHR_A
    return (
        "\n\n".join(
            "\n".join([name, *rows])
            for name, rows in [
                ("tasks", tasks),
                ("xctype", [f" {PBE}"]),
                ("sppath", [" './'"]),
                ("rgkmax", [f" {settings.rgkmax:g}"]),
                ("gmaxvr", [f" {settings.gmaxvr_per_bohr:g}"]),
                ("lradstp", [f" {settings.radial_step}"]),
                ("nxlo", [f" {settings.local_orbitals}"]),
                ("swidth", [f" {settings.smearing_hartree:g}"]),
                ("epspot", [f" {settings.potential_convergence:g}"]),
                ("epsengy", [f" {settings.energy_convergence_hartree:g}"]),
                ("maxscl", [f" {settings.most_loops}"]),
                ("ngridk", [" {} {} {}".format(*mesh)]),
                ("avec", [_numbers(row, 10) for row in lattice]),
                ("atoms", _atoms(structure)),
                *blocks,
            ]
        )
        + "\n"
    )


def _atoms(structure: Structure) -> list[str]:
    symbols = sorted({site.specie.symbol for site in structure})
    lines = [f" {len(symbols)}"]
    for symbol in symbols:
        sites = [site for site in structure if site.specie.symbol == symbol]
        lines += [f" '{symbol}.in'", f" {len(sites)}"]
        lines += [f"{_numbers(site.frac_coords, 8)} 0.0 0.0 0.0" for site in sites]
    return lines


def _numbers(values: Iterable[float], digits: int) -> str:
    return "".join(f" {round(float(value), digits) + 0.0:.{digits}f}" for value in values)


def input_structure(text: str) -> Structure:
    """Return the structure of an ``elk.in`` of ours.

    Raises
    ------
    ValueError
        If the text is none.
    """
    from pymatgen.core import Structure

    blocks = {lines[0]: lines[1:] for part in text.split("\n\n") if (lines := part.splitlines())}
    if not {"avec", "atoms"} <= set(blocks):
        raise ValueError("it holds no cell")
    lattice = [[float(x) * BOHR_A for x in line.split()] for line in blocks["avec"]]
    species: list[str] = []
    points: list[list[float]] = []
    rows = iter(blocks["atoms"][1:])
    for name in rows:
        symbol = name.strip().strip("'").removesuffix(".in")
        for _ in range(int(next(rows))):
            species.append(symbol)
            points.append([float(x) for x in next(rows).split()[:3]])
    return Structure(lattice, species, points)
