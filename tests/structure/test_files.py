from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from structure.errors import DataError
from structure.files import TEMPORARY_PREFIX, replacing, sha256_of, write_json, write_text


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.txt"]


def test_an_unfinished_file_is_recognised_by_its_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.parquet") as temporary:
        assert temporary.name.startswith(TEMPORARY_PREFIX)
        assert temporary.suffix == ".parquet"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write") as caught:
        write_text(tmp_path / "file" / "inside.txt", "x")
    assert caught.value.where == tmp_path / "file" / "inside.txt"


def test_equal_documents_have_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": "é", "b": 1}


def test_the_hash_is_the_one_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


WRITERS = """
import json, sys
from pathlib import Path
import numpy as np
from structure.errors import DataError
from structure.files import replacing

def parquet(path):
    import pyarrow as pa, pyarrow.parquet as pq
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(100_000)}), path)

def archive(path):
    with path.open("wb") as handle:
        np.savez(handle, a=np.zeros(100_000))

def checkpoint(path):
    import torch
    torch.save({"a": torch.rand(100_000)}, path)

writers = {
    "text": lambda path: path.write_text("x" * 200_000),
    "numpy": lambda path: np.save(path, np.zeros(100_000)),
    "raw": lambda path: np.zeros(100_000).tofile(path),
    "archive": archive,
    "parquet": parquet,
    "checkpoint": checkpoint,
}
told = {}
for name, write in writers.items():
    target = Path(sys.argv[1]) / f"{name}.npy"
    try:
        with replacing(target) as temporary:
            write(temporary)
    except DataError as error:
        told[name] = str(error)
print(json.dumps([told, [p.name for p in Path(sys.argv[1]).iterdir()]]))
"""
KINDS = {"text", "numpy", "raw", "archive", "parquet", "checkpoint"}


def told(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    messages, files = json.loads(done.stdout.splitlines()[-1])
    assert files == []
    assert set(messages) == KINDS
    assert all(f"{name}.npy" in message for name, message in messages.items())
    return messages


def test_every_writer_says_plainly_that_a_limit_on_files_is_reached(tmp_path: Path) -> None:
    limited = (
        "import resource\nlimit = resource.RLIMIT_FSIZE\n"
        "resource.setrlimit(limit, (50_000, resource.getrlimit(limit)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited + WRITERS, tmp_path], capture_output=True, text=True
    )
    for message in told(done).values():
        assert "cannot write the file: File too large" in message
        assert "ulimit -f" in message


def test_every_writer_says_plainly_that_the_disk_is_full(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=64k none "$2" || exit 77; exec "$0" -c "$1" "$2"'
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        pytest.skip("only root can mount a small disk, with unshare")
    command = [unshare, "--mount", "sh", "-c", script, sys.executable, WRITERS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode in (1, 77):
        pytest.skip(f"this system mounts no small disk: {done.stderr.strip()}")
    for message in told(done).values():
        assert "cannot write the file: No space left on device" in message
        assert "Free disk space, then run the same command again" in message


def test_an_error_that_is_not_the_disks_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        _ = 1 // 0
    assert list(tmp_path.iterdir()) == []
