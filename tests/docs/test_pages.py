"""What the pages of docs/ point at exists, and the API reference can be built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("structure", "models", "dft_inputs", "tasks", "flows")

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
MODULE = re.compile(rf"`((?:{'|'.join(PACKAGES)}|tests|benchmarks|docs)/[\w./-]*)`")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_a_page_lead_somewhere(page):
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_modules_that_a_page_names_exist(page):
    named = MODULE.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.slow
def test_the_api_reference_has_a_page_for_every_module(tmp_path):
    command = [sys.executable, "-m", "pdoc", "--docformat", "numpy", "--no-search"]
    done = subprocess.run(
        [*command, "--no-show-source", "-o", str(tmp_path), *PACKAGES],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "Error importing" not in done.stderr
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    wanted = {path.relative_to(ROOT).with_suffix(".html") for path in modules}
    wanted = {
        path.parent.with_suffix(".html") if path.stem == "__init__" else path for path in wanted
    }
    missing = {path.as_posix() for path in wanted if not (tmp_path / path).exists()}
    assert {path for path in missing if "/_" not in path} == set()
