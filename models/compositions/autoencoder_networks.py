"""The autoencoder's networks, for the train and explore stages.

In: 87 x 20 composition matrices. Out: 128-d latent vectors, and logits of matrices from them. The
convolutional pair is AGD's (sec. 2.2: two convolutions and a linear layer, a linear layer and
three convolutions); the dense pair is ours, a tenth of the work.
"""

from __future__ import annotations

import torch
from torch import nn

LATENT = 128
"""Length of the latent vector (AGD sec. 2.1)."""

CHANNELS = (16, 32)
"""Chosen: the paper does not say how many filters its convolutions have."""


class ConvEncoder(nn.Module):
    """Two convolutions and a linear layer; kernel 3, stride 2, ReLU (kernel and stride chosen)."""

    def __init__(self, shape: tuple[int, int]):
        super().__init__()
        first, second = CHANNELS
        self.blocks = nn.Sequential(
            nn.Conv2d(1, first, 3, 2, 1), nn.ReLU(), nn.Conv2d(first, second, 3, 2, 1), nn.ReLU()
        )
        height, width = _quarter(shape)
        self.linear = nn.Linear(second * height * width, LATENT)

    def forward(self, matrices: torch.Tensor) -> torch.Tensor:
        """Return latent vectors (n, 128) of matrices (n, lines, places)."""
        return self.linear(self.blocks(matrices[:, None]).flatten(1))


class ConvDecoder(nn.Module):
    """A linear layer and three convolutions, two of them transposed; ends in logits."""

    def __init__(self, shape: tuple[int, int]):
        super().__init__()
        first, second = CHANNELS
        height, width = self._map = _quarter(shape)
        self.linear = nn.Linear(LATENT, second * height * width)
        half = tuple(-(-side // 2) for side in shape)
        self.blocks = nn.Sequential(
            nn.ConvTranspose2d(second, first, 3, 2, 1, _extra(self._map, half)),
            nn.ReLU(),
            nn.ConvTranspose2d(first, first, 3, 2, 1, _extra(half, shape)),
            nn.ReLU(),
            nn.Conv2d(first, 1, 3, 1, 1),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Return logits (n, lines, places) of latent vectors (n, 128)."""
        start = torch.relu(self.linear(latents)).view(-1, CHANNELS[1], *self._map)
        return self.blocks(start)[:, 0]


def _quarter(shape: tuple[int, int]) -> tuple[int, int]:
    """Size of a matrix after two strides of 2."""
    return -(-shape[0] // 4), -(-shape[1] // 4)


def _extra(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, int]:
    """Output padding that makes a transposed convolution (3, 2, 1) reach a size."""
    return after[0] - (2 * before[0] - 1), after[1] - (2 * before[1] - 1)


class DenseEncoder(nn.Module):
    """Matrix - hidden - latent."""

    def __init__(self, shape: tuple[int, int], hidden: int):
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape[0] * shape[1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, LATENT),
        )

    def forward(self, matrices: torch.Tensor) -> torch.Tensor:
        """Return latent vectors (n, 128) of matrices (n, lines, places)."""
        return self.blocks(matrices)


class DenseDecoder(nn.Module):
    """Latent - hidden - logits of a matrix."""

    def __init__(self, shape: tuple[int, int], hidden: int):
        super().__init__()
        self._shape = shape
        self.blocks = nn.Sequential(
            nn.Linear(LATENT, hidden), nn.ReLU(), nn.Linear(hidden, shape[0] * shape[1])
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Return logits (n, lines, places) of latent vectors (n, 128)."""
        return self.blocks(latents).view(-1, *self._shape)
