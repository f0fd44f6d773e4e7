from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.campaign.directory import Campaign
from tasks.campaign.job_lock import jobs_to_itself
from tasks.collect import collect_campaign
from tests.tasks.campaign.test_job_lock import emit, jobs_of

HALF = ".tmp-0123abcd-"


def left(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob(".tmp-*"))


def leave(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")


WRITES = {
    "models": "save_model_folder(root / 'models' / 'screening', {'a': np.ones(9)}, CONFIG, 'card')",
    "table": "write_table(root, root / 'screen' / 'shard.parquet', {'a': [1]}, 'x')",
    "training": "write_bytes(root / 'train' / 'oracle' / 'checkpoint.pt', b'x')",
    "result": "write_text(root / 'results' / '0123abcd.json', '{}')",
    "reason": "write_json(root / 'quarantine' / 'a.json', {})",
}


@pytest.mark.parametrize("where", WRITES)
def test_a_write_that_was_killed_when_it_was_synced_leaves_nothing_after_the_resume(
    tmp_path, where
):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from models.fitting.checkpoints import save_model_folder\n"
        "from structure.files import write_bytes, write_json, write_text\n"
        "from tasks.campaign.directory import Campaign\n"
        "from tasks.campaign.handles import write_table\n"
        "from tests.models.fitting.test_checkpoints import CONFIG\n"
        "root = Path(sys.argv[1])\ncampaign = Campaign(root, {}, 0)\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n" + WRITES[where]
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(left(tmp_path)) == 1
    Campaign(tmp_path, {}, 0).close()
    assert left(tmp_path) == []


def test_a_collect_removes_what_a_killed_collect_left(tmp_path):
    with Campaign(tmp_path, {}, 0) as campaign:
        emit(campaign, jobs_of(("Mg", "O")))
        leave(tmp_path, f"results/{HALF}a.json", f"quarantine/{HALF}a.json", f"models/{HALF}w")
        collect_campaign(tmp_path)
        assert left(tmp_path) == [f"models/{HALF}w"]


def test_what_a_collect_beside_is_writing_is_not_touched(tmp_path):
    Campaign(tmp_path, {}, 0).close()
    leave(tmp_path, f"results/{HALF}a.json", f"models/screening/{HALF}weights.safetensors")
    inside, over = threading.Event(), threading.Event()

    def collect_slowly() -> None:
        with jobs_to_itself(tmp_path):
            inside.set()
            over.wait()

    beside = threading.Thread(target=collect_slowly)
    beside.start()
    inside.wait()
    Campaign(tmp_path, {}, 0).close()
    assert left(tmp_path) == [f"results/{HALF}a.json"]
    over.set()
    beside.join()
    Campaign(tmp_path, {}, 0).close()
    assert left(tmp_path) == []


def test_half_a_batch_half_a_reference_and_half_a_marker_go_and_jobs_stay(tmp_path):
    with Campaign(tmp_path, {}, 0) as campaign:
        emit(campaign, jobs_of(("Mg", "O")))
    job = next((tmp_path / "handoff/batch-0001").glob("*--*")).relative_to(tmp_path).as_posix()
    before = sorted(p for p in tmp_path.rglob("*") if p.name != "ledger.sqlite-shm")
    leave(
        tmp_path,
        f"handoff/{HALF}batch-0002/MgO--01234567/ticket.json",
        f"references/{HALF}Mg--01234567/ticket.json",
        f"{job}/{HALF}CANCELLED",
    )
    Campaign(tmp_path, {}, 0).close()
    assert left(tmp_path) == []
    assert sorted(p for p in tmp_path.rglob("*") if p.name != "ledger.sqlite-shm") == before


def test_what_is_not_ours_stays(tmp_path):
    """A runner at work in a job folder, somebody's file, a link out of the campaign."""
    root = tmp_path / "c"
    with Campaign(root, {}, 0) as campaign:
        emit(campaign, jobs_of(("Mg", "O")))
    job = next((root / "handoff/batch-0001").glob("*--*"))
    leave(job, f".tmp-{os.getpid()}-STATUS.json", f"00-ground-state/{HALF}by-hand")
    leave(root, ".tmp-notes.txt")
    leave(tmp_path, "elsewhere")
    (root / f"{HALF}link").symlink_to(tmp_path / "elsewhere")
    (root / "outside").symlink_to(tmp_path, target_is_directory=True)
    leave(tmp_path, f"{HALF}outside")
    before = left(root)
    Campaign(root, {}, 0).close()
    assert left(root) == before
    assert (tmp_path / f"{HALF}outside").exists()
    assert (tmp_path / "elsewhere").exists()
