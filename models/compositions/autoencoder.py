"""The autoencoder of compositions: the space in which the explore stage searches.

In: compositions. Out: 128-d latent vectors, compositions again, and the box that encoded training
compositions fill (AGD sec. 2.2). The default is a dense network for CPUs; AGD's convolutional one
is ``variant: conv``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from models.compositions.autoencoder_networks import (
    LATENT,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
)
from models.compositions.composition_model import CompositionModel, validation_split
from models.compositions.encoding import AE_THRESHOLD, AGD_ENCODING, Encoding
from models.fitting.loop import Batches, FitBudget, Fitted, fit, seeded
from models.fitting.progress import Report
from structure.composition import N_ELEMENTS
from structure.elements import AGD_ELEMENTS, columns
from structure.errors import DataError, ModelError
from structure.records import Settings
from structure.rules.validity import matched_random

_CHUNK = 8_192
_POOL_ROWS = 100_000  # random compositions made at a time


class AutoencoderConfig(Settings):
    """Everything that decides an autoencoder."""

    variant: Literal["dense", "conv"] = "dense"
    """``"conv"`` is AGD's network (sec. 2.2); ``"dense"`` is chosen for CPUs."""
    elements: tuple[str, ...] = AGD_ELEMENTS
    """Elements it knows."""
    maximum: int = Field(default=AGD_ENCODING.maximum, gt=0)
    """Most atoms of one element, 20 in AGD."""
    threshold: float = Field(default=AE_THRESHOLD, gt=0, lt=1)
    """Decoding: an element has its most probable number of atoms if that is likelier than this."""
    hidden: int = Field(default=256, gt=0)
    """Width of the dense networks."""
    latent_noise: float = Field(default=0.1, ge=0)
    """Standard deviation of the noise that latents carry during the fit (chosen); it makes nearby
    latents decode alike."""
    random_share: float = Field(default=0.5, ge=0, lt=1)
    """Share of random compositions in every batch (chosen). The network need only copy, so they are
    free data for rare pairs of element and number; three in ten of them are uniform, the others
    have the marginals of the training set."""
    batch: int = Field(default=256, gt=1)
    """128 in AGD."""
    rate: float = Field(default=1e-3, gt=0)
    """Of Adam, 1e-3 in AGD."""
    decay: bool = True
    """Let the rate fall to a hundredth along half a cosine (chosen)."""
    validation_share: float = Field(default=0.03, gt=0, lt=0.5)
    """Share of the training compositions that decides which weights are kept."""
    budget: FitBudget = FitBudget(steps=20_000, probe_every=1_000)
    """How long it is fitted."""

    @property
    def encoding(self) -> Encoding:
        """Matrices the networks work on."""
        return Encoding(self.elements, self.maximum)

    def usable(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions this model is fitted on: bool, shape (n,)."""
        return self.encoding.fits(counts) & ((counts > 0).sum(axis=1) >= 2)


PUBLISHED = AutoencoderConfig(
    variant="conv",
    latent_noise=0.0,
    random_share=0.0,
    batch=128,
    decay=False,
    budget=FitBudget(steps=100_000, probe_every=1_000),
)
"""AGD sec. 2.2; the number of steps, which the paper does not give, is chosen (about 200 epochs of
its 66,324 compositions)."""


def decodable(counts: np.ndarray) -> np.ndarray:
    """Return which decoded rows are compositions to work with: two or more elements; bool, (n,).

    The papers do not define the word. A matrix with a single element decodes too, but is no
    compound; it counts as undecodable here.
    """
    return (counts > 0).sum(axis=1) >= 2


class Autoencoder(CompositionModel[AutoencoderConfig]):
    """Maps compositions to latent vectors and back.

    Parameters
    ----------
    config : AutoencoderConfig

    Attributes
    ----------
    network : nn.ModuleDict
        ``encoder`` and ``decoder``.
    box : ndarray of float32, shape (2, 128)
        Least and largest value of each latent dimension over the encoded training set; zeros
        until fitted.
    """

    name = "autoencoder"
    config_type = AutoencoderConfig
    network: nn.ModuleDict

    def __init__(self, config: AutoencoderConfig):
        super().__init__(config)
        shape = config.encoding.shape
        pair: tuple[nn.Module, nn.Module]
        if config.variant == "conv":
            pair = ConvEncoder(shape), ConvDecoder(shape)
        else:
            pair = DenseEncoder(shape, config.hidden), DenseDecoder(shape, config.hidden)
        self.network = nn.ModuleDict({"encoder": pair[0], "decoder": pair[1]})
        self.network.eval()
        self.box = np.zeros((2, LATENT), dtype=np.float32)

    def _take(self, arrays: dict[str, np.ndarray], folder: Path) -> None:
        box = arrays.pop("box", None)
        if box is None or box.shape != (2, LATENT):
            raise ModelError("the weights lack the latent box", where=folder, fix="Train it again.")
        self.box = box
        super()._take(arrays, folder)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return weights (16 bits) and box for `models.fitting.checkpoints.save_model_folder`."""
        return {**super().arrays(), "box": self.box}

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions can be encoded: bool, shape (n,)."""
        return self.config.encoding.fits(counts)

    @torch.no_grad()
    def encode(self, counts: np.ndarray) -> np.ndarray:
        """Return latent vectors.

        Parameters
        ----------
        counts : ndarray of int, shape (n, 103)

        Returns
        -------
        ndarray of float32, shape (n, 128)

        Raises
        ------
        DataError
            If a composition is not one that `accepts` allows.
        """
        self.network.eval()
        latents = np.empty((len(counts), LATENT), dtype=np.float32)
        for begin in range(0, len(counts), _CHUNK):
            matrices = self.config.encoding.encode(counts[begin : begin + _CHUNK])
            batch = self.network["encoder"](torch.from_numpy(matrices).float())
            latents[begin : begin + _CHUNK] = batch.numpy()
        return latents

    @torch.no_grad()
    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return compositions.

        Parameters
        ----------
        latents : ndarray of float, shape (n, 128)

        Returns
        -------
        ndarray of int16, shape (n, 103)
            Not reduced; a row of zeros where nothing was decoded. See `decodable`.

        Raises
        ------
        DataError
            If the shape is not (n, 128).
        """
        if latents.ndim != 2 or latents.shape[1] != LATENT:
            raise DataError(f"latent vectors have {LATENT} numbers, not shape {latents.shape}")
        self.network.eval()
        counts = np.zeros((len(latents), N_ELEMENTS), dtype=np.int16)
        for begin in range(0, len(latents), _CHUNK):
            batch = torch.from_numpy(latents[begin : begin + _CHUNK].astype(np.float32))
            values = torch.sigmoid(self.network["decoder"](batch)).numpy()
            counts[begin : begin + _CHUNK] = self.config.encoding.decode(
                values, threshold=self.config.threshold
            )
        return counts

    def exact(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions come back with every element and number right: bool, (n,)."""
        return (self.decode(self.encode(counts)) == counts).all(axis=1)


def random_compositions(
    counts: np.ndarray, config: AutoencoderConfig, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw compositions without chemistry, for the network to copy.

    Parameters
    ----------
    counts : ndarray of int16, shape (m, 103)
        Training compositions, for the marginals of seven in ten rows; the others are uniform.
    config : AutoencoderConfig
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int16, shape (n, 103)
    """
    alike = matched_random(counts, n - (3 * n) // 10, rng)
    flat = np.zeros((n - len(alike), N_ELEMENTS), dtype=np.int16)
    mine = columns(config.elements)
    sizes = rng.choice((counts > 0).sum(axis=1), size=len(flat)).clip(max=len(mine))
    for slot in range(int(sizes.max(initial=0))):
        rows = np.flatnonzero(sizes > slot)
        flat[rows, rng.choice(mine, size=len(rows))] = rng.integers(
            1, config.maximum + 1, size=len(rows)
        )
    return rng.permutation(np.concatenate([alike, flat]))


class _Pool:
    """Random compositions, made anew whenever they are used up; remembers its place."""

    def __init__(self, counts: np.ndarray, config: AutoencoderConfig, seed: int):
        self._counts, self._config, self._seed = counts, config, seed
        self._load(0, 0)

    def _load(self, batch: int, position: int) -> None:
        self._batch, self._position = batch, position
        rng = np.random.default_rng([self._seed, 1, batch])
        drawn = random_compositions(self._counts, self._config, _POOL_ROWS, rng)
        self._matrices = self._config.encoding.encode(drawn)

    def next(self, rows: int) -> np.ndarray:
        """Return the next matrices."""
        if self._position + rows > _POOL_ROWS:
            self._load(self._batch + 1, 0)
        taken = self._matrices[self._position : self._position + rows]
        self._position += rows
        return taken

    def state_dict(self) -> dict[str, int]:
        return {"batch": self._batch, "position": self._position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._load(state_dict["batch"], state_dict["position"])


def fit_autoencoder(
    counts: np.ndarray,
    config: AutoencoderConfig,
    seed: int,
    work: Path,
    fingerprint: str,
    report: Report | None = None,
) -> tuple[Autoencoder, Fitted]:
    """Train an autoencoder; go on from the checkpoint in `work` where there is one.

    Parameters
    ----------
    counts : ndarray of int16, shape (n, 103)
        Unique training compositions; those that are not `AutoencoderConfig.usable` are left out.
    config : AutoencoderConfig
    seed, work, fingerprint, report
        As in `models.fitting.loop.fit`; here the fingerprint names the data alone.

    Returns
    -------
    Autoencoder, Fitted
        The weights that reproduce most of the validation share exactly, and how the fit went.

    Raises
    ------
    ModelError
        If fewer than two compositions are usable.
    """
    counts = counts[config.usable(counts)]
    training, validation = validation_split(counts, config.validation_share, seed)
    matrices = config.encoding.encode(training)
    with seeded(seed):
        model = Autoencoder(config)
    network = model.network
    optimizer = torch.optim.Adam(network.parameters(), lr=config.rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, config.budget.steps, eta_min=config.rate * (0.01 if config.decay else 1.0)
    )
    random_rows = round(config.random_share * config.batch)
    batches = Batches(len(matrices), config.batch - random_rows, seed)
    pool = _Pool(training, config, seed)

    def step(_: int) -> dict[str, float]:
        network.train()
        batch = matrices[batches.next()]
        if random_rows:
            batch = np.concatenate([batch, pool.next(random_rows)])
        target = torch.from_numpy(batch).float()
        latent = network["encoder"](target)
        if config.latent_noise:
            latent = latent + config.latent_noise * torch.randn_like(latent)
        logits = network["decoder"](latent)
        loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        loss = loss / len(target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        return {"loss": loss.item()}

    def probe() -> dict[str, float]:
        return {"exact": float(model.exact(validation).mean())}

    fitted = fit(
        {
            "network": network,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "batches": batches,
            "pool": pool,
        },
        step,
        probe,
        network.state_dict,
        score="exact",
        budget=config.budget,
        seed=seed,
        work=work,
        fingerprint=f"autoencoder {fingerprint} {seed} {config.model_dump_json()}",
        report=report,
    )
    network.load_state_dict(fitted.weights)
    encoded = model.encode(training)
    model.box = np.stack([encoded.min(axis=0), encoded.max(axis=0)])
    return model, fitted
