"""A good job, and what somebody may do to it on the way: serves the tests of collect.

A change of inputs is made in one step's folder, the step is run again by the stand-in, which takes
whatever VASP would take, and the inputs are put back as they were: only what VASP wrote tells.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from dft_inputs.job.folder import Job, first_status
from dft_inputs.job.ticket import Ticket
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.asked.settings import DECIDING_TAGS
from dft_inputs.vasp.asked.tags import read_incar
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import wurtzite

FAKE = Path(__file__).parents[1] / "engines" / "fake_vasp"
INPUTS = ("INCAR", "KPOINTS", "POSCAR", "POTCAR")
Change = Callable[[Path], None]


def potcar(*titles: str) -> str:
    """Return a stand-in POTCAR with these titles."""
    return "".join(f"   TITEL  = {title}\n End of Dataset\n" for title in titles)


POTCAR = potcar("PAW_PBE Zn 06Sep2000", "PAW_PBE O 08Apr2002")


def calculated(place: Path) -> tuple[Job, Path]:
    """Run every step of a job of ZnO as the runner would; return the job and its folder."""
    job = vasp_job(wurtzite("Zn", "O"), PAPER.with_steps(()), formula="ZnO")
    folder = place / job.ticket.folder
    for name, text in job.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "ticket.json").write_text(job.ticket.text())
    (folder / "STATUS.json").write_text(first_status(job.ticket))
    for step in job.ticket.steps:
        here = folder / step.name
        if step.structure_from:
            shutil.copy(folder / step.structure_from / "CONTCAR", here / "POSCAR")
        (here / "POTCAR").write_text(POTCAR)
        (here / "CHGCAR").write_text("CHG")
        run(here)
    return job, folder


def as_written_before(ticket: Ticket) -> Ticket:
    """Return a ticket as releases before geometries and paths stood in it wrote it."""
    steps = tuple(
        step.model_copy(
            update={
                "settings": {t: step.settings[t] for t in DECIDING_TAGS if t in step.settings},
                "path": (),
            }
        )
        for step in ticket.steps
    )
    return ticket.model_copy(update={"steps": steps, "geometry": None})


def run(step: Path) -> None:
    """Run the stand-in in a step's folder."""
    environment = {**os.environ, "FAKE_VASP": "", "FAKE_VASP_PERMISSIVE": "yes"}
    done = subprocess.run([FAKE], cwd=step, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def run_with(step: Path, change: Change) -> None:
    """Run a step again with changed inputs, and put the inputs back."""
    before = {name: (step / name).read_text() for name in INPUTS}
    change(step)
    run(step)
    for name, text in before.items():
        (step / name).write_text(text)


def edited(incar: str, tags: Mapping[str, str | None]) -> str:
    """Return an INCAR with other values; None takes a tag out."""
    known = dict(read_incar(incar)) | tags
    return "".join(f"{tag} = {value}\n" for tag, value in known.items() if value is not None)


def incar(**tags: str | None) -> Change:
    """Set tags; None takes one out."""

    def change(step: Path) -> None:
        path = step / "INCAR"
        path.write_text(edited(path.read_text(), tags))

    return change


def text_of(name: str, text: str) -> Change:
    """Replace an input by another text."""

    def change(step: Path) -> None:
        (step / name).write_text(text)

    return change


def lines_of(name: str, edit: Callable[[list[str]], list[str]]) -> Change:
    """Edit the lines of an input."""

    def change(step: Path) -> None:
        path = step / name
        path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")

    return change


def result(pattern: str, replacement: str, count: int = 0) -> Change:
    """Edit what VASP wrote."""

    def change(step: Path) -> None:
        path = step / "vasprun.xml"
        text, found = re.subn(pattern, replacement, path.read_text(), count=count)
        assert found, pattern
        path.write_text(text)

    return change


def packed(step: Path) -> None:
    """Pack a result, as the runner does at the end."""
    path = step / "vasprun.xml"
    path.with_name("vasprun.xml.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
