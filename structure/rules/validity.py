"""Chemical validity of compositions, for the explore and screen steps and for reports.

In: composition matrices and a named rule set. Out: for each row whether its oxidation states can
balance and agree with the electronegativities, and a sentence on why not. Verdicts equal those of
smact's ``smact_validity`` with the same settings; the sums of charges are kept as sets of bits, so
that no combination of states is ever enumerated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from structure.composition import N_ELEMENTS, reduce
from structure.errors import Rejection
from structure.rules.charge_balance import Sites, balanced
from structure.rules.oxidation_states import (
    MAX_MIXED_VALENCE_COMBINATIONS,
    OxidationStates,
    StateList,
    electronegativities,
    metals,
    mixed_valence_elements,
)
from structure.rules.why_invalid import why_unbalanced


@dataclass(frozen=True)
class RuleSet:
    """What makes a composition valid.

    Attributes
    ----------
    oxidation_states : {"default", "smact14", "icsd16", "icsd24", "pymatgen_sp", "wiki"}
        List of oxidation states; MatGAN (2020) used ``"smact14"``.
    pauling : bool
        Every cation must be less electronegative than every anion.
    alloys : bool
        Compositions of metals only are valid without further test. With it two random formulas
        out of three pass, so it is off here and on in smact.
    mixed_valence : bool
        Atoms of one element may differ in state, for smact's list of elements.
    """

    oxidation_states: StateList = "default"
    pauling: bool = True
    alloys: bool = False
    mixed_valence: bool = False


STRICT = RuleSet()
"""Charge neutral and electronegativity balanced, no pass for alloys."""


def valid(counts: np.ndarray, rules: RuleSet = STRICT) -> np.ndarray:
    """Return which compositions are valid.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
        Need not be reduced.
    rules : RuleSet

    Returns
    -------
    ndarray of bool, shape (n,)
        Pure elements are valid, as in smact; rows without atoms are not.

    Examples
    --------
    >>> from structure.composition import parse_formulas
    >>> valid(parse_formulas(["SrYF5", "NaCl2", "Fe3O4"]).counts).tolist()
    [True, False, False]
    """
    listed = OxidationStates.named(rules.oxidation_states)
    sites = Sites.of(np.asarray(counts))
    verdict: np.ndarray = sites.lengths == 1
    if rules.alloys:
        verdict |= (sites.lengths > 0) & (sites.how_many(~metals()) == 0)
    unknown = ~listed.known()
    if rules.pauling:
        unknown |= np.isnan(electronegativities())
    asked = ~verdict & (sites.lengths > 0) & (sites.how_many(unknown) == 0)
    sites = sites.take(asked)
    verdict[asked] = found = balanced(sites, listed, rules.pauling)
    if rules.mixed_valence:
        mixing = ~found & _may_mix(sites, listed)
        several = np.array([len(s) > 1 for s in listed.states]) & mixed_valence_elements()
        found[mixing] = balanced(sites.take(mixing).split(several), listed, rules.pauling)
        verdict[asked] = found
    return verdict


def _may_mix(sites: Sites, listed: OxidationStates) -> np.ndarray:
    """Return for which rows smact tries mixed valence: it gives up on too many combinations."""
    mixing = mixed_valence_elements()
    choices = np.array([max(len(s), 1) for s in listed.states], dtype=np.float64)
    powers = np.where(mixing[sites.elements], sites.amounts, 1)
    with np.errstate(over="ignore"):
        combinations = np.ones(len(sites.lengths))
        np.multiply.at(combinations, sites.rows, choices[sites.elements] ** powers)
    few = combinations <= MAX_MIXED_VALENCE_COMBINATIONS
    return few & (sites.how_many(mixing) > 0)


def neutral(counts: np.ndarray, rules: RuleSet = STRICT) -> np.ndarray:
    """Return which compositions can be charge neutral, whatever the electronegativities.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
    rules : RuleSet
        Its `pauling` is ignored.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    return valid(counts, RuleSet(rules.oxidation_states, False, rules.alloys, rules.mixed_valence))


def explain(row: np.ndarray, rules: RuleSet = STRICT) -> Rejection | None:
    """Say why a composition is not valid.

    Parameters
    ----------
    row : ndarray of int, shape (103,)
    rules : RuleSet

    Returns
    -------
    Rejection or None
        None if it is valid. Codes: ``empty``, ``states`` (an element has none in the list),
        ``charge``, ``electronegativity``; the sentence names the states and the numbers.

    Examples
    --------
    >>> from structure.composition import counts_of
    >>> explain(counts_of("NaCl2")).code
    'charge'
    """
    if valid(row[None], rules)[0]:
        return None
    listed = OxidationStates.named(rules.oxidation_states)
    return why_unbalanced(row, listed, rules.pauling)


def matched_random(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random compositions with the marginals of given ones: the baseline for validity rates.

    The number of elements, the elements and the counts follow their own frequencies and are
    independent of each other, so whatever validity these rows reach owes nothing to chemistry.

    Parameters
    ----------
    counts : ndarray of int, shape (m, 103)
        At least one row with atoms.
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int16, shape (n, 103)
        Reduced; duplicates kept.
    """
    present = counts > 0
    weights = present.sum(axis=0) / max(present.sum(), 1)
    sizes = rng.choice(present.sum(axis=1), size=n)
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=(n, N_ELEMENTS))
    ranks = np.empty_like(keys, dtype=np.intp)
    np.put_along_axis(ranks, np.argsort(-keys, axis=1), np.arange(N_ELEMENTS)[None], axis=1)
    chosen = ranks < sizes[:, None]
    drawn = np.zeros((n, N_ELEMENTS), dtype=np.int16)
    drawn[chosen] = rng.choice(counts[present], size=int(chosen.sum()))
    return reduce(drawn)
