# ruff: noqa: UP006, UP035
"""Run one GPAW job directory: serves the hand-off step, beside ``runner.py`` in a batch.

In: a job directory with ``ticket.json`` and its step folders. Out: as from ``runner.py``: finished
steps, ``STATUS.json`` and, last, an empty ``DONE`` or ``FAILED``. A step is one process of the
Python that has GPAW. Lock, heartbeat, wall-time limit and exit codes are the runner's.
"""

import contextlib
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, List

runner: Any = import_module("runner" if __name__ == "__main__" else "dft_inputs.cluster.runner")

RESULT = "gpaw-result.json"
LOG = "gpaw.out"
CRASHED = 200


def gpaw_command() -> List[str]:
    """Return the words that start GPAW in a step folder."""
    python = os.environ.get("AGD_GPAW_PYTHON") or "/usr/bin/python3"
    worker = Path(__file__).resolve().with_name("gpaw_worker.py")
    return list(runner.existing([python, str(worker), "."]))


def judge(folder: Path) -> Any:
    """Judge a step from its result file; code 200 means that GPAW did not come to an end."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if result["status"] == "done":
            return runner.Verdict(0, "")
        return runner.Verdict(int(result["code"]), str(result["sentence"]))
    except FileNotFoundError:
        return runner.Verdict(CRASHED, f"{RESULT} is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return runner.Verdict(CRASHED, f"{RESULT} is cut off or damaged: {error}")


def run_step(job: Path, step: Any, ticket: Any, status: Any, clock: Any) -> Any:
    """Run one step; a crash is tried once more, what GPAW itself gave up is not."""
    folder, name, limits = job / step["name"], step["name"], ticket["limits"]
    attempts, crashes = status.data["attempts"], 0
    verdict = judge(folder)
    if verdict.code != CRASHED and attempts.get(name):
        return verdict
    while verdict.code and attempts.get(name, 0) < limits["attempts"]:
        if clock.over():
            raise runner.stopped(f"no time is left for {name}")
        command = gpaw_command()
        with contextlib.suppress(FileNotFoundError):
            (folder / RESULT).unlink()
        interrupted = runner.launch(folder, command, limits, status, clock, LOG)
        verdict = runner.with_last_words(judge(folder), folder / LOG)
        if verdict.code == CRASHED and interrupted and attempts[name] < limits["attempts"]:
            raise runner.stopped("stopped at the wall-time limit")
        crashes += verdict.code == CRASHED
        if verdict.code != CRASHED or crashes == runner.LAUNCHES_THAT_END_BADLY:
            break
    return verdict


if __name__ == "__main__":
    sys.exit(runner.run_job(runner.job_folder(), run_step))
