"""Folders that are no jobs of a campaign: serves collect.

In: a folder and the reason against it. Out: the reason as a file in ``quarantine/``, and the folder
beside it if it lay in the campaign. What lies elsewhere is not touched.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from dft_inputs.received import shown
from structure.errors import Rejection
from structure.files import write_json

logger = logging.getLogger(__name__)

LONGEST_NAME = 200
"""Bytes of a folder's name that are kept: most file systems end at 255 (chosen)."""


def set_aside(root: Path, folder: Path, why: Rejection) -> None:
    """Move a folder of the campaign to ``quarantine/``; of a folder elsewhere, keep the reason.

    Raises
    ------
    OSError
        If it cannot be moved; the reason is written then.
    """
    place = root / "quarantine"
    name = os.fsdecode(os.fsencode(folder.name)[:LONGEST_NAME])
    number, target = 1, place / f"{name}--{why.code}"
    inside = folder.resolve().is_relative_to(root.resolve())
    while inside and target.exists():
        number, target = number + 1, place / f"{name}--{why.code}-{number}"
    reason = {"folder": shown(folder.name), "code": why.code, "sentence": why.sentence}
    write_json(target.with_name(f"{target.name}.json"), reason)
    if inside:
        folder.rename(target)
    logger.warning("quarantined %s: %s", shown(folder.name), why.sentence)
