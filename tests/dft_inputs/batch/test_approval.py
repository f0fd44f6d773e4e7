from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from dft_inputs.batch.answers import readable
from dft_inputs.batch.approval import DECLINED, apply_approval, approval_text, read_approval
from dft_inputs.batch.cluster_settings import ClusterSettings, script
from dft_inputs.batch.scheduler import SHARED_SCRIPTS, batch_files, cluster_env
from dft_inputs.job.folder import extend_batch, write_batch
from dft_inputs.job.status import State, observe
from dft_inputs.recipes.shipped import PAPER
from dft_inputs.vasp.engine import ENGINE
from dft_inputs.vasp.jobs import vasp_job
from tests.dft_inputs.cells import rocksalt

GOLDEN = Path(__file__).parents[1] / "golden"
JOBS = ("SrYF5--9f31c2ab", "MgO--00c0ffee", "NaCl--deadbeef", "KF--12345678")
HEAD = "folder,approved,reason,formula,rank,why"
NOW = 1_800_000_000.0
HOUR = 3600.0


def batch_of(place: Path, table: bytes | str | None, age_h: float = 48.0, **settings) -> Path:
    """A batch as far as approval looks at it: jobs without inputs."""
    place.mkdir(parents=True)
    for name in SHARED_SCRIPTS:
        (place / name).write_text(script(name))
    settings = {"scheduler": "slurm", **settings}
    (place / "cluster.env").write_text(
        cluster_env(ENGINE.cluster_files(ClusterSettings(**settings), PAPER, ()))
    )
    (place / "jobs.txt").write_text("".join(f"{job}\n" for job in JOBS))
    (place / "batch.json").touch()
    age(place, age_h)
    for job in JOBS:
        (place / job).mkdir()
        (place / job / "ticket.json").touch()
        (place / job / "STATUS.json").write_text(json.dumps({"state": "EMITTED"}, indent=1))
    if table is not None:
        text = table.encode() if isinstance(table, str) else table
        (place / "approved.csv").write_bytes(text)
    return place


def age(batch: Path, hours: float) -> None:
    then = time.time() - hours * HOUR
    os.utime(batch / "batch.json", (then, then))


def rows(*answers: str, head: str = HEAD, end: str = "\n") -> str:
    """A table with these answers and reasons, ``"no,too dear"``, for the first jobs."""
    lines = [f"{job},{answer}" for job, answer in zip(JOBS, answers, strict=False)]
    return end.join([head, *lines, ""])


def answers_in(batch: Path) -> list[str]:
    found = read_approval(batch, time.time()).verdicts
    return [found[job].answer for job in JOBS]


# The shell prints its verdicts as submit.sh gets them; $1 is a folder with batches.
VERDICTS = """
say() { printf '%s\\n' "$*"; }
for batch in "$1"/*; do
    cd "$batch"
    (. ./approval.sh; . ./cluster.env; read_approval > verdicts 2> notes; say $? > code)
done
"""


def shell_verdicts(place: Path, shell: str = "sh") -> None:
    subprocess.run([*shell.split(), "-c", VERDICTS, "-", str(place)], check=True)


def assert_the_shell_agrees(batch: Path) -> None:
    found = read_approval(batch, time.time())
    lines = (batch / "verdicts").read_bytes().decode("latin-1").split("\n")[:-1]
    theirs = {job: rest for job, *rest in (line.split("\t") for line in lines)}
    table = (batch / "approved.csv").read_bytes()
    if found.understood:
        assert {job: answer for job, (answer, _) in theirs.items()} == {
            job: verdict.answer for job, verdict in found.verdicts.items()
        }, table
    for job, verdict in found.verdicts.items():
        if verdict.answer == "no":
            assert theirs[job] == ["no", verdict.sentence], table
    notes = (batch / "notes").read_bytes().split(b"\n")[:-1]
    assert [readable(note) for note in notes] == list(found.notes), table
    assert (batch / "code").read_text() == ("0\n" if found.understood else "1\n"), table


def random_table(chance: random.Random) -> bytes:
    """What a person, a spreadsheet and bad luck make of ``approved.csv``."""
    separator, end = chance.choice(",,;;\t"), chance.choice(["\n", "\n", "\r\n"])
    words = ["", "", "", *"yes no Yes NO y N true FALSE 1 0 maybe nein ja".split(), " no ", "no;"]
    texts = [
        "",
        "",
        "",
        "too dear",
        "a, b",
        "a; b",
        'it is "odd"',
        "two\nlines",
        "m\u00fc\u0141\u0107",
        "\\n",
    ]
    columns = HEAD.split(",")
    if chance.random() < 0.2:
        chance.shuffle(columns)
    if chance.random() < 0.1:
        columns.remove(chance.choice(columns))
    if chance.random() < 0.1:
        columns.append(chance.choice(["", "reason", "mine"]))
    jobs = [job for job in JOBS if chance.random() < 0.95]
    jobs += [
        chance.choice([*JOBS, "GaAs--00000000", ""]) for _ in range(chance.choice([0, 0, 0, 1, 2]))
    ]
    lines = [columns]
    for rank, job in enumerate(jobs):
        cells = {"folder": job, "approved": chance.choice(words), "reason": chance.choice(texts)}
        cells |= {"formula": job.partition("--")[0], "rank": str(rank), "why": "rank 1, gap 5 eV"}
        lines.append([cells.get(name, "") for name in columns])
        if chance.random() < 0.1:
            lines[-1].append(chance.choice(["", "no", "x"]))
        if chance.random() < 0.1:
            del lines[-1][chance.randrange(1, 5) :]
        if chance.random() < 0.05:
            lines.append(["", ""])
    table = end.join(separator.join(as_cell(c, separator, chance) for c in line) for line in lines)
    raw = (table + chance.choice(["", end, end + end])).encode(chance.choice(["utf-8", "cp1250"]))
    if chance.random() < 0.2:
        raw = b"\xef\xbb\xbf" + raw
    for _ in range(chance.choice([0, 0, 0, 0, 1, 2, 5])):
        place = chance.randrange(len(raw) + 1)
        odd = chance.choice(
            [b'"', b'"', b",", b";", b"\n", b"\r", b" ", b"\\", b"\x81", b"no", b"\0"]
        )
        raw = raw[:place] + odd + raw[place + chance.choice([0, 0, 1, 30]) :]
    return raw


def as_cell(text: str, separator: str, chance: random.Random) -> str:
    """Quote a cell as a spreadsheet does, or forget to, or where it is not needed."""
    needed = any(c in text for c in (separator, '"', "\n"))
    if chance.random() < (0.95 if needed else 0.05):
        return '"' + text.replace('"', '""') + '"'
    return text


def test_whatever_a_person_writes_the_shell_and_python_come_to_the_same_verdicts(tmp_path):
    chance = random.Random(0)
    for number in range(200):
        settings = {"approval": chance.choice(["yes", "no"])}
        settings["approval_hours"] = chance.choice([0, 24, 72])
        batch_of(tmp_path / f"{number:03d}", random_table(chance), **settings)
    shell_verdicts(tmp_path)
    seen = set()
    for batch in tmp_path.iterdir():
        assert_the_shell_agrees(batch)
        seen |= {*answers_in(batch), read_approval(batch, time.time()).understood}
    assert seen == {"yes", "no", "waiting", True, False}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_a_spreadsheet_saves_is_read_as_it_was_meant(tmp_path, separator, quoting, end, mark):
    batch = batch_of(tmp_path / "b", None)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow([*HEAD.split(","), ""])
    meant = ["yes", "no", "no", "yes"]
    reasons = ["", 'said "no", twice; really', "two\r\nlines", ""]
    for row in zip(JOBS, [" Yes", "FALSE ", "0", ""], reasons, strict=True):
        writer.writerow([*row, "F", 1, "rank 1, gap 5 eV", ""])
    (batch / "approved.csv").write_text(mark + text.getvalue(), newline="")
    found = read_approval(batch, NOW)
    assert [found.verdicts[job].answer for job in JOBS] == meant
    assert found.verdicts[JOBS[1]].sentence == 'said "no", twice; really'
    assert found.verdicts[JOBS[2]].sentence == "two lines"
    assert not found.notes


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        *((word, "yes") for word in ("yes", "Y", "true", "1", " YES ")),
        *((word, "no") for word in ("no", "N", "False", "0", "\tno")),
        *((word, "waiting") for word in ("nein", "yes!", "2", "-", "y n", "n\u00f3")),
    ],
)
def test_a_word_means_yes_or_no_or_is_asked_about(tmp_path, word, answer):
    batch = batch_of(tmp_path / "b", rows(word, "", "", ""))
    found = read_approval(batch, NOW)
    assert found.verdicts[JOBS[0]].answer == answer
    assert bool(found.notes) == (answer == "waiting")
    assert [found.verdicts[job].answer for job in JOBS[1:]] == ["yes"] * 3


@pytest.mark.parametrize(
    ("table", "note"),
    [
        (rows("perhaps", "", "", ""), 'line 2: "perhaps" is neither yes nor no'),
        (rows(",too dear", "", "", ""), "line 2: a reason, but neither yes nor no"),
        (rows("no,dear, toxic,SrYF5,1,why", "", "", ""), "line 2: more columns than the first"),
        (rows(",,SrYF5,1,why;no", "", "", ""), "line 2: columns are separated by both , and ;"),
        (rows('no,"too dear', "", "", ""), "line 2: a quote is not closed"),
        (rows('no,"too" dear', "", "", ""), "line 2: a quote is not closed, or text follows it"),
        (rows("yes", "", "", "") + f"{JOBS[0]},no\n", f"line 6: {JOBS[0]} is named again"),
        (rows("", "", "", "").replace(JOBS[0], "SrYF5"), f"has no line for {JOBS[0]}"),
        (rows("", "", "", "").replace(f"{JOBS[0]},\n", ""), f"has no line for {JOBS[0]}"),
    ],
)
def test_a_line_that_is_unclear_is_named_and_its_job_waits(tmp_path, table, note):
    batch = batch_of(tmp_path / "b", table)
    found = read_approval(batch, NOW)
    assert any(note in text for text in found.notes), found.notes
    assert found.verdicts[JOBS[0]].answer == "waiting"


@pytest.mark.parametrize(
    ("table", "note"),
    [
        ("", "approved.csv is empty"),
        ("\n,,,\n", "approved.csv is empty"),
        (rows("no", "", "", "", head="folder,verdict"), "folder and approved are not named here"),
        (rows("no", "", "", "").partition("\n")[2], "folder and approved are not named here"),
        (rows("no", head="folder,approved,approved"), "line 1: a column is named twice"),
        # One column in a spreadsheet of another country; the answer went into the next one.
        (f'{HEAD};\n"{JOBS[0]},,,SrYF5,1,""rank 1, gap""";no\n', "separated by both , and ;"),
        (rows("no", "", "", "").encode("utf-16"), "save it as plain CSV"),
        (b"PK\x03\x04\0\0a spreadsheet", "save it as plain CSV"),
        ("x" * 10_000_001, "save it as plain CSV"),
    ],
)
def test_where_nothing_can_be_understood_every_job_waits(tmp_path, table, note):
    batch = batch_of(tmp_path / "b", table)
    found = read_approval(batch, NOW)
    assert not found.understood
    assert note in found.notes[0]
    assert {verdict.answer for verdict in found.verdicts.values()} == {"waiting"}
    shell_verdicts(tmp_path)
    assert_the_shell_agrees(batch)


def test_a_forgotten_quote_takes_only_the_next_lines_with_it(tmp_path):
    batch = batch_of(tmp_path / "b", rows("", 'no,"too dear', "no", "") + "\n" * 20)
    (batch / "jobs.txt").write_text("".join(f"{job}\n" for job in (*JOBS, "CaO--0badf00d")))
    with (batch / "approved.csv").open("a") as table:
        table.write("CaO--0badf00d,yes\n")
    found = {job: verdict.answer for job, verdict in read_approval(batch, NOW).verdicts.items()}
    assert list(found.values()) == ["yes", "waiting", "waiting", "waiting", "yes"]


def test_an_empty_line_counts_as_the_cluster_says_once_the_batch_is_old_enough(tmp_path):
    batch = batch_of(tmp_path / "b", rows("", "no", "yes", ""), approval="no", approval_hours=24)
    assert answers_in(batch) == ["no", "no", "yes", "no"]
    assert "within 24 hours" in read_approval(batch, time.time()).verdicts[JOBS[0]].sentence
    age(batch, 23)
    assert answers_in(batch) == ["waiting", "no", "yes", "waiting"]
    age(batch, -1000)  # a clock that was ahead when the batch was written
    assert answers_in(batch) == ["waiting", "no", "yes", "waiting"]
    (batch / "batch.json").unlink()
    assert answers_in(batch) == ["waiting", "no", "yes", "waiting"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("", "yes"),
        ("AGD_APPROVAL=no", "no"),
        ("AGD_APPROVAL=yes\nexport AGD_APPROVAL='no' # for now", "no"),
        ("AGD_APPROVAL=", "waiting"),
        ("AGD_APPROVAL=perhaps", "waiting"),
        ("AGD_APPROVAL='no", "waiting"),
        ("AGD_APPROVAL_HOURS=soon", "waiting"),
        ("AGD_APPROVAL_HOURS=08", "waiting"),
    ],
)
def test_the_lines_of_cluster_env_are_read_without_running_them(tmp_path, line, answer):
    batch = batch_of(tmp_path / "b", rows("", "", "", ""))
    (batch / "cluster.env").write_text(f"AGD_SETUP='touch ran'\n{line}\n")
    found = read_approval(batch, NOW)
    assert found.verdicts[JOBS[0]].answer == answer
    assert any("cluster.env" in note for note in found.notes) == (answer == "waiting")


def test_without_the_file_nothing_was_asked(tmp_path):
    batch = batch_of(tmp_path / "b", None)
    assert read_approval(batch, NOW).verdicts == {}
    (batch / JOBS[0] / "CANCELLED").write_text(f"{DECLINED}: before\n")
    apply_approval(batch, NOW)
    assert (batch / JOBS[0] / "CANCELLED").exists()


def test_markers_follow_the_answers_there_and_back(tmp_path):
    batch = batch_of(tmp_path / "b", rows("no,too dear", "no", "", ""))
    apply_approval(batch, NOW)
    assert observe(batch / JOBS[0], NOW, HOUR).state is State.CANCELLED
    assert observe(batch / JOBS[0], NOW, HOUR).sentence == f"{DECLINED}: too dear"
    assert observe(batch / JOBS[1], NOW, HOUR).sentence == DECLINED
    (batch / "approved.csv").write_text(rows("no,toxic", "yes", "no", ""))
    apply_approval(batch, NOW)
    sentences = [observe(batch / job, NOW, HOUR).sentence for job in JOBS]
    assert sentences == [f"{DECLINED}: toxic", "", DECLINED, ""]
    assert observe(batch / JOBS[1], NOW, HOUR).state is State.EMITTED


def test_a_marker_that_a_person_made_stays_whatever_the_file_says(tmp_path):
    batch = batch_of(tmp_path / "b", rows("yes", "no,too dear", "", ""))
    for job, text in zip(JOBS, ["", "mine\n"], strict=False):
        (batch / job / "CANCELLED").write_text(text)
    apply_approval(batch, NOW)
    assert [(batch / job / "CANCELLED").read_text() for job in JOBS[:2]] == ["", "mine\n"]


def test_a_marker_stays_while_its_line_is_unclear(tmp_path):
    batch = batch_of(tmp_path / "b", rows("no", "", "", ""))
    apply_approval(batch, NOW)
    (batch / "approved.csv").write_text(rows("no!", "", "", ""))
    apply_approval(batch, NOW)
    assert (batch / JOBS[0] / "CANCELLED").exists()


def test_what_runs_or_has_ended_is_not_declined_any_more_and_what_queues_is(tmp_path):
    batch = batch_of(tmp_path / "b", rows("no", "no", "no", "no"))
    (batch / JOBS[0] / "DONE").touch()
    (batch / JOBS[1] / "FAILED").touch()
    (batch / JOBS[2] / "STATUS.json").write_text(json.dumps({"state": "RUNNING"}, indent=1))
    (batch / JOBS[3] / "SUBMITTED").touch()
    notes = apply_approval(batch, NOW).notes
    assert notes == (f"{JOBS[2]} was declined when it was already running; it goes on",)
    assert [(batch / job / "CANCELLED").exists() for job in JOBS] == [False, False, False, True]


def test_a_reason_in_the_encoding_of_an_older_spreadsheet_is_readable(tmp_path):
    for place, encoding in (("a", "utf-8"), ("b", "cp1252")):
        batch = batch_of(tmp_path / place, rows("no,zu sch\u00f6n", "", "", "").encode(encoding))
        apply_approval(batch, NOW)
        assert observe(batch / JOBS[0], NOW, HOUR).sentence == f"{DECLINED}: zu sch\u00f6n"


def test_many_writers_of_one_marker_leave_a_whole_one(tmp_path):
    batch = batch_of(tmp_path / "b", rows("no,too dear", "no", "no", "no"))

    def work() -> None:
        for _ in range(20):
            apply_approval(batch, NOW)
            (batch / JOBS[0] / "CANCELLED").unlink(missing_ok=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not apply_approval(batch, NOW).notes
    assert (batch / JOBS[0] / "CANCELLED").read_text() == f"{DECLINED}: too dear\n"
    assert {p.name for p in (batch / JOBS[0]).iterdir()} == {
        *("CANCELLED", "STATUS.json", "ticket.json")
    }


def test_every_job_gets_an_empty_line_with_what_helps_to_decide(tmp_path):
    story = {"rank": 7, "why": "rank 7, predicted gap 6.40 +- 0.40 eV; structure of LiF"}
    jobs = [
        vasp_job(rocksalt(), PAPER, formula="MgO", story=story),
        vasp_job(rocksalt("Ca", "O", 4.8), PAPER, formula="CaO"),
    ]
    text = approval_text(job.ticket for job in jobs)
    if os.environ.get("AGD_REGENERATE"):
        (GOLDEN / "approved.csv").write_text(text)
    assert text == (GOLDEN / "approved.csv").read_text()
    shared = batch_files(ClusterSettings(), PAPER, [job.ticket for job in jobs])
    write_batch(tmp_path / "batch-0001", jobs, shared, {})
    assert (tmp_path / "batch-0001" / "approved.csv").read_text() == text
    found = read_approval(tmp_path / "batch-0001", NOW)
    assert [verdict.answer for verdict in found.verdicts.values()] == ["yes", "yes"]
    assert not found.notes


def test_references_need_no_approval(tmp_path):
    extend_batch(tmp_path / "references", [vasp_job(rocksalt(), PAPER, formula="MgO")], {}, {})
    assert not (tmp_path / "references" / "approved.csv").exists()


def test_the_list_of_jobs_does_not_depend_on_the_approval(tmp_path):
    jobs = [vasp_job(rocksalt(), PAPER, formula="MgO")]
    for place in ("a", "b"):
        write_batch(tmp_path / place, jobs, {}, {})
    (tmp_path / "b" / "approved.csv").write_text(rows("no"))
    apply_approval(tmp_path / "b", NOW)
    assert (tmp_path / "a" / "batch.json").read_bytes() == (
        tmp_path / "b" / "batch.json"
    ).read_bytes()


def test_settings_that_came_later_do_not_change_what_a_campaign_froze():
    later = {"approval", "approval_hours", "gpaw_python", "programs"}
    assert not later & ClusterSettings().model_dump(mode="json").keys()
    changed = ClusterSettings(approval="no", approval_hours=12)
    assert ClusterSettings.model_validate(changed.model_dump(mode="json")) == changed
    text = cluster_env(ENGINE.cluster_files(changed, PAPER, ()))
    assert "AGD_APPROVAL=no\n" in text
    assert "AGD_APPROVAL_HOURS=12\n" in text
