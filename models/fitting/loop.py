"""The fit loop every torch model shares: serves the train stage.

In: a step function, a probe function and the stateful parts that a fit changes. Out: the weights
of the best probe. Progress is checkpointed in one file, so a fit that is killed at any instant
resumes with the same call and ends with the same weights, bit for bit.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from pydantic import Field, model_validator

from models.fitting.checkpoints import sealed, unsealed
from models.fitting.parts import Batches, Stateful, average_of, seeded
from models.fitting.progress import Report
from structure.errors import ModelError
from structure.files import write_bytes
from structure.records import Settings

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "fit.pt"
Metrics = Mapping[str, float]

__all__ = [
    "Batches",
    "FitBudget",
    "Fitted",
    "Probe",
    "Report",
    "Stateful",
    "average_of",
    "fit",
    "seeded",
]


class FitBudget(Settings):
    """How long to fit and how often to look. All choices are ours."""

    steps: int = Field(gt=0)
    """Most steps. The default way to end: the result is then a function of the seed alone."""
    cpu_seconds: float | None = Field(default=None, gt=0)
    """Ends earlier, after this much CPU time of the process. The result then depends on the
    machine's speed."""
    probe_every: int = Field(default=500, gt=0)
    """Steps between probes; a last probe follows the last step."""
    patience: int | None = Field(default=None, gt=0)
    """Stop after this many probes in a row without a better score."""
    checkpoint_seconds: float = Field(default=30.0, ge=0)
    """Wall time between checkpoints; does not change the result."""

    @model_validator(mode="after")
    def _probe_within(self) -> FitBudget:
        if self.probe_every > self.steps:
            raise ValueError("probe_every is larger than steps: the fit would be judged only once")
        return self


@dataclass(frozen=True)
class Probe:
    """One look at a model in training.

    Attributes
    ----------
    step : int
        Steps done when it was taken.
    cpu_seconds : float
        CPU time spent until then, probes included.
    score : float
        What the fit keeps the best of; larger is better.
    metrics : dict of str to float
    """

    step: int
    cpu_seconds: float
    score: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Fitted:
    """How a fit went.

    Attributes
    ----------
    best : Probe
        The probe whose weights were kept.
    weights : dict of str to Tensor
        What `keep` returned at that probe.
    probes : tuple of Probe
        All of them in order.
    steps : int
    cpu_seconds : float
    stopped_by : str
        ``"steps"``, ``"cpu_seconds"`` or ``"patience"``.
    """

    best: Probe
    weights: dict[str, torch.Tensor]
    probes: tuple[Probe, ...]
    steps: int
    cpu_seconds: float
    stopped_by: str


def fit(
    parts: Mapping[str, Stateful],
    step: Callable[[int], Metrics],
    probe: Callable[[], Metrics],
    keep: Callable[[], Mapping[str, torch.Tensor]],
    *,
    score: str,
    budget: FitBudget,
    seed: int,
    work: Path,
    fingerprint: str,
    report: Report | None = None,
) -> Fitted:
    """Fit a model and return the weights of its best probe.

    Parameters
    ----------
    parts : mapping of str to Stateful
        All that `step` changes: modules, optimisers, schedulers, `Batches`, `average_of`.
    step : callable
        Makes one update, given the number of steps done so far, and returns losses. It may draw
        from torch's default generator; that state is part of the checkpoint.
    probe : callable
        Judges the model. It has its own random stream, so how often it runs changes nothing.
    keep : callable
        Returns the weights worth keeping, as they are now; they are copied.
    score : str
        Name of the probe's number that decides; a leading ``-`` means smaller is better.
    budget : FitBudget
    seed : int
    work : Path
        Folder of the checkpoint; a fit that finds one there goes on from it.
    fingerprint : str
        Names data and configuration. A checkpoint with another one is refused.
    report : callable, optional
        Told about progress a few times a second; see `models.fitting.progress.console_report`.

    Raises
    ------
    ModelError
        If a loss or a score is not finite, or the checkpoint belongs to another fit.
    """
    run = _Run(parts, keep, score, budget, work / CHECKPOINT_NAME, fingerprint)
    with seeded(seed):
        run.resume()
        while run.stopped_by is None:
            losses = step(run.steps)
            run.advance(losses)
            if run.steps % budget.probe_every == 0 or run.out_of_budget():
                with seeded(seed + 1):
                    run.judge(probe())
            run.save_when_due()
            if report is not None and run.reportable():
                report(run.share(), run.line(losses))
    if report is not None:
        report(1.0, run.line({}))
    return run.fitted()


class _Run:
    """State of one `fit` call: what it counts, keeps and writes down."""

    def __init__(
        self,
        parts: Mapping[str, Stateful],
        keep: Callable[[], Mapping[str, torch.Tensor]],
        score: str,
        budget: FitBudget,
        path: Path,
        fingerprint: str,
    ):
        self._parts, self._keep, self._budget = parts, keep, budget
        self._score, self._sign = score.lstrip("-"), -1.0 if score.startswith("-") else 1.0
        self._path, self._fingerprint = path, fingerprint
        self.steps = 0
        self.stopped_by: str | None = None
        self._probes: list[Probe] = []
        self._best: int | None = None
        self._weights: dict[str, torch.Tensor] = {}
        self._cpu_before, self._cpu_began = 0.0, time.process_time()
        self._saved_at = self._reported_at = time.monotonic()

    def cpu_seconds(self) -> float:
        return self._cpu_before + time.process_time() - self._cpu_began

    def share(self) -> float:
        used = self.steps / self._budget.steps
        if self._budget.cpu_seconds is not None:
            used = max(used, self.cpu_seconds() / self._budget.cpu_seconds)
        return min(used, 1.0)

    def out_of_budget(self) -> str | None:
        if self.steps >= self._budget.steps:
            return "steps"
        limit = self._budget.cpu_seconds
        return "cpu_seconds" if limit is not None and self.cpu_seconds() >= limit else None

    def advance(self, losses: Metrics) -> None:
        self.steps += 1
        for name, value in losses.items():
            if not math.isfinite(value):
                raise ModelError(
                    f"training diverged: {name} is {value} at step {self.steps}",
                    where=self._path.parent,
                    fix="Lower the learning rate, or train with another seed.",
                )

    def judge(self, metrics: Metrics) -> None:
        score = self._sign * float(metrics[self._score])
        if not math.isfinite(score):
            raise ModelError(
                f"training diverged: the probe's {self._score} is {score} at step {self.steps}",
                where=self._path.parent,
                fix="Lower the learning rate, or train with another seed.",
            )
        found = Probe(
            self.steps, self.cpu_seconds(), score, {k: float(v) for k, v in metrics.items()}
        )
        self._probes.append(found)
        if self._best is None or score > self._probes[self._best].score:
            self._best = len(self._probes) - 1
            self._weights = {k: v.detach().cpu().clone() for k, v in self._keep().items()}
        logger.info("step %d: %s", self.steps, _words(found.metrics))
        patience = self._budget.patience
        self.stopped_by = self.out_of_budget()
        if self.stopped_by is None and patience and len(self._probes) - 1 - self._best >= patience:
            self.stopped_by = "patience"

    def save_when_due(self) -> None:
        due = time.monotonic() - self._saved_at >= self._budget.checkpoint_seconds
        if not due and self.stopped_by is None:
            return
        self._saved_at = time.monotonic()
        content = {
            "fingerprint": self._fingerprint,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "steps": self.steps,
            "stopped_by": self.stopped_by,
            "cpu_seconds": self.cpu_seconds(),
            "probes": [vars(p) for p in self._probes],
            "best": self._best,
            "weights": self._weights,
        }
        buffer = BytesIO()
        torch.save(content, buffer)
        write_bytes(self._path, sealed(buffer.getvalue()))

    def resume(self) -> None:
        if not self._path.exists():
            return
        fix = "Delete this folder to begin the fit anew."
        try:
            content = unsealed(self._path.read_bytes())
            saved = torch.load(BytesIO(content), weights_only=True)
            known = saved["fingerprint"]
        except Exception as error:
            raise ModelError("the checkpoint is damaged", where=self._path, fix=fix) from error
        if known != self._fingerprint:
            raise ModelError(
                "the checkpoint belongs to a fit with other data or settings",
                where=self._path,
                fix=fix,
            )
        for name, part in self._parts.items():
            part.load_state_dict(saved["parts"][name])
        torch.set_rng_state(saved["random"])
        if saved["cuda_random"]:
            torch.cuda.set_rng_state_all(saved["cuda_random"])
        self.steps, self.stopped_by = saved["steps"], saved["stopped_by"]
        self._cpu_before = saved["cpu_seconds"]
        self._probes = [Probe(**p) for p in saved["probes"]]
        self._best, self._weights = saved["best"], saved["weights"]
        logger.info("going on from step %d", self.steps)

    def reportable(self) -> bool:
        if time.monotonic() - self._reported_at < 0.25:
            return False
        self._reported_at = time.monotonic()
        return True

    def line(self, losses: Metrics) -> str:
        text = f"step {self.steps}/{self._budget.steps}"
        if self._best is not None:
            text += f", best {self._score} {self._sign * self._probes[self._best].score:.4g}"
        return f"{text}, {_words(losses)}" if losses else text

    def fitted(self) -> Fitted:
        assert self._best is not None and self.stopped_by is not None
        return Fitted(
            best=self._probes[self._best],
            weights=self._weights,
            probes=tuple(self._probes),
            steps=self.steps,
            cpu_seconds=self.cpu_seconds(),
            stopped_by=self.stopped_by,
        )


def _words(metrics: Metrics) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
