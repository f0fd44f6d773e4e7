"""What stands beside the job directories of a batch: serves the hand-off step.

In: how the cluster is used. Out: the texts of ``cluster.env`` (the one file a person edits),
``submit.sh``, ``approval.sh``, ``array.sh``, ``run.sh``, ``runner.py``, ``README.txt`` and
``potcars.txt``. The scripts are files of this package, copied as they are; they need a POSIX shell
and, to run a job, Python 3.6.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from importlib import resources
from typing import Literal

from pydantic import Field

from dft_inputs.vasp.inputs import POTENTIAL_REMARKS
from structure.records import Settings

Engine = Literal["vasp", "gpaw"]

VASP_TASKS = 32
"""MPI ranks of a VASP job where nothing is said (chosen; every cluster has its own number)."""

SUBMITTING = ("submit.sh", "approval.sh", "array.sh")
"""Files that bring jobs to the scheduler, whatever the engine."""

BATCH_SCRIPTS: dict[Engine, tuple[str, ...]] = {
    "vasp": (*SUBMITTING, "runner.py", "custodian_vasp.py"),
    "gpaw": (*SUBMITTING, "runner.py", "gpaw_runner.py", "gpaw_worker.py"),
}
"""Files of this package that every batch of an engine holds a copy of."""

_GPAW_PYTHON = "/usr/bin/python3"


class ClusterSettings(Settings):
    """First contents of ``cluster.env``; a person may change them there at any time.

    Attributes
    ----------
    scheduler : {"slurm", "pbs", "shell"}
        "shell" runs the jobs one after another where submit.sh is called.
    account, partition : str
        Charged account and partition (or PBS queue); empty leaves the cluster's default.
    nodes, tasks_per_node : int
        A GPAW job is one process: where `tasks_per_node` is left at VASP's default, it asks for 1.
    hours : int
        Wall time of one job; 0 with scheduler "shell" means no limit.
    warning_s : int
        How long before that limit a job begins to stop.
    at_once : int
        Jobs of the array that may run at the same time.
    setup : str
        Shell command before every job, e.g. ``"module load vasp/6.4.3"``.
    vasp : str
        Command that runs VASP in the working directory.
    potcars : str
        Folder with one sub-folder a POTCAR symbol, on the cluster. Empty: POTCARs are put into the
        job folders by hand.
    python : str
        Interpreter of the runner on the cluster, 3.6 or later.
    custodian : bool
        Use custodian where the interpreter has it.
    gpaw_python : str
        Interpreter that has GPAW, for batches of that engine.
    approval : {"yes", "no"}
        What a line of ``approved.csv`` counts as that nobody answered.
    approval_hours : int
        How old a batch must be for that; until then such jobs wait. 0: at once.

    Settings that came later are left out of the JSON as long as they have their defaults, so that
    campaigns from before them stay the same.
    """

    scheduler: Literal["slurm", "pbs", "shell"] = "slurm"
    account: str = ""
    partition: str = ""
    nodes: int = Field(default=1, ge=1)
    tasks_per_node: int = Field(default=VASP_TASKS, ge=1)
    hours: int = Field(default=24, ge=0)
    warning_s: int = Field(default=600, ge=0)
    at_once: int = Field(default=50, ge=1)
    setup: str = ""
    vasp: str = "srun vasp_std"
    potcars: str = ""
    python: str = "python3"
    custodian: bool = True
    gpaw_python: str = Field(default=_GPAW_PYTHON, exclude_if=lambda x: x == _GPAW_PYTHON)
    approval: Literal["yes", "no"] = Field(default="yes", exclude_if=lambda x: x == "yes")
    approval_hours: int = Field(default=0, ge=0, lt=10**6, exclude_if=lambda x: x == 0)

    def for_engine(self, engine: Engine) -> ClusterSettings:
        """Return the settings as the jobs of an engine use them."""
        alone = engine == "gpaw" and self.tasks_per_node == VASP_TASKS
        return self.model_copy(update={"tasks_per_node": 1}) if alone else self


_EXPLAINED: dict[str, str] = {
    "AGD_SCHEDULER": "slurm, pbs, or shell (one job after another, here)",
    "AGD_ACCOUNT": "account that is charged; empty: the default one",
    "AGD_PARTITION": "partition or queue; empty: the default one",
    "AGD_NODES": "nodes a job",
    "AGD_TASKS_PER_NODE": "MPI ranks a node",
    "AGD_HOURS": "wall time of a job in hours; 0 with shell: no limit",
    "AGD_WARNING_S": "seconds before that limit at which a job begins to stop",
    "AGD_AT_ONCE": "jobs that may run at the same time",
    "AGD_SETUP": "commands before every job, e.g. 'module load vasp/6.4.3'",
    "AGD_VASP": "command that runs VASP in the working directory",
    "AGD_POTCARS": "folder of your licensed potentials, one sub-folder a symbol",
    "AGD_PYTHON": "Python 3.6 or later",
    "AGD_CUSTODIAN": "yes: use custodian where that Python has it",
    "AGD_GPAW_PYTHON": "Python that has GPAW",
    "AGD_APPROVAL": "what an empty line of approved.csv counts as: yes or no",
    "AGD_APPROVAL_HOURS": "hours that an empty line waits for an answer first; 0: none",
}


_EXPLAINED_OTHERWISE: dict[Engine, dict[str, str]] = {
    "vasp": {},
    "gpaw": {"AGD_TASKS_PER_NODE": "cores to ask for; a job uses one"},
}

_OF_OTHER_ENGINES: dict[Engine, frozenset[str]] = {
    "vasp": frozenset({"AGD_GPAW_PYTHON"}),
    "gpaw": frozenset({"AGD_VASP", "AGD_POTCARS", "AGD_CUSTODIAN"}),
}


def cluster_env(settings: ClusterSettings, engine: Engine = "vasp") -> str:
    """Return the text of ``cluster.env``, every line explained."""
    values = dict(settings.for_engine(engine))
    values["custodian"] = "yes" if settings.custodian else "no"
    lines = ["# The only file to edit before `sh submit.sh`. Shell syntax."]
    for name, explanation in _EXPLAINED.items():
        if name in _OF_OTHER_ENGINES[engine]:
            continue
        value = str(values[name.removeprefix("AGD_").lower()])
        own = _EXPLAINED_OTHERWISE[engine].get(name, explanation)
        lines += [f"# {own}", f"{name}={shlex.quote(value)}"]
    return "\n".join(lines) + "\n"


def script(name: str) -> str:
    """Return the text of one of the package's scripts."""
    return (resources.files("dft_inputs.cluster") / name).read_text(encoding="utf-8")


def potcars_text(functional: str, symbols: Iterable[str]) -> str:
    """Return ``potcars.txt``: the union of symbols, and the command that assembles POTCARs."""
    union = sorted(set(symbols))
    return "\n".join(
        [
            f"These jobs need {len(union)} potentials of the family {functional}:",
            "",
            *union,
            "",
            "Set AGD_POTCARS in cluster.env to the folder that holds one sub-folder a symbol, and",
            "every job assembles its own POTCAR. To see beforehand whether one is missing:",
            "",
            "  . ./cluster.env; sed -n '3,/^$/p' potcars.txt | while read -r s; do",
            '    [ -z "$s" ] || [ -f "$AGD_POTCARS/$s/POTCAR" ] || echo "missing: $s"; done',
            "",
            "By hand, inside one step folder:",
            "",
            '  for s in $(cat POTCAR.spec); do cat "$AGD_POTCARS/$s/POTCAR"; done > POTCAR',
            "",
            *(f"{POTENTIAL_REMARKS[s]}\n" for s in union if s in POTENTIAL_REMARKS),
            "POTCARs are licensed: none is shipped here, and jobs delete theirs when done.",
            "",
        ]
    )


def readme_text(
    jobs: int, references: str | None, engine: Engine = "vasp", elements: bool = False
) -> str:
    """Return ``README.txt``: what the person at the cluster does, who may have nothing else.

    Parameters
    ----------
    jobs : int
    references : str or None
        Path, from this folder, of the reference jobs that belong to it.
    engine : {"vasp", "gpaw"}
    elements : bool
        Whether these are the reference jobs, which nobody has to approve.
    """
    what = {False: "best candidate first in jobs.txt", True: "references of the elements"}
    needs = {"vasp": "Python 3.6 and VASP", "gpaw": "Python 3.6 and one that has GPAW"}
    edits = {
        "vasp": "account, partition, modules, VASP command, AGD_POTCARS (see potcars.txt)",
        "gpaw": "scheduler, account, modules, AGD_GPAW_PYTHON; a job runs on one core",
    }
    also = (
        f" Copy {references} too and do the same there, with a cluster.env like this one: "
        "formation energies need it."
        if references
        else ""
    )
    back = " (leave POTCARs there: --exclude POTCAR)" if engine == "vasp" else ""
    steps = [
        f"Copy this folder to the cluster (rsync -a, cp -a or tar).{also}",
        f"Edit cluster.env: {edits[engine]}. Each line is explained there.",
        "In approved.csv write yes or no for each job; cluster.env says what an empty line counts "
        "as.",
        "sh submit.sh --dry-run, then sh submit.sh. It may be repeated at any time; --help tells "
        "more. One job here and now: sh FOLDER/run.sh",
        "Watch: ls -d *--*/DONE *--*/FAILED. A job's STATUS.json says state, code and reason, "
        f"{engine}.out in its step's folder what the program printed.",
        "Once more: sh submit.sh --again for what failed, --lost for what the scheduler lost.",
        f"Copy the folder back over the one it came from, at any time{back}, and run there: "
        "agd collect CAMPAIGN, the directory that holds handoff and references.",
    ]
    if elements:
        del steps[2]
    return "\n".join(
        [
            f"{jobs} {engine.upper()} jobs, {what[elements]}. They need a POSIX shell, "
            f"{needs[engine]}, but no network.",
            *(f"{number}. {step}" for number, step in enumerate(steps, start=1)),
            "",
        ]
    )


def batch_files(
    settings: ClusterSettings,
    functional: str,
    symbols: Iterable[str],
    jobs: int,
    references: str | None = None,
    engine: Engine = "vasp",
    elements: bool = False,
) -> dict[str, str]:
    """Return everything that stands beside the job directories, file name to text."""
    files = {
        **{name: script(name) for name in BATCH_SCRIPTS[engine]},
        "cluster.env": cluster_env(settings, engine),
        "README.txt": readme_text(jobs, references, engine, elements),
    }
    if engine == "vasp":
        files["potcars.txt"] = potcars_text(functional, symbols)
    return files
