from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from structure.composition import counts_from, counts_of
from structure.elements import ELEMENTS, INDEX
from structure.errors import Rejection
from structure.templates.emd import POSITION
from structure.templates.library import TemplateLibrary
from structure.templates.substitution import (
    ANY_VOLUME,
    MINIMUM_RATIO,
    Substituted,
    assign,
    closest,
    covalent_radii,
    substitute,
    volume_scales,
)


def perovskite(a: str = "Sr", b: str = "Ti", x: str = "O", length: float = 3.9) -> Structure:
    return Structure(
        Lattice.cubic(length),
        [a, b, x, x, x],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )


def named(assignment: dict[int, int]) -> dict[str, str]:
    return {ELEMENTS[a]: ELEMENTS[b] for a, b in assignment.items()}


SYMBOLS = st.lists(st.sampled_from(ELEMENTS[:96]), min_size=3, max_size=3, unique=True)
AMOUNTS = st.lists(st.integers(1, 2), min_size=3, max_size=3)


@settings(deadline=None)
@given(SYMBOLS, SYMBOLS, AMOUNTS, st.randoms(use_true_random=False))
def test_no_other_exchange_of_elements_is_nearer(old, new, amounts, random) -> None:
    shuffled = list(zip(new, amounts, strict=True))
    random.shuffle(shuffled)
    template = counts_from([dict(zip(old, amounts, strict=True))])[0]
    candidate = counts_from([dict(shuffled)])[0]
    chosen = assign(template, candidate)
    assert sorted(chosen.values()) == sorted(np.flatnonzero(candidate))
    assert all(template[a] == candidate[b] for a, b in chosen.items())

    def cost(pairs) -> int:
        return sum(abs(int(POSITION[a] - POSITION[b])) for a, b in pairs)

    columns = np.flatnonzero(template)
    others = [
        list(zip(columns, order, strict=True))
        for order in itertools.permutations(np.flatnonzero(candidate))
        if all(template[a] == candidate[b] for a, b in zip(columns, order, strict=True))
    ]
    assert cost(chosen.items()) == min(cost(pairs) for pairs in others)


def test_elements_that_can_stay_do() -> None:
    # Sr to Ca and Ca to Na cost as much as Sr to Na with Ca left alone.
    assert named(assign(counts_of("SrCaO"), counts_of("CaNaO"))) == {
        "Sr": "Na",
        "Ca": "Ca",
        "O": "O",
    }


def test_another_stoichiometry_cannot_be_assigned() -> None:
    assert assign(counts_of("NaCl"), counts_of("CaF2")) is None
    why = substitute(perovskite(), counts_of("CaF2"))
    assert isinstance(why, Rejection)
    assert why.code == "stoichiometry"
    assert "SrTiO3" in why.sentence
    assert "CaF2" in why.sentence


def test_a_template_takes_the_candidates_elements_and_a_volume_to_match() -> None:
    made = substitute(perovskite(), counts_of("BaZrO3"))
    assert isinstance(made, Substituted)
    assert made.assignment == {"Sr": "Ba", "Ti": "Zr", "O": "O"}
    assert made.structure.composition.reduced_formula == "BaZrO3"
    radii = covalent_radii()[[INDEX[e] for e in ("Sr", "Ti", "O", "Ba", "Zr")]]
    ratio = (radii[3] + radii[4] + 3 * radii[2]) / (radii[0] + radii[1] + 3 * radii[2])
    assert made.volume_scale == pytest.approx(ratio**3)
    assert made.structure.volume == pytest.approx(perovskite().volume * made.volume_scale)
    assert np.allclose(made.structure.frac_coords, perovskite().frac_coords)
    # BaZrO3 is 4.19 Å in nature.
    assert made.structure.lattice.a == pytest.approx(4.19, rel=0.03)
    assert made.closest_ratio == pytest.approx(
        made.structure.lattice.a / 2 / (1.75 + 0.66), rel=1e-3
    )


@pytest.mark.parametrize(("formula", "scale"), [("LiFN3", 0.4), ("CsRaSe3", 3.3)])
def test_a_volume_that_would_change_too_much_is_rejected(formula: str, scale: float) -> None:
    why = substitute(perovskite(), counts_of(formula))
    assert isinstance(why, Rejection)
    assert why.code == "volume-scale"
    assert "of SrTiO3 would have" in why.sentence
    made = substitute(perovskite(), counts_of(formula), volume_limits=ANY_VOLUME)
    assert made.volume_scale == pytest.approx(scale, abs=0.1)


def test_volume_scales_of_elements_without_a_radius_are_not_numbers() -> None:
    templates = np.stack([counts_of("NaCl"), counts_of("EsCl"), counts_of("KCl")])
    assert np.isnan(volume_scales(templates, counts_of("NaBr"))).tolist() == [False, True, False]
    assert np.isnan(volume_scales(templates, counts_of("EsBr"))).all()


def test_substituting_the_same_elements_changes_nothing() -> None:
    made = substitute(perovskite(), counts_of("SrTiO3"))
    assert made.structure == perovskite()
    assert (made.volume_scale, made.cost) == (1.0, 0)


def test_atoms_that_would_overlap_are_rejected_with_their_distance() -> None:
    squeezed = perovskite(length=2.6)
    why = substitute(squeezed, counts_of("BaZrO3"))
    assert why.code == "too-close"
    length = squeezed.lattice.a * np.cbrt(
        substitute(squeezed, counts_of("BaZrO3"), minimum_ratio=0.1).volume_scale
    )
    limit = MINIMUM_RATIO * float(covalent_radii()[[INDEX["Zr"], INDEX["O"]]].sum())
    assert f"{length / 2:.2f} Å apart; the limit is {limit:.2f} Å" in why.sentence
    assert "Zr" in why.sentence


def test_elements_without_a_radius_are_rejected() -> None:
    assert substitute(perovskite(), counts_of("EsTiO3")).code == "radius"


def test_a_lone_atom_in_a_large_cell_is_close_to_nothing() -> None:
    ratio, _ = closest(Structure(Lattice.cubic(12), ["Cs"], [[0, 0, 0]]))
    assert ratio == float("inf")


def test_the_nearest_pair_may_cross_the_cell_boundary() -> None:
    ratio, (a, b, distance) = closest(
        Structure(Lattice.cubic(6), ["H", "O"], [[0.02, 0, 0], [0.9, 0, 0]])
    )
    assert distance == pytest.approx(0.72)
    assert ratio == pytest.approx(0.72 / (0.31 + 0.66))
    assert {a, b} == {0, 1}


@pytest.mark.data
@pytest.mark.slow
def test_rescaled_volumes_are_nearer_to_the_truth_than_the_templates_own(data_dir: Path) -> None:
    library = TemplateLibrary.from_jsonl([data_dir / "mp_structures.jsonl.gz"])
    library = library.take(library.n_sites <= 12)
    rng = np.random.default_rng(0)
    scaled, plain = [], []
    for i in rng.choice(len(library), 400, replace=False).tolist():
        for j, emd in library.nearest(library.counts[i], 6, one_per_formula=True):
            same = library.n_sites[i] == library.n_sites[j]
            if emd == 0 or not same or library.spacegroups[i] != library.spacegroups[j]:
                continue
            made = substitute(
                library.structure(j), library.counts[i], minimum_ratio=0, volume_limits=ANY_VOLUME
            )
            true = library.structure(i).volume
            scaled.append(abs(np.log(made.structure.volume / true)))
            plain.append(abs(np.log(library.structure(j).volume / true)))
            break
    assert len(scaled) > 100
    assert np.mean(scaled) < 0.8 * np.mean(plain)
    assert np.mean(scaled) < 0.08
