"""What stands beside the job directories of a batch: serves the hand-off step.

In: how the cluster is used, and what the DFT code has there. Out: the texts of ``cluster.env`` (the
one file a person edits), ``submit.sh``, ``approval.sh``, ``array.sh``, ``runner.py`` and
``README.txt``, beside the engine's own. The scripts are files of `dft_inputs.cluster`, copied as
they are; they need a POSIX shell and, to run a job, Python 3.6.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dft_inputs.batch.cluster_settings import ClusterFiles, ClusterSettings, Line, script
from dft_inputs.engines import engine_of
from structure.errors import ConfigError

if TYPE_CHECKING:
    from dft_inputs.job.ticket import Ticket
    from dft_inputs.recipes.recipe import Recipe

SHARED_SCRIPTS = ("submit.sh", "approval.sh", "array.sh", "runner.py")
"""Files that every batch holds a copy of, whatever the engine."""

_BEFORE = {
    "AGD_SCHEDULER": "slurm, pbs, or shell (one job after another, here)",
    "AGD_ACCOUNT": "account that is charged; empty: the default one",
    "AGD_PARTITION": "partition or queue; empty: the default one",
    "AGD_NODES": "nodes a job",
    "AGD_TASKS_PER_NODE": "",
    "AGD_HOURS": "wall time of a job in hours; 0 with shell: no limit",
    "AGD_WARNING_S": "seconds before that limit at which a job begins to stop",
    "AGD_AT_ONCE": "jobs that may run at the same time",
    "AGD_SETUP": "commands before every job, e.g. 'module load vasp/6.4.3'",
}
"""Lines of ``cluster.env`` before the engine's; the engine says what its cores are."""

_AFTER = {
    "AGD_APPROVAL": "what an empty line of approved.csv counts as: yes or no",
    "AGD_APPROVAL_HOURS": "hours that an empty line waits for an answer first; 0: none",
}


def cluster_env(own: ClusterFiles) -> str:
    """Return the text of ``cluster.env``, every line explained.

    Raises
    ------
    ConfigError
        If the campaign names a program that the engine does not know.
    """
    lines = ["# The only file to edit before `sh submit.sh`. Shell syntax."]
    for line in (*_general(own, _BEFORE), *own.lines, *_general(own, _AFTER)):
        lines += [f"# {line.explanation}", f"{line.name}={shlex.quote(line.value)}"]
    return "\n".join(lines) + "\n"


def _general(own: ClusterFiles, explained: dict[str, str]) -> list[Line]:
    values = dict(own.settings)
    return [
        Line(name, str(values[name.removeprefix("AGD_").lower()]), words or own.cores)
        for name, words in explained.items()
    ]


def readme_text(
    title: str, own: ClusterFiles, log: str, jobs: int, references: str | None, elements: bool
) -> str:
    """Return ``README.txt``: what the person at the cluster does, who may have nothing else.

    Parameters
    ----------
    title : str
        The DFT code, as people write it.
    own : ClusterFiles
    log : str
        File in a step's folder that holds what the program printed.
    jobs : int
    references : str or None
        Path, from this folder, of the reference jobs that belong to it.
    elements : bool
        Whether these are the reference jobs, which nobody has to approve.
    """
    what = {False: "best candidate first in jobs.txt", True: "references of the elements"}
    also = (
        f" Copy {references} too and do the same there, with a cluster.env like this one: "
        "formation energies need it."
        if references
        else ""
    )
    steps = [
        f"Copy this folder to the cluster (rsync -a, cp -a or tar).{also}",
        f"Edit cluster.env: {own.edits}. Each line is explained there.",
        "In approved.csv write yes or no for each job; cluster.env says what an empty line counts "
        "as.",
        "sh submit.sh --dry-run, then sh submit.sh. It may be repeated at any time; --help tells "
        "more. One job here and now: sh FOLDER/run.sh",
        "Watch: ls -d *--*/DONE *--*/FAILED. A job's STATUS.json says state, code and reason, "
        f"{log} in its step's folder what the program printed.",
        "Once more: sh submit.sh --again for what failed, --lost for what the scheduler lost.",
        f"Copy the folder back over the one it came from, at any time{own.copying}, and run there: "
        "agd collect CAMPAIGN, the directory that holds handoff and references.",
    ]
    if elements:
        del steps[2]
    return "\n".join(
        [
            f"{jobs} {title} jobs, {what[elements]}. They need a POSIX shell, "
            f"{own.needs}, but no network.",
            *(f"{number}. {step}" for number, step in enumerate(steps, start=1)),
            "",
        ]
    )


def batch_files(
    settings: ClusterSettings,
    recipe: Recipe,
    tickets: Sequence[Ticket],
    references: str | None = None,
    elements: bool = False,
) -> dict[str, str]:
    """Return everything that stands beside the job directories, file name to text.

    Parameters
    ----------
    settings : ClusterSettings
    recipe : Recipe
    tickets : sequence of Ticket
        Of all jobs in the folder.
    references, elements
        See `readme_text`.

    Raises
    ------
    ConfigError
        If there is no such engine, or the campaign names programs it does not know.
    """
    engine = engine_of(recipe)
    own = engine.cluster_files(settings, recipe, tickets)
    check_programs(settings, recipe)
    return {
        **{name: script(name) for name in SHARED_SCRIPTS},
        "cluster.env": cluster_env(own),
        "README.txt": readme_text(
            engine.title, own, f"{engine.name}.out", len(tickets), references, elements
        ),
        **own.files,
    }


def check_programs(settings: ClusterSettings, recipe: Recipe) -> None:
    """Check that the programs a campaign names are those of the recipe's code.

    Raises
    ------
    ConfigError
        If one is not.
    """
    engine = engine_of(recipe)
    lines = [line.name for line in engine.cluster_files(settings, recipe, ()).lines]
    known = {name.removeprefix("AGD_").lower() for name in lines}
    unknown = sorted(set(settings.programs) - known)
    if unknown:
        raise ConfigError(
            f"{engine.title} has no program {unknown[0]!r} to set",
            where="cluster.programs",
            fix=f"Its own lines of cluster.env are {', '.join(lines)}; a program is named without "
            "AGD_, in lower case.",
        )
