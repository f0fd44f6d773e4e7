"""What comes back may be anything: recorded, explained, nothing lost, nothing wrong taken in."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dft_inputs.job.status import State
from dft_inputs.recipes.shipped import GPAW
from tasks.collect import Collected, collect_campaign
from tests.tasks.dft_jobs.test_gpaw_results import (  # noqa: F401
    INPUT,
    RESULT,
    STEP,
    code_of,
    job,
    labels,
    root,
    submit,
)
from tests.tasks.test_collect import (  # noqa: F401
    calculated,
    collected,
    emitted,
    finished,
    job_in_ledger,
    job_of,
    potcars,
)
from tests.tasks.test_collect import labels as labels_of

DEEP = "[" * 200_000
FUTURE = time.time() + 9e7
HALF = "\ud800"
ODD = "a\nb\x1b[31m"


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as handle:
        handle.truncate(1 << 40)


def led_out(path: Path) -> None:
    place = path.parents[4] / f"away-{path.name}"
    path.rename(place)
    path.symlink_to(place)


def nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "pipe": pipe,
    "endless": endless,
    "huge": huge,
    "link out of the folder": led_out,
    "link to nowhere": nowhere,
    "link to itself": itself,
    "deeply nested": lambda path: path.write_text(DEEP),  # type: ignore[dict-item]
    "directory": lambda path: (path.unlink(), path.mkdir()),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["ticket.json", "STATUS.json", INPUT, RESULT])
def test_whatever_a_file_became_the_job_gets_a_code_and_no_label(root, name, damage):  # noqa: F811
    submit(root)
    folder = job(root)
    if name == "STATUS.json":
        (folder / "DONE").unlink()
    DAMAGE[damage](place(folder, name))
    found = collect_campaign(root)
    assert labels(root) == []
    said = [*found.turned_down, *found.quarantined, *found.notes]
    assert len(said) == 1
    assert folder.name in said[0]
    wanted = {RESULT: State.BROKEN, "STATUS.json": State.BROKEN}.get(name, State.QUARANTINED)
    if not found.notes:
        assert found.states[wanted] == 1


def place(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).exists() else folder / STEP / name


@pytest.mark.parametrize(
    "changes",
    [
        {"energy_eV": float("nan")},
        {"gap_eV": float("nan")},
        {"gap_eV": float("inf"), "gap_mesh_eV": float("inf")},
        {"gap_eV": -1.0},
        {"gap_eV": 33.0},
        {"gap_eV": None},
        {"status": "whatever"},
        {"status": "failed", "code": "abc", "sentence": "x"},
        {"status": "failed", "code": "400", "sentence": "x"},
        {"status": "failed", "code": ["210"], "sentence": "x"},
    ],
    ids=str,
)
def test_numbers_that_are_none_and_codes_nobody_gave_are_code_200(root, changes):  # noqa: F811
    submit(root)
    edit(job(root) / STEP / RESULT, **changes)
    assert code_of(collect_campaign(root)) == "200"
    assert labels(root) == []


@pytest.mark.parametrize("settings", [{"cutoff_eV": "abc"}, {"unknown": 1}, [1], None], ids=str)
def test_settings_of_another_kind_are_code_300(root, settings):  # noqa: F811
    submit(root)
    path = job(root) / STEP / INPUT
    known = json.loads(path.read_text())["settings"]
    edit(path, settings={**known, **settings} if isinstance(settings, dict) else settings)
    assert code_of(collect_campaign(root)) == "300"
    assert labels(root) == []


@pytest.mark.parametrize("edited", [False, True])
def test_a_result_of_an_older_recipe_counts_unless_its_input_was_edited(
    tmp_path, monkeypatch, edited
):
    from tests.tasks.dft_jobs import test_gpaw_results as world

    step = GPAW.steps[0]
    older = step.model_copy(update={"gpaw": step.gpaw.model_copy(update={"cutoff_eV": 450.0})})
    recipe = GPAW.model_copy(update={"steps": (older,)})
    monkeypatch.setattr(world, "GPAW", recipe)
    place = world.campaign_of_lithium_hydride(tmp_path / "c", str(world.FAKE))
    path = job(place) / STEP / INPUT
    assert '"cutoff_eV": 450.0' in path.read_text()
    if edited:
        path.write_text(path.read_text().replace('"cutoff_eV": 450.0', '"cutoff_eV": 200.0'))
    submit(place)
    found = collect_campaign(place)
    if edited:
        assert code_of(found) == "300"
        assert labels(place) == []
    else:
        assert [label.source for label in labels(place)] == [recipe.hash]


@pytest.mark.parametrize(
    "changes",
    [
        {"code": [1]},
        {"code": "abc"},
        {"attempts": {"a": "b"}},
        {"sentence": f"{HALF}{ODD}"},
        {"sentence": "x" * 100_000},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_odd_status_is_followed_and_told_in_one_printable_line(root, changes):  # noqa: F811
    edit(job(root) / "STATUS.json", state="BROKEN", **changes)
    found = collect_campaign(root)
    assert found.states[State.BROKEN] == 1
    [text] = found.turned_down
    assert text.isprintable()
    assert len(text) < 2000
    text.encode()
    assert "cancelled" not in text


def test_odd_facts_of_the_runner_do_not_stop_a_good_result(finished):  # noqa: F811
    edit(job_of(finished, "MgO") / "STATUS.json", corrections=5, potcar={"titel": [HALF]})
    edit(job_of(finished, "CaO") / "STATUS.json", corrections=[HALF, {"tag": HALF}], potcar=7)
    (job_of(finished, "NaCl") / "STATUS.json").write_text(DEEP)
    out, _ = collected(finished)
    assert out.states == {"INGESTED": 8}


def rewritten(folder: Path, step: str, change: Callable[[str], str], encoding: str = "") -> None:
    path = folder / step / "vasprun.xml.gz"
    text = change(gzip.decompress(path.read_bytes()).decode())
    path.write_bytes(gzip.compress(text.encode(encoding or "utf-8")))


def entities(before: str, encoding: str = "UTF-8") -> Callable[[str], str]:
    lines = [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10)]
    declared = f'<!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{"".join(lines)}]>'
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n{before}{declared}\n'
    return lambda text: head + text.partition("\n")[2].replace("</modeling>", "&e9;</modeling>")


def no_numbers(text: str) -> str:
    head, _, rest = text.partition("<eigenvalues>")
    return f"{head}<eigenvalues>{re.sub(r'<r> *[^ ]+', '<r> NaN', rest)}"


BAD_XML: dict[str, Callable[[Path], None]] = {
    "entities": lambda job: rewritten(job, "02-static", entities("")),
    "entities after a long comment": lambda job: rewritten(
        job, "02-static", entities(f"<!--{' ' * 150_000}-->")
    ),
    "entities in UTF-16": lambda job: rewritten(job, "02-static", entities("", "UTF-16"), "utf-16"),
    "a file of this machine": lambda job: rewritten(
        job,
        "02-static",
        lambda text: (
            f'<?xml version="1.0"?><!--{" " * 150_000}-->'
            '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            + text.partition("\n")[2].replace("</modeling>", "&x;</modeling>")
        ),
    ),
    "more tags than memory": lambda job: (job / "02-static/vasprun.xml.gz").write_bytes(  # type: ignore[dict-item]
        gzip.compress(b"<modeling>" + b"<a/>" * 25_000_000, 1)
    ),
    "eigenvalues that are none": lambda job: rewritten(job, "03-uniform", no_numbers),
    "pipe": lambda job: pipe(job / "02-static/vasprun.xml.gz"),
    "link out of the folder": lambda job: led_out(job / "02-static/vasprun.xml.gz"),
    "link to nowhere": lambda job: nowhere(job / "02-static/vasprun.xml.gz"),
    "link to itself": lambda job: itself(job / "02-static/vasprun.xml.gz"),
}


@pytest.mark.parametrize("damage", BAD_XML)
def test_a_bad_file_of_vasp_is_broken_with_code_200_and_stops_no_other_job(
    finished,  # noqa: F811
    damage,
):
    BAD_XML[damage](job_of(finished, "MgO"))
    out, _ = collected(finished)
    assert out.states == {"BROKEN": 1, "INGESTED": 7}
    assert job_in_ledger(finished, "MgO")["code"] == 200
    assert ("MgO", "band_gap_eV") not in labels_of(finished)
    assert "/etc" not in out.turned_down[0]


def no_longer_good(text: str) -> str:
    assert '<i type="int" name="ISMEAR">0</i>' in text
    return text.replace('<i type="int" name="ISMEAR">0</i>', '<i type="int" name="ISMEAR">1</i>')


CUSTODIAN: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "nested": lambda path: path.write_text(DEEP),
    "cut off": lambda path: path.write_text('[{"corrections": [{"act'),
    "not a record": lambda path: path.write_text('{"corrections": 1}'),
    "pipe": pipe,
    "directory": Path.mkdir,
}


@pytest.mark.parametrize("damage", CUSTODIAN)
def test_a_damaged_record_of_custodian_is_a_remark_on_a_result_that_counts(
    finished,  # noqa: F811
    damage,
):
    CUSTODIAN[damage](job_of(finished, "MgO") / "02-static/custodian.json")
    CUSTODIAN[damage](job_of(finished, "CaO") / "02-static/custodian.json")
    rewritten(job_of(finished, "CaO"), "02-static", no_longer_good)
    out, _ = collected(finished)
    assert out.states == {"INGESTED": 7, "QUARANTINED": 1}
    assert ("MgO", "band_gap_eV") in labels_of(finished)
    assert job_in_ledger(finished, "CaO")["code"] == 300
    kept = json.loads(
        (finished / "results" / f"{job_in_ledger(finished, 'MgO')['id']}.json").read_text()
    )
    assert kept["remarks"] == [
        "02-static/custodian.json cannot be read: what custodian corrected is not known"
    ]


@pytest.mark.parametrize(
    "name",
    [f"{ODD}--deadbeef", "'\"$(x);`*--deadbeef", "x" * 240 + "--deadbeef", b"\xff\xfe--deadbeef"],
)
def test_a_stranger_with_an_odd_name_is_set_aside_and_named_in_print(root, name):  # noqa: F811
    submit(root)
    stranger = os.fsencode(job(root).parent) + b"/" + os.fsencode(name)
    shutil.copytree(os.fsencode(job(root)), stranger)
    found = collect_campaign(root)
    assert found.new_labels == 1
    [text] = found.quarantined
    assert text.isprintable()
    text.encode()
    [reason] = (root / "quarantine").glob("*.json")
    assert json.loads(reason.read_text())["code"] == "foreign"
    assert (reason.with_suffix("") / "DONE").exists()


def test_a_job_whose_folder_got_bytes_that_are_no_text_is_taken_in(root):  # noqa: F811
    submit(root)
    folder = job(root)
    new = os.fsencode(folder.parent) + b"/\xff--" + os.fsencode(folder.name[-8:])
    folder.rename(os.fsdecode(new))
    assert collect_campaign(root).new_labels == 1


def test_jobs_whose_batch_was_renamed_are_named_and_found_with_from(root):  # noqa: F811
    submit(root)
    (root / "handoff/batch-0001").rename(root / "handoff/back--old")
    found = collect_campaign(root)
    assert "are not in handoff/batch-0001 any more" in found.notes[0]
    assert found.states[State.EMITTED] == 3
    assert collect_campaign(root, sources=[root / "handoff/back--old"]).new_labels == 1
    assert "handoff" not in "".join(collect_campaign(root).notes)


def test_a_batch_inside_a_folder_is_found_though_it_is_named_like_a_job(root, tmp_path):  # noqa: F811
    submit(root)
    (root / "handoff/batch-0001").rename(tmp_path / "batch-0001--copy")
    found = collect_campaign(root, sources=[tmp_path])
    assert found.new_labels == 1
    assert not found.quarantined


def test_a_job_that_is_moved_away_while_we_look_is_looked_at_again(root, monkeypatch):  # noqa: F811
    from tasks.dft_jobs import collect_round

    submit(root)
    folder, away = job(root), root.parent / "away"
    whole = collect_round._mark

    def moving(place: Path) -> list[list[object]]:
        mark = whole(place)
        place.rename(away)
        return mark

    monkeypatch.setattr(collect_round, "_mark", moving)
    found = collect_campaign(root)
    assert not found.turned_down and not found.quarantined
    assert folder.name in found.notes[0]
    monkeypatch.undo()
    away.rename(folder)
    assert collect_campaign(root).new_labels == 1


def test_times_in_the_future_or_long_ago_lose_nothing(root):  # noqa: F811
    submit(root)
    for moment in (FUTURE, 0):
        for path in (root / "handoff").rglob("*"):
            os.utime(path, (moment, moment))
    assert collect_campaign(root).new_labels == 1


def test_a_sign_of_life_from_the_future_is_said(root):  # noqa: F811
    status = job(root) / "STATUS.json"
    edit(status, state="RUNNING")
    os.utime(status, (FUTURE, FUTURE))
    found = collect_campaign(root)
    assert found.states[State.RUNNING] == 1
    assert "one of the two clocks is wrong" in found.notes[0]
    assert any(line.startswith("note ") for line in found.lines())


def test_a_folder_without_ticket_from_the_future_is_left_alone_and_named(root):  # noqa: F811
    (job(root) / "ticket.json").unlink()
    os.utime(job(root), (FUTURE, FUTURE))
    found = collect_campaign(root)
    assert found.notes == (f"{job(root).name}: the ticket is not there yet",)


def test_a_second_copy_with_another_result_is_recorded_once_and_does_not_count(
    root,  # noqa: F811
    tmp_path,
):
    submit(root)
    copy = tmp_path / "back" / job(root).name
    shutil.copytree(job(root), copy)
    result = json.loads((copy / STEP / RESULT).read_text())
    gap = result["gap_eV"] - 1
    edit(copy / STEP / RESULT, gap_eV=gap, gap_mesh_eV=gap)
    collect_campaign(root)
    [kept] = labels(root)
    found = collect_campaign(root, sources=[tmp_path / "back"])
    assert "says band_gap 2.000, not 3.000 eV; the first one counts" in found.notes[0]
    assert labels(root) == [kept]
    [path] = (root / "results").glob("*.json")
    assert "the first one counts" in json.loads(path.read_text())["remarks"][0]
    assert collect_campaign(root, sources=[tmp_path / "back"]).notes == ()


def test_a_second_copy_with_the_same_result_says_nothing(root, tmp_path):  # noqa: F811
    submit(root)
    shutil.copytree(job(root), tmp_path / "back" / job(root).name, copy_function=shutil.copyfile)
    found = collect_campaign(root, sources=[tmp_path / "back"])
    assert found.new_labels == 1
    assert found.notes == ()


def test_the_same_question_of_another_campaign_is_foreign_and_leaves_ours_open(
    root,  # noqa: F811
    tmp_path,
):
    theirs = tmp_path / "theirs" / job(root).name
    shutil.copytree(job(root), theirs)
    edit(theirs / "ticket.json", story={"why": "another campaign asked"})
    (theirs / "DONE").touch()
    found = collect_campaign(root, sources=[tmp_path / "theirs"])
    assert "another campaign, which asked the same question" in found.quarantined[0]
    assert found.states == {"EMITTED": 3}
    assert (theirs / "DONE").exists()


def test_a_result_file_that_is_gone_is_named_and_stops_nothing(root):  # noqa: F811
    submit(root)
    collect_campaign(root)
    [path] = (root / "results").glob("*.json")
    path.write_text("{")
    submit(root, places=("references",))
    found = collect_campaign(root)
    assert found.states == {"INGESTED": 3}
    assert found.notes == (f"results/{path.name} is gone or damaged; restore it from a copy",)


def on_a_small_disk(place: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a file system of 4 MB mounted at ``place/small``; skip where none can be.

    ``fill()`` fills it and ``free()`` empties it again; `root` is a campaign that was calculated.
    """
    (place / "small").mkdir()
    mount = 'mount -t tmpfs -o size=4m none "$1" && shift && exec "$@"'
    inside = ["unshare", "-Urm", "sh", "-c", mount, "sh", str(place / "small")]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"]).returncode:
        pytest.skip("no file system can be mounted here")
    head = (
        "import shutil, sys\nfrom pathlib import Path\n"
        "from structure.errors import AgdError\nfrom tasks.collect import collect_campaign\n"
        f"small, away = Path({str(place / 'small')!r}), Path({str(place)!r})\n"
        "def fill(left=0):\n"
        "    with (small / 'filler').open('wb', buffering=0) as out:\n"
        "        try:\n"
        "            while out.write(bytes(1024)): pass\n"
        "        except OSError: pass\n"
        "        out.truncate(out.tell() - left)\n"
        "def free(): (small / 'filler').unlink()\n"
    )
    return subprocess.run(
        [*inside, sys.executable, "-c", head + code], capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("full", ["results", "ledger"])
def test_a_disk_that_is_full_ends_collect_with_a_sentence_and_loses_nothing(
    root,  # noqa: F811
    tmp_path,
    full,
):
    submit(root)
    where = {
        "results": "root = away / 'c'\n(root / 'results').symlink_to(small)\n",
        "ledger": "root = small / 'c'\nshutil.copytree(away / 'c', root)\n",
    }[full]
    code = (
        "fill()\n"
        "try:\n    collect_campaign(root)\n    print('no error')\n"
        "except AgdError as error:\n    print('Free' in str(error) or 'free' in str(error))\n"
        "free()\nfound = collect_campaign(root)\nprint(found.new_labels, found.states)\n"
        "print([p.name for p in small.rglob('.tmp-*')])\n"
    )
    done = on_a_small_disk(tmp_path, where + code)
    assert done.stdout.splitlines() == ["True", "1 {'EMITTED': 2, 'INGESTED': 1}", "[]"]


def test_a_disk_that_is_full_leaves_no_half_batch(tmp_path):
    code = (
        "from dft_inputs.job.folder import write_batch\n"
        "from tests.dft_inputs.job.test_folder import shared, some_jobs\n"
        "jobs = some_jobs()\nfill(20_000)\n"
        "try:\n    write_batch(small / 'batch-0001', jobs, shared(jobs), {})\n"
        "except AgdError as error:\n    print('No space left' in str(error))\n"
        "print(sorted(p.name for p in small.iterdir()))\nfree()\n"
        "write_batch(small / 'batch-0001', jobs, shared(jobs), {})\n"
        "print(len(list(small.iterdir())))\n"
    )
    done = on_a_small_disk(tmp_path, code)
    assert done.stdout.splitlines() == ["True", "['filler']", "1"]


@pytest.mark.parametrize("left", [0, 8_000, 24_000, 60_000])
def test_a_disk_that_fills_while_vasp_runs_is_code_21_and_the_job_goes_on_later(
    emitted,  # noqa: F811
    tmp_path,
    left,
):
    folder = job_of(emitted, "MgO")
    code = (
        "import json, subprocess\n"
        f"shutil.copytree({str(folder.parent)!r}, small / 'b')\n"
        f"job = small / 'b' / {folder.name!r}\n"
        "run = lambda: subprocess.run(['sh', job / 'run.sh']).returncode\n"
        f"fill({left})\ncode = run()\n"
        "print(code, json.loads((job / 'STATUS.json').read_text())['state'] != 'FAILED')\n"
        "free()\nprint(run(), (job / 'DONE').exists(), list(job.rglob('.tmp-*')))\n"
    )
    done = on_a_small_disk(tmp_path, code)
    assert done.stdout.splitlines() == ["21 True", "0 True []"]


def test_what_cannot_be_judged_is_broken_and_stops_no_other(root, monkeypatch):  # noqa: F811
    from tasks.dft_jobs import collect_round

    def raising(*_: object) -> None:
        raise KeyError("what nobody foresaw")

    submit(root)
    monkeypatch.setattr(collect_round, "result_of", raising)
    found: Collected = collect_campaign(root)
    assert code_of(found) == "200"
    monkeypatch.undo()
    (job(root) / STEP / RESULT).touch()
    assert collect_campaign(root).new_labels == 1
