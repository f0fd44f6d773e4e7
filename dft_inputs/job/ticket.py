"""The ticket of a DFT job: serves hand-off and collect, one JSON file in every job directory.

In: a structure, a recipe and where the question came from. Out: a `Ticket`, whose id is a hash of
the question itself, so that the same question has the same id for ever. The runner on the cluster
and the checks at home read nothing else about a job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from dft_inputs.job.untrusted import small_file, why
from structure.errors import Rejection
from structure.records import Record

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.recipes.recipe import Recipe, Step

TICKET_SCHEMA: Literal[1] = 1
"""Version of ``ticket.json``; another one is not read."""

ID_DIGITS = 8
"""Hexadecimal digits of the content hash that make a job's id."""

LARGEST_TICKET_BYTES = 5_000_000
"""A larger ticket is not one of ours (chosen)."""

GEOMETRY_DIGITS = 8
"""Decimals of A and of fractional coordinates in `Geometry`: as many as vasprun.xml has."""

_COORDINATE_DIGITS = 6
"""Decimals of A and of fractional coordinates that tell two structures apart (chosen)."""

ENGINE_NAME = r"^[a-z][a-z0-9-]{0,30}$"
"""What the name of a DFT code may be; it stands in origins, after ``dft-``."""

Role = Literal["candidate", "reference", "competing"]


Vector = tuple[float, float, float]


class Geometry(Record):
    """The cell a job starts from, as its POSCAR has it.

    Attributes
    ----------
    lattice_A : tuple of 3 vectors
    sites : tuple of (symbol, x, y, z)
        Fractional coordinates, in the order of POSCAR.
    """

    lattice_A: tuple[Vector, Vector, Vector]
    sites: tuple[tuple[str, float, float, float], ...]


class TicketStep(Record):
    """What the runner has to know about a step.

    Attributes
    ----------
    name : str
    relaxes : bool
        Whether atoms move; such a step may be continued from its CONTCAR.
    structure_from, density_from : str or None
        Steps whose CONTCAR and CHGCAR this one starts from.
    keeps : tuple of str
        Large files a later step reads.
    required : bool
        Whether the job fails when the step does.
    settings : dict of str to str
        The tags of INCAR, as they were written; empty for other engines. Tickets without a
        geometry, of older releases, name those only that decide the result.
    mesh : tuple of int or None
        Divisions of the Gamma-centred mesh; None on a band path.
    path : tuple of (number, x, y, z)
        The band path, see `dft_inputs.vasp.asked.points.path_of`; empty on a mesh.
    supercell : tuple of int or None
        How often the cell is repeated along each edge; None where it is not.
    """

    name: str
    relaxes: bool
    structure_from: str | None = None
    density_from: str | None = None
    keeps: tuple[str, ...] = ()
    required: bool = True
    settings: dict[str, str] = Field(default_factory=dict)
    mesh: tuple[int, int, int] | None = None
    path: tuple[tuple[float, float, float, float], ...] = ()
    supercell: tuple[int, int, int] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older tickets lack: their text must not change."""
        document: dict[str, Any] = write(self)
        if document["supercell"] is None:
            del document["supercell"]
        if not document["path"]:
            del document["path"]
        return document


class Limits(Record):
    """How patient the runner is (chosen).

    Attributes
    ----------
    attempts : int
        Launches of a step before the job fails: the first and three restarts.
    corrections : int
        Errors custodian may correct in one launch.
    heartbeat_s : float
        Seconds between touches of STATUS.json.
    """

    attempts: int = 4
    corrections: int = 5
    heartbeat_s: float = 60.0


class Ticket(Record):
    """One job, as ``ticket.json`` holds it.

    Attributes
    ----------
    id : str
        First digits of `content_sha256`.
    content_sha256 : str
        Hash of structure, recipe and POTCAR symbols.
    formula : str
        Reduced, as `structure.composition.formulas_of` writes it.
    role : {"candidate", "reference", "competing"}
    engine : str
        The DFT code, by the name of its `dft_inputs.engines.DftEngine`.
    cell : dict of str to int
        Atoms of each element in the cell.
    volume_A3 : float
        Volume of the cell that was handed off.
    recipe, recipe_sha256 : str
        Name and hash of the recipe.
    potcar_functional, potcar_symbols
        Family and symbols of the potentials expected; empty for other engines.
    steps : tuple of TicketStep
    geometry : Geometry or None
        Where the first step starts; None for other engines, and in tickets of older releases.
    limits : Limits
    story : dict
        Where the candidate came from: template, distance, predictions, model hashes.
    """

    schema_version: Literal[1] = TICKET_SCHEMA
    id: str
    content_sha256: str
    formula: str
    role: Role
    engine: str = Field(pattern=ENGINE_NAME)
    cell: dict[str, int]
    volume_A3: float
    recipe: str
    recipe_sha256: str
    potcar_functional: str | None = None
    potcar_symbols: tuple[str, ...] = ()
    steps: tuple[TicketStep, ...]
    geometry: Geometry | None = None
    limits: Limits = Limits()
    story: dict[str, Any] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave an unset geometry out: the text of tickets older than it must not change."""
        document: dict[str, Any] = write(self)
        if document["geometry"] is None:
            del document["geometry"]
        return document

    @property
    def folder(self) -> str:
        """Name of the job directory: formula and id, for people who use `ls`."""
        return f"{self.formula}--{self.id}"

    @property
    def n_sites(self) -> int:
        """Atoms in the cell."""
        return sum(self.cell.values())

    @property
    def sha256(self) -> str:
        """Hash of the JSON text: tells an edited ticket from the one that was handed off."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """Return the JSON text; equal tickets give equal bytes."""
        document = self.model_dump(mode="json")
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def content_hash(structure: Structure, recipe_sha256: str, symbols: tuple[str, ...]) -> str:
    """Return the SHA-256 of a question: structure, recipe, potentials.

    Neither the order of sites nor digits beyond the sixth decimal change it.

    Parameters
    ----------
    structure : Structure
        As generated, before any change of setting.
    recipe_sha256 : str
    symbols : tuple of str
    """

    def rounded(values: Any) -> list[float]:
        return [round(float(v), _COORDINATE_DIGITS) + 0.0 for v in values]

    sites = sorted(
        [site.specie.symbol, [c % 1.0 for c in rounded(site.frac_coords % 1.0)]]
        for site in structure
    )
    question = [[rounded(row) for row in structure.lattice.matrix], sites, recipe_sha256]
    return hashlib.sha256(json.dumps([*question, list(symbols)]).encode()).hexdigest()


def geometry_of(structure: Structure) -> Geometry:
    """Return a cell as a ticket holds it."""

    def rounded(values: Any) -> Any:
        return tuple(round(float(v), GEOMETRY_DIGITS) + 0.0 for v in values)

    return Geometry(
        lattice_A=tuple(rounded(row) for row in structure.lattice.matrix),
        sites=tuple((site.specie.symbol, *rounded(site.frac_coords)) for site in structure),
    )


def new_ticket(
    cell: Structure,
    recipe: Recipe,
    digest: str,
    steps: tuple[TicketStep, ...],
    *,
    formula: str,
    role: Role,
    story: Mapping[str, Any] | None,
    **more: Any,
) -> Ticket:
    """Return the ticket of a job that is about to be written.

    Parameters
    ----------
    cell : Structure
        As it is calculated.
    recipe : Recipe
    digest : str
        `content_hash` of the question; its first digits are the job's id.
    steps : tuple of TicketStep
    formula, role, story
        See `Ticket`.
    **more
        Fields only some codes have, such as potentials.
    """
    return Ticket(
        id=digest[:ID_DIGITS],
        content_sha256=digest,
        formula=formula,
        role=role,
        engine=recipe.engine,
        cell={e: int(n) for e, n in cell.composition.get_el_amt_dict().items()},
        volume_A3=round(float(cell.volume), 4),
        recipe=recipe.name,
        recipe_sha256=recipe.hash,
        steps=steps,
        story=dict(story or {}),
        **more,
    )


def ticket_steps(recipe: Recipe, role: Role) -> tuple[TicketStep, ...]:
    """Return the steps of a job: all of the recipe's, or for a reference those up to its energy."""
    return tuple(
        TicketStep(
            name=step.name,
            relaxes=step_relaxes(step),
            structure_from=step.structure_from,
            density_from=step.density_from,
            keeps=step.keeps if role == "candidate" else (),
            required=not step.optional,
        )
        for step in steps_for(recipe, role)
    )


def steps_for(recipe: Recipe, role: Role) -> tuple[Step, ...]:
    """Return the recipe steps that a job of this role runs."""
    if role == "candidate":
        return recipe.steps
    return tuple(s for s in recipe.steps if s.density_from is None and not s.optional)


def step_relaxes(step: Step) -> bool:
    """Return whether atoms move in a step until forces are small."""
    if step.pymatgen_set is not None:
        return "Relax" in step.pymatgen_set
    return step.incar.ibrion in (1, 2, 3) and (step.incar.nsw or 0) > 1


def read_ticket(path: Path) -> Ticket | Rejection:
    """Read a ``ticket.json`` that came back from elsewhere.

    Returns
    -------
    Ticket or Rejection
        Code ``"ticket"`` with the reason when it cannot be read.
    """
    try:
        return Ticket.model_validate_json(small_file(path, path.parent, LARGEST_TICKET_BYTES))
    except FileNotFoundError:
        return Rejection("ticket", f"{path.parent.name} has no {path.name}")
    except OSError as error:
        return Rejection("ticket", f"{path.name} cannot be read: {why(error)}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        return Rejection("ticket", f"{path.name} is damaged at {place}: {first['msg']}")
