"""Whether a step was calculated with the settings it was asked for: serves collect.

In: a ticket's step and what VASP says it used. Out: nothing, or code 300 with a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dft_inputs.ticket import DECIDING_TAGS
from structure.errors import Rejection

if TYPE_CHECKING:
    from dft_inputs.outputs import StepOutput
    from dft_inputs.ticket import Ticket, TicketStep


def settings_differ(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 300 when a tag that decides the numbers, or the mesh, is another one.

    Corrections that only change how VASP gets there (ALGO, SYMPREC, POTIM ...) stay valid, and so
    do a tighter EDIFF and a denser mesh.
    """
    for tag in DECIDING_TAGS:
        wanted, used = step.settings.get(tag), output.settings.get(tag)
        if tag == "ENCUT":
            used = output.settings.get("ENMAX", used)
        if wanted is None and tag not in ("METAGGA", "LHFCALC", "LDAU"):
            continue
        if not _same(tag, wanted, used):
            return Rejection("300", f"{tag} was {used}, the recipe says {wanted or 'not set'}")
    if (
        step.mesh
        and output.mesh
        and any(a < b for a, b in zip(output.mesh, step.mesh, strict=True))
    ):
        return Rejection("300", f"mesh {output.mesh} is coarser than {step.mesh}")
    return None


def _same(tag: str, wanted: str | None, used: object) -> bool:
    if wanted is None:
        return used is None or str(used).strip().upper() in ("", "F", "FALSE", "NONE", "--")
    if used is None:
        return False
    words, others = wanted.split(), _listed(used)
    if len(words) != len(others):
        return False
    for a, b in zip(words, others, strict=True):
        try:
            x, y = float(a), float(b)
        except ValueError:
            if _logical(a) != _logical(b):
                return False
            continue
        tighter = (tag == "EDIFF" and y <= x) or (tag == "EDIFFG" and x <= y < 0)
        if not tighter and abs(x - y) > 1e-6 * max(1.0, abs(x)):
            return False
    return True


def _listed(used: object) -> list[str]:
    if isinstance(used, list | tuple):
        return [str(u) for u in used]
    return str(used).split()


def _logical(word: str) -> str:
    """Return a word in upper case, logicals by their first letter."""
    upper = word.strip(".").upper()
    return upper[0] if upper in ("T", "F", "TRUE", "FALSE") else upper
