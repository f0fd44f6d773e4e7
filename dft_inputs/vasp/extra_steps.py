"""What the optional steps of a DFT job give: serves collect.

In: a job folder, its ticket and the judgement on it. Out: elastic moduli, phonons and their
picture, with a sentence on each verdict and on everything that could not be read. None of it
decides over the job: its energy and gap are kept in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dft_inputs.job.findings import Judgement
from dft_inputs.job.ticket import Ticket, TicketStep
from dft_inputs.properties.corrections import elasticity
from dft_inputs.properties.phonon_bands import band_picture
from dft_inputs.properties.phonons import read_phonons
from dft_inputs.vasp.outputs import elastic_tensor, phonon_frequencies
from structure.errors import CalculationError, Rejection


@dataclass
class Perturbed:
    """What was found.

    Attributes
    ----------
    properties : dict of str to float
        Named with their units; ``phonons_stable`` is 1 or 0.
    remarks : list of str
    pictures : dict of str to str
        SVG text by the word that ends the file's name.
    """

    properties: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)


def perturbed(folder: Path, ticket: Ticket, judgement: Judgement) -> Perturbed:
    """Read the optional steps of a job whose other results are good."""
    found = Perturbed(remarks=list(judgement.remarks))
    for step in ticket.steps:
        if step.name not in judgement.outputs:
            continue
        if step.name.endswith("-elastic"):
            _add_moduli(found, folder / step.name)
        if step.name.endswith("-dfpt"):
            _add_gamma(found, folder / step.name)
        if step.supercell is not None:
            _add_phonons(found, folder / step.name, ticket, step)
    return found


def _add_moduli(found: Perturbed, place: Path) -> None:
    tensor = elastic_tensor(place)
    if isinstance(tensor, Rejection):
        found.remarks.append(tensor.sentence)
        return
    try:
        moduli = elasticity(tensor)
    except CalculationError as error:
        found.remarks.append(f"{place.name}: {error.what}")
        return
    found.properties |= {
        "bulk_modulus_GPa": moduli.bulk,
        "shear_modulus_GPa": moduli.shear,
        "youngs_modulus_GPa": moduli.young,
        "smallest_elastic_eigenvalue_GPa": moduli.smallest_eigenvalue,
    }


def _add_gamma(found: Perturbed, place: Path) -> None:
    """Add the phonons at Gamma; without phonopy VASP's own, whose acoustic ones are not zero."""
    phonons = read_phonons(place, None)
    if isinstance(phonons, Rejection):
        found.remarks.append(phonons.sentence)
        frequencies = phonon_frequencies(place)
        if not isinstance(frequencies, Rejection):
            found.properties["lowest_phonon_at_gamma_THz"] = float(frequencies.min())
        return
    found.properties["lowest_phonon_at_gamma_THz"] = phonons.lowest_THz
    found.remarks.append(phonons.sentence)


def _add_phonons(found: Perturbed, place: Path, ticket: Ticket, step: TicketStep) -> None:
    phonons = read_phonons(place, step.supercell)
    if isinstance(phonons, Rejection):
        found.remarks.append(phonons.sentence)
        return
    found.properties["lowest_phonon_THz"] = phonons.lowest_THz
    found.properties["phonons_stable"] = float(phonons.stable)
    found.remarks.append(phonons.sentence)
    title = f"{ticket.formula} ({ticket.id})"
    found.pictures["phonons"] = band_picture(phonons.segments, title)
