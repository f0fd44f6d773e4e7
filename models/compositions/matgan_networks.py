"""MatGAN's networks: the published convolutional ones and the slot generator for CPUs.

In: latent vectors or 85 x 8 composition matrices. Out: matrices, or the critic's value of them.
Serves the train and sample stages through `models.compositions.matgan`. Layer tables: MatGAN,
Supplementary Table 1; details the tables leave open follow the authors' published code.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LATENT = 128
"""Length of the random vector (Supplementary Table 1)."""

Layer = tuple[int, int, tuple[int, int]]
"""Filters, kernel side, strides."""

SMALL_GENERATOR: tuple[Layer, ...] = (
    (64, 5, (2, 2)),
    (32, 3, (2, 1)),
    (16, 3, (2, 1)),
    (1, 3, (2, 1)),
)
"""Transposed convolutions of GAN-ICSD and GAN-MP (Supplementary Table 1)."""

SMALL_CRITIC: tuple[Layer, ...] = (
    (16, 3, (2, 1)),
    (32, 3, (2, 1)),
    (64, 3, (2, 1)),
    (128, 5, (2, 2)),
)

OQMD_GENERATOR: tuple[Layer, ...] = (
    (128, 5, (2, 2)),
    (128, 3, (2, 1)),
    (64, 3, (1, 1)),
    (64, 3, (2, 1)),
    (32, 3, (1, 1)),
    (32, 3, (2, 1)),
    (1, 3, (1, 1)),
)
"""Transposed convolutions of GAN-OQMD (Supplementary Table 1)."""

OQMD_CRITIC: tuple[Layer, ...] = (
    (32, 3, (1, 1)),
    (32, 3, (2, 1)),
    (64, 3, (1, 1)),
    (64, 3, (2, 1)),
    (128, 3, (1, 1)),
    (128, 3, (2, 1)),
    (256, 5, (2, 2)),
)

_LEAK = 0.2  # published code: LeakyReLU slope of the critic


def _sizes(shape: tuple[int, int], layers: tuple[Layer, ...]) -> list[tuple[int, int]]:
    """Sizes from the matrix down to the smallest map, halving upwards at stride 2."""
    sizes = [shape]
    for _, _, (down, across) in layers:
        height, width = sizes[-1]
        sizes.append((-(-height // down), -(-width // across)))
    return sizes


class ConvGenerator(nn.Module):
    """Latent vector to a matrix of probabilities by transposed convolutions.

    Batch normalisation and ReLU follow every layer but the last, which ends in a sigmoid.

    Parameters
    ----------
    shape : (int, int)
        Of the matrix, 85 x 8 in the paper.
    layers : tuple of Layer
    first_channels : int
        Channels of the map that the linear layer feeds (128 or 256).
    """

    def __init__(self, shape: tuple[int, int], layers: tuple[Layer, ...], first_channels: int):
        super().__init__()
        sizes = _sizes(shape, tuple(reversed(layers)))[::-1]
        height, width = sizes[0]
        self.linear = nn.Linear(LATENT, height * width * first_channels)
        self.first = nn.BatchNorm1d(height * width * first_channels)
        self._map = (first_channels, height, width)
        blocks: list[nn.Module] = []
        channels = first_channels
        for i, (filters, kernel, stride) in enumerate(layers):
            before, after = sizes[i], sizes[i + 1]
            pad = kernel // 2
            down, across = (
                after[d] - ((before[d] - 1) * stride[d] - 2 * pad + kernel) for d in (0, 1)
            )
            blocks.append(
                nn.ConvTranspose2d(channels, filters, kernel, stride, pad, (down, across))
            )
            if i < len(layers) - 1:
                blocks += [nn.BatchNorm2d(filters), nn.ReLU()]
            channels = filters
        self.blocks = nn.Sequential(*blocks)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return matrices, shape (n, lines, places), values within 0 and 1."""
        start = functional.relu(self.first(self.linear(latent)))
        return torch.sigmoid(self.blocks(start.view(-1, *self._map))[:, 0])


class ConvCritic(nn.Module):
    """Matrix to one number by convolutions; batch normalisation after each but the first."""

    def __init__(self, shape: tuple[int, int], layers: tuple[Layer, ...]):
        super().__init__()
        blocks: list[nn.Module] = []
        for i, ((before, _, _), (filters, kernel, stride)) in enumerate(
            pairwise(((1, 1, (1, 1)), *layers))
        ):
            blocks.append(nn.Conv2d(before, filters, kernel, stride, kernel // 2))
            if i:
                blocks.append(nn.BatchNorm2d(filters))
            blocks.append(nn.LeakyReLU(_LEAK))
        height, width = _sizes(shape, layers)[-1]
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(height * width * layers[-1][0], 1)

    def forward(self, matrices: torch.Tensor) -> torch.Tensor:
        """Return the critic's value of matrices (n, lines, places), shape (n,)."""
        return self.linear(self.blocks(matrices[:, None]).flatten(1))[:, 0]


class SlotGenerator(nn.Module):
    """Latent vector to a few slots, each an element (or none) with a number of atoms.

    Chosen for CPUs: far less work than the convolutions, and every sample is a 0/1 matrix. Slots
    are drawn one after the other, each seeing those before it and naming a later element of a
    fixed order, with Gumbel noise; gradients pass by the straight-through estimate.

    Parameters
    ----------
    shape : (int, int)
        Of the matrix.
    rank : ndarray of int, shape (lines,)
        Place of each line in the order in which slots name elements.
    slots : int
        Most elements of a compound.
    hidden : int
    """

    forbidden: torch.Tensor
    barred: torch.Tensor

    def __init__(self, shape: tuple[int, int], rank: np.ndarray, slots: int, hidden: int):
        super().__init__()
        self.lines, self.places = shape
        self.slots = slots
        self.body = nn.Sequential(
            nn.Linear(LATENT, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
        )
        self.see_element = nn.Linear(self.lines + 1, hidden, bias=False)
        self.see_number = nn.Linear(self.places, hidden, bias=False)
        self.mix = nn.Linear(hidden, hidden)
        self.element = nn.ModuleList(nn.Linear(hidden, self.lines + 1) for _ in range(slots))
        self.number = nn.ModuleList(nn.Linear(hidden, self.places) for _ in range(slots))
        ranks = torch.from_numpy(np.append(rank, -1))
        forbidden = (ranks[None, :] <= ranks[:, None]).float()
        forbidden[:, self.lines], forbidden[self.lines, : self.lines] = 0.0, 1.0
        self.register_buffer("forbidden", forbidden, persistent=False)
        barred = torch.zeros(3, self.lines + 1)
        barred[:2, self.lines] = 1.0
        barred[0, int(rank.argmax())] = 1.0
        self.register_buffer("barred", barred, persistent=False)

    @torch.no_grad()
    def start_from(self, line: np.ndarray, place: np.ndarray) -> None:
        """Set the biases so that each slot of the untrained generator has the data's marginals.

        Parameters
        ----------
        line, place : ndarray of int, shape (n, slots)
            Compositions as `draw` gives them.
        """
        for slot in range(self.slots):
            used = line[:, slot] < self.lines
            for layer, values in (
                (self.element[slot], line[:, slot]),
                (self.number[slot], place[used, slot]),
            ):
                bias = layer.bias
                assert isinstance(bias, torch.Tensor)
                seen = np.bincount(values, minlength=len(bias)) + 0.5
                bias.copy_(torch.from_numpy(np.log(seen / seen.max())))

    def _mixed(self, inside: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.mix(torch.relu(inside)))

    def _element_logits(
        self, inside: torch.Tensor, slot: int, ban: torch.Tensor | None
    ) -> torch.Tensor:
        """Logits of a slot's element; a compound has two at least, so the first two are used.

        The first slot cannot name the last element of the order, which nothing could follow.
        """
        banned = self.barred[min(slot, 2)] if ban is None else self.barred[min(slot, 2)] + ban
        return self.element[slot](self._mixed(inside)) - _FORBIDDEN * banned

    def _number_logits(self, inside: torch.Tensor, slot: int) -> torch.Tensor:
        return self.number[slot](self._mixed(inside))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return matrices (n, lines, places): the sum of the slots, hard values, soft gradients."""
        inside = self.body(latent)
        matrix = latent.new_zeros(len(latent), self.lines, self.places)
        ban = None
        for slot in range(self.slots):
            logits = self._element_logits(inside, slot, ban)
            element = functional.gumbel_softmax(logits, tau=1.0, hard=True)
            inside = inside + self.see_element(element)
            number = functional.gumbel_softmax(
                self._number_logits(inside, slot), tau=1.0, hard=True
            )
            inside = inside + self.see_number(number)
            matrix = matrix + element[:, : self.lines, None] * number[:, None, :]
            ban = element.detach() @ self.forbidden
        return matrix

    def log_likelihood(
        self, latent: torch.Tensor, line: torch.Tensor, place: torch.Tensor
    ) -> torch.Tensor:
        """Return the log likelihood of compositions given latent vectors, in nats, shape (n,).

        Parameters
        ----------
        latent : Tensor, shape (n, 128)
        line, place : Tensor of int64, shape (n, slots)
            In the order of `rank`; ``lines`` for an empty slot.
        """
        inside = self.body(latent)
        ban, total = None, latent.new_zeros(len(latent))
        for slot in range(self.slots):
            logits = self._element_logits(inside, slot, ban)
            total = total - functional.cross_entropy(logits, line[:, slot], reduction="none")
            inside = inside + functional.embedding(line[:, slot], self.see_element.weight.T)
            logits = self._number_logits(inside, slot)
            loss = functional.cross_entropy(logits, place[:, slot], reduction="none")
            total = total - loss * (line[:, slot] < self.lines)
            inside = inside + functional.embedding(place[:, slot], self.see_number.weight.T)
            ban = self.forbidden[line[:, slot]]
        return total

    @torch.no_grad()
    def draw(self, latent: torch.Tensor, source: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw elements and numbers without building matrices.

        Returns
        -------
        line, place : ndarray of int64, shape (n, slots)
            A line equal to `lines` means an empty slot; no line occurs twice in a row.
        """
        inside = self.body(latent)
        lines = np.full((len(latent), self.slots), self.lines, dtype=np.int64)
        places = np.zeros_like(lines)
        rows, ban = torch.arange(len(latent)), None
        for slot in range(self.slots):
            element = gumbel_argmax(self._element_logits(inside, slot, ban), source)
            used = element < self.lines
            rows, element, inside = rows[used], element[used], inside[used]
            if not len(rows):
                break
            inside = inside + functional.embedding(element, self.see_element.weight.T)
            number = gumbel_argmax(self._number_logits(inside, slot), source)
            inside = inside + functional.embedding(number, self.see_number.weight.T)
            ban = self.forbidden[element]
            lines[rows.numpy(), slot] = element.numpy()
            places[rows.numpy(), slot] = number.numpy()
        return lines, places


_FORBIDDEN = 1e4  # taken from the logits of what a slot must not name


def gumbel_argmax(logits: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Draw one category a row: argmax of logits minus the logarithm of an exponential variate."""
    noise = torch.empty_like(logits).exponential_(generator=source)
    return (logits - noise.log_()).argmax(dim=-1)


class DenseCritic(nn.Module):
    """Matrix to one number by linear layers; the slot generator's opponent."""

    def __init__(self, shape: tuple[int, int], hidden: int, layers: int):
        super().__init__()
        widths = [shape[0] * shape[1], *[hidden] * layers]
        blocks: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            blocks += [nn.Linear(before, after), nn.LeakyReLU(_LEAK)]
        self.blocks = nn.Sequential(*blocks, nn.Linear(hidden, 1))

    def forward(self, matrices: torch.Tensor) -> torch.Tensor:
        """Return the critic's value of matrices (n, lines, places), shape (n,)."""
        return self.blocks(matrices)[:, 0]


def as_published(module: nn.Module) -> None:
    """Set weights as the published code does: N(0, 1), biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
