from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from structure.composition import formulas_of
from structure.errors import DataError
from tasks.ingest.sources import SourceConfig, SourceRows, read_rows

Read = Callable[..., SourceRows]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Give a function that reads a source from its text, all columns after the formula gaps."""

    def rows(text: str, /, name: str = "t.csv", **settings: Any) -> SourceRows:
        (tmp_path / name).write_text(text)
        source = {"path": str(tmp_path / name), "roles": ["labels"], "columns": {"band_gap": "gap"}}
        return read_rows(SourceConfig.model_validate({**source, **settings}), 0)

    return rows


def labelled(source: SourceRows) -> dict[str, float]:
    known = np.isfinite(source.rows.value)
    formulas = formulas_of(source.rows.counts[known])
    return dict(zip(formulas, source.rows.value[known].tolist(), strict=True))


def reasons(source: SourceRows) -> dict[tuple[int, str], str]:
    return {(r.record, r.why.code): r.why.sentence for r in source.refused}


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("formula,Eg (meV),e_form", "says meV"),
        ("formula,Eg,e_form\n,(meV),eV/atom", "says meV"),
        ("formula,Eg,e_form (kJ/mol)", "says kJ/mol"),
        ("formula,Eg,e_form_per_cell", "says values per formula or cell"),
    ],
)
def test_a_unit_in_the_header_that_is_not_the_declared_one_is_refused(
    read: Read, header: str, named: str
) -> None:
    _, gap, energy = header.split("\n")[0].split(",")
    columns = {"band_gap": gap, "formation_energy": energy}
    with pytest.raises(DataError, match=re.escape(named)):
        read(f"{header}\nNaCl,5,-2\nKCl,5.2,-2\n", columns=columns)


def test_a_unit_in_the_header_that_is_the_declared_one_is_read(read: Read) -> None:
    columns = {"band_gap": "gap_meV", "formation_energy": "ΔH (kJ mol−1)"}
    units = {"band_gap": "meV", "formation_energy": "kJ/mol/formula"}
    source = read("formula,gap_meV,ΔH (kJ mol−1)\nNaCl,8500,−411.2\n", columns=columns, units=units)
    assert labelled(source) == {"NaCl": 8.5}
    assert source.rows.formation_energy == pytest.approx([-411.2 / 96.48533212 / 2])


@pytest.mark.parametrize("gaps", ["160,310,0", "5010,7800,0", "23,24,25"])
def test_gaps_too_large_for_ev_are_refused_with_the_likely_unit(read: Read, gaps: str) -> None:
    rows = zip(["Bi2Te3", "PbTe", "Fe"], gaps.split(","), strict=True)
    with pytest.raises(DataError, match=r"cannot be in eV.*they look like"):
        read("formula,gap\n" + "".join(f"{f},{g}\n" for f, g in rows))


def test_narrow_gaps_in_ev_are_no_mistake(read: Read) -> None:
    assert labelled(read("formula,gap\nInSb,0.02\nHgTe,0.01\n")) == {"InSb": 0.02, "HgTe": 0.01}


def test_a_gap_that_no_solid_has_keeps_its_reason_and_the_rest_goes_on(read: Read) -> None:
    source = read("formula,gap\nNaCl,5\nPbTe,310\nKCl,5.2\n")
    assert labelled(source) == {"NaCl": 5.0, "KCl": 5.2}
    assert "310 eV" in reasons(source)[2, "large-gap"]


def test_a_doped_row_never_labels_its_host(read: Read) -> None:
    source = read(
        "formula,gap\nY0.99Er0.01F3,10\nLa0.5Sr0.5MnO3,1\nFe0.95O,2\n", round_fractions=True
    )
    assert labelled(source) == {"SrLaMn2O6": 1.0, "Fe19O20": 2.0}
    assert "another compound" in reasons(source)[1, "rounding"]


@pytest.mark.parametrize("rounding", [False, True])
def test_hydrates_with_a_full_stop_are_read_whatever_the_rounding(
    read: Read, rounding: bool
) -> None:
    source = read("formula,gap\nCuSO4.5H2O,2\nZn(NO3)2.6H2O,3\n", round_fractions=rounding)
    assert labelled(source) == {"CuH10SO9": 2.0, "ZnH12N2O12": 3.0}


def test_advice_to_round_is_given_only_where_it_helps(read: Read) -> None:
    with pytest.raises(DataError, match="write · between compounds") as refused:
        read("formula,gap\nCaO.2Al2O3,1\nTiO2:Fe,3\n")
    assert "round_fractions" not in str(refused.value)
    with pytest.raises(DataError, match="round_fractions"):
        read("formula,gap\nFe0.95O,1\n")


def test_formulas_all_in_capitals_are_refused(read: Read) -> None:
    with pytest.raises(DataError, match="written in capitals, as 'NACL'"):
        read("formula,gap\nSIO2,9\nNACL,8\n")
    assert labelled(read("formula,gap\nBN,6\nKF,9\nH2O,7\n")) == {"BN": 6.0, "KF": 9.0, "H2O": 7.0}


def test_a_german_table_is_read(read: Read, tmp_path: Path) -> None:
    text = "Verbindung;Bandlücke / eV;Quelle\nNaCl;8,5;Müller\nMgO;7,8;Groß\n"
    (tmp_path / "d.csv").write_bytes(text.encode("cp1252"))
    columns = {"formula": "Verbindung", "band_gap": "Bandlücke / eV"}
    config = {"path": str(tmp_path / "d.csv"), "roles": ["labels"], "columns": columns}
    source = read_rows(SourceConfig.model_validate(config), 0)
    assert labelled(source) == {"NaCl": 8.5, "MgO": 7.8}
    assert len(source.notes) == 2


def test_a_published_table_with_title_units_and_remarks_is_read(read: Read) -> None:
    source = read(
        "Table S2: gaps of oxides,,\n,,\nCompound,gap,Ref.\n,(eV),\n"
        'α-Al2O3,8.8,[1]\nTiO2 (rutile),3.0,"[2,3]"\nBaTiO3_P4mm,~3.2,5\n'
        "SrTiO3−δ,3.1,6\n* estimated,,\n",
        columns={"formula": "Compound", "band_gap": "gap"},
    )
    assert labelled(source) == {"Al2O3": 8.8, "TiO2": 3.0}
    assert set(reasons(source)) == {(1, "empty"), (4, "value"), (5, "formula"), (6, "formula")}


def test_json_true_and_underscores_are_no_gaps(read: Read) -> None:
    lines = ['{"formula": "NaCl", "gap": true}', '{"formula": "KCl", "gap": "1_2"}']
    source = read("\n".join([*lines, '{"formula": "MgO", "gap": 7.8}']), name="t.jsonl")
    assert labelled(source) == {"MgO": 7.8}
    assert set(reasons(source)) == {(1, "value"), (2, "value")}


def test_a_giant_cell_leaves_only_its_beginning_with_the_rejection(read: Read) -> None:
    source = read(f"formula,gap\n{'x' * 200_000},1\nNaCl,5\n")
    assert len(source.refused[0].text) == 200
    assert "200,000 characters" in source.refused[0].why.sentence
