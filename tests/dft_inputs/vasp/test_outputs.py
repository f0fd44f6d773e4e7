from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.io.vasp import Vasprun

from dft_inputs.job.cell import elements_of, job_structure
from dft_inputs.properties.corrections import elasticity
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp import outputs
from dft_inputs.vasp.inputs import potcar_symbols, step_inputs
from dft_inputs.vasp.outputs import (
    StepOutput,
    custodian_changes,
    elastic_tensor,
    phonon_frequencies,
    read_step,
)
from structure.errors import Rejection
from tests.dft_inputs.cells import rocksalt
from tests.dft_inputs.vaspruns import vasprun, written

FAKE = Path(__file__).parents[2] / "engines" / "fake_vasp"


def calculate(folder: Path, step: str, fake: str = "") -> Path:
    """Run the stand-in for one step in a folder of its own."""
    cell = job_structure(rocksalt())
    place = folder / step
    place.mkdir(parents=True)
    for name, text in step_inputs(PAPER, PAPER.step(step), cell).items():
        (place / name).write_text(text)
    if not (place / "POSCAR").exists():
        text = step_inputs(PAPER, PAPER.steps[0], cell)["POSCAR"]
        (place / "POSCAR").write_text(text)
    (place / "CHGCAR").write_text("CHG")
    symbols = potcar_symbols(PAPER, elements_of(cell))
    subprocess.run([FAKE, "--make-potcars", folder / "potcars", *symbols], check=True)
    parts = [(folder / "potcars" / s / "POTCAR").read_text() for s in symbols]
    (place / "POTCAR").write_text("".join(parts))
    env = {**os.environ, "FAKE_VASP": f"*={fake}"}
    subprocess.run([FAKE], cwd=place, env=env, check=True)
    return place


@pytest.fixture(scope="module")
def static(tmp_path_factory) -> Path:
    return calculate(tmp_path_factory.mktemp("static"), "02-static")


def test_a_step_is_read_with_everything_the_checks_need(static):
    output = read_step(static)
    assert isinstance(output, StepOutput)
    run = Vasprun(static / "vasprun.xml", parse_potcar_file=False)
    assert output.energy == pytest.approx(float(run.final_energy))
    assert output.structure.composition.reduced_formula == "MgO"
    assert output.titles == ("PAW_PBE Mg 01Jan2026", "PAW_PBE O 01Jan2026")
    assert output.settings["ENCUT"] == 400
    assert output.mesh == (11, 11, 11)
    assert (output.electronic_cycles, output.electronic_limit) == (9, 100)
    assert 0 < output.gap < 10


def test_a_packed_step_reads_the_same(static, tmp_path):
    place = tmp_path / "02-static"
    place.mkdir()
    with gzip.open(place / "vasprun.xml.gz", "wb") as out:
        out.write((static / "vasprun.xml").read_bytes())
    one, other = read_step(static), read_step(place)
    assert isinstance(one, StepOutput) and isinstance(other, StepOutput)
    assert (one.energy, one.gap, one.titles) == (other.energy, other.gap, other.titles)


@pytest.mark.parametrize("fake", ["vasp5", "vdw", "vasp5-vdw"])
def test_the_energy_is_that_of_the_outcar_in_every_layout(tmp_path, static, fake):
    place = calculate(tmp_path, "02-static", fake)
    [line] = [x for x in (place / "OUTCAR").read_text().splitlines() if "energy(sigma->0)" in x]
    output, plain = read_step(place), read_step(static)
    assert isinstance(output, StepOutput) and isinstance(plain, StepOutput)
    assert output.energy == pytest.approx(float(line.split()[-1]), abs=1e-7)
    added = -0.25 * len(output.structure) if "vdw" in fake else 0.0
    assert output.energy == pytest.approx(plain.energy + added, abs=1e-7)


def test_cycles_of_a_response_are_not_those_of_the_ground_state(tmp_path):
    output = read_step(calculate(tmp_path, "05-dfpt"))
    assert isinstance(output, StepOutput)
    assert (output.electronic_cycles, output.electronic_limit) == (9, 100)


def test_numbers_too_wide_for_their_field_are_left_out(tmp_path):
    wide = '<separator name="x"><i type="int" name="KINTER">******</i></separator>'
    output = read_step(written(tmp_path, vasprun(more=wide)))
    assert isinstance(output, StepOutput)
    assert "KINTER" not in output.settings


@pytest.mark.parametrize("newer", ["vasprun.xml.gz", "vasprun.xml"])
def test_of_a_file_and_a_packed_one_the_newer_is_read(static, tmp_path, newer):
    place = tmp_path / "02-static"
    place.mkdir()
    whole = (static / "vasprun.xml").read_bytes()
    for name in ("vasprun.xml", "vasprun.xml.gz"):
        content = whole if name == newer else b"<modeling>"
        (place / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        os.utime(place / name, ns=(0, 2_000_000 if name == newer else 1_000_000))
    assert isinstance(read_step(place), StepOutput)


@pytest.mark.slow
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, 0.999), st.sampled_from(["cut", "zeros", "noise"]))
def test_a_damaged_file_is_a_reason_and_never_a_number(static, tmp_path, share, how):
    content = (static / "vasprun.xml").read_bytes()
    at = int(len(content) * share)
    tail = {"cut": b"", "zeros": b"\0" * 500, "noise": bytes(range(256))}[how]
    place = tmp_path / "02-static"
    place.mkdir(exist_ok=True)
    (place / "vasprun.xml").write_bytes(content[:at] + tail)
    found = read_step(place)
    assert isinstance(found, Rejection)
    assert found.code == "200"
    assert found.sentence.startswith("02-static/vasprun.xml")


def test_a_missing_file_is_named(tmp_path):
    found = read_step(tmp_path)
    assert isinstance(found, Rejection)
    assert "vasprun.xml is missing" in found.sentence


def test_an_archive_that_expands_without_end_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "LARGEST_XML_BYTES", 5_000_000)
    with gzip.open(tmp_path / "vasprun.xml.gz", "wb") as out:
        for _ in range(8):
            out.write(b" " * 1_000_000)
    found = read_step(tmp_path)
    assert isinstance(found, Rejection)
    assert "expands beyond" in found.sentence


def test_an_archive_that_is_none_is_refused(tmp_path):
    (tmp_path / "vasprun.xml.gz").write_bytes(b"not an archive")
    assert isinstance(read_step(tmp_path), Rejection)


DECLARED = '<!DOCTYPE x [<!ENTITY a "aaaa">]>'
HEADS = {
    "plain": DECLARED,
    "external": '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    "empty": "<!DOCTYPE modeling>",
    "after a comment": f"<!-- <modeling> -->{DECLARED}",
    "after many comments": f"{'<!-- <modeling> -->' * 10}\n{DECLARED}",
    "after an instruction": f"<?php <modeling> ?>{DECLARED}",
    "after a comment of any length": f"<!--{' ' * 150_000}-->{DECLARED}",
    "after space": " \n" * 60_000 + DECLARED,
    "in a comment that is not closed as it looks": f"<!-- - -->{DECLARED}<!-- -->",
    "another root": "<other/>",
}


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "UTF-16", "cp037", ""])
@pytest.mark.parametrize("head", HEADS)
def test_whatever_is_declared_before_the_root_is_refused(tmp_path, head, encoding):
    named = f' encoding="{encoding}"' if encoding else ""
    before = f'<?xml version="1.0"{named}?>\n{HEADS[head]}'
    text = before + vasprun().partition("\n")[2].replace("</modeling>", "&a;</modeling>")
    (tmp_path / "vasprun.xml").write_bytes(text.encode(encoding or "utf-8"))
    found = read_step(tmp_path)
    assert isinstance(found, Rejection)
    assert re.search("never does|does not begin|is no XML", found.sentence)


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16-LE", "UTF-16-BE", "UTF-32", "cp037"])
def test_an_encoding_that_vasp_does_not_write_is_refused(tmp_path, encoding):
    for named in ("", f' encoding="{encoding}"', ' encoding="UTF-8"'):
        text = f'<?xml version="1.0"{named}?>\n' + vasprun().partition("\n")[2]
        (tmp_path / "vasprun.xml").write_bytes(text.encode(encoding))
        assert isinstance(read_step(tmp_path), Rejection)


@pytest.mark.parametrize("before", ["", "<!-- made by a script -->", "<?xml-stylesheet href='x'?>"])
def test_a_comment_before_the_root_is_harmless(tmp_path, before):
    head, _, rest = vasprun().partition("\n")
    assert isinstance(read_step(written(tmp_path, f"{head}\n{before}{rest}")), StepOutput)


def test_an_endless_outcar_is_read_up_to_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "LARGEST_OUTCAR_BYTES", 1_000_000)
    with gzip.open(tmp_path / "OUTCAR.gz", "wb") as out:
        for _ in range(50):
            out.write(b"\0" * 1_000_000)
        out.write(b" TOTAL ELASTIC MODULI (kBar)\n")
    assert isinstance(elastic_tensor(tmp_path), Rejection)


def test_elastic_moduli_come_from_the_outcar(tmp_path):
    place = calculate(tmp_path, "06-elastic")
    tensor = elastic_tensor(place)
    assert isinstance(tensor, np.ndarray)
    assert np.diag(tensor).tolist() == [1000, 1100, 1200, 310, 320, 330]
    assert elasticity(tensor).stable


def test_an_unstable_crystal_has_a_negative_eigenvalue_and_imaginary_phonons(tmp_path):
    tensor = elastic_tensor(calculate(tmp_path / "a", "06-elastic", "unstable"))
    assert isinstance(tensor, np.ndarray)
    assert not elasticity(tensor).stable
    frequencies = phonon_frequencies(calculate(tmp_path / "b", "05-dfpt", "unstable"))
    assert isinstance(frequencies, np.ndarray)
    assert len(frequencies) == 6
    assert frequencies.min() == -2.5


def test_an_outcar_without_them_is_a_reason(static):
    assert isinstance(elastic_tensor(static), Rejection)
    assert isinstance(phonon_frequencies(static), Rejection)


def test_what_custodian_changed_is_listed(tmp_path):
    corrections = [
        {
            "errors": ["brmix"],
            "actions": [{"dict": "INCAR", "action": {"_set": {"ALGO": "All", "ISYM": 0}}}],
        },
        {
            "errors": ["zbrent"],
            "actions": [{"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}}],
        },
        {"errors": ["x"], "actions": None},
    ]
    (tmp_path / "custodian.json").write_text(json.dumps([{"corrections": corrections}]))
    assert custodian_changes(tmp_path) == [
        {"file": "INCAR", "tag": "ALGO", "value": "All"},
        {"file": "INCAR", "tag": "ISYM", "value": 0},
        {"file": "CONTCAR", "tag": None, "value": None},
    ]


def test_no_custodian_is_no_change_and_a_damaged_record_a_reason(tmp_path):
    assert custodian_changes(tmp_path) == []
    for content in (b"{", b"[1]", b'[{"corrections": [1]}]', b"\xff"):
        (tmp_path / "custodian.json").write_bytes(content)
        assert isinstance(custodian_changes(tmp_path), Rejection)
