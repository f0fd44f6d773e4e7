"""Where a campaign without data begins: serves ingest's embedded default.

In: a shipped generator and the shipped filter of known formulas. Out: compositions of known
compounds, without a row of any table: what the generator draws, or a prototype has, and the filter
confirms.
"""

from __future__ import annotations

import numpy as np

from models.compositions.generator import CompositionGenerator
from structure.composition import first_of_each, keys_of, reduce
from structure.rules.known_formulas import contains


def known_compositions(
    generator: CompositionGenerator,
    draws: int,
    seed: int,
    known: np.ndarray,
    prototypes: np.ndarray,
) -> np.ndarray:
    """Collect distinct known compounds of two or more elements.

    Parameters
    ----------
    generator : CompositionGenerator
    draws : int
        How many compositions to draw.
    seed : int
    known : ndarray of uint64, shape (m,)
        Sorted keys of known formulas.
    prototypes : ndarray of int16, shape (p, 103)
        Reduced compositions that are known without asking the filter.

    Returns
    -------
    ndarray of int16, shape (n, 103)
        Reduced and distinct; a function of the arguments alone. About half of what a generator
        trained on a database draws is in that database, so n grows with `draws`.
    """
    drawn = reduce(generator.sample(draws, seed))
    drawn = drawn[contains(known, keys_of(drawn))]
    everything = np.concatenate([prototypes, drawn]).astype(np.int16)
    everything = everything[(everything > 0).sum(axis=1) > 1]
    return everything[first_of_each(keys_of(everything))]
