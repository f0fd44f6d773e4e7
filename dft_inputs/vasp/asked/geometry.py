"""Whether a step calculated the crystal it was asked to: serves collect.

In: a ticket, what VASP wrote in each step, and the geometries the runner kept. Out: nothing, or
code 320 with a sentence. The first step starts from the ticket's cell, every other one from where a
former step ended; a relaxation that was continued shows where it began.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dft_inputs.job.untrusted import small_file
from dft_inputs.vasp.outputs import custodian_changes
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.job.ticket import Geometry, Ticket, TicketStep
    from dft_inputs.vasp.outputs import StepOutput

SAME_PLACE_A = 1e-3
"""Largest difference of a lattice vector's component, or of an atom's place, in the same cell
(chosen: far above the digits that are written and the symmetry VASP restores, far below what an
energy notices, some 1e-6 eV)."""

STARTED_FROM = "POSCAR.start"
"""The runner's copy of the POSCAR that a relaxation was first launched from."""

CUSTODIAN_STARTED_FROM = "POSCAR.orig"
"""Custodian's copy of the POSCAR it was started with."""

LARGEST_POSCAR_BYTES = 5_000_000
"""A larger POSCAR is not one of ours (chosen)."""


class Cell(NamedTuple):
    """A cell as numbers: lattice vectors (3, 3) in A, symbols, fractional coordinates (n, 3)."""

    lattice: np.ndarray
    symbols: tuple[str, ...]
    places: np.ndarray


def composition_differs(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 320 when the cell, or its repetition, holds other atoms than the ticket's."""
    found = {e: int(n) for e, n in output.structure.composition.get_el_amt_dict().items()}
    times = math.prod(step.supercell or (1,))
    wanted = {element: times * number for element, number in ticket.cell.items()}
    if found == wanted:
        return None
    return Rejection("320", f"the cell holds {_words(found)}, the ticket {_words(wanted)}")


def start_differs(
    ticket: Ticket, step: TicketStep, outputs: Mapping[str, StepOutput], folder: Path
) -> Rejection | None:
    """Return code 320 when a step did not start where it should, or atoms moved that should not.

    Parameters
    ----------
    ticket : Ticket
    step : TicketStep
    outputs : mapping of str to StepOutput
        Of this step and those before it.
    folder : Path
        Of the step.
    """
    output = outputs[step.name]
    wanted = _wanted_start(ticket, step, outputs)
    if output.initial is None or wanted is None:
        return None
    cell, source = wanted
    begun = cell_of(output.initial)
    difference = difference_of(cell, begun)
    if difference and step.relaxes:
        earlier = next(_begun_before(folder), None)
        if earlier is not None and begun.symbols == cell.symbols:
            difference = difference_of(cell, earlier)
    if difference:
        return Rejection("320", f"{step.name} did not start from {source}: {difference}")
    if not step.relaxes and step.settings.get("NSW") == "0":
        moved = difference_of(begun, cell_of(output.structure))
        if moved:
            return Rejection("320", f"{step.name} should move nothing: {moved}")
    return None


def _wanted_start(
    ticket: Ticket, step: TicketStep, outputs: Mapping[str, StepOutput]
) -> tuple[Cell, str] | None:
    """Return the cell a step has to start from, and whose it is; None where that is not known.

    Runners of the time of tickets without a geometry kept no start of a continued relaxation.
    """
    if step.structure_from is None:
        if ticket.geometry is None:
            return None
        return cell_asked(ticket.geometry), "the cell that was handed off"
    if step.structure_from not in outputs or (ticket.geometry is None and step.relaxes):
        return None
    former = cell_of(outputs[step.structure_from].structure)
    return repeated(former, step.supercell or (1, 1, 1)), f"the end of {step.structure_from}"


def _begun_before(folder: Path) -> Iterator[Cell]:
    """Yield the cell from which a relaxation that was continued was first launched."""
    names = [STARTED_FROM]
    changes = custodian_changes(folder)
    if not isinstance(changes, Rejection):
        touched = any(change["file"] in ("POSCAR", "CONTCAR") for change in changes)
        names += [CUSTODIAN_STARTED_FROM] if touched else []
    for name in names:
        cell = _read_poscar(folder / name)
        if cell is not None:
            yield cell


def _read_poscar(path: Path) -> Cell | None:
    from pymatgen.io.vasp import Poscar

    try:
        text = small_file(path, path.parent.parent, LARGEST_POSCAR_BYTES).decode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cell_of(Poscar.from_str(text).structure)
    except Exception:  # missing, or anything else: pymatgen lets any exception out
        return None


def cell_of(structure: Structure) -> Cell:
    """Return a structure as numbers."""
    symbols = tuple(site.specie.symbol for site in structure)
    return Cell(np.array(structure.lattice.matrix), symbols, np.array(structure.frac_coords))


def cell_asked(geometry: Geometry) -> Cell:
    """Return the cell of a ticket as numbers."""
    places = np.array([site[1:] for site in geometry.sites])
    return Cell(np.array(geometry.lattice_A), tuple(site[0] for site in geometry.sites), places)


def repeated(cell: Cell, times: tuple[int, int, int]) -> Cell:
    """Return a cell repeated along its edges; copies of an atom stand together."""
    n = np.array(times)
    copies = np.array(list(itertools.product(*(range(k) for k in times))))
    places = (cell.places[:, None, :] + copies[None, :, :]) / n
    symbols = tuple(symbol for symbol in cell.symbols for _ in copies)
    return Cell(cell.lattice * n[:, None], symbols, places.reshape(-1, 3))


def difference_of(wanted: Cell, found: Cell) -> str:
    """Say how two cells differ by more than written digits; empty where they do not."""
    if wanted.symbols != found.symbols:
        return "its atoms are others, or in another order"
    edges = np.abs(found.lattice - wanted.lattice)
    if not (edges <= SAME_PLACE_A).all():
        ratio = abs(np.linalg.det(found.lattice) / np.linalg.det(wanted.lattice)) - 1
        return f"a lattice vector is {edges.max():.4f} A off, the volume {100 * ratio:+.1f} %"
    steps = found.places - wanted.places
    off = np.linalg.norm((steps - np.round(steps)) @ wanted.lattice, axis=1)
    return "" if (off <= SAME_PLACE_A).all() else f"an atom is {off.max():.4f} A off"


def _words(cell: Mapping[str, int]) -> str:
    return " ".join(f"{element}{number}" for element, number in sorted(cell.items()))
