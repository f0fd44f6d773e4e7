"""Job directories of a campaign: shared by the hand-off stage and DFT oracles.

In: jobs of one recipe, ready to be written. Out: a batch under ``handoff/``, the recipe's reference
jobs beside it, and a row in the ledger for every job. Directories appear whole or not at all, and a
question that lies in any batch is not written again, so that every call may be killed and repeated.
Whoever collects meanwhile meets a batch only once the ledger has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.job_list import listed, manifest_of
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.job.folder import (
    Job,
    batches,
    clear_unfinished,
    emitted_jobs,
    extend_batch,
    next_batch_name,
    write_batch,
)
from dft_inputs.job.ticket import Ticket
from dft_inputs.recipes.recipe import Recipe
from dft_inputs.references.reference_phases import reference_jobs, unreferenced
from tasks.campaign.job_lock import jobs_to_itself
from tasks.campaign.series import finished_references
from tasks.ledger.ledger import Ledger

EMITTED_AT = "emitted_at"
"""Key of a job's story in the ledger: when it was recorded, ISO 8601 in UTC; of one that ran before
that, when it began. The ticket does not hold it: equal questions give equal tickets."""


class Emitted(NamedTuple):
    """Where jobs lie: their batch, and the reference jobs that belong to it."""

    batch: Path
    references: Path | None


@dataclass(frozen=True)
class Emission:
    """Where jobs are written, and how they are to be run.

    Attributes
    ----------
    root : Path
        Campaign directory.
    recipe : Recipe
    cluster : ClusterSettings
    """

    root: Path
    recipe: Recipe
    cluster: ClusterSettings

    def emit(
        self,
        ledger: Ledger,
        jobs: Sequence[Job],
        refused: Sequence[Mapping[str, str]] = (),
        *,
        references: bool = True,
        others: Sequence[Job] = (),
    ) -> Emitted:
        """Write jobs with the references of their elements, and give all of them to the ledger.

        Parameters
        ----------
        ledger : Ledger
        jobs, refused
            As in `emit_batch`.
        references : bool
            Whether reference jobs belong to them.
        others : sequence of Job
            More jobs for the folder of the references.
        """
        with jobs_to_itself(self.root):
            place = self.emit_references(jobs, others) if references else None
            batch = self.emit_batch(jobs, refused, place)
            record(self.root, ledger, [batch, *([place] if place else ())])
        return Emitted(batch, place)

    def emit_batch(
        self,
        jobs: Sequence[Job],
        refused: Sequence[Mapping[str, str]] = (),
        references: Path | None = None,
    ) -> Path:
        """Write the jobs that no batch has yet as a new batch; return the batch that has them.

        Parameters
        ----------
        jobs : sequence of Job
            Best first.
        refused : sequence of mapping
            ``formula``, ``code`` and ``sentence`` of what got no job; goes into ``batch.json``.
        references : Path, optional
            Folder of the reference jobs that belong to the batch.
        """
        handoff = self.root / "handoff"
        handoff.mkdir(exist_ok=True)
        clear_unfinished(handoff)
        present = emitted_jobs(*batches(handoff))
        new = [job for job in jobs if job.ticket.id not in present]
        if not new and batches(handoff):
            places = [present[job.ticket.id][1].parent for job in jobs]
            return max(places, default=batches(handoff)[-1])
        batch = handoff / next_batch_name(handoff)
        manifest = {
            **self._recipe_facts(),
            "batch": batch.name,
            "references": references.name if references else None,
            "refused": list(refused),
        }
        path = f"../../{references.name}" if references else None
        shared = self._shared([job.ticket for job in new], path)
        write_batch(batch, new, shared, manifest)
        return batch

    def emit_references(self, jobs: Iterable[Job], others: Sequence[Job] = ()) -> Path:
        """Add the elements of these jobs, and other jobs, to the recipe's reference jobs.

        Those that an earlier campaign of the series took in come over with their results.

        Returns
        -------
        Path
            The folder that has them; see `reference_folder`.
        """
        elements = sorted({element for job in jobs for element in job.ticket.cell})
        references = [*reference_jobs(elements, self.recipe), *others]
        target = self.reference_folder()
        manifest = {
            **self._recipe_facts(),
            "batch": target.name,
            "without_reference": unreferenced(elements),
        }
        tickets = {ticket.id: ticket for ticket, _ in emitted_jobs(target).values()}
        tickets |= {job.ticket.id: job.ticket for job in references}
        shared = self._shared(list(tickets.values()), None, elements=True)
        extend_batch(target, references, shared, manifest, finished_references(self.root))
        return target

    def reference_folder(self) -> Path:
        """Return the folder of the recipe's references.

        It is ``references`` where that is free or this recipe's; a campaign that asks by several
        recipes has ``references-<recipe>`` for the others, because scripts and settings stand once
        in a folder.
        """
        short = self.recipe.hash[:8]
        names = ("references", f"references-{self.recipe.name}")
        for name in names:
            target = self.root / name
            if not target.exists() or _recipe_of(target) in (None, self.recipe.hash):
                return target
        return self.root / f"references-{self.recipe.name}-{short}"

    def _recipe_facts(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "recipe_sha256": self.recipe.hash,
            "potcar_functional": self.recipe.potcar_functional,
            "choices": list(self.recipe.choices),
        }

    def _shared(
        self, tickets: Sequence[Ticket], references: str | None, elements: bool = False
    ) -> dict[str, str]:
        """Return what stands beside the job directories."""
        return batch_files(
            self.cluster, self.recipe, tickets, references=references, elements=elements
        )


def _recipe_of(place: Path) -> str | None:
    """Return the hash of the recipe that a folder of jobs names, if it can be read."""
    found = manifest_of(place).get("recipe_sha256")
    return None if found is None else str(found)


def _first_run(folder: Path) -> str | None:
    """Return when a job began, if it has run: the budget of a night counts when, not where."""
    try:
        began = float(json.loads((folder / "STATUS.json").read_bytes())["history"][0]["at"])
        return datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds")
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError):
        return None


def each_question_once(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs without those that ask the same again."""
    return list({job.ticket.content_sha256: job for job in jobs}.values())


def job_row(root: Path, ticket: Ticket, folder: Path, place: str | None = None) -> dict[str, Any]:
    """Return what the ledger is given of a job.

    Parameters
    ----------
    root : Path
        Campaign directory.
    ticket : Ticket
    folder : Path
        Where the job lies.
    place : str, optional
        Its folder as the ledger names it, where that is another.
    """
    home = place or folder.relative_to(root).as_posix()
    return {
        "id": ticket.id,
        "formula": ticket.formula,
        "batch": Path(home).parent.name,
        "folder": home,
        "recipe": ticket.recipe_sha256,
        "story": {
            **ticket.story,
            "role": ticket.role,
            "recipe": ticket.recipe,
            "ticket_sha256": ticket.sha256,
            EMITTED_AT: _first_run(folder) or datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def record(root: Path, ledger: Ledger, places: Iterable[Path]) -> list[str]:
    """Give the ledger the jobs of batches and reference folders that it lacks; return their ids.

    Only what stands in a folder's list is ours: what else lies there was put there by somebody.
    """
    known = {job["id"] for job in ledger.jobs()}
    new: dict[str, dict[str, Any]] = {}
    for place in places:
        names = listed(place)
        for ticket, folder in emitted_jobs(place).values():
            if ticket.id not in known and folder.name in names:
                new.setdefault(ticket.id, job_row(root, ticket, folder))
    ledger.add_jobs(new.values())
    return list(new)
