"""What a search leaves behind: the visited table and a summary of all iterations.

In: the tables of the iterations. Out: `Explored`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.search.latent_pool import SOURCES
from structure.composition import keys_of
from structure.files import write_json
from structure.properties.target import Targets
from structure.records import Record
from tasks.campaign.handles import Handle, handle_for, write_table
from tasks.campaign.outputs import Explored
from tasks.explore.iteration import Tally
from tasks.explore.state import STAGE, Rows, SearchState, Setting


class Iteration(Record):
    """Output of one iteration.

    Attributes
    ----------
    table : Handle
        Its rows of the visited table: answers that arrived first, then suggestions.
    arrived : int
        How many of the rows are answers to earlier suggestions.
    tallies : dict of str to Tally
        By source.
    seconds : float
    """

    table: Handle
    arrived: int
    tallies: dict[str, Tally]
    seconds: float


def write_summary(
    setting: Setting, state: SearchState, done: Sequence[Iteration], n_initial: int
) -> Explored:
    """Write the visited table and the summary of all iterations.

    A suggestion whose answer arrived later has one row, that of its answer.
    """
    campaign, config = setting.campaign, setting.config
    sought = setting.targets.first.sought
    parts = [setting.read(output.table) for output in done]
    rows = Rows.joined(parts) if parts else Rows.none(setting.space.box.shape[1])
    number = np.repeat(np.arange(1, len(parts) + 1), [len(part) for part in parts])
    statuses = np.array(rows.statuses, dtype=object)
    answered = np.isin(keys_of(rows.counts), keys_of(rows.counts[statuses != "pending"]))
    keep = ~((statuses == "pending") & answered)
    rows, number, statuses = rows.where(keep), number[keep], statuses[keep]
    columns = rows.columns(0, sought) | {"iteration": number}
    path = campaign.folder(STAGE) / "visited.parquet"
    visited = write_table(campaign.root, path, columns, "visited", counts=rows.counts)
    labelled = statuses == "labelled"
    values, counts = rows.values[labelled], rows.counts[labelled]
    inside = setting.combined.hold(values, setting.combined.columns(counts))
    tallies = {
        source: sum((output.tallies[source] for output in done), Tally()) for source in SOURCES
    }
    summary = {
        "backend": config.backend,
        "surrogate_inputs": config.surrogate_inputs,
        "decode_first": config.decode_first,
        "chemistry": config.chemistry,
        "pool_size": config.pool_size,
        "shares": config.shares.model_dump(),
        "batch": config.batch,
        "acquisition": config.acquisition,
        "kappa": config.kappa,
        "initial": {"used": n_initial, "not_encodable": state.dropped},
        "iterations": len(done),
        "oracle_calls": state.calls,
        "labels": len(values),
        "in_window": int(inside.sum()),
        "statuses": {s: int((statuses == s).sum()) for s in sorted(set(rows.statuses))},
        f"best_{sought.short_column}": state.best[1] if len(values) else None,
        f"trace_best_{sought.short_column}": [value for _, value in state.trace],
        f"trace_best_{_utility(setting.targets)}": [utility for utility, _ in state.trace],
        "sources": {source: _fractions(tally) for source, tally in tallies.items()},
        "seconds_per_iteration": [output.seconds for output in done],
    }
    path = campaign.folder(STAGE) / "summary.json"
    write_json(path, summary)
    return Explored(visited=visited, summary=handle_for(campaign.root, path, 1, "search-summary"))


def _utility(targets: Targets) -> str:
    """Name what the search maximised, with its unit."""
    if targets.further:
        return "probability"
    unit = targets.first.sought.unit.replace("/", "_per_")
    return f"utility_{unit}" if unit else "utility"


def _fractions(tally: Tally) -> dict[str, float | int | None]:
    """Return a source's numbers with the fractions that people compare."""

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return tally.model_dump() | {
        "fraction_decodable": share(tally.decodable, tally.decoded),
        "fraction_valid": share(tally.valid, tally.decoded),
        "fraction_new": share(tally.new, tally.decoded),
    }
