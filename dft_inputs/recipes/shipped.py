"""The three recipes of the hand-off step: the paper's, the Materials Project's, and GPAW's.

In: nothing. Out: `PAPER`, `MATERIALS_PROJECT` and `GPAW`. `dft_inputs.engines.recipes` has these
and those of other codes, by name.
"""

from __future__ import annotations

from dft_inputs.recipes.recipe import ENCUT_EV, GpawSettings, IncarSettings, Recipe, Step, Supercell

EDIFF_EV = 1e-5
"""Electronic convergence in eV (paper sec. 3.3.4)."""

EDIFFG_EV_PER_A = -0.01
"""Largest force in eV/A; VASP reads a negative value as a force (paper sec. 3.3.4)."""

RELAX_K_DENSITY = 64.0
"""k-points per reciprocal A^3 while relaxing (chosen; the Materials Project's value)."""

STATIC_K_DENSITY = 128.0
"""k-points per reciprocal A^3 for static and uniform runs (chosen: double)."""

DISPLACEMENT_A = 0.015
"""Displacement of finite differences (chosen; VASP's default, and pymatgen's MVL value)."""

_ELECTRONS = IncarSettings(
    gga="PE",
    prec="Accurate",
    encut=ENCUT_EV,
    ediff=EDIFF_EV,
    nelm=100,
    algo="Normal",
    ismear=0,
    sigma=0.05,
    lreal=False,
    lasph=True,
    lorbit=11,
    lwave=False,
    lcharg=False,
)


def _incar(**tags: object) -> IncarSettings:
    return IncarSettings.model_validate({**_ELECTRONS.model_dump(), **tags})


_RELAX = _incar(ibrion=2, isif=3, nsw=99, ediffg=EDIFFG_EV_PER_A)

PAPER = Recipe(
    name="agd-paper",
    engine="vasp",
    potcar_functional="PBE_54",
    potcar_base="MPScanRelaxSet",
    potcar_overrides=(("Li", "Li"), ("Mg", "Mg")),
    steps=(
        Step(name="00-relax1", incar=_RELAX, k_density=RELAX_K_DENSITY),
        Step(
            name="01-relax2",
            incar=_RELAX,
            k_density=RELAX_K_DENSITY,
            structure_from="00-relax1",
        ),
        Step(
            name="02-static",
            incar=_incar(nsw=0, ibrion=-1, lcharg=True),
            k_density=STATIC_K_DENSITY,
            structure_from="01-relax2",
            keeps=("CHGCAR",),
        ),
        Step(
            name="03-uniform",
            incar=_incar(nsw=0, ibrion=-1, icharg=11),
            k_density=2 * STATIC_K_DENSITY,
            structure_from="01-relax2",
            density_from="02-static",
        ),
        Step(
            name="04-bands",
            incar=_incar(nsw=0, ibrion=-1, icharg=11),
            line_density=20,
            structure_from="01-relax2",
            density_from="02-static",
        ),
        Step(
            name="05-dfpt",
            incar=_incar(nsw=1, ibrion=8, ediff=1e-8, lepsilon=True),
            k_density=RELAX_K_DENSITY,
            structure_from="01-relax2",
            optional=True,
        ),
        Step(
            name="06-elastic",
            incar=_incar(nsw=1, ibrion=6, isif=3, nfree=4, potim=DISPLACEMENT_A, ediff=1e-7),
            k_density=RELAX_K_DENSITY,
            structure_from="01-relax2",
            optional=True,
        ),
        Step(
            name="07-phonons",
            incar=_incar(nsw=1, ibrion=6, isif=2, nfree=2, potim=DISPLACEMENT_A, ediff=1e-8),
            k_density=RELAX_K_DENSITY,
            structure_from="01-relax2",
            optional=True,
            supercell=Supercell(),
        ),
    ),
    choices=(
        "Potentials: PBE_54 under the Materials Project's element table, except Li and Mg, "
        "because 400 eV lies below the ENMAX of Li_sv and Mg_pv.",
        "Spin: polarised when an element has a partly filled d or f shell, started ferromagnetic; "
        "f electrons in the core of a potential (Er_3, Yb_3 ...) do not count.",
        "No +U: the paper says PBE. The Materials Project adds +U to oxides and fluorides of Co, "
        "Cr, Fe, Mn, Mo, Ni, V and W; gaps of these differ for that reason.",
        "Gaussian smearing of 0.05 eV throughout; projection in reciprocal space (LREAL false), "
        "since cells hold 20 atoms or fewer.",
        "Meshes: 64 k-points per reciprocal A^3 to relax, 128 static, 256 uniform.",
        "Relaxed twice, the second time in a fresh basis, because 400 eV leaves Pulay stress.",
        "Phonons at Gamma by perturbation theory and elastic constants are optional steps.",
        "Phonon dispersion, an optional step, comes from finite displacements by VASP itself in a "
        "supercell of edges of at least 9 A, or shorter where that would be over 100 atoms.",
    ),
)
"""Section 3.3.4 of the AGD paper, and section 2.4's phonons and elastic constants."""

MATERIALS_PROJECT = Recipe(
    name="materials-project",
    engine="vasp",
    potcar_functional="PBE",
    potcar_base="MPRelaxSet",
    spin="always",
    hubbard_u=True,
    steps=(
        Step(name="00-relax1", pymatgen_set="MPRelaxSet", k_density=RELAX_K_DENSITY),
        Step(
            name="01-relax2",
            pymatgen_set="MPRelaxSet",
            k_density=RELAX_K_DENSITY,
            structure_from="00-relax1",
        ),
        Step(
            name="02-static",
            pymatgen_set="MPStaticSet",
            k_density=100.0,
            structure_from="01-relax2",
            keeps=("CHGCAR",),
        ),
        Step(
            name="03-uniform",
            pymatgen_set="MPNonSCFSet",
            k_density=100.0,
            structure_from="01-relax2",
            density_from="02-static",
        ),
        Step(
            name="04-bands",
            pymatgen_set="MPNonSCFSet",
            line_density=20,
            structure_from="01-relax2",
            density_from="02-static",
        ),
    ),
    choices=(
        "Settings are those of pymatgen's input sets of the installed version, unchanged, so that "
        "energies can be corrected and compared with the Materials Project's legacy PBE data.",
        "Ytterbium has that set's divalent Yb_2: energies of compounds of Yb3+ are wrong with it.",
        "Every compound is spin-polarised, those with f electrons in the core of a potential too.",
    ),
)
"""The Materials Project's legacy PBE(+U) settings, by the names of pymatgen's sets."""

GPAW = Recipe(
    name="gpaw-pbe",
    engine="gpaw",
    spin="never",
    steps=(Step(name="00-ground-state", gpaw=GpawSettings()),),
    choices=(
        "One ground state at the given geometry: relaxing belongs to the geometry's origin.",
        "500 eV in place of 400 eV: GPAW's setups of first-row elements are harder than VASP's.",
        "Spin-paired compounds. Elemental references of Fe, Co, Ni and O are spin-polarised.",
        "No +U and no spin-orbit coupling.",
    ),
)
"""PBE in plane waves with GPAW: gap and total energy of small cells on one core."""
