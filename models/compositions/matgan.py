"""MatGAN: a generative adversarial network of compositions, for the train and sample stages.

In: a configuration and weights (`models.compositions.matgan_training` fits them). Out: drawn
compositions. Dan et al., "Generative adversarial networks (GAN) based efficient sampling of
chemical composition space" (MatGAN): both published convolutional networks with weight clipping or
gradient penalty, and a slot generator for CPUs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from models.compositions.composition_model import CompositionModel
from models.compositions.encoding import MATGAN_ENCODING, MATGAN_THRESHOLD, Encoding
from models.compositions.matgan_networks import (
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
from models.fitting.loop import FitBudget
from structure.composition import N_ELEMENTS, WRITING_ORDER
from structure.elements import MATGAN_ELEMENTS, columns
from structure.records import Settings
from structure.rules.validity import valid

_SAMPLE_CHUNK = 2_048


class MatGANConfig(Settings):
    """Everything that decides a MatGAN. The defaults are the CPU variant (chosen)."""

    variant: Literal["slot", "small", "oqmd"] = "slot"
    """``"small"`` is the network of GAN-ICSD and GAN-MP, ``"oqmd"`` that of GAN-OQMD (Supplementary
    Table 1); ``"slot"`` is ours."""
    loss: Literal["gradient-penalty", "clipping"] = "gradient-penalty"
    """The published code trains with the penalty; the text describes plain WGAN."""
    valid_only: bool = True
    """Fit on chemically valid compositions alone, as the paper's ICSD_filter."""
    elements: tuple[str, ...] = MATGAN_ELEMENTS
    """Elements it can draw."""
    maximum: int = Field(default=MATGAN_ENCODING.maximum, gt=0)
    """Most atoms of one element in the reduced formula."""
    threshold: float = Field(default=MATGAN_THRESHOLD, gt=0, lt=1)
    """Of the convolutional networks' output; see
    `models.compositions.encoding.MATGAN_THRESHOLD`."""
    slots: int = Field(default=6, gt=1)
    """Elements a composition can have at most, as slots of the slot generator."""
    hidden: int = Field(default=256, gt=0)
    """Width of the layers of the slot generator and its critic."""
    critic_layers: int = Field(default=3, gt=0)
    """Layers of the critic."""
    likelihood_steps: int = Field(default=2_000, ge=0)
    """Steps of maximum likelihood before the game begins; slot generator only."""
    rate_likelihood: float = Field(default=2e-3, gt=0)
    """Learning rate of those steps."""
    warm_up: int = Field(default=200, ge=0)
    """Steps after them in which only the critic moves."""
    batch: int = Field(default=64, gt=1)
    """Compositions a step."""
    critic_steps: int = Field(default=2, gt=0)
    """Steps of the critic for each of the generator."""
    rate_generator: float = Field(default=2e-4, gt=0)
    """Learning rate of the generator."""
    rate_critic: float = Field(default=1e-3, gt=0)
    """Learning rate of the critic."""
    betas: tuple[float, float] = (0.0, 0.9)
    """Of Adam."""
    penalty: float = Field(default=1.0, ge=0)
    """Weight of the gradient penalty."""
    penalty_every: int = Field(default=2, gt=0)
    """Critic steps between penalties; each is weighted up accordingly."""
    clip: float = Field(default=0.01, gt=0)
    """Bound of the critic's weights under ``"clipping"``."""
    average: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the generator's moving average, which is what is kept; 0 keeps the generator."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the fit runs. Sampling runs on the CPU."""
    budget: FitBudget = FitBudget(steps=8_000, probe_every=400)
    """How long it is fitted."""

    @property
    def encoding(self) -> Encoding:
        """Matrices the networks work on."""
        return Encoding(self.elements, self.maximum)

    def usable(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions this model is fitted on: bool, shape (n,)."""
        sizes = (counts > 0).sum(axis=1)
        keep = self.encoding.fits(counts) & (sizes >= 2)
        if self.variant == "slot":
            keep &= sizes <= self.slots
        return keep & valid(counts) if self.valid_only else keep


def published(
    database: Literal["icsd", "mp", "oqmd"],
    loss: Literal["gradient-penalty", "clipping"] = "gradient-penalty",
) -> MatGANConfig:
    """Return the published settings: 1,000 epochs of the paper's set, for a GPU.

    Learning rates, batch sizes and epochs are those of the paper (sec. 4.2). Penalty weight,
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
        likelihood_steps=0,
        warm_up=0,
        budget=FitBudget(steps=1_000 * epoch, probe_every=10 * epoch),
    )


class MatGAN(CompositionModel[MatGANConfig]):
    """Draws compositions.

    Parameters
    ----------
    config : MatGANConfig
    generator : nn.Module, optional
        A fitted generator; new when left out.
    """

    name = "matgan"
    config_type = MatGANConfig

    def __init__(self, config: MatGANConfig, generator: nn.Module | None = None):
        super().__init__(config)
        self.network = self.generator = (generator or build_generator(config)).eval()

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> np.ndarray:
        """Draw `n` compositions; see `models.compositions.generator.CompositionGenerator`.

        The convolutional networks are decoded as in the published code: every place above the
        threshold fires and the last one wins.
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
        return self._counts(line, place)

    def _counts(self, line: np.ndarray, place: np.ndarray) -> np.ndarray:
        out = np.zeros((len(line), N_ELEMENTS + 1), dtype=np.int16)
        column_of = np.append(columns(self.config.elements), N_ELEMENTS)
        every = np.arange(len(line))
        for slot in range(line.shape[1]):
            out[every, column_of[line[:, slot]]] = place[:, slot] + 1
        return out[:, :N_ELEMENTS]


def build_generator(config: MatGANConfig) -> nn.Module:
    """Return a new generator; its weights come from torch's generator."""
    shape = config.encoding.shape
    if config.variant == "slot":
        return SlotGenerator(shape, slot_rank(config), config.slots, config.hidden)
    small = config.variant == "small"
    layers, channels = (SMALL_GENERATOR, 128) if small else (OQMD_GENERATOR, 256)
    network = ConvGenerator(shape, layers, channels)
    as_published(network)
    return network


def slot_rank(config: MatGANConfig) -> np.ndarray:
    """Return the order in which slots name elements: rising electronegativity, as in formulas."""
    written = np.argsort(WRITING_ORDER)
    return np.argsort(np.argsort(written[columns(config.elements)]))


def slots_of(counts: np.ndarray, config: MatGANConfig) -> tuple[np.ndarray, np.ndarray]:
    """Write compositions as slots: line and place, int64, shape (n, slots); see `SlotGenerator`."""
    order = np.argsort(slot_rank(config))
    ordered = counts[:, columns(config.elements)[order]]
    rows, places = np.nonzero(ordered)
    sizes = (ordered > 0).sum(axis=1)
    at = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    line = np.full((len(counts), config.slots), len(config.elements), dtype=np.int64)
    place = np.zeros_like(line)
    line[rows, at] = order[places]
    place[rows, at] = ordered[rows, places] - 1
    return line, place


def build_critic(config: MatGANConfig) -> nn.Module:
    """Return a new critic; its weights come from torch's generator."""
    shape = config.encoding.shape
    if config.variant == "slot":
        return DenseCritic(shape, config.hidden, config.critic_layers)
    network = ConvCritic(shape, SMALL_CRITIC if config.variant == "small" else OQMD_CRITIC)
    as_published(network)
    return network
