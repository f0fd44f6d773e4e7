"""GPAW jobs for the hand-off step: a real DFT engine on the machine at hand.

In: a structure and a recipe of engine gpaw. Out: a job directory of the same layout as VASP's,
holding ``00-ground-state/gpaw.json``; once it has run, in a batch or by `run_job`, a `GpawResult`
or the reason there is none. GPAW itself runs in a process of its own under the interpreter that has
it (Debian's packages ``gpaw`` and ``gpaw-data`` come with the system Python), so that it need not
be installed here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, ValidationError, model_validator

from dft_inputs.batch.cluster_settings import script
from dft_inputs.cluster.gpaw_worker import question_sha256
from dft_inputs.job.folder import Job, first_status
from dft_inputs.job.ticket import Role, Ticket, content_hash, new_ticket, ticket_steps
from dft_inputs.job.treatment import CRYSTAL, Treatment
from dft_inputs.job.untrusted import json_of, shown, why
from dft_inputs.recipes.recipe import GpawSettings
from dft_inputs.recipes.shipped import GPAW
from structure.errors import CalculationError, Rejection
from structure.files import write_json, write_text
from structure.records import Record

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.recipes.recipe import Recipe

GPAW_ELEMENTS = frozenset(
    """H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se
    Br Kr Rb Sr Y Zr Nb Mo Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba Hf Ta W Re Os Ir Pt Au Hg Tl Pb
    Bi Rn""".split()
)
"""Elements with a PBE setup in Debian's gpaw-data: no Tc, no lanthanides, no actinides."""

PYTHON_VARIABLE = "AGD_GPAW_PYTHON"
"""Environment variable that names the interpreter with GPAW."""

DEFAULT_PYTHON = "/usr/bin/python3"

INPUT, RESULT = "gpaw.json", "gpaw-result.json"

LARGEST_RESULT_BYTES = 1_000_000
"""A larger result or input file is not one of ours (chosen)."""

OWN_CODES = ("200", "210")
"""Codes that the worker may give a calculation; any other one is not its own."""

GAP_TOLERANCE_EV = 1e-6
"""Rounding between gaps of one calculation."""

WORKER = Path(__file__).parents[1] / "cluster" / "gpaw_worker.py"


class GpawResult(Record):
    """What a finished GPAW job says. Energies in eV; gaps are None for references.

    Attributes
    ----------
    energy_eV : float
        Total energy of the cell, extrapolated to zero smearing.
    gap_eV, direct_gap_eV : float or None
        Over mesh and band path together; 0 for a metal.
    gap_mesh_eV, gap_path_eV : float or None
    valence_top_k, conduction_bottom_k : tuple of float or None
        Where the band edges were found, in reciprocal lattice coordinates.
    mesh : tuple of int
    setups : tuple of str
        Element and fingerprint of each PAW setup.
    question_sha256 : str or None
        Hash of the input that was calculated; None in results of older releases.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    id: str
    recipe_hash: str
    energy_eV: float
    gap_eV: float | None = None
    direct_gap_eV: float | None = None
    gap_mesh_eV: float | None = None
    gap_path_eV: float | None = None
    valence_top_k: tuple[float, ...] | None = None
    conduction_bottom_k: tuple[float, ...] | None = None
    mesh: tuple[int, int, int]
    irreducible_points: int
    iterations: int
    magnetic_moment: float
    setups: tuple[str, ...]
    seconds: float
    gpaw_version: str
    question_sha256: str | None = None

    @model_validator(mode="after")
    def _gaps_agree(self) -> GpawResult:
        own = (self.gap_eV, self.gap_mesh_eV, self.gap_path_eV, self.direct_gap_eV)
        gaps = [gap for gap in own if gap is not None]
        if any(gap < 0 for gap in gaps):
            raise ValueError("a gap is below zero")
        if self.gap_eV is not None and self.gap_eV > min(gaps) + GAP_TOLERANCE_EV:
            raise ValueError("the gap is larger than that of the mesh or the path")
        return self


def unsupported(elements: Iterable[str]) -> Rejection | None:
    """Return why GPAW cannot calculate a compound of these elements, or None if it can."""
    missing = sorted(set(elements) - GPAW_ELEMENTS)
    if not missing:
        return None
    return Rejection("gpaw-element", f"GPAW's data has no PBE setup for {', '.join(missing)}")


def gpaw_job(
    structure: Structure,
    recipe: Recipe,
    *,
    formula: str,
    role: Role = "candidate",
    story: Mapping[str, Any] | None = None,
    treatment: Treatment = CRYSTAL,
) -> Job | Rejection:
    """Prepare one GPAW job.

    Parameters
    ----------
    structure : Structure
        Calculated as it is, in this setting.
    recipe : Recipe
        Of engine gpaw.
    formula : str
        Reduced formula the job answers for.
    role : {"candidate", "reference", "competing"}
    story : mapping, optional
        JSON-ready; goes into the ticket as it is.
    treatment : Treatment

    Returns
    -------
    Job or Rejection
        Code ``"gpaw-element"`` for an element without a setup.

    Raises
    ------
    CalculationError
        If the recipe is one of another engine.
    """
    step = recipe.steps[0]
    if step.gpaw is None:
        raise CalculationError(
            f"recipe {recipe.name} is one of engine {recipe.engine}: it has no settings for GPAW"
        )
    symbols = [site.specie.symbol for site in structure]
    refusal = unsupported(symbols)
    if refusal is not None:
        return refusal
    moments = treatment.magnetic_moments
    digest = content_hash(structure, recipe.hash, _marks(treatment.kind, moments))
    steps = ticket_steps(recipe, role)
    ticket = new_ticket(structure, recipe, digest, steps, formula=formula, role=role, story=story)
    document = {
        "id": ticket.id,
        "recipe_hash": recipe.hash,
        "kind": treatment.kind,
        "gap": role != "reference",
        "magnetic_moments": treatment.magnetic_moments,
        "time_limit_s": treatment.time_limit_s,
        "settings": step.gpaw.model_dump(),
        "structure": {
            "lattice": structure.lattice.matrix.tolist(),
            "species": symbols,
            "frac_coords": structure.frac_coords.tolist(),
        },
    }
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    run = script("run.sh").replace("/runner.py", "/gpaw_runner.py")
    return Job(ticket, {"run.sh": run, f"{step.name}/{INPUT}": text})


def _marks(kind: str, moments: Iterable[float] | None) -> tuple[str, ...]:
    """Return what is part of the question beside the structure, as potentials are for VASP."""
    return (kind, *(f"{moment:g}" for moment in moments or ()))


def write_job(folder: Path, job: Job) -> None:
    """Write a single job directory; the ticket comes last, so that a half-written one is none."""
    for name, text in job.files.items():
        write_text(folder / name, text)
    write_text(folder / "STATUS.json", first_status(job.ticket))
    write_text(folder / "ticket.json", job.ticket.text())


def interpreter() -> str:
    """Return the Python that has GPAW: `PYTHON_VARIABLE`, else Debian's."""
    return os.environ.get(PYTHON_VARIABLE, DEFAULT_PYTHON)


def available(python: str | None = None) -> bool:
    """Return whether that Python, or the one named, can import GPAW."""
    command = [python or interpreter(), "-c", "import gpaw"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def run_job(folder: Path) -> GpawResult | Rejection:
    """Run the job of a directory here and now, on one thread, and mark it DONE or FAILED.

    Nothing is computed again where a result already lies.

    Raises
    ------
    CalculationError
        If the interpreter cannot be started.
    """
    step = _step_folder(folder)
    outcome = read_result(folder)
    if isinstance(outcome, Rejection) and outcome.code == "100":
        command = [interpreter(), str(WORKER.resolve()), "."]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, cwd=step, env=environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise CalculationError(
                f"the interpreter with GPAW cannot be started: {error.strerror}",
                where=command[0],
                fix=f"Install Debian's gpaw and gpaw-data, or set {PYTHON_VARIABLE}.",
            ) from error
        outcome = read_result(folder)
        if isinstance(outcome, Rejection) and outcome.code == "100":
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            outcome = Rejection("200", f"GPAW ended with status {done.returncode}: {last}")
    _mark(folder, outcome)
    return outcome


def read_result(folder: Path) -> GpawResult | Rejection:
    """Read what a job directory holds.

    Returns
    -------
    GpawResult or Rejection
        Code ``"100"`` when there is no result yet, ``"200"`` when it cannot be read, ``"320"`` when
        it answers another question, else the worker's own code.
    """
    path = _step_folder(folder) / RESULT
    try:
        data = json_of(path, folder, LARGEST_RESULT_BYTES)
        if data["status"] == "failed" and data["code"] in OWN_CODES:
            return Rejection(data["code"], shown(str(data["sentence"])))
        if data["status"] != "done":
            raise ValueError("its status or code is none of ours")
        result = GpawResult.model_validate(data)
    except FileNotFoundError:
        return Rejection("100", f"{folder.name} has no {RESULT} yet")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        words = shown(f"{place}: {said}".removeprefix(": "))
        return Rejection("200", f"{path.name} of {folder.name} cannot be read: {words}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Rejection("200", f"{path.name} of {folder.name} cannot be read: {why(error)}")
    if not folder.name.endswith(result.id):
        return Rejection("320", f"{path.name} of {folder.name} answers job {result.id}")
    return result


def question_changed(folder: Path, ticket: Ticket) -> Rejection | None:
    """Return code 300 when the input no longer asks what the ticket does."""
    try:
        document = read_input(folder / ticket.steps[0].name)
        marks = _marks(document["kind"], document["magnetic_moments"])
        digest = content_hash(input_structure(document), document["recipe_hash"], marks)
        settings = GpawSettings.model_validate(document["settings"])
    except ValidationError:
        return Rejection("300", f"{INPUT} holds other settings than were handed off")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Rejection("300", f"{INPUT} cannot be read: {why(error)}")
    if digest == ticket.content_sha256 and _is_of_recipe(settings, ticket):
        return None
    return Rejection("300", f"{INPUT} was changed after it was handed off")


def calculated_another(folder: Path, ticket: Ticket, result: GpawResult) -> Rejection | None:
    """Return code 300 when the input was another one while the result was calculated."""
    now = question_sha256(read_input(folder / ticket.steps[0].name))
    if result.question_sha256 in (None, now):
        return None
    return Rejection("300", f"the result is not that of {INPUT}, which was edited since")


def read_input(step: Path) -> Any:
    """Return the document of a step's input.

    Raises
    ------
    OSError, ValueError
        If it is missing, no plain file of bounded size, or no JSON.
    """
    return json_of(step / INPUT, step.parent, LARGEST_RESULT_BYTES)


def _is_of_recipe(settings: GpawSettings, ticket: Ticket) -> bool:
    """Return whether settings are those of the ticket's recipe, also of an older release's.

    Of an older one only the hash is known: that of the shipped recipe with these settings.
    """
    if ticket.recipe != GPAW.name:
        return True
    step = GPAW.steps[0].model_copy(update={"gpaw": settings})
    return GPAW.model_copy(update={"steps": (step,)}).hash == ticket.recipe_sha256


def input_structure(document: Mapping[str, Any]) -> Structure:
    """Return the structure of an input document."""
    from pymatgen.core import Structure

    data = document["structure"]
    return Structure(data["lattice"], data["species"], data["frac_coords"])


def _step_folder(folder: Path) -> Path:
    steps = sorted(p.parent for p in folder.glob(f"*/{INPUT}"))
    if not steps:
        raise CalculationError(f"this directory holds no {INPUT}", where=folder)
    return steps[0]


def _mark(folder: Path, outcome: GpawResult | Rejection) -> None:
    """Write STATUS.json, then the marker, which is the last thing written."""
    status = json.loads((folder / "STATUS.json").read_text(encoding="utf-8"))
    step = _step_folder(folder).name
    failed = isinstance(outcome, Rejection)
    status |= {
        "state": "FAILED" if failed else "DONE",
        "step": step,
        "code": outcome.code if isinstance(outcome, Rejection) else None,
        "sentence": outcome.sentence if isinstance(outcome, Rejection) else "",
        "finished": [] if failed else [step],
    }
    write_json(folder / "STATUS.json", status)
    write_text(folder / status["state"], "")
