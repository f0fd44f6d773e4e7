"""What the screen removed and kept: serves the merge of all screened shards.

In: verdicts by generator, and novel compositions as they come. Out: the steps of the funnel, the
reasons, and validity rates beside a random baseline that has the same marginals.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from structure.composition import N_ELEMENTS
from structure.properties.target import DEFAULT_TARGETS, Targets
from structure.rules import admission
from structure.rules.validity import STRICT, RuleSet, matched_random, valid

PASSED = "passed"

VALID_STEP = "unique, novel and valid"

_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("unique and novel", (admission.KNOWN,)),
    (
        "of allowed size and elements",
        (
            admission.SINGLE,
            admission.EXCLUDED,
            admission.TOO_MANY_ELEMENTS,
            admission.TOO_MANY_ATOMS,
            admission.TOO_MANY_OF_ONE,
        ),
    ),
    ("charge neutral", (admission.CHARGE,)),
    (VALID_STEP, (admission.ELECTRONEGATIVITY,)),
)
"""Steps after ``unique``, each with the codes that it removes; the targets' windows follow."""

BASELINE_RULES: dict[str, RuleSet] = {
    "strict": STRICT,
    "with_alloys": RuleSet(alloys=True),
    "pymatgen_sp": RuleSet(oxidation_states="pymatgen_sp"),
}
"""Rule sets under which validity is reported, from the default to the shortest list of states."""


class Funnel:
    """Counts by generator of what was drawn and of each verdict."""

    def __init__(self, targets: Targets = DEFAULT_TARGETS) -> None:
        windows = [target.sought for target in targets.root]
        self._steps = (*_STEPS, *((f"in the {w.short} window", (w.code,)) for w in windows))
        self._drawn: Counter[str] = Counter()
        self._filled: Counter[str] = Counter()
        self._verdicts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, generator: str, drawn: int, empty: int, verdicts: np.ndarray) -> None:
        """Count a shard.

        Parameters
        ----------
        generator : str
        drawn, empty : int
            Rows drawn, and those of them without atoms.
        verdicts : ndarray of str
            Of the rows that no earlier shard had.
        """
        self._drawn[generator] += drawn
        self._filled[generator] += drawn - empty
        codes, counts = np.unique(verdicts, return_counts=True)
        self._verdicts[generator].update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))

    def steps(self, kept: dict[str, int]) -> list[dict[str, Any]]:
        """Return the steps in order, each with its count in all and by generator.

        Parameters
        ----------
        kept : dict of str to int
            Candidates that go on, by generator.
        """
        names = sorted(self._drawn)
        left = {g: self._verdicts[g].total() for g in names}
        steps = [
            ("drawn", dict(self._drawn)),
            ("with atoms", dict(self._filled)),
            ("unique", dict(left)),
        ]
        for step, codes in self._steps:
            left = {g: left[g] - sum(self._verdicts[g][c] for c in codes) for g in names}
            steps.append((step, left))
        steps.append(("kept as candidates", {g: kept.get(g, 0) for g in names}))
        return [
            {"name": name, "count": sum(by.values()), "by_generator": dict(sorted(by.items()))}
            for name, by in steps
        ]

    def reasons(self) -> dict[str, dict[str, int]]:
        """Return how many compositions of each generator failed by each code."""
        return {g: dict(sorted(self._verdicts[g].items())) for g in sorted(self._verdicts)}


class NovelSample:
    """A uniform sample of a stream of novel compositions, of bounded size.

    Parameters
    ----------
    size : int
        Most rows kept.
    rng : numpy.random.Generator
        Gives each row a priority; those with the lowest stay.
    """

    def __init__(self, size: int, rng: np.random.Generator):
        self._size, self._rng = size, rng
        self._counts = np.zeros((0, N_ELEMENTS), dtype=np.int16)
        self._generators = np.zeros(0, dtype=np.str_)
        self._priorities = np.zeros(0)

    def add(self, generator: str, counts: np.ndarray) -> None:
        """Offer the novel rows of a shard."""
        priorities = np.concatenate([self._priorities, self._rng.random(len(counts))])
        keep = np.sort(np.argsort(priorities, kind="stable")[: self._size])
        self._counts = np.concatenate([self._counts, counts])[keep]
        names = np.full(len(counts), generator)
        self._generators = np.concatenate([self._generators, names])[keep]
        self._priorities = priorities[keep]

    def validity(self) -> dict[str, Any]:
        """Return the share of valid rows under each rule set, and of the random baseline.

        The baseline (`structure.rules.validity.matched_random`) has the sample's frequencies of
        elements, counts and numbers of elements, but no chemistry: only the distance to it speaks
        for the generators.
        """
        sample = len(self._counts)
        if not sample:
            return {"sample": 0}
        baseline = matched_random(self._counts, sample, self._rng)
        strict = valid(self._counts, STRICT)
        rates: dict[str, Any] = {"sample": sample, **_rates(self._counts)}
        rates["matched_random"] = _rates(baseline)
        rates["strict_by_generator"] = {
            str(g): round(float(strict[self._generators == g].mean()), 4)
            for g in np.unique(self._generators)
        }
        return rates


def _rates(counts: np.ndarray) -> dict[str, float]:
    return {
        name: round(float(valid(counts, rules).mean()), 4) for name, rules in BASELINE_RULES.items()
    }


def closed_at(steps: list[dict[str, Any]]) -> str | None:
    """Return the first step that nothing passed, or None."""
    return next((str(step["name"]) for step in steps if step["count"] == 0), None)
