"""The picture of the design: who may import whom, and who may import Prefect or torch."""

from __future__ import annotations

import ast
import graphlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("structure", "models", "dft_inputs", "tasks", "flows")

MAY_IMPORT = {
    "structure": set(),
    "models": {"structure"},
    "dft_inputs": {"structure"},
    "tasks": {"structure", "models", "dft_inputs"},
    "flows": {"tasks"},
}

SHARED_ROOMS = ("ledger", "campaign", "dft_jobs", "oracles")
"""Rooms of tasks/ that are no stage; each may import the ones before it in this order."""

SHARED_WORDS = {
    "structure.errors",
    "structure.files",
    "structure.records",
    "structure.properties",
}
"""Errors, safe writing, settings and what is sought: the words of every package, flows too."""

LONGEST_MODULE = 400
LONGEST_RUNNER = 620
"""The runner goes to clusters as one file on the standard library: it cannot be split."""


MEDIAN_MODULE = 160
MOST_IN_A_ROOM = 14


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the dotted name of a module; a package's is that of its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Yield what a module imports, anywhere in it, except for annotations only."""
    tree = ast.parse(path.read_text())
    annotations = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in annotations:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            # `from tasks import _ledger` imports a module too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def stage_of(module: str) -> str:
    """Return the stage a module of tasks/ belongs to; '' for what all stages share."""
    parts = module.split(".")
    return "" if len(parts) < 2 or parts[1] in SHARED_ROOMS else parts[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrows_of_the_design(package):
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(path)
        if name.split(".")[0] in PACKAGES
        and name.split(".")[0] not in allowed
        and not any(name == w or name.startswith(f"{w}.") for w in SHARED_WORDS)
    ]
    assert not wrong


def test_stages_never_import_each_other():
    stages = {p.stem if p.suffix else p.name for p in (ROOT / "tasks").iterdir()}
    wrong = []
    for path in modules("tasks"):
        own = path.relative_to(ROOT / "tasks").parts[0].removesuffix(".py")
        for name in imported(path):
            stage = stage_of(name) if name.startswith("tasks.") else ""
            if stage in stages and stage != own:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_rooms_that_stages_share_import_those_before_them_only():
    wrong = []
    for path in modules("tasks"):
        own = path.relative_to(ROOT / "tasks").parts[0]
        if own not in SHARED_ROOMS:
            continue
        allowed = SHARED_ROOMS[: SHARED_ROOMS.index(own) + 1]
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "tasks" and len(parts) > 1 and parts[1] not in allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_no_module_imports_itself_through_others():
    """Imports inside functions count: they hide a circle, they do not open it."""
    names = {name_of(path): path for package in PACKAGES for path in modules(package)}
    graph = {
        name: {other for other in imported(path) if other in names and other != name}
        for name, path in names.items()
    }
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail("circle: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize("package", ["structure", "models", "dft_inputs"])
def test_science_never_imports_prefect(package):
    wrong = [p for p in modules(package) if any(n.split(".")[0] == "prefect" for n in imported(p))]
    assert not wrong


@pytest.mark.parametrize("package", ["structure", "dft_inputs"])
def test_structures_and_inputs_never_import_torch(package):
    wrong = [p for p in modules(package) if any(n.split(".")[0] == "torch" for n in imported(p))]
    assert not wrong


def test_no_module_is_longer_than_the_limit():
    lengths = {p: len(p.read_text().splitlines()) for k in PACKAGES for p in modules(k)}
    long = {p: n for p, n in lengths.items() if n > LONGEST_MODULE}
    runner = {p: n for p, n in long.items() if (p.parent.name, p.name) == ("cluster", "runner.py")}
    assert set(long) == set(runner)
    assert all(n <= LONGEST_RUNNER for n in runner.values())


def test_half_of_all_modules_are_short():
    lengths = [
        len(p.read_text().splitlines())
        for package in PACKAGES
        for p in modules(package)
        if p.name != "__init__.py"
    ]
    assert statistics.median(lengths) <= MEDIAN_MODULE


def test_no_room_has_more_modules_than_a_person_reads_at_once():
    rooms = {p.parent for package in PACKAGES for p in modules(package)}
    held = {room: sum(1 for p in room.glob("*.py") if p.name != "__init__.py") for room in rooms}
    assert {room: n for room, n in held.items() if n > MOST_IN_A_ROOM} == {}


def test_every_module_says_which_step_it_serves():
    silent = [
        p for k in PACKAGES for p in modules(k) if not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent


def test_the_command_line_answers_without_loading_anything_heavy():
    heavy = ("torch", "prefect", "pymatgen", "lightgbm", "smact", "pandas", "sqlalchemy")
    code = f"import sys, flows.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_local_campaign_loads_no_prefect():
    code = "import sys, flows.running.local; print('prefect' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "False"
