"""Whether a step was calculated with the potentials it was asked for: serves collect.

In: a ticket and the titles of the potentials VASP used. Out: nothing, or code 310 with a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from structure.errors import Rejection

if TYPE_CHECKING:
    from dft_inputs.outputs import StepOutput
    from dft_inputs.ticket import Ticket, TicketStep


def potentials_differ(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 310 when a TITEL is not of the symbol in POTCAR.spec."""
    used = tuple([*title.split(), "", ""][1] for title in output.titles)
    if used == ticket.potcar_symbols:
        return None
    return Rejection(
        "310", f"potentials {' '.join(used)} were used, wanted {' '.join(ticket.potcar_symbols)}"
    )
