"""Flow ``agd-train``: fit every shipped model from a folder of data, each with its model card.

In: a folder of training data. Out: one folder of weights a model. `fit_shipped` is the plain
function that ``agd train`` calls; `train_flow` wraps it for Prefect. Killed at any moment, the same
call goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from structure.errors import ConfigError
from tasks.train import SHIPPED, fit_models, tables_of


def fit_shipped(
    data: Path, out: Path, only: Sequence[str] = (), seed: int = 0
) -> dict[str, dict[str, float]]:
    """Fit shipped models.

    Parameters
    ----------
    data : Path
        Folder of training data; `models.fitting.data_mapping` says how it is laid out.
    out : Path
        Gets one folder a model, and ``.work`` with the checkpoints.
    only : sequence of str
        Names of the models to fit, or of properties that the folder has a table of; all shipped
        models when empty.
    seed : int

    Returns
    -------
    dict of str to dict of str to float
        Metrics of each model, by name.

    Raises
    ------
    ConfigError, DataError, ModelError
        If a name is unknown, the data cannot be used, or a fit fails.
    """
    known = (*SHIPPED, *tables_of(data))
    for name in only:
        if name not in known:
            raise ConfigError(
                f"there is no model {name!r} to train",
                where="--only",
                fix=f"Name one of {', '.join(known)}.",
            )
    names = [name for name in known if name in (only or SHIPPED)]
    written = fit_models(data, out, names, seed=seed)
    return {name: dict(config.metrics) for name, config in written.items()}


@flow(name="agd-train", persist_result=False)
def train_flow(
    data: str, out: str = "trained", only: list[str] | None = None, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Fit shipped models through Prefect; see `fit_shipped`."""
    return fit_shipped(Path(data), Path(out), only or (), seed)
