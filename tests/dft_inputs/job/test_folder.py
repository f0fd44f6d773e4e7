from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.job.folder import (
    Job,
    batches,
    clear_unfinished,
    emitted_jobs,
    extend_batch,
    next_batch_name,
    write_batch,
)
from dft_inputs.job.ticket import content_hash, read_ticket
from dft_inputs.recipes.shipped import MATERIALS_PROJECT, PAPER
from dft_inputs.references.reference_phases import REFERENCES, reference_job
from dft_inputs.vasp.batch import potcars_text
from dft_inputs.vasp.jobs import vasp_job
from structure.errors import CalculationError, Rejection
from tests.dft_inputs.cells import oblique, rocksalt, wurtzite

GOLDEN = Path(__file__).parents[1] / "golden"


def some_jobs():
    cells = {"MgO": rocksalt(), "CaO": rocksalt("Ca", "O", 4.8), "ZnO": wurtzite("Zn", "O")}
    return [vasp_job(s, PAPER, formula=f, story={"rank": 1}) for f, s in cells.items()]


def shared(jobs):
    tickets = [job.ticket for job in jobs]
    return batch_files(ClusterSettings(), PAPER, tickets, "../../references")


def tree_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_emitting_the_same_batch_twice_gives_the_same_bytes(tmp_path):
    for place in ("first", "second"):
        jobs = some_jobs()
        write_batch(tmp_path / place / "batch-0001", jobs, shared(jobs), {"batch": "batch-0001"})
    assert tree_of(tmp_path / "first") == tree_of(tmp_path / "second")


def test_a_batch_holds_what_the_contract_promises(tmp_path):
    jobs = some_jobs()
    write_batch(tmp_path / "batch-0001", jobs, shared(jobs), {"batch": "batch-0001"})
    batch = tmp_path / "batch-0001"
    beside = {p.name for p in batch.iterdir() if p.is_file()}
    assert beside == {
        *("batch.json", "jobs.txt", "README.txt", "potcars.txt", "cluster.env", "approved.csv"),
        *("submit.sh", "approval.sh", "array.sh", "runner.py", "custodian_vasp.py"),
    }
    listed = json.loads((batch / "batch.json").read_text())["jobs"]
    assert [j["formula"] for j in listed] == ["MgO", "CaO", "ZnO"]
    job = batch / listed[0]["folder"]
    assert {p.name for p in job.iterdir()} == {
        *("ticket.json", "STATUS.json", "run.sh"),
        *(step.name for step in PAPER.steps),
    }
    assert {p.name for p in (job / "00-relax1").iterdir()} == {
        *("INCAR", "KPOINTS", "POSCAR", "POTCAR.spec")
    }
    assert {p.name for p in (job / "01-relax2").iterdir()} == {"INCAR", "KPOINTS", "POTCAR.spec"}
    assert (job / "run.sh").stat().st_mode & stat.S_IXUSR


def test_nothing_written_names_the_place_it_was_written_in(tmp_path):
    jobs = some_jobs()
    write_batch(tmp_path / "batch-0001", jobs, shared(jobs), {})
    for name, content in tree_of(tmp_path).items():
        assert str(tmp_path).encode() not in content, name


def test_no_potcar_is_ever_written(tmp_path):
    jobs = some_jobs()
    write_batch(tmp_path / "batch-0001", jobs, shared(jobs), {})
    assert not [p for p in tmp_path.rglob("*") if p.name == "POTCAR"]


@pytest.mark.parametrize("name", ["cluster.env", "potcars.txt", "README.txt"])
def test_the_texts_beside_the_jobs_are_as_reviewed(name):
    text = shared(some_jobs())[name]
    if os.environ.get("AGD_REGENERATE"):
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_what_is_known_against_a_potential_stands_beside_the_list_of_symbols():
    job = vasp_job(rocksalt("Yb", "N", 4.8), MATERIALS_PROJECT, formula="YbN")
    assert "Yb_2 keeps ytterbium divalent" in potcars_text("PBE", job.ticket.potcar_symbols)
    listed = potcars_text("PBE", job.ticket.potcar_symbols).split("\n\n")[1].split()
    assert listed == ["N", "Yb_2"]
    better = vasp_job(rocksalt("Yb", "N", 4.8), PAPER, formula="YbN")
    assert "divalent" not in potcars_text("PBE_54", better.ticket.potcar_symbols)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)), st.floats(-3e-8, 3e-8))
def test_the_id_of_a_question_ignores_the_order_of_sites_and_rounding(order, noise):
    cell = oblique()
    shuffled = Structure.from_sites([cell[i] for i in order])
    shuffled.translate_sites(list(range(5)), [noise, 1 + noise, -2 + noise], to_unit_cell=False)
    assert content_hash(shuffled, "r", ("Sr_sv",)) == content_hash(cell, "r", ("Sr_sv",))


def test_the_id_changes_with_structure_recipe_and_potentials():
    cell = oblique()
    moved = cell.copy()
    moved.translate_sites([0], [0.001, 0, 0])
    hashes = {
        content_hash(cell, PAPER.hash, ("F",)),
        content_hash(moved, PAPER.hash, ("F",)),
        content_hash(cell, MATERIALS_PROJECT.hash, ("F",)),
        content_hash(cell, PAPER.hash, ("F_h",)),
    }
    assert len(hashes) == 4


def test_the_id_of_a_known_question_never_changes():
    job = vasp_job(rocksalt(), PAPER, formula="MgO")
    pinned = content_hash(rocksalt(), "recipe", ("Mg", "O"))
    assert pinned == "96a59680842c5ef0cde3b48b132f2bd8603e4951f5934b2591c4df734009b971"
    assert job.ticket.folder == f"MgO--{job.ticket.content_sha256[:8]}"


def test_two_jobs_with_one_id_are_refused(tmp_path):
    job = vasp_job(rocksalt(), PAPER, formula="MgO")
    with pytest.raises(CalculationError, match="same job id"):
        write_batch(tmp_path / "batch-0001", [job, job], {}, {})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_half_batch(tmp_path, monkeypatch):
    jobs = some_jobs()
    written = 0
    whole = Path.write_text

    def until_full(self, *args, **kwargs):
        nonlocal written
        written += 1
        if written > 20:
            raise OSError(28, "No space left on device")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", until_full)
    with pytest.raises(CalculationError, match="No space left"):
        write_batch(tmp_path / "batch-0001", jobs, {}, {})
    assert not list(tmp_path.iterdir())


def test_a_killed_emission_leaves_either_nothing_or_the_whole_batch(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from dft_inputs.job.folder import write_batch\n"
        "from tests.dft_inputs.job.test_folder import shared, some_jobs\n"
        "jobs = some_jobs()\nprint('ready', flush=True)\n"
        "for i in range(1000):\n"
        "    write_batch(Path(sys.argv[1]) / f'batch-{i:04d}', jobs, shared(jobs), {})\n"
    )
    reference = tmp_path / "reference"
    jobs = some_jobs()
    write_batch(reference, jobs, shared(jobs), {})
    place = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", code, place], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    while not batches(place):
        time.sleep(0.01)
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    for batch in batches(place):
        assert tree_of(batch) == tree_of(reference)
    clear_unfinished(place)
    assert not [p for p in place.iterdir() if p.name.startswith(".")]


def test_a_growing_folder_keeps_its_jobs_and_takes_each_once(tmp_path):
    jobs = some_jobs()
    extend_batch(tmp_path / "references", jobs[:1], {"submit.sh": "#\n"}, {})
    (tmp_path / "references" / jobs[0].ticket.folder / "DONE").touch()
    extend_batch(tmp_path / "references", jobs, {"submit.sh": "#\n"}, {})
    assert (tmp_path / "references" / jobs[0].ticket.folder / "DONE").exists()
    assert set(emitted_jobs(tmp_path / "references")) == {j.ticket.id for j in jobs}
    listed = (tmp_path / "references" / "jobs.txt").read_text().split()
    assert sorted(listed) == sorted(j.ticket.folder for j in jobs)


def test_the_texts_of_a_growing_folder_speak_of_all_its_jobs_and_settings_stay(tmp_path):
    jobs, place = some_jobs(), tmp_path / "references"
    extend_batch(place, jobs[:1], shared(jobs[:1]), {})
    (place / "cluster.env").write_text("AGD_ACCOUNT=mine\n")
    extend_batch(place, jobs, shared(jobs), {})
    for name in ("README.txt", "potcars.txt"):
        assert (place / name).read_text() == shared(jobs)[name]
    assert (place / "cluster.env").read_text() == "AGD_ACCOUNT=mine\n"


def test_a_question_answered_elsewhere_comes_over_with_its_results(tmp_path):
    jobs, place = some_jobs(), tmp_path / "references"
    extend_batch(tmp_path / "before", jobs[:1], {}, {})
    before = tmp_path / "before" / jobs[0].ticket.folder
    (before / "DONE").touch()
    (before / "00-relax1" / "vasprun.xml.gz").write_bytes(b"result")
    for _ in range(2):
        extend_batch(place, jobs, shared(jobs), {}, {jobs[0].ticket.id: before})
    here = place / jobs[0].ticket.folder
    assert tree_of(here) == tree_of(before)
    assert (here / "00-relax1" / "vasprun.xml.gz").samefile(before / "00-relax1/vasprun.xml.gz")
    assert not (place / jobs[1].ticket.folder / "DONE").exists()
    listed = (place / "jobs.txt").read_text().split()
    assert sorted(listed) == sorted(j.ticket.folder for j in jobs)


def test_another_question_under_the_same_id_is_not_taken_for_an_answer(tmp_path):
    one, other = some_jobs()[:2]
    extend_batch(tmp_path / "before", [other], {}, {})
    before = tmp_path / "before" / other.ticket.folder
    (before / "DONE").touch()
    extend_batch(tmp_path / "references", [one], {}, {}, {one.ticket.id: before})
    assert not (tmp_path / "references" / one.ticket.folder / "DONE").exists()


def test_batches_are_numbered_after_those_present(tmp_path):
    assert next_batch_name(tmp_path) == "batch-0001"
    write_batch(tmp_path / "batch-0009", some_jobs()[:1], {}, {})
    (tmp_path / "batch-0012").mkdir()
    assert next_batch_name(tmp_path) == "batch-0010"


def test_a_copy_of_a_batch_with_another_name_does_not_stop_the_next(tmp_path):
    for name in ("batch-0002", "batch-0001 (copy)", "batch-0001-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "batch.json").write_text("{}")
    assert next_batch_name(tmp_path) == "batch-0003"


def test_a_reference_runs_the_steps_up_to_its_energy():
    job = vasp_job(rocksalt(), PAPER, formula="MgO", role="reference")
    assert [s.name for s in job.ticket.steps] == ["00-relax1", "01-relax2", "02-static"]


def test_the_reference_of_every_element_has_a_moment_for_each_site_or_none():
    for element in REFERENCES:
        job = reference_job(element, PAPER)
        assert isinstance(job, Job), job
        incar = Incar.from_str(job.files["02-static/INCAR"])
        if incar["ISPIN"] == 2:
            assert len(incar["MAGMOM"]) == job.ticket.n_sites, element


def test_a_ticket_survives_writing_and_reading(tmp_path):
    ticket = some_jobs()[0].ticket
    (tmp_path / "ticket.json").write_text(ticket.text())
    assert read_ticket(tmp_path / "ticket.json") == ticket


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\x00\xff", b"[]", b'{"schema_version": 99}', b"x" * 6_000_000],
    ids=["empty", "cut", "binary", "list", "version", "huge"],
)
def test_a_damaged_ticket_is_a_reason_not_an_error(tmp_path, content):
    (tmp_path / "ticket.json").write_bytes(content)
    refused = read_ticket(tmp_path / "ticket.json")
    assert isinstance(refused, Rejection)
    assert refused.code == "ticket"


def test_a_folder_without_a_ticket_is_not_a_job(tmp_path):
    (tmp_path / "NaCl--12345678").mkdir()
    assert emitted_jobs(tmp_path) == {}
    assert isinstance(read_ticket(tmp_path / "NaCl--12345678" / "ticket.json"), Rejection)
