"""A user's own ``tasks.py`` or ``models`` beside the product's packages of that name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import doctor
from flows.running import services
from flows.running.shadows import PACKAGES, hiding
from structure.errors import ConfigError
from tests.flows.conftest import ROOT


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project directory that is not the product's own clone."""
    shutil.copy(ROOT / "prefect.yaml", tmp_path / "prefect.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=[f"{name}.py" for name in PACKAGES] + ["tasks/__init__.py"])
def hidden(here, request):
    """A file of the user's that hides a package."""
    path = here / request.param
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    return path


def test_a_file_that_hides_a_package_is_named_before_prefect_starts(hidden):
    with pytest.raises(ConfigError, match="Rename it") as error:
        services.find_project()
    assert hidden.relative_to(Path.cwd()).parts[0] in str(error.value)
    check = doctor.files_here()
    assert check.verdict == "fault"
    assert hidden.relative_to(Path.cwd()).parts[0] in check.found


def test_in_a_directory_for_local_runs_such_a_file_is_only_noted(hidden):
    Path("prefect.yaml").unlink()
    assert doctor.files_here().verdict == "note"


def test_folders_of_data_with_the_name_of_a_package_are_harmless(here):
    for name in ("models", "tasks", "structure"):
        (here / name).mkdir()
        (here / name / "notes.txt").touch()
    assert services.find_project() == here
    code = "import models, tasks.sample, structure.formulas.formula; print(models.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == ROOT / "models" / "__init__.py"


def test_the_clone_itself_hides_nothing():
    assert hiding([ROOT]) == []


def test_a_directory_without_deployments_is_told_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=str(ROOT)):
        services.find_project()


@pytest.mark.parametrize("name", ["tasks", "models"])
def test_a_package_hidden_by_pythonpath_is_named_by_the_command_itself(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("")
    done = subprocess.run(
        [Path(sys.executable).parent / "agd", "run", "--local"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert str(tmp_path / f"{name}.py") in done.stderr
    assert "Traceback" not in done.stderr
