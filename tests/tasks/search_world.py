"""A small world to search in: eight elements, a latent space that is their counts, smooth gaps.

Run as a program it does a search in the directory given, so that a test can kill it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from models.properties.prediction import Prediction
from structure.composition import N_ELEMENTS, formulas_of, parse_formulas
from structure.elements import INDEX
from structure.errors import Rejection
from structure.properties.gap_window import band_gaps
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import write_table
from tasks.campaign.outputs import Explored, Ingested, Trained
from tasks.explore.stage import ExploreConfig, Progress, explore
from tasks.oracles.answer import Answer, Asked
from tasks.oracles.ml import MLOracle

NAMES = ("Li", "Na", "Mg", "Ca", "Al", "O", "F", "Cl")
COLUMNS = [INDEX[name] for name in NAMES]
INITIAL = ("NaCl", "MgO", "CaO", "Li2O", "Al2O3", "NaF", "LiCl", "CaCl2", "MgCl2", "Na2O", "AlCl3")


class CountSpace:
    """Latents whose whole part is the number of atoms of each element."""

    box = np.stack([np.zeros(8), np.full(8, 5.0)])

    def encode(self, counts: np.ndarray) -> np.ndarray:
        """Return the middle of the cell that decodes to each composition."""
        return (counts[:, COLUMNS] + 0.5).astype(np.float32)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return the whole parts; one element in three of a random point is there."""
        counts = np.zeros((len(latents), N_ELEMENTS), dtype=np.int16)
        counts[:, COLUMNS] = np.floor(latents)
        return counts

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Return which rows have no other element."""
        return counts[:, COLUMNS].sum(axis=1) == counts.sum(axis=1)


class SmoothModel:
    """Gaps that rise with fluorine and calcium."""

    property = "band_gap_eV"

    def predict(self, counts: np.ndarray) -> Prediction:
        """Return smooth gaps of reduced compositions."""
        share = counts / counts.sum(axis=1, keepdims=True)
        gap = 2 + 6 * share[:, INDEX["F"]] * (0.5 + share[:, INDEX["Ca"]])
        return Prediction(gap, np.full(len(counts), 0.1))


class SlowOracle:
    """Answers each composition only when it is asked for the `patience`-th time; refuses Al."""

    property = "band_gap_eV"
    origin = "dft-gpaw"
    source = "recipe"
    later = True

    def __init__(self, patience: int, places: int | None = None):
        self.patience = patience
        self.places = places
        self.times: dict[str, int] = {}
        self.emitted: list[str] = []

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Take everything."""
        return np.ones(len(counts), dtype=bool)

    def room(self) -> int | None:
        """Return how many of its places are free, however often they were used."""
        return None if self.places is None else max(self.places - len(self.emitted), 0)

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Label what has been waited for long enough."""
        formulas = formulas_of(counts)
        for formula in formulas:
            if formula not in self.times:
                self.emitted.append(formula)
            self.times[formula] = self.times.get(formula, 0) + 1
        ready = np.array([self.times[f] >= self.patience for f in formulas], dtype=bool)
        bad = counts[:, INDEX["Al"]] > 0
        gaps = np.where(ready & ~bad, SmoothModel().predict(counts).mean, np.nan)
        refusal = Rejection("failed", "the calculation failed")
        return Answer(
            gaps,
            np.full(len(gaps), np.nan),
            tuple(f"job-{f}" for f in formulas),
            tuple(refusal if r and b else None for r, b in zip(ready, bad, strict=True)),
        )


def smooth_oracle() -> MLOracle:
    """Return an oracle that answers at once."""
    return MLOracle(SmoothModel(), "model-hash")


def ingested(campaign: Campaign) -> Ingested:
    """Write initial labels."""
    counts = parse_formulas(INITIAL).counts
    columns = {"formula": INITIAL, "band_gap_eV": SmoothModel().predict(counts).mean}
    path = campaign.root / "initial.parquet"
    table = write_table(campaign.root, path, columns, "initial", counts=counts)
    return Ingested(initial=table, known=table, templates=table, manifest=table)


CONFIG = ExploreConfig(budget=60, batch=10, pool_size=300, refit_every=20, kappa=2.0)


def search(campaign: Campaign, config: ExploreConfig = CONFIG, **options: object) -> Explored:
    """Search this world."""
    options.setdefault("oracle", smooth_oracle())
    return campaign.run(
        explore,
        config,
        band_gaps(),
        ingested(campaign),
        Trained(models={}),
        space=CountSpace(),
        **options,  # type: ignore[arg-type]
    )


def tell_slowly(now: Progress) -> None:
    """Say the number of the iteration, and leave time to be killed."""
    sys.stdout.write(f"{now.iteration}\n")
    sys.stdout.flush()
    time.sleep(0.2)


if __name__ == "__main__":
    with Campaign(Path(sys.argv[1]), {}, 7) as opened:
        search(opened, progress=tell_slowly)
