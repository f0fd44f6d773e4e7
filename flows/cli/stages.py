"""``agd stages``: the pipeline as a table.

In: the stage functions that a campaign runs, with what is declared of each. Out: lines of text.
"""

from __future__ import annotations

from flows.pipeline import STAGES
from tasks.campaign.stage import stage_of

HEAD = ("stage", "function", "takes", "gives", "runs in")


def stage_table() -> str:
    """Return one line a stage function, in the order in which they run."""
    rows = [HEAD]
    for function in STAGES:
        about = stage_of(function)
        where = "the flow" if about.in_the_flow else "a worker"
        rows.append((about.name, function.__name__, about.takes, about.gives, where))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    rule = tuple("=" * width for width in widths)
    lines = [
        " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in [rule, rows[0], rule, *rows[1:], rule]
    ]
    return "\n".join([*lines, "", "`agd collect` takes finished DFT jobs in, beside a campaign."])
