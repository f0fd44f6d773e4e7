"""What of the ledger decides a result, kept with its hash: serves resuming.

In: outputs of finished stage parts, and candidates. Out: the same after a check that they are what
the campaign wrote, or an error that says what is not. A database notices that its pages do not fit
each other, not that a value in one of them has changed. Jobs are held against their files instead,
by `tasks.dft_jobs.contradictions`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from structure.errors import CampaignError
from tasks.ledger.database_errors import AGAIN
from tasks.ledger.ledger import Candidate, Ledger

Output = TypeVar("Output", bound=BaseModel)


def seal_output(ledger: Ledger, stage: str, part: str, output: str) -> None:
    """Keep the hash of a stage part's output; before the output, so that none is without."""
    ledger.set_fact(_name(stage, part), _hash(output))


def open_output(
    ledger: Ledger, root: Path, stage: str, part: str, output: str, kind: type[Output]
) -> Output:
    """Return the recorded output of a stage part.

    Raises
    ------
    CampaignError
        If it is not what the stage wrote. Releases before this one kept no hash to compare.
    """
    kept = ledger.fact(_name(stage, part))
    try:
        if kept not in (None, _hash(output)):
            raise ValueError("its hash is another one")
        return kind.model_validate_json(output)
    except ValueError as error:
        raise CampaignError(
            f"what the ledger says of {stage} {part} was changed", where=root, fix=AGAIN
        ) from error


def seal_candidates(ledger: Ledger, candidates: Iterable[Candidate]) -> None:
    """Keep the hash of the candidates that are about to be told to the ledger."""
    ledger.set_fact(_name("candidates"), _hash_of_candidates(candidates))


def check_candidates(ledger: Ledger, root: Path) -> None:
    """Check that the ledger's candidates are those the filter stage told it.

    Raises
    ------
    CampaignError
        If they are not.
    """
    kept = ledger.fact(_name("candidates"))
    try:
        if kept in (None, _hash_of_candidates(ledger.candidates())):
            return
    except ValueError:  # what should be JSON is none
        pass
    raise CampaignError("the ledger's candidates were changed", where=root, fix=AGAIN)


def _hash_of_candidates(candidates: Iterable[Candidate]) -> str:
    rows = sorted(json.dumps(c.model_dump(mode="json"), sort_keys=True) for c in candidates)
    return _hash("\n".join(rows))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _name(*words: str) -> str:
    return "/".join(("sha256", *words))
