"""Small files in VASP's format, with what a test is about and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ALL_TERMS = ("alphaZ", "ewald", "hartreedc", "XCdc", "pawpsdc", "pawaedc", "eentropy", "bandstr")
NAMES = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
USUAL = {"NELM": 60, "NSW": 0, "IBRION": -1, "EDIFFG": 1e-4, "ISPIN": 1}
WHOLE_NUMBERS = ("NELM", "NSW", "IBRION", "ISPIN")
OUTCAR = " General timing and accounting informations for this job:\n"
REACHED = " reached required accuracy - stopping structural energy minimisation\n"


@dataclass(frozen=True)
class Energies:
    """Energies of one step in eV; `added` comes after the last electronic cycle."""

    free: float = -10.0
    entropy: float = 0.0
    order: int = 0
    added: float = 0.0

    @property
    def zero(self) -> float:
        """Extrapolated to zero smearing, by VASP's formula for smearing of that order."""
        return self.free - self.entropy / (2 + self.order)

    def cycle(self) -> tuple[float, float, float]:
        return self.free, self.free - self.entropy, self.zero

    def after(self, old: bool) -> tuple[float, float, float]:
        free, zero = self.free + self.added, self.zero + self.added
        return (free, zero, self.entropy) if old else (free, free - self.entropy, zero)


@dataclass(frozen=True)
class Calculation:
    """One ionic step: cycles of the ground state and of a response, largest force in eV/A."""

    energies: Energies = field(default_factory=Energies)
    cycles: int = 9
    response: int = 0
    force: float = 0.0
    old: bool = False

    def text(self) -> str:
        lines = ["<calculation>"]
        for number in range(self.cycles):
            terms = ALL_TERMS if number in (0, self.cycles - 1) else ()
            lines.append(f"<scstep>{_energy(self.energies.cycle(), terms)}</scstep>")
        lines += [f"<scstep>{_energy((-0.5, -0.5, -0.5))}</scstep>"] * self.response
        lines += [_structure(), _rows("forces", [[self.force, 0, 0], [-self.force, 0, 0]])]
        return "\n".join([*lines, _energy(self.energies.after(self.old)), ""])


def _energy(values: Sequence[float], terms: Sequence[str] = ()) -> str:
    items = [(term, 0.0) for term in terms] + list(zip(NAMES, values, strict=True))
    return "<energy>" + "".join(f'<i name="{n}">{v:.8f}</i>' for n, v in items) + "</energy>"


def _rows(name: str, rows: Sequence[Sequence[float]]) -> str:
    inner = "".join(f"<v>{' '.join(f'{x:.8f}' for x in row)}</v>" for row in rows)
    return f'<varray name="{name}">{inner}</varray>'


def _structure(name: str = "") -> str:
    cell = _rows("basis", 4.0 * np.eye(3))
    label = f' name="{name}"' if name else ""
    crystal = f'<crystal>{cell}<i name="volume">64.0</i></crystal>'
    return f"<structure{label}>{crystal}{_rows('positions', [[0, 0, 0], [0.5] * 3])}</structure>"


def eigenvalues(channels: Sequence[np.ndarray]) -> str:
    """Return the eigenvalues of arrays of shape (k-points, bands, 2), one for each spin."""
    lines = ["<eigenvalues><array><set>"]
    for spin, channel in enumerate(channels, 1):
        lines.append(f'<set comment="spin {spin}">')
        for number, bands in enumerate(channel, 1):
            rows = "".join(f"<r>{energy:.4f} {share:.4f}</r>" for energy, share in bands)
            lines.append(f'<set comment="kpoint {number}">{rows}</set>')
        lines.append("</set>")
    return "\n".join([*lines, "</set></array></eigenvalues>"])


def insulator() -> list[np.ndarray]:
    """Return four full bands, 2 eV, and two empty ones, at one k-point."""
    levels = [[-3.0, 1.0], [-2.0, 1.0], [-1.0, 1.0], [0.0, 1.0], [2.0, 0.0], [3.0, 0.0]]
    return [np.array([levels])]


def vasprun(
    calculations: Sequence[Calculation] = (Calculation(),),
    parameters: Mapping[str, object] | None = None,
    channels: Sequence[np.ndarray] | None = None,
    weights: Sequence[float] | None = None,
    more: str = "",
) -> str:
    """Return a vasprun.xml of MgO in a cube of 4 A; `more` ends its parameters.

    The parameters have 8 electrons unless they say otherwise; one that is None is left out.
    """
    channels = insulator() if channels is None else channels
    points = len(channels[0]) if channels else 1
    weights = [1 / points] * points if weights is None else weights
    values = {**USUAL, "NELECT": 8.0, **(parameters or {})}
    kinds = {True: ' type="int"', False: ""}
    written = "".join(
        f'<i{kinds[name in WHOLE_NUMBERS]} name="{name}">{value}</i>'
        for name, value in values.items()
        if value is not None and not isinstance(value, bool)
    ) + "".join(
        f'<i type="logical" name="{name}">{"T" if value else "F"}</i>'
        for name, value in values.items()
        if isinstance(value, bool)
    )
    types = "".join(
        f"<rc><c>1</c><c>{e}</c><c>10.0</c><c>{v}</c><c>PAW_PBE {e} 01Jan2026</c></rc>"
        for e, v in (("Mg", 2.0), ("O ", 6.0))
    )
    atoms = "".join(f"<rc><c>{e}</c><c>{n}</c></rc>" for e, n in (("Mg", 1), ("O ", 2)))
    last = [c.text() for c in calculations]
    if last:
        last[-1] += eigenvalues(channels) if channels else ""
    return "\n".join(
        [
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>',
            '<generator><i name="version" type="string">0.0</i></generator>\n<incar></incar>',
            '<kpoints><generation param="Gamma"><v type="int" name="divisions">3 3 3</v>',
            f"</generation>{_rows('kpointlist', [[n / points, 0, 0] for n in range(points)])}",
            f"{_rows('weights', [[w] for w in weights])}</kpoints>",
            f"<parameters>{written}{more}</parameters>\n<atominfo>",
            f'<array name="atoms"><set>{atoms}</set></array>',
            f'<array name="atomtypes"><set>{types}</set></array>\n</atominfo>',
            _structure("initialpos"),
            *(f"{text}</calculation>" for text in last),
            f"{_structure('finalpos')}\n</modeling>\n",
        ]
    )


def written(folder: Path, text: str, outcar: str | None = None) -> Path:
    """Write a step folder with a vasprun.xml, a CONTCAR and perhaps an OUTCAR."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vasprun.xml").write_text(text)
    rows = "4.0 0 0\n0 4.0 0\n0 0 4.0\nMg O\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
    (folder / "CONTCAR").write_text(f"MgO\n1.0\n{rows}")
    if outcar is not None:
        (folder / "OUTCAR").write_text(outcar)
    return folder
