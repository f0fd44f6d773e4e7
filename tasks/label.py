"""Oracle stage: labels a table of compositions.

In: a table with ``counts``. Out: the same rows with value, uncertainty and why there is none. The
explore stage asks the same oracles (`tasks.oracles.oracle`) a batch at a time; this stage labels
what other stages made, as when the paper checks screened candidates against its oracle (AGD sec.
3.3).
"""

from __future__ import annotations

from structure.errors import DataError
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import Handle, read_table, write_table
from tasks.campaign.outputs import Trained
from tasks.oracles.answer import Answer, Asked, Oracle
from tasks.oracles.ml import MLOracle
from tasks.oracles.oracle import OracleConfig, oracle_for
from tasks.oracles.table import TableOracle

__all__ = [
    "Answer",
    "Asked",
    "MLOracle",
    "Oracle",
    "OracleConfig",
    "TableOracle",
    "label_table",
    "oracle_for",
]


def label_table(
    campaign: Campaign,
    config: OracleConfig,
    trained: Trained,
    table: Handle,
    part: str,
    sought: Property = BAND_GAP,
) -> Handle:
    """Label every composition of a table.

    Parameters
    ----------
    campaign : Campaign
    config : OracleConfig
    trained : Trained
    table : Handle
        With a ``counts`` column.
    part : str
        Name of this piece of work, once a campaign.
    sought : Property
        What is labelled.

    Returns
    -------
    Handle
        Value and uncertainty in the property's columns, ``origin``, ``source``, ``job``,
        ``refusal``, ``counts``; NaN and empty where there is none. Rows as in `table`. While
        calculations are in flight the same call labels again; then the work is done.

    Raises
    ------
    CampaignError, ConfigError, DataError, ModelError
        If the table or the oracle cannot be used.
    """
    if campaign.ledger.finished("oracle", part) is None:
        handle, pending = _label(campaign, config, trained, table, part, sought)
        if pending:
            return handle
    return campaign.once("oracle", part, Handle, lambda: handle)


def _label(
    campaign: Campaign,
    config: OracleConfig,
    trained: Trained,
    table: Handle,
    part: str,
    sought: Property,
) -> tuple[Handle, bool]:
    """Label a table; return the result and whether labels are still to come."""
    _, counts = read_table(campaign.root, table)
    if counts is None:
        raise DataError(
            "the table to label has no compositions",
            where=table.path,
            fix="Give a table with a `counts` column.",
        )
    oracle = oracle_for(campaign, config, trained.models, sought)
    answer = oracle.label(counts)
    columns = {
        sought.column: answer.values,
        sought.sigma_column: answer.sigmas,
        "origin": [oracle.origin] * len(counts),
        "source": [oracle.source] * len(counts),
        "job": [job or "" for job in answer.jobs],
        "refusal": [refusal.code if refusal else "" for refusal in answer.refusals],
    }
    path = campaign.folder("oracle") / f"{part}.parquet"
    handle = write_table(campaign.root, path, columns, "labels", counts=counts)
    return handle, bool(answer.pending.any())
