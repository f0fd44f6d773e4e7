"""Earlier campaigns of a series: serve ingest and hand-off with what their DFT jobs brought back.

In: directories of earlier campaigns. Out: the compounds their finished calculations labelled, the
keys of all compounds they gave jobs, which are no longer new, and finished reference jobs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dft_inputs.engines import is_dft
from dft_inputs.job.status import State
from structure.composition import keys_of, parse_formulas
from structure.errors import CampaignError
from structure.properties.energies import FORMATION_ENERGY
from structure.properties.quantity import Property
from structure.rules.dataset_rules import LabelledRows
from tasks.ledger.ledger import Label, Ledger, Origin
from tasks.ledger.reading import read_ledger

ENERGY = FORMATION_ENERGY.column


class Earlier(NamedTuple):
    """What earlier campaigns know.

    Attributes
    ----------
    rows : LabelledRows
        One row a compound; its ``source`` is a place in `sources` and `origins`.
    sources : list of str
        Recipe hash of the calculations, as in the labels.
    origins : list of str
    proposed : ndarray of uint64
        Sorted keys of every compound with a job, finished or not.
    """

    rows: LabelledRows
    sources: list[str]
    origins: list[Origin]
    proposed: np.ndarray


def earlier_campaigns(root: Path, names: Sequence[str], sought: Property) -> Earlier:
    """Read what earlier campaigns brought back.

    Parameters
    ----------
    root : Path
        The campaign that begins.
    names : sequence of str
        Directories relative to `root`, oldest first. Of a compound labelled in several, the last
        label counts.
    sought : Property
        Of which the labels are.

    Raises
    ------
    CampaignError
        If one is no campaign directory.
    """
    gaps: dict[str, Label] = {}
    energies: dict[str, Label] = {}
    proposed: set[str] = set()
    for name in names:
        if not (root / name / "campaign.json").exists():
            raise CampaignError(
                "there is no earlier campaign here",
                where=root / name,
                fix="Restore the directory, or correct 'ingest.earlier'.",
            )
        asked, found_gaps, found_energies = read_ledger(
            root / name, lambda ledger: _brought_back(ledger, sought)
        )
        proposed |= asked
        gaps |= found_gaps
        energies |= found_energies
    return _collected(gaps, energies, proposed)


def campaigns_before(root: Path) -> list[Path]:
    """Return the directories of the earlier campaigns that a campaign was begun with, oldest first.

    Parameters
    ----------
    root : Path
        A campaign directory; its ``campaign.json`` names them.
    """
    try:
        config = json.loads((root / "campaign.json").read_bytes())["config"]
        names = list(config["ingest"]["earlier"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [root / name for name in names if (root / name / "campaign.json").exists()]


def finished_references(root: Path) -> dict[str, Path]:
    """Return the directories of reference jobs that earlier campaigns took in, by id.

    Parameters
    ----------
    root : Path
        A campaign directory.
    """
    found: dict[str, Path] = {}
    for earlier in campaigns_before(root):
        jobs = read_ledger(earlier, lambda ledger: ledger.jobs(State.INGESTED))
        found |= {
            job["id"]: earlier / job["folder"]
            for job in jobs
            if job["folder"].startswith("references") and (earlier / job["folder"]).is_dir()
        }
    return found


def _brought_back(
    ledger: Ledger, sought: Property
) -> tuple[set[str], dict[str, Label], dict[str, Label]]:
    """Return the compounds a campaign gave jobs, and their labels and formation energies."""
    jobs = [job for job in ledger.jobs() if not job["folder"].startswith("references")]
    asked = {job["formula"] for job in jobs}
    return asked, _calculated(ledger, sought.column, asked), _calculated(ledger, ENERGY, asked)


def _calculated(ledger: Ledger, property: str, asked: set[str]) -> dict[str, Label]:
    """Return the labels that jobs of a campaign earned, by formula.

    A crystal whose volume changed by more than a fifth (code 230) is no longer the one that was
    asked for: its label is kept in the ledger, and not learned from.
    """
    return {
        label.formula: label
        for label in ledger.labels(property)
        if is_dft(label.origin) and label.formula in asked and "230" not in label.quality.split(",")
    }


def _collected(gaps: dict[str, Label], energies: dict[str, Label], proposed: set[str]) -> Earlier:
    formulas = sorted(gaps)
    kinds = sorted({(label.source, label.origin) for label in gaps.values()})
    counts = parse_formulas(formulas).counts
    energy = [energies[f].value if f in energies else np.nan for f in formulas]
    rows = LabelledRows(
        counts=counts,
        cell_max=counts.max(axis=1, initial=0).astype(np.intp),
        cell_atoms=counts.sum(axis=1, dtype=np.intp),
        value=np.array([gaps[f].value for f in formulas], dtype=np.float64),
        formation_energy=np.array(energy, dtype=np.float64),
        source=np.array(
            [kinds.index((gaps[f].source, gaps[f].origin)) for f in formulas], dtype=np.intp
        ),
        record=np.arange(1, len(formulas) + 1),
    )
    keys = np.unique(keys_of(parse_formulas(sorted(proposed)).counts))
    return Earlier(rows, [s for s, _ in kinds], [o for _, o in kinds], keys)
