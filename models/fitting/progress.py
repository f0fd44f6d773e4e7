"""Progress of a fit for people: serves the train stage.

In: the share of the budget used and a line of numbers. Out: a bar on a terminal, log lines
elsewhere.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

Report = Callable[[float, str], None]
"""Called with the share of the budget used (0 to 1) and a line of numbers."""


@contextmanager
def console_report(label: str, log_seconds: float = 30.0) -> Iterator[Report]:
    """Give a `Report`: a progress bar on a terminal, otherwise a log line every so often.

    Parameters
    ----------
    label : str
        What is being fitted.
    log_seconds : float, default 30
        Time between log lines where there is no terminal.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.fields[label]}"), BarColumn(), TimeRemainingColumn())
        with Progress(
            *columns, TextColumn("{task.fields[line]}"), console=Console(stderr=True)
        ) as bar:
            task = bar.add_task("", total=1.0, label=label, line="")
            yield lambda share, line: bar.update(task, completed=share, line=line)
        return
    last = -math.inf

    def log(share: float, line: str) -> None:
        nonlocal last
        if share >= 1.0 or time.monotonic() - last >= log_seconds:
            last = time.monotonic()
            logger.info("%s: %3.0f %%, %s", label, 100 * share, line)

    yield log
