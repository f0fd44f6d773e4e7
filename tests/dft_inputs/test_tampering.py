from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from dft_inputs.job.findings import Judgement
from dft_inputs.job.folder import Job
from dft_inputs.vasp.asked.settings import incar_differs
from dft_inputs.vasp.judgement import judge
from dft_inputs.vasp.outputs import StepOutput
from tests.dft_inputs.tampering import (
    POTCAR,
    Change,
    as_written_before,
    calculated,
    edited,
    incar,
    lines_of,
    packed,
    potcar,
    result,
    run_with,
    text_of,
)

RELAX, AGAIN, STATIC, UNIFORM, BANDS = (
    "00-relax1",
    "01-relax2",
    "02-static",
    "03-uniform",
    "04-bands",
)

SETTINGS: list[tuple[str, dict[str, str | None]]] = [
    # the functional
    (STATIC, {"IVDW": "12"}),
    (RELAX, {"IVDW": "11"}),
    (STATIC, {"LUSE_VDW": ".TRUE."}),
    (STATIC, {"LVDW": "T"}),
    (STATIC, {"VDW_S8": "0.7875"}),
    (STATIC, {"METAGGA": "R2SCAN"}),
    (STATIC, {"GGA": "PS"}),
    (STATIC, {"GGA": "RP"}),
    (UNIFORM, {"GGA": "CA"}),
    (STATIC, {"GGA": None}),
    (STATIC, {"LHFCALC": ".TRUE."}),
    (STATIC, {"AEXX": "0.25"}),
    (STATIC, {"HFSCREEN": "0.2"}),
    (STATIC, {"GGA_COMPAT": "F"}),
    (STATIC, {"VOSKOWN": "1"}),
    (STATIC, {"LASPH": "F"}),
    (STATIC, {"LASPH": None}),
    (STATIC, {"LDAU": "T", "LDAUTYPE": "2", "LDAUL": "2 -1", "LDAUU": "5 0", "LDAUJ": "0 0"}),
    (STATIC, {"LDAUU": "5 0"}),
    (STATIC, {"XC": "SCAN"}),
    # electrons and spin
    (STATIC, {"NELECT": "31"}),
    (STATIC, {"NUPDOWN": "2"}),
    (STATIC, {"ISPIN": "2"}),
    (STATIC, {"LSORBIT": "T"}),
    (BANDS, {"LSORBIT": ".TRUE."}),
    (STATIC, {"LNONCOLLINEAR": "T"}),
    (STATIC, {"ISMEAR": "1"}),
    (STATIC, {"ISMEAR": "-5"}),
    (STATIC, {"ISMEAR": None}),
    (UNIFORM, {"SIGMA": "0.5"}),
    (STATIC, {"SIGMA": None}),
    (STATIC, {"NBANDS": "16"}),
    (STATIC, {"NELM": "1"}),
    (STATIC, {"ALGO": "None"}),
    (STATIC, {"ALGO": "Eigenval"}),
    (STATIC, {"ALGO": "GW0"}),
    (STATIC, {"ALGO": None, "IALGO": "2"}),
    (STATIC, {"LDIAG": "F"}),
    (STATIC, {"ICHARG": "12"}),
    (UNIFORM, {"ICHARG": "2"}),
    (BANDS, {"ICHARG": None}),
    (UNIFORM, {"SCISSOR": "1.0"}),
    (STATIC, {"FERWE": "12*1.0 4*0.0"}),
    (STATIC, {"LMAXMIX": "2"}),
    (STATIC, {"LMAXMIX": None}),
    (STATIC, {"I_CONSTRAINED_M": "1"}),
    (STATIC, {"VCA": "0.9 1.0"}),
    # basis, projection, convergence
    (STATIC, {"ENCUT": "300"}),
    (RELAX, {"ENCUT": "520"}),
    (STATIC, {"ENCUT": None, "ENMAX": "300"}),
    (STATIC, {"ENCUT": None}),
    (STATIC, {"PREC": "Low"}),
    (STATIC, {"PREC": "Normal"}),
    (STATIC, {"PREC": None}),
    (STATIC, {"ENAUG": "300"}),
    (STATIC, {"ADDGRID": "T"}),
    (STATIC, {"NGX": "20"}),
    (STATIC, {"NGZF": "40"}),
    (STATIC, {"LREAL": "Auto"}),
    (STATIC, {"LREAL": "On"}),
    (STATIC, {"ROPT": "0.01 0.01"}),
    (STATIC, {"EDIFF": "1e-3"}),
    (STATIC, {"EDIFF": None}),
    (STATIC, {"LMAXPAW": "-1"}),
    (STATIC, {"KSPACING": "0.9"}),
    (STATIC, {"SYMPREC": "0.1"}),
    (STATIC, {"ISTART": "2"}),
    # fields and surroundings
    (RELAX, {"PSTRESS": "50"}),
    (STATIC, {"PSTRESS": "1.0"}),
    (STATIC, {"EFIELD": "0.1"}),
    (STATIC, {"IDIPOL": "3"}),
    (STATIC, {"LDIPOL": "T"}),
    (STATIC, {"LSOL": "T"}),
    (STATIC, {"EPSILON": "4"}),
    (STATIC, {"LMONO": "T"}),
    (STATIC, {"LSPIRAL": "T"}),
    # ions
    (RELAX, {"NSW": "0"}),
    (AGAIN, {"NSW": "1"}),
    (AGAIN, {"NSW": None}),
    (RELAX, {"IBRION": "-1"}),
    (RELAX, {"IBRION": "0"}),
    (RELAX, {"ISIF": "2"}),
    (RELAX, {"ISIF": "4"}),
    (RELAX, {"ISIF": None}),
    (AGAIN, {"EDIFFG": "-0.1"}),
    (AGAIN, {"EDIFFG": "0.01"}),
    (AGAIN, {"EDIFFG": None}),
    (RELAX, {"LATTICE_CONSTRAINTS": ".FALSE. .FALSE. .TRUE."}),
    (STATIC, {"NSW": "5", "IBRION": "2"}),
    (STATIC, {"LEPSILON": "T"}),
    (STATIC, {"LPARD": "T"}),
]
"""A step, and tags that make it another calculation; each is code 300."""

PATH = "Line\n3\nReciprocal\n0 0 0 1\n0.25 0 0 1\n0.5 0 0 1\n"

OTHERS: dict[str, tuple[str, Change, str]] = {
    # k-points
    "one point": (STATIC, text_of("KPOINTS", "x\n0\nGamma\n1 1 1\n"), "300"),
    "a coarser mesh": (STATIC, text_of("KPOINTS", "x\n0\nGamma\n10 10 5\n"), "300"),
    "the static mesh": (UNIFORM, text_of("KPOINTS", "x\n0\nGamma\n10 10 6\n"), "300"),
    "a list": (STATIC, text_of("KPOINTS", "x\n1\nReciprocal\n0 0 0 1\n"), "300"),
    "special points": (STATIC, text_of("KPOINTS", "x\n1\nReciprocal\n0.25 0.25 0.25 1\n"), "300"),
    "Monkhorst-Pack": (STATIC, text_of("KPOINTS", "x\n0\nMonkhorst\n10 10 6\n"), "300"),
    "a shift": (STATIC, text_of("KPOINTS", "x\n0\nGamma\n10 10 6\n0.5 0.5 0.5\n"), "300"),
    "a path for a mesh": (UNIFORM, text_of("KPOINTS", PATH), "300"),
    "a mesh for a path": (BANDS, text_of("KPOINTS", "x\n0\nGamma\n13 13 8\n"), "300"),
    "another path": (BANDS, text_of("KPOINTS", PATH), "300"),
    "a path backwards": (BANDS, lines_of("KPOINTS", lambda x: [*x[:3], *x[:2:-1]]), "300"),
    "a path cut short": (BANDS, lines_of("KPOINTS", lambda x: [x[0], "9", *x[2:12]]), "300"),
    # geometry
    "a scale": (STATIC, lines_of("POSCAR", lambda x: [x[0], "1.04", *x[2:]]), "320"),
    "a scale in a relaxation": (
        RELAX,
        lines_of("POSCAR", lambda x: [x[0], "1.01", *x[2:]]),
        "320",
    ),
    "a longer cell": (
        STATIC,
        lines_of("POSCAR", lambda x: [*x[:4], f"0 0 {1.05 * float(x[4].split()[2])}", *x[5:]]),
        "320",
    ),
    "an atom elsewhere": (
        STATIC,
        lines_of("POSCAR", lambda x: [*x[:8], "0.3333 0.6667 0.02", *x[9:]]),
        "320",
    ),
    "atoms exchanged": (
        UNIFORM,
        lines_of("POSCAR", lambda x: [*x[:8], x[10], x[9], x[8], x[11]]),
        "320",
    ),
    "the cell of the bands": (
        BANDS,
        lines_of("POSCAR", lambda x: [x[0], "0.97", *x[2:]]),
        "320",
    ),
    "more atoms": (
        STATIC,
        lines_of("POSCAR", lambda x: [*x[:6], "2 3", *x[7:], "0.5 0.5 0.5"]),
        "320",
    ),
    "species turned round": (
        STATIC,
        lines_of("POSCAR", lambda x: [*x[:5], "O Zn", *x[6:8], *x[10:], *x[8:10]]),
        "320",
    ),
    # potentials
    "LDA": (STATIC, text_of("POTCAR", potcar("PAW Zn 03Mar1998", "PAW O 22Mar2012")), "310"),
    "PW91": (STATIC, text_of("POTCAR", potcar("PAW_GGA Zn 1Apr1998", "PAW_GGA O 5May1998")), "310"),
    "ultrasoft": (STATIC, text_of("POTCAR", potcar("US Zn", "US O")), "310"),
    "one of LDA": (
        UNIFORM,
        text_of("POTCAR", POTCAR.replace("PAW_PBE O 08Apr2002", "PAW O 22Mar2012")),
        "310",
    ),
    "a harder one": (STATIC, text_of("POTCAR", POTCAR.replace("PBE O ", "PBE O_h ")), "310"),
    "one for GW": (STATIC, text_of("POTCAR", POTCAR.replace("PBE Zn ", "PBE Zn_GW ")), "310"),
    "another release": (STATIC, text_of("POTCAR", POTCAR.replace("2002", "1999")), "310"),
    "another element": (STATIC, text_of("POTCAR", POTCAR.replace("PBE O ", "PBE S ")), "320"),
    "potentials turned round": (
        STATIC,
        text_of("POTCAR", potcar("PAW_PBE O 08Apr2002", "PAW_PBE Zn 06Sep2000")),
        "310",
    ),
}
"""A step, what is done to its other inputs, and the code."""

NUMBERS: dict[str, tuple[str, Change, str]] = {
    "a gap of 200 eV": (
        UNIFORM,
        result(r"<r>(\d+\.\d{4}) 0\.0000</r>", r"<r>2\1 0.0000</r>"),
        "250",
    ),
    "no energy": (
        STATIC,
        result(r"(e_0_energy|e_wo_entrp|e_fr_energy)\">[-\d.]+", r'\1">0.0'),
        "260",
    ),
    "-129 eV/atom": (STATIC, result(r"(_energy|_entrp)\">-", r'\1">-50'), "260"),
    "electrons without a tag": (
        STATIC,
        result(r'name="NELECT">32', 'name="NELECT">31'),
        "300",
    ),
    "another static energy": (STATIC, result(r"(_energy|_entrp)\">-1", r'\1">-2'), "270"),
}
"""A step, what is done to its result, and the code."""


HARMLESS: list[tuple[str, dict[str, str | None]]] = [
    # parallelisation
    (STATIC, {"NCORE": "8", "KPAR": "4", "NSIM": "8"}),
    (STATIC, {"NPAR": "16", "LPLANE": ".FALSE.", "LSCALAPACK": "F", "LSCALU": "F"}),
    (RELAX, {"NCORE": "4", "LASYNC": "T", "NBLK": "64", "MAXMEM": "4000"}),
    # output
    (STATIC, {"LWAVE": "T", "LVTOT": "T", "LVHAR": "T", "LELF": "T", "LAECHG": "T"}),
    (STATIC, {"LORBIT": "10", "NEDOS": "3001", "EMIN": "-20", "EMAX": "10", "NWRITE": "3"}),
    (UNIFORM, {"LCHARG": "T", "LORBIT": None, "SYSTEM": "zinc oxide, second try"}),
    # algorithm
    (STATIC, {"ALGO": "All"}),
    (STATIC, {"ALGO": "VeryFast", "NELMDL": "-8"}),
    (STATIC, {"ALGO": None, "IALGO": "48"}),
    (STATIC, {"ALGO": "Damped", "TIME": "0.3"}),
    (STATIC, {"AMIX": "0.1", "BMIX": "0.001", "AMIN": "0.01", "IMIX": "1", "MAXMIX": "40"}),
    (STATIC, {"NELM": "300", "NELMIN": "8"}),
    (STATIC, {"NELM": None}),
    (STATIC, {"ISYM": "0", "SYMPREC": "1e-8"}),
    (STATIC, {"ISTART": "1", "ICHARG": "1", "ISEARCH": "1", "LSUBROT": "T"}),
    (STATIC, {"NBANDS": "48"}),
    # more exact
    (STATIC, {"EDIFF": "1e-7"}),
    (RELAX, {"EDIFFG": "-0.001"}),
    (STATIC, {"LMAXMIX": "6"}),
    # another way to the same geometry
    (RELAX, {"IBRION": "1", "POTIM": "0.1", "NFREE": "10"}),
    (RELAX, {"IBRION": "3", "SMASS": "0.75", "IOPT": "7"}),
    (RELAX, {"NSW": "300"}),
    # what VASP takes anyway
    (STATIC, {"IVDW": "0", "METAGGA": "None", "LHFCALC": ".FALSE.", "LDAU": "F"}),
    (STATIC, {"LSORBIT": "F", "NUPDOWN": "-1", "PSTRESS": "0.0", "ADDGRID": ".FALSE."}),
    (STATIC, {"ISPIN": None, "LREAL": None, "ISIF": "2"}),
    # the same in other words
    (STATIC, {"PREC": "acc", "GGA": "pe", "LREAL": ".FALSE.", "LASPH": ".True."}),
    (STATIC, {"ENCUT": "4.0E2", "SIGMA": "5e-2", "EDIFF": "0.00001"}),
]
"""A step, and tags that change nothing but the way to the same numbers."""

HARMLESS_TEXTS: dict[str, tuple[str, Change]] = {
    "comments and another order": (
        STATIC,
        lines_of(
            "INCAR", lambda x: ["# ours", *(f"  {line.lower()} ! as asked" for line in x[::-1])]
        ),
    ),
    "several in a line": (STATIC, lines_of("INCAR", lambda x: [" ; ".join(x)])),
    "the line ends of Windows": (STATIC, lines_of("INCAR", lambda x: [f"{line}\r" for line in x])),
    "a denser mesh": (STATIC, text_of("KPOINTS", "x\n0\nGamma\n12 12 8\n")),
    "an odd Monkhorst-Pack mesh": (STATIC, text_of("KPOINTS", "x\n0\nMonkhorst\n11 11 7\n")),
    "a shift by a whole step": (STATIC, text_of("KPOINTS", "x\n0\nGamma\n10 10 6\n0 1 0\n")),
    "fewer digits": (
        STATIC,
        lines_of(
            "POSCAR",
            lambda x: [*x[:8], *(f"{float(a):.6f} {b} {c}" for a, b, c in map(str.split, x[8:]))],
        ),
    ),
    "an atom in the next cell": (
        STATIC,
        lines_of(
            "POSCAR",
            lambda x: [*x[:8], *(f"{1 + float(a)} {b} {c}" for a, b, c in map(str.split, x[8:]))],
        ),
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    return calculated(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def outputs(good: tuple[Job, Path]) -> Mapping[str, StepOutput]:
    return judge(good[1], good[0].ticket).outputs


@pytest.fixture
def job(good: tuple[Job, Path], tmp_path: Path) -> tuple[Job, Path]:
    shutil.copytree(good[1], tmp_path / good[1].name)
    return good[0], tmp_path / good[1].name


def judged(job: Job, folder: Path) -> Judgement:
    return judge(folder, job.ticket)


def code_of(judgement: Judgement) -> str:
    assert judgement.worst is not None
    assert not judgement.usable
    return judgement.worst.code


def words(row: object) -> str:
    return "-".join(f"{k}={v}" for k, v in row.items()) if isinstance(row, dict) else str(row)


def test_the_good_job_is_good(good):
    assert judged(*good).findings == ()


def test_there_are_at_least_eighty_kinds_of_tampering():
    assert len(SETTINGS) + len(OTHERS) + len(NUMBERS) >= 80


@pytest.mark.parametrize(("step", "tags"), SETTINGS, ids=words)
def test_a_step_with_other_settings_is_code_300(job, step, tags):
    run_with(job[1] / step, incar(**tags))
    judgement = judged(*job)
    assert code_of(judgement) == "300"
    assert any(tag in judgement.worst.sentence for tag in (*tags, "ENCUT", "IALGO"))


@pytest.mark.parametrize(("step", "tags"), SETTINGS, ids=words)
def test_an_incar_with_other_settings_is_code_300_whatever_vasp_lists(
    good, outputs, step, tags, tmp_path
):
    here = tmp_path / step
    here.mkdir()
    text = (good[1] / step / "INCAR").read_text()
    (here / "INCAR").write_text(edited(text, tags))
    [ticket_step] = [s for s in good[0].ticket.steps if s.name == step]
    found = incar_differs(good[0].ticket, ticket_step, outputs[step], here)
    if tags == {"GGA": None}:  # VASP then takes the functional of the potentials
        assert found is None
    else:
        assert found.code == "300"


@pytest.mark.parametrize(("step", "change", "code"), OTHERS.values(), ids=OTHERS)
def test_a_step_with_other_inputs_is_turned_down(job, step, change, code):
    run_with(job[1] / step, change)
    assert code_of(judged(*job)) == code


@pytest.mark.parametrize(("step", "change", "code"), NUMBERS.values(), ids=NUMBERS)
def test_a_result_that_cannot_be_is_turned_down(job, step, change, code):
    change(job[1] / step)
    assert code_of(judged(*job)) == code


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        (UNIFORM, BANDS, "300"),
        (BANDS, UNIFORM, "300"),
        (STATIC, UNIFORM, "300"),
        (UNIFORM, STATIC, "300"),
        (AGAIN, STATIC, "300"),
        (STATIC, AGAIN, "300"),
        (AGAIN, RELAX, "320"),
        (RELAX, AGAIN, "320"),
    ],
)
def test_a_result_copied_from_another_step_is_turned_down(job, source, target, code):
    for name in ("vasprun.xml", "OUTCAR", "INCAR", "KPOINTS", "CONTCAR"):
        shutil.copy(job[1] / source / name, job[1] / target / name)
    assert code_of(judged(*job)) == code


@pytest.mark.parametrize(("step", "tags"), HARMLESS, ids=words)
def test_a_step_with_harmless_settings_enters(job, step, tags):
    change = incar(**tags)
    run_with(job[1] / step, change)
    assert judged(*job).findings == ()
    change(job[1] / step)
    assert judged(*job).findings == ()


@pytest.mark.parametrize(("step", "change"), HARMLESS_TEXTS.values(), ids=HARMLESS_TEXTS)
def test_a_step_with_inputs_that_mean_the_same_enters(job, step, change):
    run_with(job[1] / step, change)
    change(job[1] / step)
    assert judged(*job).findings == ()


def test_a_job_with_every_harmless_tag_changed_enters(job):
    for step in job[0].ticket.steps:
        tags = {tag: value for place, tags in HARMLESS[:6] for tag, value in tags.items()}
        tags |= {"ALGO": "All", "AMIX": "0.1", "NELM": "300", "ISYM": "0", "EDIFF": "1e-7"}
        incar(**tags)(job[1] / step.name)
        run_with(job[1] / step.name, incar())
        packed(job[1] / step.name)
    assert judged(*job).findings == ()


def test_a_job_of_an_older_release_is_good_too(good):
    before = as_written_before(good[0].ticket)
    assert judge(good[1], before).findings == ()


@pytest.mark.parametrize(
    ("step", "change", "code"),
    [
        (STATIC, incar(ENCUT="300"), "300"),
        (STATIC, incar(PREC="Low"), "300"),
        (STATIC, incar(IVDW="12"), "300"),
        (STATIC, incar(NUPDOWN="2"), "300"),
        (AGAIN, incar(NSW="1"), "300"),
        OTHERS["a list"],
        OTHERS["a mesh for a path"],
        OTHERS["a longer cell"],
        OTHERS["LDA"],
    ],
)
def test_a_job_of_an_older_release_is_judged_as_far_as_its_ticket_goes(job, step, change, code):
    before = as_written_before(job[0].ticket)
    run_with(job[1] / step, change)
    assert code_of(judge(job[1], before)) == code
