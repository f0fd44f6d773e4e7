"""The environment of processes: how many threads ours have, and what programs of others are given.

In: the environment a process was started with. Out: settings for it and its children, in time if
they are made before NumPy or PyTorch is imported, and the environment of a scheduler or a DFT code,
which shall see nothing of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

WAITING = {
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
}
"""A thread with nothing to do sleeps. By default OpenMP's threads, those of PyTorch and LightGBM,
spin for a while after each of the thousands of small steps of a campaign, and on a busy machine
each step then waits for a thread that is not running (GNU's and LLVM's names of the setting)."""

BLAS = "OPENBLAS_NUM_THREADS"
"""OpenBLAS, which NumPy and SciPy bring along, has threads of its own that do spin: one, as the
matrices here are small. (PyTorch multiplies with OpenMP's threads.)"""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", BLAS)
"""What the libraries of linear algebra and of boosting read their number of threads from."""

MOST_THREADS = 4
"""Chosen: the networks are small, and more threads gain nothing where fewer cores are free."""

MARK = "AGD_SET"
"""Names the variables that are our settings and not the user's."""

SECRETS = ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")


def settings(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which our own processes share a machine; what is set stays.

    Parameters
    ----------
    env : mapping of str to str
        With ``OMP_NUM_THREADS``, if the user or the scheduler allots threads.
    """
    wanted = {**WAITING, "OMP_NUM_THREADS": str(threads()), BLAS: "1"}
    if "OMP_NUM_THREADS" in env:  # whoever sets it means the libraries of linear algebra too
        wanted = dict(WAITING)
    added = {name: value for name, value in wanted.items() if name not in env}
    if not added:
        return {}
    before = filter(None, env.get(MARK, "").split(","))
    return {**added, MARK: ",".join([*before, *added])}


def threads() -> int:
    """Return how many threads a process has unless told: the cores it may use, up to a few."""
    return min(cores(), MOST_THREADS)


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use, at least 1.

    Parameters
    ----------
    quota : Path
        Where Linux says how much of the machine's time a container has (cgroup v2).
    """
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        usable = os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        usable = min(usable, max(int(allowed) // int(period), 1))
    except (OSError, ValueError):  # no such limit, or "max"
        pass
    return usable


def of_workers(env: Mapping[str, str], n_threads: int) -> dict[str, str]:
    """Return the environment of a worker process: so many threads, whatever was set before.

    Parameters
    ----------
    env : mapping of str to str
        Of this process.
    n_threads : int
    """
    numbers = dict.fromkeys(THREADS, str(n_threads))
    return {**env, **WAITING, **numbers}


def of_jobs_here(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of DFT jobs on this machine: as it was given, and on one thread.

    Parallel jobs are started by the user's own command, which may set more.
    """
    given = of_others(env)
    return {**WAITING, "OMP_NUM_THREADS": "1", **given}


def of_others(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that is not ours, such as a scheduler: as it was given.

    A scheduler hands its environment on to the job, whose threads are none of our business.
    """
    ours = {*env.get(MARK, "").split(","), MARK, *SECRETS}
    return {name: value for name, value in env.items() if name not in ours}
