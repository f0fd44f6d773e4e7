"""The pages on how to add a part are tried literally: files, packages and commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.ledger.reading import read_ledger

pytest.importorskip("pip", reason="the pages install packages with pip")

PAGES = Path(__file__).resolve().parents[2] / "docs" / "extend"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMMANDS = {
    "python": 'exec "{python}" "$@"',
    "pip": 'exec "{python}" -m pip "$@"',
    "agd": "exec \"{python}\" -c 'import sys; from flows.cli.app import main; sys.exit(main())' "
    '"$@"',
}


def follow(page: str, place: Path) -> str:
    """Do what a page says in a folder; return what its commands printed."""
    bin_, site = place / "bin", place / "site"
    bin_.mkdir(parents=True)
    for name, line in COMMANDS.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{line.format(python=sys.executable)}\n")
        (bin_ / name).chmod(0o755)
    env = os.environ | {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(site),
        "PIP_TARGET": str(site),
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    work = place / "work"
    work.mkdir()
    printed = []
    for language, title, body in BLOCK.findall((PAGES / page).read_text()):
        if title:
            (work / title).write_text(body)
            continue
        command = ["sh", "-ec", body] if language == "sh" else [str(bin_ / "python"), "-c", body]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    return "\n".join(printed)


@pytest.mark.slow
def test_the_page_on_generators_ends_with_candidates_that_the_new_one_drew(tmp_path):
    follow("generator.md", tmp_path)
    root = tmp_path / "work" / "campaign"
    funnel = json.loads((root / "screen" / "funnel.json").read_text())
    assert "ionic" in json.dumps(funnel)
    models = read_ledger(root, lambda ledger: ledger.models())
    assert "ionic" in {model["name"] for model in models}
    assert (root / "models" / "ionic" / "config.json").exists()


@pytest.mark.slow
def test_the_page_on_oracles_ends_with_labels_of_the_new_one(tmp_path):
    follow("oracle.md", tmp_path)
    labels = read_ledger(
        tmp_path / "work" / "campaign", lambda ledger: ledger.labels("band_gap_eV")
    )
    asked = [label for label in labels if label.iteration > 0]
    assert asked and {label.source for label in asked} == {"pauling-2.5"}
