"""Which workers a configuration names: the one place that knows all kinds.

In: the setting ``workers``. Out: `flows.running.workers.Workers` of that kind; nothing that takes
long has begun yet.
"""

from __future__ import annotations

from pathlib import Path

from flows.running.workers import Threads, Workers, WorkersConfig
from tasks.campaign.surroundings import cores


def workers_for(config: WorkersConfig, root: Path) -> Workers:
    """Return the workers that a configuration names.

    Parameters
    ----------
    config : WorkersConfig
    root : Path
        Campaign directory, to be named in errors.

    Raises
    ------
    ConfigError
        If Dask is not installed, or no scheduler answers.
    """
    n = config.n or cores()
    if config.kind == "threads":
        return Threads(n)
    if config.kind == "processes":
        from flows.running.processes import Processes

        return Processes(n, config.threads)
    from flows.running.dask_workers import DaskWorkers

    return DaskWorkers(config, root)
