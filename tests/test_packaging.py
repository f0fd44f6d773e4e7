"""What is installed: the packages, their data, the entry points and the versions that work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("flows", "tasks", "models", "structure", "dft_inputs")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory) -> set[str]:
    """Names in a wheel built from a copy, so that nothing is left in the working tree."""
    copy = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    code = "import setuptools.build_meta as build; print(build.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    (wheel,) = (copy / "dist").glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_module_and_nothing_else_at_its_top(wheel_names):
    modules = {
        p.relative_to(ROOT).as_posix() for name in PACKAGES for p in (ROOT / name).rglob("*.py")
    }
    assert modules <= wheel_names
    tops = {n.split("/")[0] for n in wheel_names}
    assert {t for t in tops if not t.startswith("agd_pipeline-")} == set(PACKAGES)


def test_the_wheel_holds_every_data_file(wheel_names):
    data = {
        p.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for p in (ROOT / name).rglob("*")
        if p.is_file()
        and "__pycache__" not in p.parts
        and p.suffix != ".py"
        and not p.name.startswith(".")
    }
    assert data <= wheel_names


def test_the_command_and_the_plugin_are_registered():
    assert metadata.entry_points(group="console_scripts")["agd"].value == "flows.cli.app:main"
    assert metadata.entry_points(group="prefect.plugins")["agd"].value == "flows.prefect_plugin"


def test_the_tested_set_names_every_requirement_and_lies_in_its_range(project):
    tested = dict(
        re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    )
    by_name = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    extras = project["project"]["optional-dependencies"].values()
    for text in [*project["project"]["dependencies"], *(t for extra in extras for t in extra)]:
        wanted = Requirement(text)
        assert by_name[wanted.name.lower()] in wanted.specifier, text


@pytest.mark.parametrize(("name", "too_new"), [("fastapi", "0.155.0"), ("sqlalchemy", "2.1.0")])
def test_versions_that_break_the_prefect_server_are_out_of_range(project, name, too_new):
    wanted = {Requirement(t).name: Requirement(t) for t in project["project"]["dependencies"]}
    assert too_new not in wanted[name].specifier


def test_the_licence_is_the_one_the_package_names(project):
    assert project["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_continuous_integration_runs_what_people_run():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert re.search(r"^test:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture
def find_python(tmp_path):
    """Give a function that runs .ci/python where only stand-ins of Python are to be found."""
    place = tmp_path / "bin"
    place.mkdir()

    def find(scripts: dict[str, str], *wanted: str) -> tuple[int, str]:
        for name, script in scripts.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"#!/bin/sh\n{script}\n")
            (place / name).chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", ROOT / ".ci" / "python", *wanted],
            env={"PATH": str(place), "HOME": str(place)},
            capture_output=True,
            text=True,
        )
        assert not done.stderr
        return done.returncode, done.stdout.strip().removeprefix(f"{place}/")

    return find


REAL = f'exec "{sys.executable}" "$@"'
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
SHIM = "echo 'pyenv: command not found' >&2; exit 127"


def test_a_shim_that_leads_nowhere_is_not_taken_for_python(find_python):
    assert find_python({f"python{HERE}": SHIM, "python3": REAL}, HERE) == (0, "python3")


def test_a_python_of_another_version_is_not_taken(find_python):
    assert find_python({"python3": REAL, "python3.99": REAL}, "3.99") == (1, "")


def test_a_python_that_cannot_make_environments_is_not_taken(find_python):
    without = f'exec "{sys.executable}" -S -c "raise ImportError(\'ensurepip\')"'
    assert find_python({f"python{HERE}": without}, HERE) == (1, "")


def test_the_version_named_first_is_preferred_and_version_managers_are_looked_into(find_python):
    kept = f".pyenv/versions/{HERE}.4/bin/python3"
    assert find_python({kept: REAL, "python3.1": SHIM}, "3.99", HERE) == (0, kept)


def test_continuous_integration_says_which_versions_it_tested():
    script = (ROOT / ".ci" / "run").read_text()
    for words in ("make test", "test-$other", "was not tested"):
        assert words in script
