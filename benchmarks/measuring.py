"""What the benchmarks of structure/ share: timing, the machine, the formulas, the result page."""

from __future__ import annotations

import csv
import gzip
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
Result = TypeVar("Result")


def timed(work: Callable[[], Result], repeats: int = 5) -> tuple[float, Result]:
    """Return the least CPU time of this process over some runs, in seconds, and the last result."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        result = work()
        seconds.append(time.process_time() - began)
    return min(seconds), result


def materials_project_formulas(folder: Path) -> list[str]:
    """Return the distinct formulas of the 2024 Materials Project list, in its order."""
    with gzip.open(folder / "mp_formulas_2024.csv.gz", "rt") as handle:
        return list(dict.fromkeys(row["formula"] for row in csv.DictReader(handle)))


def data_folder(given: Path | None) -> Path:
    """Return the folder of the development data set."""
    folder = given or Path(os.environ.get("AGD_DATA_DIR", ""))
    if not (folder / "mp_formulas_2024.csv.gz").exists():
        sys.exit("name the folder of the development data with --data or AGD_DATA_DIR")
    return folder


def setting(packages: Sequence[str]) -> list[str]:
    """Return the lines that say how and where a benchmark ran."""
    name = Path(sys.argv[0]).name
    command = f'OMP_NUM_THREADS=1 python benchmarks/{name} --data "$AGD_DATA_DIR"'
    versions = ", ".join(f"{p} {version(p)}" for p in packages)
    return [
        f"Command: `{command}`.",
        "",
        f"Machine: {os.cpu_count()} cores ({_processor()}), load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {versions}. Times are CPU seconds of one thread, "
        "the least of several runs.",
        "",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")


def publish(name: str, lines: Sequence[str]) -> None:
    """Print a page and write it to docs/results."""
    text = "\n".join(lines) + "\n"
    print(text)
    path = ROOT / "docs" / "results" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rate(count: int, seconds: float) -> str:
    """Write how many a second, with three figures."""
    value = count / seconds
    return f"{float(f'{value:.3g}'):,.0f}/s"
