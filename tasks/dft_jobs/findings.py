"""What one collect found, and how it is told: serves the collect stage and its flow.

In: the lists that `tasks.dft_jobs.collect_round.collect` filled. Out: a `Collected`, and its lines
of text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dft_inputs.batch.approval import DECLINED
from structure.records import Record


class Collected(Record):
    """What one collect found.

    Attributes
    ----------
    states : dict of str to int
        Jobs of the campaign by state, afterwards.
    ingested, turned_down : tuple of str
        ``formula--id`` of jobs newly taken in; of jobs newly failed, broken or quarantined, each
        with its code and sentence.
    remarks : tuple of str
        What the optional steps of jobs newly taken in say, with the job's folder in front.
    new_labels : int
    stale : tuple of str
        Jobs without a heartbeat, with a hint.
    quarantined : tuple of str
        Folders that are no jobs of this campaign, with the reason.
    notes : tuple of str
        What was left alone and needs an eye: folders still being copied or gone, clocks that are
        wrong, copies that hold another result.
    put_back : tuple of str
        Folders that were moved out of quarantine, to where they now lie in the campaign.
    approval : tuple of str
        What waits for a person's answer in ``approved.csv``, or could not be understood there.
    """

    states: dict[str, int]
    ingested: tuple[str, ...] = ()
    turned_down: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    new_labels: int = 0
    stale: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    put_back: tuple[str, ...] = ()
    approval: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say it in words, one line a fact; what was declined for the same reason is one."""
        tally = ", ".join(f"{n} {state.lower()}" for state, n in self.states.items())
        return [
            f"jobs         {tally or 'none'}",
            f"new labels   {self.new_labels}",
            *(f"put back     {name}" for name in self.put_back),
            *(f"taken in     {name}" for name in self.ingested),
            *(f"remark       {text}" for text in self.remarks),
            *(f"turned down  {text}" for text in _declined_together(self.turned_down)),
            *(f"stale        {text}" for text in self.stale),
            *(f"set aside    {text}" for text in self.quarantined),
            *(f"note         {text}" for text in self.notes),
            *(f"approval     {text}" for text in self.approval),
        ]


def _declined_together(turned_down: Sequence[str]) -> list[str]:
    """Join jobs that were declined for the same reason, so that failures stay in sight."""
    sentences = [text.partition(": ")[2] for text in turned_down]
    many = {s: n for s, n in Counter(sentences).items() if n > 1 and s.startswith(DECLINED)}
    single = [t for t, s in zip(turned_down, sentences, strict=True) if s not in many]
    return [*single, *(f"{number} jobs: {sentence}" for sentence, number in many.items())]
