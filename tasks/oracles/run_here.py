"""Runs batches of jobs on this machine: serves DFT oracles with ``submit: here``.

In: a campaign directory and folders of jobs in it. Out: one process of its own session that calls
their ``submit.sh`` one after another and writes what it says to ``submitted/here.log``. It goes on
when the campaign's process ends, and never beside another of the same campaign. Started as a file,
it needs the standard library only.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LOCK = "here.lock"
"""Held, in the campaign directory, by the process whose jobs run."""


def start(root: Path, places: Iterable[Path]) -> int:
    """Run the jobs of these folders in the background, after those already started.

    Returns
    -------
    int
        Number of the session: ``kill -- -NUMBER`` stops it, and jobs go on where they stood when
        they are started again.
    """
    command = [sys.executable, str(Path(__file__).resolve()), str(root.resolve())]
    command += [str(place.resolve()) for place in places]
    from tasks.campaign.surroundings import of_jobs_here

    done = subprocess.run(
        command,
        env=of_jobs_here(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    return int(done.stdout)


def busy(root: Path) -> bool:
    """Return whether jobs of this campaign run here."""
    with (root / LOCK).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def main(root: Path, places: list[Path]) -> None:
    """Leave the caller behind, wait for our turn, and submit."""
    handle = (root / LOCK).open("a")
    with suppress(OSError):  # others run: our turn comes after theirs
        # Taken before the caller goes on, so that it finds these jobs at work; the child shares it.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child = os.fork()
    if child:
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for place in places:
            (place / "submitted").mkdir(exist_ok=True)
            with (place / "submitted" / "here.log").open("ab") as log:
                subprocess.run(
                    ["sh", "submit.sh"], cwd=place, stdin=nothing, stdout=log, stderr=log
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(place) for place in sys.argv[2:]])
