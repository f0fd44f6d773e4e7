"""Whether a step was calculated with the settings it was asked for: serves collect.

In: a ticket's step, the INCAR that came back, and what VASP says it read and used. Out: nothing, or
code 300 with a sentence. A tag may differ where it is known to be harmless, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dft_inputs.job.untrusted import shown, small_file, why
from dft_inputs.vasp.asked.points import points_differ
from dft_inputs.vasp.asked.tags import (
    ALIASES,
    DEFAULTS,
    HARMLESS,
    LOOSEST_SYMPREC_A,
    OPTIMISER,
    SELF_CONSISTENT,
    SELF_CONSISTENT_IALGO,
    number_of,
    read_incar,
    same,
    words_of,
)
from structure.errors import Rejection

if TYPE_CHECKING:
    from dft_inputs.job.ticket import Ticket, TicketStep
    from dft_inputs.vasp.outputs import StepOutput

LARGEST_INCAR_BYTES = 1_000_000
"""A larger INCAR is not one of ours (chosen)."""

DECIDING_TAGS = (
    "ENCUT EDIFF EDIFFG GGA METAGGA LHFCALC ISMEAR SIGMA ISIF ISPIN ICHARG LREAL LASPH "
    "LDAU LDAUTYPE LDAUU LDAUJ LDAUL IBRION"
).split()
"""INCAR tags that VASP has to name among those it used, if they were asked for."""

UNSAID_BEFORE = frozenset("MAGMOM LMAXMIX NSW POTIM NFREE LEPSILON NBANDS".split())
"""Tags that recipes set and tickets of older releases, which hold no geometry, do not name."""

ONLY_WHEN_GIVEN = frozenset({"MAGMOM", "NBANDS"})
"""Tags of which VASP lists a value of its own where INCAR has none."""


ELECTRON = 0.01
"""NELECT and the sum of valences are the same number where they differ by less (chosen)."""


@dataclass(frozen=True)
class _Asked:
    """What a step was asked for, as far as it decides whether another value matters.

    Attributes
    ----------
    tags : mapping of str to str
    relaxes : bool
    unsaid : frozenset of str
        Tags that the ticket should say and does not.
    fewest_bands : float
        As many as VASP takes by itself.
    """

    tags: Mapping[str, str]
    relaxes: bool
    unsaid: frozenset[str]
    fewest_bands: float

    @property
    def displaces(self) -> bool:
        """Whether atoms are displaced for force constants: then how far is part of the question."""
        return number_of(self.tags.get("IBRION")) in (5, 6, 7, 8)


def settings_differ(ticket: Ticket, step: TicketStep, output: StepOutput) -> Rejection | None:
    """Return code 300 when a tag that is not harmless, the mesh or the path is another one.

    Corrections that only change how VASP gets there (ALGO, SYMPREC, POTIM ...) stay valid, and so
    do a tighter EDIFF and a denser mesh.
    """
    asked = _asked(ticket, step, output)
    compared = ({*asked.tags, *DEFAULTS, *RULES} - ONLY_WHEN_GIVEN) | set(asked.tags)
    used = output.settings if output.incar is None else output.parameters
    claims = [*(output.incar or {}).items()]
    for tag, value in used.items():
        if ALIASES.get(tag, tag) in compared and not _cut_off(asked.tags.get(tag), value):
            claims.append((tag, value))
    if (found := _first_difference(asked, claims)) is not None:
        return found
    said = {ALIASES.get(tag, tag) for tag in (*output.settings, *(tag for tag, _ in claims))}
    for tag in DECIDING_TAGS:
        if tag in asked.tags and tag not in said:
            return _is_another(asked, tag, None)
    electrons, neutral = number_of(output.settings.get("NELECT")), output.neutral_electrons
    if electrons is not None and neutral is not None and not abs(electrons - neutral) < ELECTRON:
        return Rejection("300", f"NELECT was {electrons:g}, the cell without a charge {neutral:g}")
    return points_differ(step, output)


def incar_differs(
    ticket: Ticket, step: TicketStep, output: StepOutput, folder: Path
) -> Rejection | None:
    """Return code 300 when the INCAR that came back asks for something else.

    vasprun.xml does not name every tag that VASP obeyed. Without an INCAR there is nothing to say.
    """
    try:
        text = small_file(folder / "INCAR", folder.parent, LARGEST_INCAR_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Rejection("300", f"INCAR cannot be read: {why(error)}")
    asked = _asked(ticket, step, output)
    claims = read_incar(text.decode(errors="replace"))
    if (found := _first_difference(asked, claims)) is not None:
        return found
    missing = asked.tags.keys() - {ALIASES.get(tag, tag) for tag, _ in claims}
    needed = (tag for tag in sorted(missing) if not _may_be_missing(asked, tag))
    return next((_is_another(asked, tag, None) for tag in needed), None)


def _asked(ticket: Ticket, step: TicketStep, output: StepOutput) -> _Asked:
    complete = ticket.geometry is not None
    electrons = number_of(output.settings.get("NELECT")) or 0.0
    return _Asked(
        tags=step.settings if complete else {"PREC": "Accurate", **step.settings},
        relaxes=step.relaxes,
        unsaid=frozenset() if complete else UNSAID_BEFORE - set(step.settings),
        fewest_bands=(electrons + len(output.structure)) // 2,
    )


def _cut_off(wanted: object, used: object) -> bool:
    """Return whether VASP lists the first of several values only, as it does with LDAUU."""
    first = words_of(used)
    return len(first) == 1 < len(words_of(wanted)) and same("", words_of(wanted)[:1], first)


def _first_difference(asked: _Asked, claims: Iterable[tuple[str, object]]) -> Rejection | None:
    named = ((ALIASES.get(tag, tag), used) for tag, used in claims)
    others = ((tag, used) for tag, used in named if not _accepts(asked, tag, used))
    return next((_is_another(asked, tag, used) for tag, used in others), None)


def _is_another(asked: _Asked, tag: str, used: object) -> Rejection:
    parts = used if isinstance(used, list | tuple) else [used]
    words = " ".join(str(part) for part in parts)[:60] if used is not None else "not set"
    wanted = asked.tags.get(tag, "not set")
    return Rejection("300", shown(f"{tag} was {words}, the recipe says {wanted}"))


def _accepts(asked: _Asked, tag: str, used: object) -> bool:
    """Return whether a step that was calculated with this value is the one that was asked for."""
    if tag in HARMLESS or (tag in OPTIMISER and not asked.displaces):
        return True
    if tag in RULES:
        return RULES[tag](asked, used)
    return _as_asked(tag)(asked, used)


def _may_be_missing(asked: _Asked, tag: str) -> bool:
    """Return whether VASP's own choice is as good as what was asked for."""
    if tag in HARMLESS or tag in ("ALGO", "NELM", "ISYM", "NBANDS", "SYMPREC"):
        return True
    if tag in OPTIMISER:
        return not asked.displaces
    return any(_accepts(asked, tag, value) for value in DEFAULTS.get(tag, ()))


def _as_asked(tag: str) -> _Rule:
    def rule(asked: _Asked, used: object) -> bool:
        if tag in asked.unsaid:
            return True
        wanted = (asked.tags[tag],) if tag in asked.tags else DEFAULTS.get(tag, ())
        return any(same(tag, word, used) for word in wanted)

    return rule


def _at_least(tag: str, by_itself: Callable[[_Asked], float]) -> _Rule:
    def rule(asked: _Asked, used: object) -> bool:
        fewest, number = number_of(asked.tags.get(tag)), number_of(used)
        return number is not None and number >= (by_itself(asked) if fewest is None else fewest)

    return rule


def _one_of(*numbers: float) -> _Rule:
    return lambda asked, used: number_of(used) in numbers


def _steps(asked: _Asked, used: object) -> bool:
    """Accept any number of relaxation steps, and of displacements, which VASP counts itself."""
    number = number_of(used)
    if asked.relaxes or asked.displaces:
        return number is not None and number > (1 if asked.relaxes else 0)
    return _as_asked("NSW")(asked, used)


def _optimiser(asked: _Asked, used: object) -> bool:
    return number_of(used) in (1, 2, 3) if asked.relaxes else _as_asked("IBRION")(asked, used)


def _algo(asked: _Asked, used: object) -> bool:
    number = number_of(used)  # VASP takes one of IALGO, too
    words = set(words_of(used)[:1])
    return number in SELF_CONSISTENT_IALGO if number is not None else words <= SELF_CONSISTENT


def _symprec(asked: _Asked, used: object) -> bool:
    return 0 < (number_of(used) or 0.0) <= LOOSEST_SYMPREC_A


def _start_of_density(asked: _Asked, used: object) -> bool:
    """Accept any start of a density that is made self-consistent afterwards."""
    given = number_of(asked.tags.get("ICHARG"))
    return number_of(used) == given if given is not None else number_of(used) in (0, 1, 2)


def _moments(asked: _Asked, used: object) -> bool:
    spin_paired = number_of(asked.tags.get("ISPIN")) == 1
    return spin_paired or _as_asked("MAGMOM")(asked, used)


_Rule = Callable[[_Asked, object], bool]

RULES: Mapping[str, _Rule] = {
    "ALGO": _algo,
    "IALGO": _one_of(*SELF_CONSISTENT_IALGO),
    "IBRION": _optimiser,
    "ICHARG": _start_of_density,
    "ISTART": _one_of(0, 1),
    "ISYM": _one_of(-1, 0, 1, 2, 3),
    "LMAXMIX": _at_least("LMAXMIX", lambda asked: 2),
    "MAGMOM": _moments,
    "NBANDS": _at_least("NBANDS", lambda asked: asked.fewest_bands),
    "NELM": lambda asked, used: (number_of(used) or 0.0) > 1,
    "NSW": _steps,
    "SYMPREC": _symprec,
}
"""Tags that may differ within limits: a value that only leads to the same ground state by another
way, or gives more room than was asked for."""
