"""MatGAN: a generative adversarial network of compositions, for the train and sample stages.

In: unique compositions. Out: weights that draw new ones. Dan et al., "Generative adversarial
networks (GAN) based efficient sampling of chemical composition space" (MatGAN): both published
convolutional networks with weight clipping or gradient penalty, and a slot generator for CPUs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from models.checkpoints import ModelConfig, arrays_of, load_into, load_model_folder
from models.encoding import MATGAN_ENCODING, MATGAN_THRESHOLD, Encoding
from models.generation_metrics import element_histogram, probe_of
from models.matgan_networks import (
    LATENT,
    OQMD_CRITIC,
    OQMD_GENERATOR,
    SMALL_CRITIC,
    SMALL_GENERATOR,
    ConvCritic,
    ConvGenerator,
    DenseCritic,
    SlotGenerator,
    as_published,
)
from models.progress import Report
from models.training import Average, Batches, FitBudget, Fitted, Stateful, fit, seeded
from structure.composition import N_ELEMENTS
from structure.elements import MATGAN_ELEMENTS, columns
from structure.errors import ModelError
from structure.validity import valid

_SAMPLE_CHUNK = 8_192
_PROBE_ROWS = 8_192


class MatGANConfig(BaseModel):
    """Everything that decides a MatGAN. The defaults are the CPU variant (chosen).

    Attributes
    ----------
    variant : {"slot", "small", "oqmd"}
        ``"small"`` is the network of GAN-ICSD and GAN-MP, ``"oqmd"`` that of GAN-OQMD
        (Supplementary Table 1); ``"slot"`` is ours.
    loss : {"gradient-penalty", "clipping"}
        The published code trains with the penalty; the text describes plain WGAN.
    valid_only : bool
        Fit on chemically valid compositions alone, as the paper's ICSD_filter.
    elements : tuple of str
    maximum : int
        Most atoms of one element in the reduced formula.
    threshold : float
        Of the convolutional networks' output; see `models.encoding.MATGAN_THRESHOLD`.
    slots, hidden, critic_layers : int
        Sizes of the slot generator and its critic.
    batch, critic_steps : int
    rate_generator, rate_critic : float
    betas : (float, float)
        Of Adam.
    penalty : float
        Weight of the gradient penalty.
    penalty_every : int
        Critic steps between penalties; each is weighted up accordingly.
    clip : float
        Bound of the critic's weights under ``"clipping"``.
    average : float
        Decay of the generator's moving average, which is what is kept; 0 keeps the generator.
    device : {"cpu", "cuda"}
        Where the fit runs. Sampling runs on the CPU.
    budget : FitBudget
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: Literal["slot", "small", "oqmd"] = "slot"
    loss: Literal["gradient-penalty", "clipping"] = "gradient-penalty"
    valid_only: bool = True
    elements: tuple[str, ...] = MATGAN_ELEMENTS
    maximum: int = Field(default=MATGAN_ENCODING.maximum, gt=0)
    threshold: float = Field(default=MATGAN_THRESHOLD, gt=0, lt=1)
    slots: int = Field(default=6, gt=1)
    hidden: int = Field(default=256, gt=0)
    critic_layers: int = Field(default=3, gt=0)
    batch: int = Field(default=64, gt=1)
    critic_steps: int = Field(default=2, gt=0)
    rate_generator: float = Field(default=1e-3, gt=0)
    rate_critic: float = Field(default=2e-3, gt=0)
    betas: tuple[float, float] = (0.0, 0.9)
    penalty: float = Field(default=1.0, ge=0)
    penalty_every: int = Field(default=2, gt=0)
    clip: float = Field(default=0.01, gt=0)
    average: float = Field(default=0.999, ge=0, lt=1)
    device: Literal["cpu", "cuda"] = "cpu"
    budget: FitBudget = FitBudget(steps=20_000, probe_every=1_000)

    @property
    def encoding(self) -> Encoding:
        """Matrices the networks work on."""
        return Encoding(self.elements, self.maximum)

    def usable(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions this model is fitted on: bool, shape (n,)."""
        keep = self.encoding.fits(counts) & ((counts > 0).sum(axis=1) >= 2)
        return keep & valid(counts) if self.valid_only else keep


def published(
    database: Literal["icsd", "mp", "oqmd"],
    loss: Literal["gradient-penalty", "clipping"] = "gradient-penalty",
) -> MatGANConfig:
    """Return the published settings: 1,000 epochs of the paper's set, for a GPU.

    Learning rates, batch sizes and epochs are those of the paper (sec. 2.3). Penalty weight,
    Adam's betas, one critic step, RMSProp with clipping at 0.01 and the initial weights are those
    of the published code.
    """
    rows, batch = {"icsd": (25_323, 32), "mp": (57_530, 32), "oqmd": (251_368, 512)}[database]
    epoch = rows // batch
    return MatGANConfig(
        variant="oqmd" if database == "oqmd" else "small",
        loss=loss,
        valid_only=False,
        batch=batch,
        critic_steps=1,
        rate_generator=1e-3,
        rate_critic=1e-2,
        betas=(0.5, 0.9),
        penalty=10.0,
        penalty_every=1,
        average=0.0,
        budget=FitBudget(steps=1_000 * epoch, probe_every=10 * epoch),
    )


class MatGAN:
    """Draws compositions.

    Parameters
    ----------
    config : MatGANConfig
    generator : nn.Module, optional
        A fitted generator; new when left out.
    """

    name = "matgan"

    def __init__(self, config: MatGANConfig, generator: nn.Module | None = None):
        self.config = config
        self.generator = (generator or build_generator(config)).eval()

    @classmethod
    def load(cls, folder: Path) -> MatGAN:
        """Load a folder of weights.

        Raises
        ------
        ModelError
            See `models.checkpoints.load_model_folder`.
        """
        arrays, about = load_model_folder(folder, "matgan")
        model = cls(MatGANConfig.model_validate(about.settings))
        load_into(model.generator, arrays, folder)
        return model

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the generator's weights for `models.checkpoints.save_model_folder`, 16 bits."""
        return arrays_of(self.generator.state_dict(), half=True)

    def about(
        self, trained_on: str, data_sha256: str, seed: int, metrics: dict[str, float]
    ) -> ModelConfig:
        """Return what ``config.json`` says about this model."""
        return ModelConfig(
            kind="matgan",
            settings=self.config.model_dump(mode="json"),
            elements=self.config.elements,
            trained_on=trained_on,
            data_sha256=data_sha256,
            seed=seed,
            metrics=metrics,
        )

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> np.ndarray:
        """Draw `n` compositions; see `models.generator.CompositionGenerator`.

        An element that two slots name has the later slot's number, as the last place that fires
        wins in the published decoding.
        """
        self.generator.eval()
        source = torch.Generator().manual_seed(seed)
        drawn = np.zeros((n, N_ELEMENTS), dtype=np.int16)
        for begin in range(0, n, _SAMPLE_CHUNK):
            rows = min(_SAMPLE_CHUNK, n - begin)
            latent = torch.randn(rows, LATENT, generator=source)
            drawn[begin : begin + rows] = self._decoded(latent, source)
        return drawn

    def _decoded(self, latent: torch.Tensor, source: torch.Generator) -> np.ndarray:
        if not isinstance(self.generator, SlotGenerator):
            values = self.generator(latent).numpy()
            return self.config.encoding.decode(values, "last", self.config.threshold)
        line, place = self.generator.draw(latent, source)
        out = np.zeros((len(latent), N_ELEMENTS + 1), dtype=np.int16)
        column_of = np.append(columns(self.config.elements), N_ELEMENTS)
        every = np.arange(len(latent))
        for slot in range(self.generator.slots):
            out[every, column_of[line[:, slot]]] = place[:, slot] + 1
        return out[:, :N_ELEMENTS]


def build_generator(config: MatGANConfig) -> nn.Module:
    """Return a new generator; its weights come from torch's generator."""
    shape = config.encoding.shape
    if config.variant == "slot":
        return SlotGenerator(shape, config.slots, config.hidden)
    small = config.variant == "small"
    layers, channels = (SMALL_GENERATOR, 128) if small else (OQMD_GENERATOR, 256)
    network = ConvGenerator(shape, layers, channels)
    as_published(network)
    return network


def build_critic(config: MatGANConfig) -> nn.Module:
    """Return a new critic; its weights come from torch's generator."""
    shape = config.encoding.shape
    if config.variant == "slot":
        return DenseCritic(shape, config.hidden, config.critic_layers)
    network = ConvCritic(shape, SMALL_CRITIC if config.variant == "small" else OQMD_CRITIC)
    as_published(network)
    return network


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
    seed : int
    work : Path
    fingerprint : str
        Names the data, so that a checkpoint of other data is refused.
    report : Report, optional

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
    matrices = config.encoding.encode(counts)
    with seeded(seed):
        generator, critic = build_generator(config), build_critic(config)
    if isinstance(generator, SlotGenerator):
        generator.start_from(matrices)
    game = _Game(generator.to(config.device), critic.to(config.device), config)
    batches = Batches(len(matrices), config.batch, seed)
    average = Average(generator, config.average) if config.average else None
    kept = average.module if average else generator
    histogram = element_histogram(counts)
    sampler = MatGAN(config, build_generator(config))

    def step(done: int) -> dict[str, float]:
        generator.train()
        for i in range(config.critic_steps):
            real = torch.from_numpy(matrices[batches.next()]).to(config.device).float()
            value = game.critic_step(real, done * config.critic_steps + i)
        loss = game.generator_step()
        if average is not None:
            average.update()
        return {"critic": value, "generator": loss}

    def probe() -> dict[str, float]:
        sampler.generator.load_state_dict(kept.state_dict())
        return probe_of(sampler.sample(_PROBE_ROWS, seed), histogram)

    parts: dict[str, Stateful] = {**game.parts(), "batches": batches}
    if average is not None:
        parts["average"] = average
    fitted = fit(
        parts,
        step,
        probe,
        kept.state_dict,
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
    """The two players and their optimisers."""

    def __init__(self, generator: nn.Module, critic: nn.Module, config: MatGANConfig):
        self._generator, self._critic, self._config = generator, critic, config
        pairs = ((generator, config.rate_generator), (critic, config.rate_critic))
        self._for_generator, self._for_critic = (
            torch.optim.RMSprop(m.parameters(), lr=rate)
            if config.loss == "clipping"
            else torch.optim.Adam(m.parameters(), lr=rate, betas=config.betas)
            for m, rate in pairs
        )

    def parts(self) -> dict[str, Stateful]:
        return {
            "generator": self._generator,
            "critic": self._critic,
            "for_generator": self._for_generator,
            "for_critic": self._for_critic,
        }

    def _latent(self, rows: int) -> torch.Tensor:
        return torch.randn(rows, LATENT, device=self._config.device)

    def critic_step(self, real: torch.Tensor, number: int) -> float:
        """Move the critic once: E_g[f] - E_r[f], with the penalty or the clipping."""
        config = self._config
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

    def generator_step(self) -> float:
        """Move the generator once: -E_g[f]."""
        self._critic.requires_grad_(False)
        loss = -self._critic(self._generator(self._latent(self._config.batch))).mean()
        self._for_generator.zero_grad()
        loss.backward()
        self._for_generator.step()
        self._critic.requires_grad_(True)
        return loss.item()
