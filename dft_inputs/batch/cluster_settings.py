"""How a cluster is used, and what a DFT code needs there: serves the hand-off step.

In: a campaign's words on its cluster. Out: `ClusterSettings`, the first contents of
``cluster.env``, and `ClusterFiles`, what an engine puts beside its jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal, NamedTuple

from pydantic import Field

from structure.records import Settings

DEFAULT_TASKS = 32
"""MPI ranks of a job where nothing is said (chosen; every cluster has its own number)."""

_GPAW_PYTHON = "/usr/bin/python3"


class ClusterSettings(Settings):
    """First contents of ``cluster.env``; a person may change them there at any time."""

    scheduler: Literal["slurm", "pbs", "shell"] = "slurm"
    """"shell" runs the jobs one after another where submit.sh is called."""
    account: str = ""
    """Charged account; empty leaves the cluster's default."""
    partition: str = ""
    """Partition (or PBS queue); empty leaves the cluster's default."""
    nodes: int = Field(default=1, ge=1)
    """Nodes a job asks for."""
    tasks_per_node: int = Field(default=DEFAULT_TASKS, ge=1)
    """Processes a node. A job of one process, as GPAW's, asks for 1 where this is left as it is."""
    hours: int = Field(default=24, ge=0)
    """Wall time of one job; 0 with scheduler "shell" means no limit."""
    warning_s: int = Field(default=600, ge=0)
    """How long before that limit a job begins to stop."""
    at_once: int = Field(default=50, ge=1)
    """Jobs of the array that may run at the same time."""
    setup: str = ""
    """Shell command before every job, e.g. ``"module load vasp/6.4.3"``."""
    vasp: str = "srun vasp_std"
    """Command that runs VASP in the working directory."""
    potcars: str = ""
    """Folder with one sub-folder a POTCAR symbol, on the cluster. Empty: POTCARs are put into the
    job folders by hand."""
    python: str = "python3"
    """Interpreter of the runner on the cluster, 3.6 or later."""
    custodian: bool = True
    """Use custodian where the interpreter has it."""
    gpaw_python: str = Field(default=_GPAW_PYTHON, exclude_if=lambda x: x == _GPAW_PYTHON)
    """Interpreter that has GPAW, for batches of that engine."""
    programs: dict[str, str] = Field(default_factory=dict, exclude_if=lambda x: not x)
    """Programs and folders of other codes, by the name that their variable in ``cluster.env`` has
    after ``AGD_``, in lower case: ``elk`` is the command that runs Elk."""
    approval: Literal["yes", "no"] = Field(default="yes", exclude_if=lambda x: x == "yes")
    """What a line of ``approved.csv`` counts as that nobody answered."""
    approval_hours: int = Field(default=0, ge=0, lt=10**6, exclude_if=lambda x: x == 0)
    """How old a batch must be for that; until then such jobs wait. 0: at once."""

    def on_one_core(self) -> ClusterSettings:
        """Return the settings of jobs that are one process, unless more cores were asked for."""
        alone = self.tasks_per_node == DEFAULT_TASKS
        return self.model_copy(update={"tasks_per_node": 1}) if alone else self


class Line(NamedTuple):
    """One line of ``cluster.env``: a variable, its value, and what it is."""

    name: str
    value: str
    explanation: str


@dataclass(frozen=True)
class ClusterFiles:
    """What an engine has beside its jobs.

    Attributes
    ----------
    settings : ClusterSettings
        As jobs of this engine use them.
    files : dict of str to str
        Its scripts and texts, name to text; a text, ``.txt``, is written again when jobs are added.
    lines : tuple of Line
        Its lines of ``cluster.env``, and `runner_line`, in order.
    needs : str
        What a job needs on the cluster, e.g. ``"Python 3.6 and VASP"``.
    edits : str
        What to edit in ``cluster.env``.
    copying : str
        What to heed when the folder is copied back; empty, or words in brackets.
    cores : str
        What ``AGD_TASKS_PER_NODE`` is.
    """

    settings: ClusterSettings
    files: Mapping[str, str]
    lines: tuple[Line, ...]
    needs: str
    edits: str
    copying: str = ""
    cores: str = field(default="MPI ranks a node")


def runner_line(settings: ClusterSettings) -> Line:
    """Return the line that names the interpreter of the runner, which every engine has."""
    return Line("AGD_PYTHON", settings.python, "Python 3.6 or later")


def script(name: str) -> str:
    """Return the text of one of the scripts that are copied to clusters."""
    return (resources.files("dft_inputs.cluster") / name).read_text(encoding="utf-8")
