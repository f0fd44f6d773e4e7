"""Whether a step calculated the crystal it was asked to: serves collect.

In: a ticket and what VASP wrote. Out: nothing, or code 320 with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from structure.errors import Rejection

if TYPE_CHECKING:
    from dft_inputs.outputs import StepOutput
    from dft_inputs.ticket import Ticket, TicketStep


def composition_differs(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 320 when the cell, or its repetition, holds other atoms than the ticket's."""
    found = {e: int(n) for e, n in output.structure.composition.get_el_amt_dict().items()}
    times = math.prod(step.supercell or (1,))
    wanted = {element: times * number for element, number in ticket.cell.items()}
    if found == wanted:
        return None
    return Rejection("320", f"the cell holds {_words(found)}, the ticket {_words(wanted)}")


def _words(cell: Mapping[str, int]) -> str:
    return " ".join(f"{element}{number}" for element, number in sorted(cell.items()))
