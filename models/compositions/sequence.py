"""An autoregressive generator of compositions, for the train and sample stages.

In: unique compositions. Out: weights that draw new ones, element by element. A gated recurrent
unit reads the elements named so far and gives the next element, then its number of atoms; it is
fitted by maximum likelihood and stopped when a validation share is no longer better predicted.
Chosen beside MatGAN as the generator that a CPU trains well; not from the papers.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from models.compositions.composition_model import CompositionModel, validation_split
from models.compositions.encoding import MATGAN_ENCODING, Encoding
from models.fitting.loop import Batches, FitBudget, Fitted, fit, seeded
from models.fitting.progress import Report
from structure.composition import N_ELEMENTS, WRITING_ORDER
from structure.elements import INDEX, MATGAN_ELEMENTS
from structure.records import Settings
from structure.rules.validity import valid

_SAMPLE_CHUNK = 2_048


class SequenceConfig(Settings):
    """Everything that decides a sequence model. All values are chosen."""

    elements: tuple[str, ...] = MATGAN_ELEMENTS
    """Elements it can draw."""
    maximum: int = Field(default=MATGAN_ENCODING.maximum, gt=0)
    """Most atoms of one element in the reduced formula; MatGAN's 8, so that both generators draw
    from the same space."""
    longest: int = Field(default=7, gt=1)
    """Most elements of a compound."""
    valid_only: bool = True
    """Fit on chemically valid compositions alone, as MatGAN does."""
    embedding: int = Field(default=48, gt=0)
    """Numbers that stand for a token."""
    hidden: int = Field(default=192, gt=0)
    """Width of the recurrent layer."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """On the recurrent state; keeps the model from learning formulas by heart."""
    batch: int = Field(default=256, gt=1)
    """Compositions a step."""
    rate: float = Field(default=3e-3, gt=0)
    """Of Adam; falls to zero along half a cosine."""
    validation_share: float = Field(default=0.05, gt=0, lt=0.5)
    """Share of the training compositions that decides which weights are kept."""
    budget: FitBudget = FitBudget(steps=4_000, probe_every=200, patience=5)
    """How long it is fitted."""

    @property
    def encoding(self) -> Encoding:
        """The compositions the model can draw."""
        return Encoding(self.elements, self.maximum)

    @property
    def order(self) -> np.ndarray:
        """`structure.elements.ELEMENTS` columns in the order in which elements are drawn.

        By rising electronegativity, as formulas are written: cations first, so that the anions,
        which settle the charge, come last.
        """
        mine = {INDEX[e] for e in self.elements}
        return np.array([c for c in WRITING_ORDER.tolist() if c in mine], dtype=np.intp)

    def usable(self, counts: np.ndarray) -> np.ndarray:
        """Return which compositions this model is fitted on: bool, shape (n,)."""
        sizes = (counts > 0).sum(axis=1)
        keep = self.encoding.fits(counts) & (sizes >= 2) & (sizes <= self.longest)
        return keep & valid(counts) if self.valid_only else keep


class Sequences(NamedTuple):
    """Compositions as sequences, padded; the symbol after the last element is the end.

    Attributes
    ----------
    element : ndarray of int64, shape (n, longest + 1)
        Place in `SequenceConfig.order`; ``len(elements)`` is the end, and the padding after it.
    number : ndarray of int64, shape (n, longest + 1)
        Atoms less one; 0 at the end.
    length : ndarray of int64, shape (n,)
        Elements, the end included.
    """

    element: np.ndarray
    number: np.ndarray
    length: np.ndarray


def sequences_of(counts: np.ndarray, config: SequenceConfig) -> Sequences:
    """Write usable compositions as sequences."""
    ordered = counts[:, config.order]
    rows, places = np.nonzero(ordered)
    sizes = (ordered > 0).sum(axis=1)
    at = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    element = np.full((len(counts), config.longest + 1), len(config.elements), dtype=np.int64)
    number = np.zeros_like(element)
    element[rows, at] = places
    number[rows, at] = ordered[rows, places] - 1
    return Sequences(element, number, sizes + 1)


class SequenceNetwork(nn.Module):
    """Gated recurrent unit with one head for the element and one for its number of atoms.

    Parameters
    ----------
    config : SequenceConfig
    """

    def __init__(self, config: SequenceConfig):
        super().__init__()
        self.end = len(config.elements)
        self.start = self.end + 1
        self.longest = config.longest
        self.embed_element = nn.Embedding(self.end + 2, config.embedding)
        self.embed_number = nn.Embedding(config.maximum, config.embedding)
        self.cell = nn.GRU(2 * config.embedding, config.hidden, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.element = nn.Linear(config.hidden, self.end + 1)
        self.inner = nn.Linear(config.hidden + config.embedding, config.hidden)
        self.number = nn.Linear(config.hidden, config.maximum)

    def _inputs(self, element: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.embed_element(element), self.embed_number(number)], dim=-1)

    def _numbers(self, state: torch.Tensor, element: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([state, self.embed_element(element)], dim=-1)
        return self.number(torch.relu(self.inner(joined)))

    def log_likelihood(
        self, element: torch.Tensor, number: torch.Tensor, length: torch.Tensor
    ) -> torch.Tensor:
        """Return the log likelihood of each sequence in nats, shape (n,)."""
        first = torch.full_like(element[:, :1], self.start)
        before = torch.cat([first, element[:, :-1]], dim=1)
        numbers_before = torch.cat([torch.zeros_like(number[:, :1]), number[:, :-1]], dim=1)
        state = self.dropout(self.cell(self._inputs(before, numbers_before))[0])
        logits = self._after(self.element(state), before)
        for_element = functional.cross_entropy(logits.transpose(1, 2), element, reduction="none")
        for_number = functional.cross_entropy(
            self._numbers(state, element).transpose(1, 2), number, reduction="none"
        )
        inside = torch.arange(element.shape[1], device=element.device) < length[:, None]
        present = inside & (element != self.end)
        return -(for_element * inside + for_number * present).sum(dim=1)

    def _after(self, logits: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Leave only elements that come later in the order than the last one, and the end."""
        last = torch.where(before >= self.end, -1, before)
        places = torch.arange(self.end + 1, device=logits.device)
        gone = (places <= last[..., None]) | (
            (before == self.start)[..., None] & (places == self.end)
        )
        return logits.masked_fill(gone, -1e9)

    @torch.no_grad()
    def draw(self, rows: int, source: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw sequences.

        Returns
        -------
        element, number : ndarray of int64, shape (rows, longest)
            As in `Sequences`.
        """
        elements = np.full((rows, self.longest), self.end, dtype=np.int64)
        numbers = np.zeros_like(elements)
        alive = torch.arange(rows)
        element = torch.full((rows,), self.start)
        number = torch.zeros(rows, dtype=torch.int64)
        hidden = torch.zeros(1, rows, self.cell.hidden_size)
        for place in range(self.longest):
            state, hidden = self.cell(self._inputs(element, number)[:, None], hidden)
            state = state[:, 0]
            drawn = _draw(self._after(self.element(state), element), source)
            go_on = drawn != self.end
            alive, element, state = alive[go_on], drawn[go_on], state[go_on]
            hidden = hidden[:, go_on]
            if not len(alive):
                break
            number = _draw(self._numbers(state, element), source)
            elements[alive.numpy(), place] = element.numpy()
            numbers[alive.numpy(), place] = number.numpy()
        return elements, numbers


def _draw(logits: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Draw one category a row, by adding Gumbel noise."""
    noise = torch.empty_like(logits).exponential_(generator=source)
    return (logits - noise.log_()).argmax(dim=-1)


class SequenceGenerator(CompositionModel[SequenceConfig]):
    """Draws compositions.

    Parameters
    ----------
    config : SequenceConfig
    network : SequenceNetwork, optional
        A fitted network; new when left out.
    """

    name = "sequence"
    config_type = SequenceConfig
    network: SequenceNetwork

    def __init__(self, config: SequenceConfig, network: SequenceNetwork | None = None):
        super().__init__(config)
        self.network = (network or SequenceNetwork(config)).eval()

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Draw `n` compositions; see `CompositionGenerator`. None is empty."""
        source = torch.Generator().manual_seed(seed)
        column_of = np.append(self.config.order, N_ELEMENTS)
        drawn = np.zeros((n, N_ELEMENTS + 1), dtype=np.int16)
        for begin in range(0, n, _SAMPLE_CHUNK):
            rows = min(_SAMPLE_CHUNK, n - begin)
            element, number = self.network.draw(rows, source)
            at = np.arange(begin, begin + rows)[:, None]
            drawn[at, column_of[element]] = number + 1
        return drawn[:, :N_ELEMENTS]

    @torch.no_grad()
    def log_likelihood(self, counts: np.ndarray) -> np.ndarray:
        """Return the log likelihood of usable compositions in nats, float64, shape (n,)."""
        rows = [torch.from_numpy(a) for a in sequences_of(counts, self.config)]
        parts = [
            self.network.log_likelihood(*(a[i : i + _SAMPLE_CHUNK] for a in rows))
            for i in range(0, len(counts), _SAMPLE_CHUNK)
        ]
        return torch.cat(parts).double().numpy() if parts else np.zeros(0)


def fit_sequence(
    counts: np.ndarray,
    config: SequenceConfig,
    seed: int,
    work: Path,
    fingerprint: str,
    report: Report | None = None,
) -> tuple[SequenceGenerator, Fitted]:
    """Train a sequence model; go on from the checkpoint in `work` where there is one.

    Parameters
    ----------
    counts : ndarray of int16, shape (n, 103)
        Unique training compositions; those that are not `SequenceConfig.usable` are left out.
    config : SequenceConfig
    seed, work, fingerprint, report
        As in `models.fitting.loop.fit`; here the fingerprint names the data alone.

    Returns
    -------
    SequenceGenerator, Fitted
        The weights that predict the validation share best, and how the fit went.

    Raises
    ------
    ModelError
        If fewer than two compositions are usable.
    """
    counts = counts[config.usable(counts)]
    training, validation = validation_split(counts, config.validation_share, seed)
    data = [torch.from_numpy(a) for a in sequences_of(training, config)]
    with seeded(seed):
        network = SequenceNetwork(config)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.budget.steps)
    batches = Batches(len(data[0]), config.batch, seed)
    model = SequenceGenerator(config, network)

    def step(_: int) -> dict[str, float]:
        network.train()
        rows = torch.from_numpy(batches.next())
        loss = -network.log_likelihood(*(a[rows] for a in data)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        return {"loss": loss.item()}

    def probe() -> dict[str, float]:
        network.eval()
        return {"validation_loss": float(-model.log_likelihood(validation).mean())}

    fitted = fit(
        {
            "network": network,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "batches": batches,
        },
        step,
        probe,
        network.state_dict,
        score="-validation_loss",
        budget=config.budget,
        seed=seed,
        work=work,
        fingerprint=f"sequence {fingerprint} {seed} {config.model_dump_json()}",
        report=report,
    )
    network.load_state_dict(fitted.weights)
    network.eval()
    return model, fitted
