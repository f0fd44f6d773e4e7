"""Training of MatGAN, for the train stage.

In: unique compositions and a configuration. Out: a generator. The game is Wasserstein's, with a
gradient penalty (published code) or weight clipping (the paper's text); the slot generator first
learns by maximum likelihood, so that the critic's early lessons are not spent on the marginals.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.compositions.generation_metrics import element_histogram, probe_of
from models.compositions.matgan import MatGAN, MatGANConfig, build_critic, build_generator, slots_of
from models.compositions.matgan_networks import LATENT, SlotGenerator
from models.fitting.loop import Batches, Fitted, Stateful, average_of, fit, seeded
from models.fitting.progress import Report
from structure.errors import ModelError

_PROBE_ROWS = 8_192


def fit_matgan(
    counts: np.ndarray,
    config: MatGANConfig,
    seed: int,
    work: Path,
    fingerprint: str,
    report: Report | None = None,
) -> tuple[MatGAN, Fitted]:
    """Train a MatGAN; go on from the checkpoint in `work` where there is one.

    Parameters
    ----------
    counts : ndarray of int16, shape (n, 103)
        Unique training compositions; those that are not `MatGANConfig.usable` are left out.
    config : MatGANConfig
    seed, work, fingerprint, report
        As in `models.fitting.loop.fit`; here the fingerprint names the data alone.

    Returns
    -------
    MatGAN, Fitted
        The generator of the best probe (`generation_metrics.probe_of`), and how the fit went.

    Raises
    ------
    ModelError
        If no composition is usable, or the device is missing.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("torch finds no CUDA device", fix="Set `device: cpu`, or use a GPU node.")
    counts = counts[config.usable(counts)]
    if not len(counts):
        raise ModelError("there is nothing to train on", fix="Check what the filters removed.")
    with seeded(seed):
        game = _Game(counts, config, seed)
    histogram = element_histogram(counts)
    with seeded(seed):
        sampler = MatGAN(config)

    def probe() -> dict[str, float]:
        sampler.generator.load_state_dict(game.kept.state_dict())
        return probe_of(sampler.sample(_PROBE_ROWS, seed), histogram)

    fitted = fit(
        game.parts(),
        game.step,
        probe,
        game.kept.state_dict,
        score="score",
        budget=config.budget,
        seed=seed,
        work=work,
        fingerprint=f"matgan {fingerprint} {seed} {config.model_dump_json()}",
        report=report,
    )
    sampler.generator.load_state_dict(fitted.weights)
    return sampler, fitted


class _Game:
    """The two players, their optimisers and the data they play for."""

    def __init__(self, counts: np.ndarray, config: MatGANConfig, seed: int):
        self._config = config
        self._matrices = config.encoding.encode(counts)
        self._generator = build_generator(config)
        self._critic = build_critic(config).to(config.device)
        self._likelihood_steps = 0
        if isinstance(self._generator, SlotGenerator):
            self._slots = [torch.from_numpy(a) for a in slots_of(counts, config)]
            self._generator.start_from(*(a.numpy() for a in self._slots))
            self._likelihood_steps = config.likelihood_steps
        self._generator.to(config.device)
        self._batches = Batches(len(counts), config.batch, seed)
        self._average = average_of(self._generator, config.average) if config.average else None
        self.kept = self._average.module if self._average else self._generator
        self._for_generator = self._optimizer(self._generator, config.rate_generator)
        self._for_critic = self._optimizer(self._critic, config.rate_critic)
        self._for_likelihood = torch.optim.Adam(
            self._generator.parameters(), lr=config.rate_likelihood
        )

    def _optimizer(self, module: nn.Module, rate: float) -> torch.optim.Optimizer:
        """RMSProp for clipping and Adam for the penalty, as in the published code."""
        if self._config.loss == "clipping":
            return torch.optim.RMSprop(module.parameters(), lr=rate)
        return torch.optim.Adam(module.parameters(), lr=rate, betas=self._config.betas)

    def parts(self) -> dict[str, Stateful]:
        """Return everything that `step` changes."""
        parts: dict[str, Stateful] = {
            "generator": self._generator,
            "critic": self._critic,
            "for_generator": self._for_generator,
            "for_critic": self._for_critic,
            "for_likelihood": self._for_likelihood,
            "batches": self._batches,
        }
        return parts if self._average is None else {**parts, "average": self._average}

    def step(self, done: int) -> dict[str, float]:
        """Make one step of likelihood, of the critic alone, or of both players."""
        self._generator.train()
        config = self._config
        if done < self._likelihood_steps:
            losses = {"likelihood": self._likelihood_step(done)}
        else:
            first = done * config.critic_steps
            for number in range(first, first + config.critic_steps):
                losses = {"critic": self._critic_step(number)}
            if done < self._likelihood_steps + config.warm_up:
                return losses
            losses["generator"] = self._generator_step()
        if self._average is not None:
            self._average.update_parameters(self._generator)
        return losses

    def _latent(self, rows: int) -> torch.Tensor:
        return torch.randn(rows, LATENT, device=self._config.device)

    def _likelihood_step(self, done: int) -> float:
        generator, config = self._generator, self._config
        assert isinstance(generator, SlotGenerator)
        rate = config.rate_likelihood * (1.0 - done / self._likelihood_steps)
        for group in self._for_likelihood.param_groups:
            group["lr"] = rate
        rows = np.concatenate([self._batches.next() for _ in range(_LIKELIHOOD_BATCHES)])
        line, place = (a[torch.from_numpy(rows)].to(config.device) for a in self._slots)
        loss = -generator.log_likelihood(self._latent(len(rows)), line, place).mean()
        self._for_likelihood.zero_grad()
        loss.backward()
        self._for_likelihood.step()
        return loss.item()

    def _critic_step(self, number: int) -> float:
        """Move the critic once: E_g[f] - E_r[f], with the penalty or the clipping."""
        config = self._config
        rows = self._batches.next()
        real = torch.from_numpy(self._matrices[rows]).to(config.device).float()
        with torch.no_grad():
            fake = self._generator(self._latent(len(real)))
        loss = self._critic(fake).mean() - self._critic(real).mean()
        if config.loss == "gradient-penalty" and number % config.penalty_every == 0:
            loss = loss + config.penalty * config.penalty_every * self._slope(real, fake)
        self._for_critic.zero_grad()
        loss.backward()
        self._for_critic.step()
        if config.loss == "clipping":
            with torch.no_grad():
                for parameter in self._critic.parameters():
                    parameter.clamp_(-config.clip, config.clip)
        return loss.item()

    def _slope(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Mean squared departure from 1 of the critic's slope between real and fake."""
        share = torch.rand(len(real), 1, 1, device=real.device)
        between = (real + share * (fake - real)).requires_grad_()
        (slope,) = torch.autograd.grad(self._critic(between).sum(), between, create_graph=True)
        return (((slope.square().sum(dim=(1, 2)) + 1e-8).sqrt() - 1) ** 2).mean()

    def _generator_step(self) -> float:
        """Move the generator once: -E_g[f]."""
        self._critic.requires_grad_(False)
        loss = -self._critic(self._generator(self._latent(self._config.batch))).mean()
        self._for_generator.zero_grad()
        loss.backward()
        self._for_generator.step()
        self._critic.requires_grad_(True)
        return loss.item()


_LIKELIHOOD_BATCHES = 4
"""Chosen: a likelihood step takes this many batches, since its cost grows slowly with rows."""
