"""What drawn compositions are worth: serves the train stage's model cards and the report.

In: drawn compositions, those a generator was fitted on and those held out. Out: numbers that mean
something only together: validity under two rule sets beside a random baseline with the data's
marginals, the number of elements, uniqueness, novelty and recovery of held-out formulas.
"""

from __future__ import annotations

import numpy as np

from structure.composition import first_of_each, keys_of, reduce
from structure.rules.validity import RuleSet, matched_random, neutral, valid

CAUTIOUS = RuleSet(oxidation_states="pymatgen_sp")
"""A shorter list of oxidation states, which random formulas seldom pass (chosen)."""

MOST_ELEMENTS = 8
UNIQUE_AMONG = (20_000, 100_000)
"""Numbers of draws whose share of distinct compositions is told (chosen)."""


def element_histogram(counts: np.ndarray) -> np.ndarray:
    """Return the shares of compositions with 0 to `MOST_ELEMENTS` or more elements, shape (9,)."""
    sizes = np.minimum((counts > 0).sum(axis=1), MOST_ELEMENTS)
    return np.bincount(sizes, minlength=MOST_ELEMENTS + 1) / max(len(counts), 1)


def probe_of(drawn: np.ndarray, data_histogram: np.ndarray) -> dict[str, float]:
    """Judge a generator during its fit.

    Parameters
    ----------
    drawn : ndarray of int16, shape (n, 103)
    data_histogram : ndarray, shape (9,)
        `element_histogram` of the training set.

    Returns
    -------
    dict of str to float
        ``valid``: share of valid rows. ``distinct_valid``: share of rows that are valid and the
        first of their kind. ``histogram_distance``: total variation distance of the number of
        elements; validity rises by itself when a generator drifts to many elements.
        ``score``: `distinct_valid` less `histogram_distance` (chosen).
    """
    reduced = reduce(drawn)
    good = _compound(reduced) & valid(reduced)
    first = first_of_each(keys_of(reduced))
    distinct = float(good[first].sum() / len(drawn))
    distance = 0.5 * float(np.abs(element_histogram(reduced) - data_histogram).sum())
    return {
        "valid": float(good.mean()),
        "distinct_valid": distinct,
        "histogram_distance": distance,
        "score": distinct - distance,
    }


def generation_metrics(
    drawn: np.ndarray, training: np.ndarray, held_out: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Judge a finished generator.

    Parameters
    ----------
    drawn : ndarray of int16, shape (n, 103)
        As drawn; 100,000 rows for the figures of a model card.
    training, held_out : ndarray of int16, shape (m, 103)
        Reduced and unique: what the generator was fitted on, and like compositions it never saw.
    rng : numpy.random.Generator
        Draws the random baseline from the marginals of `training`.

    Returns
    -------
    dict of str to float
        Shares within 0 and 1. ``neutral``, ``strict`` and ``pymatgen_sp`` count rows with at
        least two elements that pass; ``baseline_*`` is the same for random rows with the training
        marginals, ``training_*`` for the training set. ``unique_*`` is the share of distinct
        compositions in the first rows. ``novel`` is the share of distinct compositions in neither
        set, ``novel_strict`` the validity among them. ``recovered_*`` is the share of each set
        that was drawn. ``elements_k`` is the share with k elements.
    """
    reduced = reduce(drawn)
    keys = keys_of(reduced)
    distinct = reduced[first_of_each(keys)]
    distinct = distinct[_compound(distinct)]
    distinct_keys = keys_of(distinct)
    training_keys, held_out_keys = keys_of(training), keys_of(held_out)
    known = np.isin(distinct_keys, np.concatenate([training_keys, held_out_keys]))
    novel = distinct[~known]
    baseline = matched_random(training, min(len(drawn), 20_000), rng)
    metrics = {"drawn": float(len(drawn)), "empty": float((~reduced.any(axis=1)).mean())}
    for name, rows in (("", reduced), ("baseline_", baseline), ("training_", training)):
        metrics |= {name + k: v for k, v in _validity(rows).items()}
    for n in UNIQUE_AMONG:
        if len(drawn) >= n:
            metrics[f"unique_{n}"] = len(np.unique(keys[:n])) / n
    metrics |= {
        "distinct": float(len(distinct)),
        "novel": len(novel) / max(len(distinct), 1),
        "novel_strict": float(valid(novel).mean()) if len(novel) else 0.0,
        "recovered_training": float(np.isin(training_keys, distinct_keys).mean()),
        "recovered_held_out": float(np.isin(held_out_keys, distinct_keys).mean()),
    }
    for k, (mine, data) in enumerate(
        zip(element_histogram(reduced), element_histogram(training), strict=True)
    ):
        metrics |= {f"elements_{k}": float(mine), f"training_elements_{k}": float(data)}
    return metrics


def _compound(counts: np.ndarray) -> np.ndarray:
    return (counts > 0).sum(axis=1) >= 2


def _validity(counts: np.ndarray) -> dict[str, float]:
    compound = _compound(counts)
    return {
        "neutral": float((compound & neutral(counts)).mean()),
        "strict": float((compound & valid(counts)).mean()),
        "pymatgen_sp": float((compound & valid(counts, CAUTIOUS)).mean()),
    }
