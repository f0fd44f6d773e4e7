"""Stage functions for tests of workers: worker processes import them from here."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

from pydantic import BaseModel

from structure.errors import DataError
from structure.files import write_text
from tasks.campaign.handles import Handle, handle_for
from tasks.campaign.place import Place
from tasks.campaign.stage import stage

logger = logging.getLogger("tasks.to_try")


class Drawn(BaseModel):
    file: Handle
    threads: str


@stage("draw", part="{number:02d}", takes="a number", gives="a file")
def draw(place: Place, number: int) -> Drawn:
    """Write a number that depends on the seed and the part alone."""
    path = place.folder("draw") / f"{number}.txt"
    write_text(path, str(place.seed_of("draw", number)))
    logger.info("drew %d", number)
    return Drawn(
        file=handle_for(place.root, path, 1, "drawn"),
        threads=os.environ.get("OMP_NUM_THREADS", "") + os.environ.get("OMP_WAIT_POLICY", ""),
    )


@stage("dying", part="{number:02d}", takes="a number", gives="a file")
def dying(place: Place, number: int, deaths: int) -> Drawn:
    """Kill the process of the worker as often as told, then do as `draw`."""
    for death in range(deaths):
        mark = place.folder("deaths") / f"{number}-{death}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return draw(place, number)


@stage("failing", takes="nothing", gives="an error")
def failing(place: Place) -> Drawn:
    """Raise an error of ours, and leave a mark for each time."""
    folder = place.folder("failing")
    (folder / str(len(list(folder.iterdir())))).touch()
    raise DataError("the shard is spoilt", where="here", fix="Mend it.")


class UnfitError(Exception):
    """An error that cannot be pickled."""

    def __init__(self, what: str):
        super().__init__(what)
        self.held = threading.Lock()


@stage("unfit", takes="nothing", gives="an error")
def unfit(place: Place) -> Drawn:
    """Raise an error that no pickle can hold."""
    raise UnfitError("of this kind")


@stage("waiting", part="{number}", takes="a number", gives="a file")
def waiting(place: Place, number: int) -> Drawn:
    """Wait until told to go on, by a file; leave a mark that it has begun."""
    (place.folder("waiting") / f"{number}-{os.getpid()}").touch()
    while not (Path(place.root) / "go-on").exists():
        time.sleep(0.02)
    return draw(place, number)
