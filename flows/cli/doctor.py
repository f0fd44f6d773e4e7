"""``agd doctor``: finds out why a campaign would not run here, before it is started.

In: this environment and the current directory; a configuration or a campaign whose ledger is to be
opened too. Out: one line a check, each with what to do about it. Nothing is changed and nothing is
fetched.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from flows.running.shadows import HOME, PACKAGES, hiding
from structure.errors import AgdError

DISTRIBUTION = "agd-pipeline"
ROOM_GB = 2.0
"""Free disk space a large campaign needs (chosen: shards of a million compositions take 0.1 GB)."""


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name : str
    verdict : {"ok", "note", "fault"}
        A note limits what can be done; with a fault campaigns do not run.
    found : str
    fix : str
        What to do; empty if nothing is needed.
    """

    name: str
    verdict: Literal["ok", "note", "fault"]
    found: str
    fix: str = ""


def checks(about: str | None = None) -> Iterator[Check]:
    """Yield every check as it is made, the quick ones first.

    Parameters
    ----------
    about : str, optional
        Configuration or campaign directory whose ledger is opened.
    """
    for check in (
        python_version,
        own_packages,
        files_here,
        requirements,
        tested_versions,
        torch_library,
        shipped_weights,
        writable_folders,
        disk_space,
        data_folder,
        prefect_server,
        gpaw_program,
    ):
        yield check()
    if about is not None:
        yield ledger_of(about)


def python_version() -> Check:
    """Check the interpreter."""
    found = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("Python", "ok", found)
    return Check("Python", "fault", found, "Use Python 3.12 or 3.11: `make PYTHON=python3.12 ...`.")


def own_packages() -> Check:
    """Check that the five generic package names mean this product."""
    foreign = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != HOME:
            foreign.append(f"{name} is {origin}")
    if not foreign:
        return Check("packages", "ok", f"{', '.join(PACKAGES)} in {HOME}")
    return Check(
        "packages",
        "fault",
        "; ".join(foreign),
        "Another installed package has the same name: use an environment of its own (.venv).",
    )


def files_here() -> Check:
    """Check that nothing in this directory is taken for a package of the product."""
    found = hiding([Path.cwd()])
    if not found:
        return Check("files here", "ok", "none has the name of a package of the product")
    names = ", ".join(str(path) for path in found)
    return Check(
        "files here",
        "fault" if Path("prefect.yaml").exists() else "note",
        f"Python takes {names} for the product's package where it looks here first: in runs "
        "through Prefect, notebooks and `python -m`",
        "Rename it, or work in another directory; `agd run --local` works here.",
    )


def requirements() -> Check:
    """Check every requirement of the product against what is installed."""
    from packaging.requirements import Requirement

    wrong = []
    for text in metadata.requires(DISTRIBUTION) or []:
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = _version(wanted.name)
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found or 'is missing'} (wanted {wanted.specifier})")
    if not wrong:
        return Check("requirements", "ok", "all installed in the range that works")
    return Check(
        "requirements",
        "fault",
        "; ".join(wrong),
        "Run `make install`, or `pip install -e . -c constraints.txt`.",
    )


def tested_versions() -> Check:
    """Compare installed versions with the tested set, where the project has it at hand."""
    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not path.exists():
        return Check("tested versions", "note", "no constraints.txt beside an installed package")
    differ = []
    for name, wanted in re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.MULTILINE):
        found = _version(name)
        if found is not None and found.partition("+")[0] != wanted:
            differ.append(f"{name} {found} (tested {wanted})")
    if not differ:
        return Check("tested versions", "ok", "as in constraints.txt")
    return Check(
        "tested versions",
        "note",
        "; ".join(differ),
        "Should something break, run `pip install -e . -c constraints.txt`.",
    )


def torch_library() -> Check:
    """Check that torch loads, and what it would run on."""
    code = (
        "import torch; print(torch.__version__, torch.get_num_threads(), torch.cuda.is_available())"
    )
    done = _python(code)
    if done.returncode:
        return Check("torch", "fault", _last_line(done.stderr), "Run `pip install torch==2.13.0`.")
    version, threads, cuda = done.stdout.split()
    return Check("torch", "ok", f"{version}, {threads} threads, CUDA {cuda.lower()}")


def shipped_weights() -> Check:
    """Check the hashes of the weights the product ships."""
    from tasks.train import verify_shipped

    try:
        names = verify_shipped()
    except AgdError as error:
        return Check("weights", "fault", str(error), "Restore models/pretrained, or `agd train`.")
    return Check("weights", "ok", f"{', '.join(names)}: hashes match")


def writable_folders() -> Check:
    """Check that campaigns and the Prefect database can be written here."""
    blocked = [
        str(folder)
        for folder in (Path("campaigns"), Path(".prefect"))
        if not os.access(folder if folder.exists() else Path.cwd(), os.W_OK)
    ]
    if not blocked:
        return Check("folders", "ok", f"campaigns/ and .prefect/ can be written in {Path.cwd()}")
    return Check(
        "folders",
        "fault",
        f"cannot be written: {', '.join(blocked)}",
        "Work in a directory of your own, or correct its permissions.",
    )


def disk_space() -> Check:
    """Check that there is room for a campaign."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    if free >= ROOM_GB:
        return Check("disk", "ok", f"{free:.0f} GB free")
    return Check("disk", "fault", f"{free:.1f} GB free", f"Free at least {ROOM_GB:g} GB.")


def data_folder() -> Check:
    """Check the folder that campaigns on downloaded data read."""
    named = os.environ.get("AGD_DATA_DIR")
    if not named:
        return Check("AGD_DATA_DIR", "note", "not set; the embedded data serve", "")
    if Path(named).is_dir():
        return Check("AGD_DATA_DIR", "ok", named)
    return Check(
        "AGD_DATA_DIR", "note", f"{named} is no folder", "Correct it, or unset AGD_DATA_DIR."
    )


def prefect_server() -> Check:
    """Check that Prefect's server can be imported: some versions of its libraries break it."""
    code = "import prefect; from prefect.server.api.server import create_app"
    done = _python(f"{code}; print(prefect.__version__)")
    if done.returncode == 0:
        return Check("Prefect server", "ok", done.stdout.split()[-1])
    return Check(
        "Prefect server",
        "fault",
        _last_line(done.stderr),
        "Run `pip install 'fastapi>=0.139,<0.151' 'sqlalchemy>=2.0.40,<2.1'`; "
        "`agd run --local` works without it.",
    )


def gpaw_program() -> Check:
    """Check whether a Python with GPAW is at hand, for DFT without a cluster."""
    for python in ("python3", "/usr/bin/python3", sys.executable):
        path = shutil.which(python)
        if path is None:
            continue
        done = subprocess.run(
            [path, "-c", "import gpaw; print(gpaw.__version__)"], capture_output=True, text=True
        )
        if done.returncode == 0:
            return Check("GPAW", "ok", f"{done.stdout.strip()} in {path}")
    return Check(
        "GPAW",
        "note",
        "not found; VASP job directories need none",
        "To run DFT here: `apt install gpaw gpaw-data`.",
    )


def ledger_of(about: str) -> Check:
    """Open the ledger of a campaign, or the database that a configuration names for one."""
    from flows.config import load_config
    from tasks.ledger.trial import try_campaign, try_setting

    try:
        if Path(about).is_dir():
            return Check("ledger", "ok", try_campaign(Path(about)))
        named = load_config(about).ledger
        if named is None:
            return Check("ledger", "ok", f"{about} keeps it in the campaign directory")
        return Check("ledger", "ok", try_setting(named))
    except AgdError as error:
        place = f" ({error.where})" if error.where else ""
        return Check("ledger", "fault", f"{error.what}{place}", error.fix or "")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DO_NOT_TRACK": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it ended without a word"


def diagnose(say: Callable[[str], None], about: str | None = None) -> int:
    """Print every check; return 1 if one found a fault, else 0. See `checks` for `about`."""
    marks = {"ok": "  ok   ", "note": " note  ", "fault": " FAULT "}
    faults = 0
    for check in checks(about):
        faults += check.verdict == "fault"
        say(f"{marks[check.verdict]} {check.name}: {check.found}")
        if check.fix:
            say(f"         -> {check.fix}")
    say(f"{faults} faults" if faults else "nothing stands in the way of a campaign")
    return 1 if faults else 0
