"""Whether calculations used the potentials they were asked for: serves collect.

In: tickets, the titles of the potentials VASP used, and what runners recorded of them. Out:
nothing, or codes 310 and 410 with a sentence. Of another functional's potential neither symbol nor
result tells; energies of two releases of a potential are not of one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dft_inputs.job.untrusted import shown
from structure.errors import Rejection

if TYPE_CHECKING:
    from dft_inputs.job.ticket import Ticket, TicketStep
    from dft_inputs.vasp.outputs import StepOutput

FAMILIES = {"PBE": "PAW_PBE", "LDA": "PAW", "PW91": "PAW_GGA"}
"""First word of a TITEL by the functional of pymatgen's name for the library, such as PBE_54. There
are ultrasoft potentials (US) and norm-conserving ones (NC) too, in no recipe."""


def potentials_differ(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 310 when a TITEL is not of the symbol in POTCAR.spec, or of its functional."""
    words = [[*title.split(), "", ""] for title in output.titles]
    used = tuple(title[1] for title in words)
    if used != ticket.potcar_symbols:
        wanted = " ".join(ticket.potcar_symbols)
        return Rejection("310", shown(f"potentials {' '.join(used)} were used, wanted {wanted}"))
    family = FAMILIES.get((ticket.potcar_functional or "").partition("_")[0])
    others = [" ".join(title).strip() for title in words if family not in (None, title[0])]
    if others:
        return Rejection("310", shown(f"{others[0]} was used, which is no {family} potential"))
    return None


def releases_mixed(step: TicketStep, outputs: Mapping[str, StepOutput]) -> Rejection | None:
    """Return code 310 when a step used other releases of its potentials than the first one."""
    first, used = next(iter(outputs.values())).titles, outputs[step.name].titles
    for before, now in zip(first, used, strict=False):
        if before.split() != now.split():
            return Rejection("310", shown(f"{now} was used, {before} in the first step"))
    return None


def other_release(
    own: Mapping[str, Any], reference: Mapping[str, Any], element: str
) -> Rejection | None:
    """Return code 410 when a compound's potential of an element is not that of its reference.

    Parameters
    ----------
    own, reference : mapping
        ``potentials`` of two results: titles and hashes of POTCARs. What one of them does not say
        is not compared.
    element : str
    """
    for own_name, its_name in zip(
        _names_of(own, element), _names_of(reference, element), strict=True
    ):
        if own_name and its_name and own_name != its_name:
            words = f"{element} was calculated with {own_name}, its reference with {its_name}"
            return Rejection("410", shown(f"{words}; calculate both with one release"))
    return None


def _names_of(potentials: Mapping[str, Any], element: str) -> tuple[str, str]:
    """Return an element's title and its hash; empty where it is not known."""
    titles, hashes = potentials.get("titel"), potentials.get("sha256_each")
    if not isinstance(titles, list | tuple):
        return "", ""
    whole = isinstance(hashes, list | tuple) and len(hashes) == len(titles)
    for place, title in enumerate(titles):
        words = [*str(title).split(), "", ""]
        if words[1].partition("_")[0] == element:
            digest = str(hashes[place]) if whole else ""  # type: ignore[index]
            return " ".join(words).strip(), f"a file of SHA-256 {digest[:12]}" if digest else ""
    return "", ""
