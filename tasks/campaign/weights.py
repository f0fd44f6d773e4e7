"""Which weights predict what a campaign seeks: serves ingest, train and screen.

In: a target. Out: the folder of a model from composition to its property: the user's, or the
shipped one.
"""

from __future__ import annotations

from pathlib import Path

from models.pretrained import shipped
from structure.errors import ConfigError
from structure.properties.target import Target
from structure.sources.tables import resolve_path


def weights_of(target: Target) -> Path:
    """Return the folder of the model that predicts a target's property.

    Raises
    ------
    ConfigError
        If nothing predicts it.
    """
    if target.model is not None:
        return resolve_path(target.model)
    if target.sought.model is None:
        raise ConfigError(
            f"no shipped model predicts the {target.sought.words} of a composition",
            where="targets",
            fix="Train one (`agd train --data DIR --only "
            f"{target.sought.name}`) and name its folder as 'model' of the target, or let "
            "'explore.oracle' and 'ingest.sources' give labels.",
        )
    return shipped(target.sought.model)
