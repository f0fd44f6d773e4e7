"""What VASP left in a step folder: serves collect.

In: a step folder that came back, complete, cut off or hostile. Out: a `StepOutput`, or the reason
there is none. Numbers are taken from vasprun.xml only, with pymatgen, without looking at POTCARs;
OUTCAR is read for elastic constants and phonons, and for VASP's word that it ended a relaxation
itself, which are nowhere else. Files that would expand beyond bounds are refused before they are
read.
"""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dft_inputs.cluster.runner import deciding_cycles, reached_accuracy
from dft_inputs.job.untrusted import check_plain, check_xml_head, json_text, shown, why
from dft_inputs.vasp.asked.points import listed_mesh
from dft_inputs.vasp.band_gap import counted_gap
from dft_inputs.vasp.energies import cycles_of, total_energy
from structure.errors import Rejection

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.io.vasp import Vasprun

LARGEST_XML_BYTES = 1_000_000_000
"""A larger vasprun.xml is refused (chosen; 20 atoms and a dense mesh make some 50 MB)."""

MOST_XML_TAGS = 20_000_000
"""A vasprun.xml with more is refused (chosen): the parser keeps some 100 bytes of each. A file of
50 MB has 3 million."""

LARGEST_OUTCAR_BYTES = 2_000_000_000
"""No more of an OUTCAR is read than this (chosen)."""

MOST_OUTCAR_LINES = 30_000_000
"""Nor more lines (chosen: of 70 characters, as many as make the largest file)."""

LARGEST_CUSTODIAN_BYTES = 20_000_000
"""A larger custodian.json is refused (chosen)."""

LONGEST_LINE = 100_000
"""A longer line is not VASP's (chosen)."""

_TENSOR_HEAD = b"TOTAL ELASTIC MODULI (kBar)"
_PHONON = re.compile(rb"^\s*\d+ f(/i)?\s*=\s*([-\d.]+) THz")


@dataclass(frozen=True)
class StepOutput:
    """A finished step. Energies in eV, lengths in A, forces in eV/A.

    Attributes
    ----------
    step : str
    energy : float
        Total energy extrapolated to zero smearing.
    structure : Structure
        The last one.
    largest_force : float
    ionic_steps, ionic_limit, electronic_cycles, electronic_limit : int
        What was used of NSW and NELM by the ground state of the last ionic step, or of the slowest
        where forces are differenced.
    gap : float
        Fundamental gap over the step's k-points; 0 for a metal, infinite without empty bands.
    settings : dict of str to object
        INCAR and the parameters VASP used.
    mesh : tuple of int or None
        Gamma-centred divisions.
    titles : tuple of str
        TITEL of every potential.
    version : str
        VASP's.
    program : str
        Who wrote vasprun.xml, as it says itself: ``"vasp"``, or a program that stands in for it.
    incar : dict of str to object, or None
        The tags VASP found in INCAR.
    parameters : dict of str to object
        What VASP used, also where INCAR was silent.
    points : ndarray of float, shape (n, 3), or None
        Reciprocal coordinates of the k-points.
    initial : Structure or None
        The first one.
    neutral_electrons : float or None
        What the potentials bring: NELECT of a cell without a charge.
    reached : bool or None
        Whether VASP says that it ended a relaxation itself; None where no whole OUTCAR tells.
    """

    step: str
    energy: float
    structure: Structure = field(repr=False)
    largest_force: float
    ionic_steps: int
    ionic_limit: int
    electronic_cycles: int
    electronic_limit: int
    gap: float
    settings: dict[str, Any] = field(repr=False)
    mesh: tuple[int, ...] | None
    titles: tuple[str, ...]
    version: str
    incar: dict[str, Any] | None = field(default=None, repr=False)
    parameters: dict[str, Any] = field(default_factory=dict, repr=False)
    points: np.ndarray | None = field(default=None, repr=False)
    initial: Structure | None = field(default=None, repr=False)
    neutral_electrons: float | None = None
    reached: bool | None = None
    program: str = "vasp"


def read_step(folder: Path) -> StepOutput | Rejection:
    """Read one step folder.

    Returns
    -------
    StepOutput or Rejection
        Code ``"200"`` when vasprun.xml is missing, cut off, damaged or too large, or when the
        runner had to end the step in the middle of an electronic loop.
    """
    path = sound_xml(folder)
    if isinstance(path, Rejection):
        return path
    if (folder / "ABORTED").exists():
        return Rejection("200", f"{folder.name} was stopped before it had a result")
    try:
        return _parsed(folder, path)
    except Exception as error:  # pymatgen lets any exception out of a damaged file
        kind = type(error).__name__
        reason = shown((str(error).splitlines() or [""])[0][:200])
        return Rejection("200", f"{folder.name}/{path.name} cannot be read: {kind} {reason}")


def sound_xml(folder: Path) -> Path | Rejection:
    """Return the vasprun.xml of a step folder, packed or not, if it is safe to parse.

    Returns
    -------
    Path or Rejection
        Code ``"200"`` when it is missing, too large, no archive, or declares entities.
    """
    path = _present(folder, "vasprun.xml")
    if path is None:
        return Rejection("200", f"{folder.name}/vasprun.xml is missing")
    name = f"{folder.name}/{path.name}"
    try:
        check_plain(path, folder.parent)
        if size := _larger_than(path, LARGEST_XML_BYTES, MOST_XML_TAGS):
            return Rejection("200", f"{name} expands beyond {size}")
        with _opened(path) as handle:
            check_xml_head(handle.read(LONGEST_LINE), "modeling")
    except ValueError as error:
        return Rejection("200", f"{name} {error}")
    except (OSError, EOFError, zlib.error) as error:
        return Rejection("200", f"{name} cannot be read: {why(error)}")
    return path


def _parsed(folder: Path, path: Path) -> StepOutput:
    from dft_inputs.vasp.vasprun import parsed

    run = parsed(path, eigenvalues=True)
    last, ibrion = run.ionic_steps[-1], int(run.parameters.get("IBRION", -1))
    forces = np.asarray(last.get("forces", np.zeros((1, 3))), dtype=np.float64)
    energy = total_energy(last, float(run.parameters.get("PSTRESS", 0.0)))
    if not np.isfinite(forces).all():
        raise ValueError("forces are not finite")
    return StepOutput(
        step=folder.name,
        energy=energy,
        structure=run.final_structure,
        largest_force=float(np.linalg.norm(forces, axis=1).max()),
        ionic_steps=len(run.ionic_steps),
        ionic_limit=int(run.parameters.get("NSW", 0)),
        electronic_cycles=deciding_cycles([cycles_of(step) for step in run.ionic_steps], ibrion),
        electronic_limit=int(run.parameters.get("NELM", 60)),
        gap=_gap(run),
        settings={**run.parameters, **run.incar},
        mesh=listed_mesh(run.kpoints),
        titles=tuple(run.potcar_symbols),
        version=str(run.vasp_version),
        program=shown(str(run.generator.get("program", "vasp"))),
        incar=dict(run.incar),
        parameters=dict(run.parameters),
        points=np.array(run.actual_kpoints, dtype=np.float64).reshape(-1, 3),
        initial=run.initial_structure,
        neutral_electrons=run.neutral_electrons,
        reached=reached_accuracy(_outcar_lines(folder)) if ibrion in (1, 2, 3) else None,
    )


def _gap(run: Vasprun) -> float:
    """Return the gap of the eigenvalues, the last that vasprun.xml holds; infinite without any."""
    if not run.eigenvalues:
        return float("inf")
    channels = list(run.eigenvalues.values())
    if not all(np.isfinite(values).all() for values in channels):
        raise ValueError("eigenvalues are not finite")
    electrons = run.parameters.get("NELECT")
    spinors = any(run.parameters.get(tag) for tag in ("LNONCOLLINEAR", "LSORBIT"))
    weights = run.actual_kpoints_weights
    return counted_gap(channels, weights, float(electrons) if electrons else None, spinors)


def custodian_changes(folder: Path) -> list[dict[str, Any]] | Rejection:
    """Return what custodian changed in a step: file or dict, tag, value.

    Returns
    -------
    list of dict, or Rejection
        Keys ``file``, ``tag`` and ``value`` (``tag`` is None for whole files); code ``"200"`` for a
        ``custodian.json`` that cannot be read.
    """
    path = _present(folder, "custodian.json")
    if path is None:
        return []
    try:
        check_plain(path, folder.parent)
        if _larger_than(path, LARGEST_CUSTODIAN_BYTES):
            raise ValueError("it is too large")
        with _opened(path) as handle:
            runs = json_text(handle.read())
        changes = []
        for correction in itertools.chain.from_iterable(run["corrections"] for run in runs):
            for action in correction.get("actions") or []:
                name = action.get("dict") or action.get("file")
                for tag, value in action["action"].get("_set", {"": None}).items():
                    changes.append({"file": name, "tag": tag or None, "value": value})
        return changes
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zlib.error):
        return Rejection("200", f"{folder.name}/custodian.json cannot be read")


def elastic_tensor(folder: Path) -> np.ndarray | Rejection:
    """Return VASP's total elastic moduli in kBar, order xx yy zz xy yz zx, shape (6, 6)."""
    rows: list[list[float]] = []
    inside = False
    for line in _outcar_lines(folder):
        if _TENSOR_HEAD in line:
            inside, rows = True, []
        elif inside and line[:4].strip() in (b"XX", b"YY", b"ZZ", b"XY", b"YZ", b"ZX"):
            rows.append([float(x) for x in line.split()[1:7]])
            inside = len(rows) < 6
    if len(rows) != 6 or any(len(row) != 6 for row in rows):
        return Rejection("200", f"{folder.name}/OUTCAR holds no elastic moduli")
    return np.array(rows)


def phonon_frequencies(folder: Path) -> np.ndarray | Rejection:
    """Return the frequencies at Gamma in THz; imaginary ones are negative."""
    found: list[float] = []
    for line in _outcar_lines(folder):
        if b"Eigenvectors and eigenvalues of the dynamical matrix" in line:
            found = []
        elif match := _PHONON.match(line):
            found.append(-float(match[2]) if match[1] else float(match[2]))
    if not found:
        return Rejection("200", f"{folder.name}/OUTCAR holds no phonons")
    return np.array(found)


def _outcar_lines(folder: Path) -> Iterator[bytes]:
    """Yield the lines of an OUTCAR, no more and no longer than VASP writes them."""
    path = _present(folder, "OUTCAR")
    if path is None:
        return
    read = 0
    try:
        check_plain(path, folder.parent)
        with _opened(path) as handle:
            for _ in range(MOST_OUTCAR_LINES):
                line = handle.readline(LONGEST_LINE)
                read += len(line)
                if not line or read > LARGEST_OUTCAR_BYTES:
                    return
                yield line
    except (OSError, EOFError, zlib.error):
        return


def _present(folder: Path, name: str) -> Path | None:
    """Return a file or its packed form; of both the newer.

    A folder that came back twice, before and after a job was run again, has the old text beside the
    packed one.
    """
    found = []
    for path in (folder / f"{name}.gz", folder / name):
        with suppress(OSError):  # a link to nowhere, or moved away
            found.append((path.stat().st_mtime_ns, path))
    return max(found, key=lambda one: one[0], default=(0, None))[1]


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _larger_than(path: Path, limit: int, most_tags: int | None = None) -> str | None:
    """Return what a file, uncompressed, has too much of; a damaged archive is an OSError."""
    if path.suffix != ".gz" and path.stat().st_size > limit:
        return f"{limit} bytes"
    if path.suffix != ".gz" and most_tags is None:
        return None
    total = tags = 0
    with _opened(path) as handle:
        while block := handle.read(1 << 20):
            total += len(block)
            tags += block.count(b"<")
            if total > limit:
                return f"{limit} bytes"
            if most_tags is not None and tags > most_tags:
                return f"{most_tags} tags"
    return None
