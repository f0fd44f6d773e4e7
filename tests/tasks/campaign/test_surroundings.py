"""Threads of our own processes, and what schedulers and DFT codes see of our settings."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tasks.campaign import surroundings
from tasks.campaign.surroundings import MARK, SECRETS, WAITING, of_jobs_here, of_others, settings
from tasks.oracles import run_here


def test_threads_wait_without_spinning_and_there_are_as_many_as_free_cores_up_to_a_few():
    made = settings({})
    assert WAITING.items() <= made.items()
    assert int(made["OMP_NUM_THREADS"]) == min(len(os.sched_getaffinity(0)), 4)


def test_the_user_s_number_of_threads_and_way_of_waiting_stay():
    made = settings({"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "active"})
    assert not {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS"} & set(made)


def test_settings_made_once_are_complete():
    first = settings({})
    assert settings(first) == {}


@pytest.mark.parametrize(
    "given", [{}, {"OMP_NUM_THREADS": "7"}, {"KMP_BLOCKTIME": "200", "A": "1"}]
)
def test_a_scheduler_sees_the_environment_as_the_user_gave_it(given):
    ours = given | settings(given)
    again = ours | settings(ours)
    assert of_others(again | dict.fromkeys(SECRETS, "agd:x")) == given


def test_jobs_on_this_machine_have_one_thread_unless_the_user_gave_more():
    assert of_jobs_here(settings({}))["OMP_NUM_THREADS"] == "1"
    assert of_jobs_here({"OMP_NUM_THREADS": "8"})["OMP_NUM_THREADS"] == "8"
    assert MARK not in of_jobs_here(settings({}))


def test_jobs_that_run_here_see_neither_the_secret_nor_our_threads(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in (settings({}) | dict.fromkeys(SECRETS, "agd:x")).items():
        monkeypatch.setenv(name, value)
    place = tmp_path / "batch-0001"
    place.mkdir()
    (place / "submit.sh").write_text("env > seen.part; mv seen.part seen\n")
    run_here.start(tmp_path, [place])
    while not (place / "seen").exists():
        assert run_here.busy(tmp_path) or (place / "seen").exists()
    seen = (place / "seen").read_text()
    assert "AUTH_STRING" not in seen
    assert "OMP_NUM_THREADS=1\n" in seen


def test_the_command_line_settles_threads_before_the_libraries_that_read_them_are_loaded():
    code = "import sys, flows.cli.app; print({'numpy', 'torch', 'prefect'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("given", [None, "1"])
def test_pytorch_has_the_threads_that_were_settled(given):
    code = (
        "import os, sys\nfrom flows.cli import app as cli\n"
        "@cli.app.command()\n"
        "def look():\n    import torch\n    print(torch.get_num_threads())\n"
        "sys.argv = ['agd', 'look']\ncli.main()\n"
    )
    env = {k: value for k, value in os.environ.items() if k not in surroundings.THREADS}
    env |= {"OMP_NUM_THREADS": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == int(given or surroundings.threads())
