from __future__ import annotations

import pytest
from pymatgen.core import Structure

from structure.crystals.poscar import read_poscar
from structure.errors import Rejection


def poscar(
    comment: str = "rock salt",
    symbols: str | None = None,
    numbers: str = "1 1",
    behind: tuple[str, str] = ("", ""),
    selective: bool = False,
) -> str:
    lines = [comment, "1.0", "5.64 0 0", "0 5.64 0", "0 0 5.64"]
    lines += [
        line for line in (symbols, numbers, "Selective dynamics" if selective else None) if line
    ]
    flags = " T T F" if selective else ""
    lines += ["Direct", f"0 0 0{flags} {behind[0]}", f"0.5 0.5 0.5{flags} {behind[1]}"]
    return "\n".join(lines) + "\n"


def elements(text: str) -> list[str]:
    found = read_poscar(text)
    assert isinstance(found, Structure), found
    return [site.specie.symbol for site in found]


@pytest.mark.parametrize("selective", [False, True])
@pytest.mark.parametrize("comment", ["rock salt", "", "Na", "Na Cl O", "Na2 Cl1", "NaCl", "A B"])
def test_a_poscar_that_names_no_elements_is_not_given_any(comment, selective):
    why = read_poscar(poscar(comment, selective=selective))
    assert isinstance(why, Rejection)
    assert why.code == "poscar"
    assert why.sentence.startswith("names no elements")


@pytest.mark.parametrize("comment", ["Na Cl", "Na1 Cl1", "  Na  Cl ", "Na_pv Cl"])
def test_a_comment_that_is_a_list_of_the_elements_names_them(comment):
    assert elements(poscar(comment)) == ["Na", "Cl"]


@pytest.mark.parametrize("selective", [False, True])
def test_elements_behind_the_coordinates_count(selective):
    assert elements(poscar(behind=("K", "F"), selective=selective)) == ["K", "F"]
    assert isinstance(read_poscar(poscar(behind=("K", ""), selective=selective)), Rejection)


@pytest.mark.parametrize(
    ("symbols", "named"),
    [
        ("Na Cl", ["Na", "Cl"]),
        ("Na_pv Cl", ["Na", "Cl"]),
        ("Na_pv/4f1a0c Cl/99bd", ["Na", "Cl"]),
        ("Fe1 Fe2", ["Fe", "Fe"]),
        ("Er_3 H", ["Er", "H"]),
        ("D O", ["H", "O"]),
    ],
)
def test_symbols_of_potentials_and_numbered_ones_are_elements(symbols, named):
    assert elements(poscar(symbols=symbols)) == named


@pytest.mark.parametrize("symbols", ["H1.25 Cl", "H.5 Cl", "Xx Cl", "na cl", "Rf Cl"])
def test_symbols_that_are_no_elements_are_refused_by_name(symbols):
    with pytest.raises(ValueError, match=symbols.split()[0].replace(".", r"\.")):
        read_poscar(poscar(symbols=symbols))


@pytest.mark.parametrize("mark", ["!", "#"])
def test_remarks_behind_symbols_and_numbers_are_no_part_of_them(mark):
    text = poscar(symbols=f"Na Cl {mark} salt", numbers=f"1 1 {mark} one of each")
    assert elements(text) == ["Na", "Cl"]


def test_symbols_on_several_lines_are_read():
    text = poscar(symbols="Na\nCl", numbers="1\n1")
    assert elements(text) == ["Na", "Cl"]


@pytest.mark.parametrize("kept", [0, 1, 4, 5, 6, 7, 8])
def test_a_poscar_cut_short_is_never_a_structure(kept):
    text = "\n".join(poscar(symbols="Na Cl").splitlines()[:kept])
    try:
        found = read_poscar(text)
    except (ValueError, IndexError):
        return
    assert isinstance(found, Rejection)
