"""Results of DFT jobs: what collect keeps of a finished calculation, and the labels it earns.

In: a ticket and the judgement on its folder. Out: a `Result`, one JSON file under ``results/``
from which the ledger can be rebuilt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from dft_inputs.engines import DftEngine, is_dft, origin_of
from dft_inputs.job.findings import Judgement
from dft_inputs.job.status import State
from dft_inputs.job.ticket import Ticket
from dft_inputs.properties.corrections import hull_distance
from dft_inputs.references.reference_phases import formation_energy
from structure.errors import Rejection
from structure.files import write_text
from structure.properties.band_gap import BAND_GAP
from structure.properties.registry import measured
from structure.records import Record
from tasks.ledger.ledger import Label, Origin

RESULT_SCHEMA: Literal[1] = 1

SAME_WITHIN = 1e-3
"""Energies and gaps (eV) of two runs of one job that differ by more are another result (chosen)."""


class Result(Record):
    """What is known of one finished job. Energies in eV, moduli in GPa, frequencies in THz.

    Attributes
    ----------
    id, formula, role, recipe_sha256
        As in the ticket.
    origin : str
        ``dft-`` and the code's name, unless its answer was no calculation of that code.
    state : State
        INGESTED, FAILED, BROKEN or QUARANTINED.
    findings : list of dict
        ``code``, ``sentence`` and ``step`` of everything found.
    properties : dict of str to float
        Named with their units.
    cell : dict of str to int
    structure : dict or None
        The relaxed structure, as pymatgen writes it.
    corrections : list of dict
        What custodian or the runner changed.
    potentials : dict
        What stood in for nuclei and core electrons, by the words of the code.
    labels : tuple of Label
    remarks : tuple of str
        What the optional steps say, in sentences; they qualify no label.
    pictures : dict of str to str
        SVG text by the word that ends the name of its file; not part of the JSON.
    """

    schema_version: Literal[1] = RESULT_SCHEMA
    id: str
    formula: str
    role: str
    recipe_sha256: str
    origin: Origin = "dft-vasp"
    state: State
    code: int | None = None
    findings: tuple[dict[str, str], ...] = ()
    properties: dict[str, float] = Field(default_factory=dict)
    cell: dict[str, int]
    structure: dict[str, Any] | None = None
    corrections: tuple[dict[str, Any], ...] = ()
    potentials: dict[str, Any] = Field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    remarks: tuple[str, ...] = ()
    pictures: dict[str, str] = Field(default={}, exclude=True, repr=False)

    @property
    def quality(self) -> str:
        """Codes that qualify the labels."""
        return ",".join(dict.fromkeys(finding["code"] for finding in self.findings))

    def write(self, root: Path) -> Path:
        """Write the result and its pictures into ``results/`` and return the file."""
        path = result_path(root, self.id)
        write_text(path, self.model_dump_json(indent=1) + "\n")
        for word, drawn in self.pictures.items():
            write_text(path.with_name(f"{self.id}-{word}.svg"), drawn)
        if self.structure is not None and any(f["code"] == "240" for f in self.findings):
            from pymatgen.core import Structure

            from structure.crystals.picture import picture

            shown = picture(Structure.from_dict(self.structure))
            write_text(path.with_suffix(".svg"), shown)
        return path

    def facts(self) -> dict[str, Any]:
        """Return what the ledger's story of the job says about its result, under ``dft``.

        Where the numbers come from is said if no DFT code calculated them.
        """
        return {
            "dft": {
                "result": f"results/{self.id}.json",
                "findings": list(self.findings),
                "cell": self.cell,
                **({} if is_dft(self.origin) else {"origin": self.origin}),
                **({"remarks": list(self.remarks)} if self.remarks else {}),
                **self.properties,
            }
        }

    def difference(self, other: Result) -> str:
        """Say in what another result of the same job differs; empty where it does not.

        A result that is no good takes nothing away from this one.
        """
        if other.state is not State.INGESTED:
            return ""
        words = []
        for name, unit in ((BAND_GAP.column, "eV"), ("energy_eV", "eV")):
            own, its = self.properties.get(name), other.properties.get(name)
            if own is not None and its is not None and abs(own - its) > SAME_WITHIN:
                words.append(f"{name.rpartition('_')[0]} {its:.3f}, not {own:.3f} {unit}")
        return " and ".join(words)

    def with_labels(self) -> Result:
        """Return the result with a label for each property of a candidate that it measured."""
        if self.role != "candidate":
            return self
        found = [name for name in measured() if name in self.properties]
        labels = [self._label(name, self.properties[name]) for name in found]
        return self.model_copy(update={"labels": (*self.labels, *labels)})

    def with_formation_energy(self, element_energies: Mapping[str, float]) -> Result | None:
        """Return the result with its formation energy (paper Eq. 4); None while it must wait.

        Parameters
        ----------
        element_energies : mapping of str to float
            eV/atom of the elements' references, by the same recipe.
        """
        value = formation_energy(self.properties["energy_eV"], self.cell, element_energies)
        if isinstance(value, Rejection):
            return None
        name = "formation_energy_eV_per_atom"
        label = self._label(name, value)
        return self.model_copy(
            update={
                "properties": {**self.properties, name: value},
                "labels": (*self.labels, label),
            }
        )

    def with_hull_distance(self, phases: Sequence[tuple[Mapping[str, int], float]]) -> Result:
        """Return the result with its energy above the hull of competing phases.

        Parameters
        ----------
        phases : sequence of (cell, eV/atom)
            Formation energies of the competing phases, by the same recipe.
        """
        name = "energy_above_hull_eV_per_atom"
        own = self.properties["formation_energy_eV_per_atom"]
        value = hull_distance(self.cell, own, phases)
        return self.model_copy(
            update={
                "properties": {**self.properties, name: value},
                "labels": (*self.labels, self._label(name, value)),
            }
        )

    def _label(self, name: str, value: float) -> Label:
        return Label(
            formula=self.formula,
            property=name,
            value=value,
            origin=self.origin,
            source=self.recipe_sha256,
            quality=self.quality,
        )


def result_path(root: Path, id: str) -> Path:
    """Return where the result of a job is kept."""
    return root / "results" / f"{id}.json"


def read_result_file(root: Path, id: str) -> Result | Rejection:
    """Return a job's result as it was kept, or code 200 when its file is gone or damaged."""
    path = result_path(root, id)
    try:
        return Result.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Rejection("200", f"results/{path.name} is gone or damaged; restore it from a copy")


def broken_result(ticket: Ticket, sentence: str) -> Result:
    """Return the result of a finished job that cannot be judged."""
    return Result(
        id=ticket.id,
        formula=ticket.formula,
        role=ticket.role,
        recipe_sha256=ticket.recipe_sha256,
        origin=origin_of(ticket.engine),
        state=State.BROKEN,
        code=200,
        findings=({"code": "200", "sentence": sentence, "step": ""},),
        cell=ticket.cell,
    )


def result_of(folder: Path, ticket: Ticket, engine: DftEngine) -> Result:
    """Judge a job whose runner says it is done, and put its result together.

    Parameters
    ----------
    folder : Path
    ticket : Ticket
    engine : DftEngine
        That of the ticket.
    """
    judgement = engine.judge(folder, ticket)
    found = engine.result(folder, ticket, judgement)
    findings = (*judgement.findings, *found.findings)
    counts = judgement.worst or next(iter(found.findings), None)
    return Result(
        id=ticket.id,
        formula=ticket.formula,
        role=ticket.role,
        recipe_sha256=ticket.recipe_sha256,
        origin=found.origin or origin_of(engine.name),
        state=state_after(judgement),
        code=int(counts.code) if counts else None,
        findings=tuple({"code": f.code, "sentence": f.sentence, "step": f.step} for f in findings),
        properties=dict(found.properties),
        cell=ticket.cell,
        structure=found.structure,
        corrections=judgement.corrections,
        potentials=dict(found.potentials),
        remarks=found.remarks,
        pictures=dict(found.pictures),
    ).with_labels()


def state_after(judgement: Judgement) -> State:
    """Return the state of a job after its judgement."""
    worst = judgement.worst
    if worst is None or judgement.usable:
        return State.INGESTED
    return {
        "reject": State.FAILED,
        "break": State.BROKEN,
        "quarantine": State.QUARANTINED,
        "stale": State.STALE,
    }[worst.action]
