from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from models.fitting.loop import Batches, FitBudget, Fitted, Stateful, average_of, fit, seeded
from structure.errors import ModelError

STEPS = 240


def small_fit(
    work: Path, *, seed: int = 3, slow: float = 0.0, fingerprint: str = "toy", **budget: object
) -> Fitted:
    """A regression with dropout, Adam, a schedule, an average and shuffled data."""
    with seeded(seed):
        data = torch.randn(96, 5)
        net = torch.nn.Sequential(
            torch.nn.Linear(5, 8), torch.nn.Dropout(0.3), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
    target = data[:, :1] * 2 - data[:, 1:2]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999)
    average, batches = average_of(net, 0.9), Batches(len(data), 16, seed)

    def step(_: int) -> dict[str, float]:
        rows = torch.from_numpy(batches.next())
        loss = ((net(data[rows]) - target[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        average.update_parameters(net)
        if slow:
            time.sleep(slow)
        return {"loss": float(loss.detach())}

    def probe() -> dict[str, float]:
        torch.rand(7)
        return {"error": float(((average.module(data) - target) ** 2).mean())}

    parts: dict[str, Stateful] = {
        "net": net,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "average": average,
        "batches": batches,
    }
    settings: dict[str, object] = {"steps": STEPS, "probe_every": 20, "checkpoint_seconds": 0.0}
    return fit(
        parts,
        step,
        probe,
        average.module.state_dict,
        score="-error",
        budget=FitBudget.model_validate(settings | budget),
        seed=seed,
        work=work,
        fingerprint=fingerprint,
    )


def same(a: Fitted, b: Fitted) -> bool:
    return (
        a.weights.keys() == b.weights.keys()
        and all(torch.equal(a.weights[k], b.weights[k]) for k in a.weights)
        and [(p.step, p.score) for p in a.probes] == [(p.step, p.score) for p in b.probes]
    )


def test_a_fit_killed_in_the_middle_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = small_fit(tmp_path / "whole")
    work = tmp_path / "killed"
    program = (
        "from pathlib import Path; from tests.models.fitting.test_loop import small_fit; "
        f"small_fit(Path({str(work)!r}), slow=0.01)"
    )
    kills = 0
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-c", program], env=os.environ.copy())
        began_with = steps_in(work)
        while child.poll() is None and steps_in(work) < began_with + 30:
            time.sleep(0.01)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait()
    assert kills == 2
    assert 0 < steps_in(work) < STEPS
    assert same(small_fit(work), whole)


def steps_in(work: Path) -> int:
    path = work / "fit.pt"
    return int(torch.load(path, weights_only=True)["steps"]) if path.exists() else 0


def test_the_best_probe_is_kept_not_the_last(tmp_path: Path) -> None:
    fitted = small_fit(tmp_path)
    assert fitted.best.score == max(p.score for p in fitted.probes)
    assert fitted.best.metrics["error"] == -fitted.best.score
    assert [p.step for p in fitted.probes] == list(range(20, STEPS + 1, 20))
    assert fitted.best.score > fitted.probes[0].score


def test_the_seed_decides_everything_and_leaves_torch_as_it_was(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first, again = small_fit(tmp_path / "a"), small_fit(tmp_path / "b")
    other = small_fit(tmp_path / "c", seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert same(first, again)
    assert not same(first, other)


def test_how_often_it_is_probed_does_not_change_the_training(tmp_path: Path) -> None:
    often = small_fit(tmp_path / "often", probe_every=20)
    seldom = small_fit(tmp_path / "seldom", probe_every=120)
    scores = {p.step: p.score for p in often.probes}
    assert all(scores[p.step] == p.score for p in seldom.probes)


def test_a_finished_fit_is_not_repeated(tmp_path: Path) -> None:
    first = small_fit(tmp_path)
    changed = (tmp_path / "fit.pt").stat().st_mtime_ns
    assert same(small_fit(tmp_path, slow=1.0), first)
    assert (tmp_path / "fit.pt").stat().st_mtime_ns == changed


def test_a_checkpoint_of_other_data_is_refused_with_the_way_out(tmp_path: Path) -> None:
    small_fit(tmp_path)
    with pytest.raises(ModelError, match="other data or settings") as caught:
        small_fit(tmp_path, fingerprint="other")
    assert "Delete" in str(caught.value)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "fit.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="damaged"):
        small_fit(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_checkpoint_in_which_a_bit_was_flipped_is_not_gone_on_from(tmp_path, share) -> None:
    small_fit(tmp_path)
    path = tmp_path / "fit.pt"
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="damaged"):
        small_fit(tmp_path)


def test_patience_and_cpu_seconds_end_a_fit_early(tmp_path: Path) -> None:
    impatient = small_fit(tmp_path / "a", steps=100_000, patience=2, probe_every=10)
    assert impatient.stopped_by == "patience"
    tail = impatient.probes[-2:]
    assert max(p.score for p in tail) <= impatient.best.score
    limited = small_fit(tmp_path / "b", steps=100_000, cpu_seconds=0.05)
    assert limited.stopped_by == "cpu_seconds"
    assert limited.probes[-1].step == limited.steps < 100_000


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="diverged") as caught:
        fit(
            {},
            lambda _: {"loss": float("nan")},
            lambda: {"x": 0.0},
            dict,
            score="x",
            budget=FitBudget(steps=5, probe_every=5),
            seed=0,
            work=tmp_path,
            fingerprint="",
        )
    assert "learning rate" in str(caught.value)


def test_batches_visit_every_row_once_an_epoch() -> None:
    batches = Batches(12, 4, seed=1)
    epochs = [np.concatenate([batches.next() for _ in range(3)]) for _ in range(2)]
    assert all(sorted(e.tolist()) == list(range(12)) for e in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_batches_go_on_from_where_they_were() -> None:
    batches, other = Batches(10, 3, seed=1), Batches(10, 3, seed=1)
    for _ in range(5):
        batches.next()
    other.load_state_dict(json.loads(json.dumps(batches.state_dict())))
    assert [batches.next().tolist() for _ in range(6)] == [other.next().tolist() for _ in range(6)]
    with pytest.raises(ModelError, match="another training set"):
        Batches(11, 3, seed=1).load_state_dict(batches.state_dict())
