"""DFT codes: what each must be able to do, and which there are; serves hand-off, oracles, collect.

In: the name that a recipe, a ticket or an origin holds. Out: its `DftEngine`. A code is a folder of
this package, or a package of somebody else's, with one object that follows the protocol; nothing
outside that folder knows the code by its name. ``docs/extend/dft-code.md`` shows how to add one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dft_inputs.job.ticket import ENGINE_NAME
from dft_inputs.job.treatment import CRYSTAL
from structure.errors import ConfigError, PluginError
from structure.plugins import found, named

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_inputs.batch.cluster_settings import ClusterFiles, ClusterSettings
    from dft_inputs.job.findings import Finding, Judgement
    from dft_inputs.job.folder import Job
    from dft_inputs.job.ticket import Role, Ticket
    from dft_inputs.job.treatment import Treatment
    from dft_inputs.recipes.recipe import Recipe
    from structure.errors import Rejection

GROUP = "agd.engines"
"""Entry points by which a package brings a DFT code."""

OURS: Mapping[str, str] = {
    "vasp": "dft_inputs.vasp.engine:ENGINE",
    "gpaw": "dft_inputs.gpaw.engine:ENGINE",
    "elk": "dft_inputs.elk.engine:ENGINE",
}
"""Codes of this package: name to module and object."""

NEEDS = (
    "name title recipes most_sites outputs can_calculate prepare judge result other_potential "
    "on_this_machine ready cluster_files"
).split()
"""What `DftEngine` asks of an object."""

DFT = "dft-"
"""How the origin of a label begins that a DFT code calculated; the code's name follows."""


@dataclass(frozen=True)
class Calculated:
    """What a judged job says. Energies in eV, lengths in A, moduli in GPa, frequencies in THz.

    Attributes
    ----------
    properties : dict of str to float
        Named with their units. ``energy_eV`` and ``energy_eV_per_atom`` are of the cell that was
        handed off; ``band_gap_eV`` is there for candidates only. Empty where the job is no good.
    structure : dict or None
        The final structure, as pymatgen writes it.
    potentials : dict
        What stood in for the nuclei and their core electrons, as far as results say.
    findings : tuple of Finding
        What qualifies the properties; comes after those of the judgement.
    remarks : tuple of str
        Sentences that qualify no label.
    pictures : dict of str to str
        SVG text by the word that ends the name of its file.
    origin : str or None
        Where the numbers are no calculation of this code; None: ``dft-<name>``.
    """

    properties: Mapping[str, float] = field(default_factory=dict)
    structure: dict[str, Any] | None = None
    potentials: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    origin: str | None = None


class DftEngine(Protocol):
    """A DFT code: how it is asked, how it is run on a cluster, and how its answer is read.

    Attributes
    ----------
    name : str
        As recipes, tickets and origins have it; see `dft_inputs.job.ticket.ENGINE_NAME`.
    title : str
        As people write it.
    recipes : tuple of Recipe
        Its shipped ones; the first is used where none is named.
    most_sites : int
        Largest cell an oracle asks for where nothing is said.
    outputs : tuple of str
        Patterns, from the job directory, of the files that hold results: by their size and time
        collect tells whether it has seen them.
    """

    name: str
    title: str
    recipes: tuple[Recipe, ...]
    most_sites: int
    outputs: tuple[str, ...]

    def can_calculate(self, recipe: Recipe, element: str) -> bool:
        """Return whether the recipe has what it takes for an element, such as a potential."""
        ...

    def prepare(
        self,
        structure: Structure,
        recipe: Recipe,
        *,
        formula: str,
        role: Role = "candidate",
        story: Mapping[str, Any] | None = None,
        treatment: Treatment = CRYSTAL,
    ) -> Job | Rejection:
        """Prepare one job; equal questions give equal bytes.

        Parameters
        ----------
        structure : Structure
            As generated. A candidate is calculated in its standard primitive cell
            (`dft_inputs.job.cell.job_structure`), a reference as `treatment` says.
        recipe : Recipe
            One of this engine.
        formula : str
            Reduced formula the job answers for.
        role : {"candidate", "reference", "competing"}
        story : mapping, optional
            JSON-ready; goes into the ticket as it is.
        treatment : Treatment

        Returns
        -------
        Job or Rejection
            The reason why this question cannot be asked.

        Raises
        ------
        CalculationError
            If the recipe is none of this engine, or the structure can be no crystal.
        """
        ...

    def judge(self, folder: Path, ticket: Ticket) -> Judgement:
        """Judge a job whose runner says it is done. What came back may be anything."""
        ...

    def result(self, folder: Path, ticket: Ticket, judgement: Judgement) -> Calculated:
        """Read what a judged job says."""
        ...

    def other_potential(
        self, own: Mapping[str, Any], reference: Mapping[str, Any], element: str
    ) -> Rejection | None:
        """Return code 410 when energies of two jobs are not of one scale for an element.

        Parameters
        ----------
        own, reference : mapping
            `Calculated.potentials` of a compound and of the element's reference. What one of them
            does not say is not compared.
        element : str
        """
        ...

    def on_this_machine(self, settings: ClusterSettings) -> ClusterSettings:
        """Return the settings for jobs that are submitted where we are, programs found here."""
        ...

    def ready(self, settings: ClusterSettings) -> None:
        """Check that jobs can run on this machine.

        Raises
        ------
        ConfigError
            If a program is missing.
        """
        ...

    def cluster_files(
        self, settings: ClusterSettings, recipe: Recipe, tickets: Sequence[Ticket]
    ) -> ClusterFiles:
        """Return what stands beside the job directories, and what people are told about it."""
        ...


@cache
def names() -> tuple[str, ...]:
    """Return the names of all codes, our own first."""
    return tuple(found(GROUP, OURS))


@cache
def engine_named(name: str) -> DftEngine:
    """Return the DFT code of a name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    PluginError
        If two packages bring that name, or the one that does cannot be imported or is no DFT code.
    """
    part = named(GROUP, OURS, name)
    engine: DftEngine = part.load(*NEEDS)
    if engine.name != name or not re.fullmatch(ENGINE_NAME, name):
        raise PluginError(
            f"the DFT code {name!r} calls itself {engine.name!r}",
            where=part.targets[0],
            fix=f"Give both one name, of the form {ENGINE_NAME}.",
        )
    return engine


def engine_of(recipe: Recipe) -> DftEngine:
    """Return the code that calculates a recipe; see `engine_named`."""
    return engine_named(recipe.engine)


@cache
def engines() -> tuple[DftEngine, ...]:
    """Return every code that can be used; `engine_named` says why another one cannot."""
    usable = []
    for name in names():
        with suppress(PluginError):
            usable.append(engine_named(name))
    return tuple(usable)


def recipes() -> dict[str, Recipe]:
    """Return the recipes of every code that can be used, by name; the first of a name counts."""
    every: dict[str, Recipe] = {}
    for engine in engines():
        for recipe in engine.recipes:
            every.setdefault(recipe.name, recipe)
    return every


def recipe_named(name: str) -> Recipe:
    """Return a recipe by name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    every = recipes()
    if name not in every:
        unusable = sorted(set(names()) - {engine.name for engine in engines()})
        also = f" Not usable as installed: {', '.join(unusable)}." if unusable else ""
        raise ConfigError(
            f"there is no recipe {name!r}", fix=f"Choose one of {', '.join(sorted(every))}.{also}"
        )
    return every[name]


def origin_of(name: str) -> str:
    """Return the origin of labels that a code calculated."""
    return DFT + name


def code_of(origin: str) -> str | None:
    """Return the name of the DFT code that an origin tells of; None for any other origin."""
    return origin.removeprefix(DFT) if is_dft(origin) else None


def is_dft(origin: str) -> bool:
    """Return whether a label was calculated by a DFT code."""
    return origin.startswith(DFT)
