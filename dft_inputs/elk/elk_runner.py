# ruff: noqa: UP006, UP035
"""Run one Elk job directory: serves the hand-off step, beside ``runner.py`` in a batch.

In: a job directory with ``ticket.json`` and its step folder. Out: as from ``runner.py``: a finished
step with ``elk-result.json``, ``STATUS.json`` and, last, an empty ``DONE`` or ``FAILED``. Elk runs
in the step folder, where the species files it needs are copied from ``AGD_ELK_SPECIES``. Needs
Python 3.6's standard library. Lock, heartbeat, wall-time limit and exit codes are the runner's.
"""

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, List, Tuple

runner: Any = import_module("runner" if __name__ == "__main__" else "dft_inputs.cluster.runner")

INPUT, RESULT, LOG = "elk.in", "elk-result.json", "elk.out"
SPECIES = "/usr/share/elk-lapw/species"
"""Where Debian's elk-lapw has its species files."""
HARTREE_EV = 27.211386245988
"""One Hartree in eV (CODATA 2018)."""
CRASHED, UNCONVERGED = 200, 210
LOST_CHARGE = 0.005
"""Electrons that a density may lose or gain (chosen: five times what Elk itself warns of)."""
LARGE_FILES = ("STATE.OUT", "EVECFV.OUT", "EVECSV.OUT")

Bands = List[List[float]]


class UnreadableError(Exception):
    """Says what Elk did not write, or not as it does."""


def words_of(folder: Path, name: str) -> str:
    """Return the text of one of Elk's files."""
    try:
        return (folder / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise UnreadableError(f"{name} is missing") from None


def last_number(text: str, pattern: str, what: str) -> float:
    """Return the number that a pattern finds last."""
    found = re.findall(pattern + r"\s*:\s*(-?[0-9.]+(?:E[+-]?[0-9]+)?)", text)
    if not found:
        raise UnreadableError(f"INFO.OUT does not say the {what}")
    return float(found[-1])


def eigenvalues(text: str) -> Tuple[Bands, Bands]:
    """Return k-points and eigenvalues (Hartree) of EIGVAL.OUT."""
    points: Bands = []
    values: Bands = []
    for line in text.splitlines():
        words = line.split()
        if "k-point, vkl" in line:
            points.append([float(x) for x in words[1:4]])
            values.append([])
        elif len(words) == 3 and values and words[0].isdigit():
            values[-1].append(float(words[1]))
    if not values or len({len(row) for row in values}) != 1 or not values[0]:
        raise UnreadableError("EIGVAL.OUT is cut off")
    return points, values


def path_values(text: str) -> Bands:
    """Return eigenvalues (Hartree, from the Fermi energy) of BAND.OUT, points x bands."""
    bands = [[float(line.split()[1]) for line in part.splitlines() if line.strip()]
             for part in re.split(r"\n\s*\n", text) if part.strip()]  # fmt: skip
    if not bands or len({len(band) for band in bands}) != 1:
        raise UnreadableError("BAND.OUT is cut off")
    return [list(row) for row in zip(*bands)]  # noqa: B905


def gaps_of(values: Bands, occupied: int) -> Tuple[float, float]:
    """Return the gap and the direct gap in eV, not below zero."""
    if len(values[0]) <= occupied:
        raise UnreadableError("there are no empty bands, and so no band gap")
    top = max(row[occupied - 1] for row in values)
    bottom = min(row[occupied] for row in values)
    direct = min(row[occupied] - row[occupied - 1] for row in values)
    return max(0.0, HARTREE_EV * (bottom - top)), max(0.0, HARTREE_EV * direct)


def result_of(folder: Path) -> Dict[str, Any]:
    """Return what a step folder says that Elk has left."""
    text = words_of(folder, INPUT)
    info = words_of(folder, "INFO.OUT")
    result: Dict[str, Any] = {
        "schema": 1,
        "status": "done",
        "input_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "species_sha256": {
            name[1:-4]: hashlib.sha256((folder / name[1:-1]).read_bytes()).hexdigest()
            for name in re.findall(r"'[A-Z][a-z]?\.in'", text)
        },
        "elk_version": (re.findall(r"Elk version ([0-9.]+)", info) or ["unknown"])[0],
    }
    if "Convergence targets achieved" not in info:
        return failed(result, UNCONVERGED, "the density did not converge in as many loops as asked")
    lost = last_number(info, r"\n error", "error of the charge")
    if abs(lost) > LOST_CHARGE:
        return failed(result, UNCONVERGED, f"the density is {lost:+.3f} electrons off")
    energies = words_of(folder, "TOTENERGY.OUT").split()
    if not energies:
        raise UnreadableError("TOTENERGY.OUT is empty")
    points, values = eigenvalues(words_of(folder, "EIGVAL.OUT"))
    electrons = last_number(info, "Total valence charge", "number of valence electrons")
    result.update(
        energy_eV=HARTREE_EV * float(energies[-1]),
        charge_error=lost,
        loops=info.count("| Loop number"),
        irreducible_points=len(points),
        mesh=[int(n) for n in re.findall(r"ngridk\n +(\d+) +(\d+) +(\d+)", text)[0]],
        fermi_eV=HARTREE_EV * float(words_of(folder, "EFERMI.OUT").split()[-1]),
    )
    result.update(band_gaps(folder, values, round(electrons), "plot1d" in text))
    return result


def band_gaps(folder: Path, values: Bands, electrons: int, path: bool) -> Dict[str, Any]:
    """Return the gaps on the mesh and the path; an odd number of electrons is a metal by count."""
    if electrons % 2:
        return {"gap_eV": 0.0, "direct_gap_eV": 0.0, "gap_mesh_eV": 0.0, "gap_path_eV": None}
    occupied = electrons // 2
    gap, direct = gaps_of(values, occupied)
    result: Dict[str, Any] = {"gap_eV": gap, "direct_gap_eV": direct, "gap_mesh_eV": gap}
    result["gap_path_eV"] = None
    if path:
        fermi = float(words_of(folder, "EFERMI.OUT").split()[-1])
        text = words_of(folder, "BAND.OUT")
        along = [[value + fermi for value in row] for row in path_values(text)]
        result["gap_path_eV"] = gaps_of(along, occupied)[0]
        both = [row[: occupied + 1] for row in (*values, *along)]
        result["gap_eV"], result["direct_gap_eV"] = gaps_of(both, occupied)
    return result


def failed(result: Dict[str, Any], code: int, sentence: str) -> Dict[str, Any]:
    """Return a result that says why there is none."""
    result.update(status="failed", code=str(code), sentence=sentence)
    return result


def species_beside(folder: Path) -> None:
    """Copy the species files that the input names into the step folder."""
    library = Path(os.environ.get("AGD_ELK_SPECIES") or SPECIES)
    for name in re.findall(r"'([A-Z][a-z]?\.in)'", words_of(folder, INPUT)):
        try:
            shutil.copyfile(str(library / name), str(folder / name))
        except OSError as error:
            fix = "set AGD_ELK_SPECIES in cluster.env to the folder of Elk's species files"
            raise runner.broken(
                runner.BROKEN, f"the species file {name} cannot be copied: {error.strerror}; {fix}"
            ) from None


def judge(folder: Path) -> Any:
    """Judge a step from its result file; code 200 means that Elk did not come to an end."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if result["status"] == "done":
            return runner.Verdict(0, "")
        return runner.Verdict(int(result["code"]), str(result["sentence"]))
    except FileNotFoundError:
        return runner.Verdict(CRASHED, f"{RESULT} is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return runner.Verdict(CRASHED, f"{RESULT} is cut off or damaged: {error}")


def write_result(folder: Path) -> Any:
    """Read what Elk left, keep it in one small file, and return the verdict."""
    try:
        text = json.dumps(result_of(folder), indent=1, sort_keys=True)
    except (UnreadableError, OSError, ValueError, IndexError) as error:
        return runner.Verdict(CRASHED, f"Elk came to no end: {error}")
    unfinished = folder / f".tmp-{os.getpid()}-{RESULT}"
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(folder / RESULT)
    return judge(folder)


def run_step(job: Path, step: Any, ticket: Any, status: Any, clock: Any) -> Any:
    """Run one step; a crash is tried once more, what Elk itself gave up is not."""
    folder, name, limits = job / step["name"], step["name"], ticket["limits"]
    attempts, crashes = status.data["attempts"], 0
    verdict = judge(folder)
    if verdict.code != CRASHED and attempts.get(name):
        return verdict
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("AGD_TASKS_PER_NODE") or "1")
    command = runner.existing(shlex.split(os.environ.get("AGD_ELK") or "elk-lapw"))
    while verdict.code and attempts.get(name, 0) < limits["attempts"]:
        if clock.over():
            raise runner.stopped(f"no time is left for {name}")
        for stale in (RESULT, "INFO.OUT", "TOTENERGY.OUT", "EIGVAL.OUT", "BAND.OUT"):
            with contextlib.suppress(FileNotFoundError):
                (folder / stale).unlink()
        species_beside(folder)
        interrupted = runner.launch(folder, command, limits, status, clock, LOG)
        verdict = runner.with_last_words(write_result(folder), folder / LOG)
        if verdict.code == CRASHED and interrupted and attempts[name] < limits["attempts"]:
            raise runner.stopped("stopped at the wall-time limit")
        crashes += verdict.code == CRASHED
        if verdict.code != CRASHED or crashes == runner.LAUNCHES_THAT_END_BADLY:
            break
    for large in LARGE_FILES:
        with contextlib.suppress(FileNotFoundError):
            (folder / large).unlink()
    return verdict


if __name__ == "__main__":
    sys.exit(runner.run_job(runner.job_folder(), run_step))
