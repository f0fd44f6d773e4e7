"""What the search did, in words and rows for the report's page.

In: the search's ``summary.json``, of this release or an earlier one that recorded less. Out: one
paragraph, and a row for every way of proposing that was used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

BACKENDS = {
    "batch": "It is this product's own Gaussian process (Matérn 5/2, fitted noise)",
    "bayesian-optimization": "It is scikit-learn's Gaussian process (Matérn 5/2, fixed noise) "
    "with the container of points and the acquisition function of the package "
    "bayesian-optimization, whose own optimiser is not run",
}

INPUTS = {
    "descriptors": "descriptors of a candidate's composition, not its latent vector",
    "encoded": "the latent vector of a candidate's composition, encoded again",
    "proposed": "the latent vector as it was proposed",
}

CHEMISTRY = {
    "strict": "Only charge-neutral compositions with balanced electronegativity are asked for.",
    "any": "Every composition within the limits of size is asked for, balanced or not.",
}

SOURCES = {
    "box": "at random within the bounds of encoded compounds",
    "around": "a labelled compound and a small step",
    "between": "on the line between two labelled compounds",
    "offspring": "crossed from two of the best labelled compounds",
}


class SourceRow(NamedTuple):
    """One way of proposing: how, how many, which shares passed, and labels asked for."""

    source: str
    how: str
    proposed: int
    shares: tuple[str, str, str]
    asked: int


def paragraph(search: Mapping[str, Any]) -> str:
    """Say what the search did, as far as its summary tells."""
    sentences = ["Bayesian optimisation over pools of candidates."]
    if "pool_size" in search:
        size, batch = f"{search['pool_size']:,}", search["batch"]
        sentences.append(
            f"In each iteration {size} latent vectors of the autoencoder are proposed and decoded, "
            f"and a Gaussian process chooses up to {batch} of the new compositions."
            if search["decode_first"]
            else f"In each iteration {size} latent vectors of the autoencoder are proposed; a "
            f"Gaussian process chooses up to {batch} of them, and those are decoded."
        )
    if search.get("surrogate_inputs") in INPUTS:
        sentences.append(f"The process sees {INPUTS[search['surrogate_inputs']]}.")
    if search.get("backend") in BACKENDS:
        sentences.append(f"{BACKENDS[search['backend']]} (backend {search['backend']}).")
    if search.get("acquisition") == "ucb":
        sentences.append(f"Candidates are scored by upper confidence bound, κ = {search['kappa']}.")
    elif search.get("acquisition") == "ei":
        sentences.append("Candidates are scored by expected improvement.")
    if search.get("chemistry") in CHEMISTRY:
        sentences.append(CHEMISTRY[search["chemistry"]])
    return " ".join(sentences)


def source_rows(search: Mapping[str, Any]) -> list[SourceRow]:
    """Return a row for every source of which anything was decoded."""
    return [
        SourceRow(
            source,
            SOURCES.get(source, ""),
            int(tally["decoded"]),
            (
                _percent(tally["fraction_decodable"]),
                _percent(tally["fraction_valid"]),
                _percent(tally["fraction_new"]),
            ),
            int(tally["suggested"]),
        )
        for source, tally in sorted(search.get("sources", {}).items())
        if tally["decoded"]
    ]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
