from __future__ import annotations

import pytest

from structure.formulas.phase_names import without_phase_name


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("alpha-SiO2", "SiO2"),
        ("α-Al2O3", "Al2O3"),
        ("βGa2O3", "Ga2O3"),
        ("γ'-Fe4N", "Fe4N"),
        ("SiO2 (quartz)", "SiO2"),
        ("SiO2 (α-quartz, P3_221)", "SiO2"),
        ("TiO2-rutile", "TiO2"),
        ("rutile TiO2", "TiO2"),
        ("LiFePO4 (olivine)", "LiFePO4"),
        ("c-BN", "BN"),
        ("LT-LiCoO2", "LiCoO2"),
        ("2H-MoS2", "MoS2"),
        ("SiC (4H)", "SiC"),
        ("1T'-WTe2", "WTe2"),
        ("BaTiO3_P4mm", "BaTiO3"),
        ("TiO2 P4_2/mnm", "TiO2"),
        ("NaCl_Fm-3m", "NaCl"),
        ("GeO2, rutile", "GeO2"),
        ("NaCl_mp-22862", "NaCl"),
        ("mp-22862: NaCl", "NaCl"),
        ("post-perovskite MgSiO3", "MgSiO3"),
        ("Fe bcc", "Fe"),
    ],
)
def test_a_name_of_a_crystal_form_or_entry_goes(text: str, formula: str) -> None:
    assert without_phase_name(text) == formula


@pytest.mark.parametrize(
    "text",
    [
        "Ca(OH)2",
        "TiO2-N",
        "TiO2_C",
        "TiO2(B)",
        "TiO2-II",
        "Zn_P2",
        "Na_Pm",
        "Ca C2",
        "Rb Rb1e",
        "C-BN",
        "li-CoO2",
        "n-Si",
        "a-SiO2",
        "Fe-doped TiO2",
        "YBa2Cu3O7-δ",
        "LiFePO4 (charged)",
        "NaCl (s)",
        "NaCl (225)",
    ],
)
def test_what_can_be_an_element_a_dopant_a_state_or_an_amount_stays(text: str) -> None:
    assert without_phase_name(text) == text
