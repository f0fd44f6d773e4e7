"""Model cards of the composition models: serve the train stage.

In: measured numbers and where the data came from. Out: `models.fitting.cards.ModelCard` of MatGAN,
the sequence model and the autoencoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.compositions.autoencoder import AutoencoderConfig
from models.compositions.generation_metrics import UNIQUE_AMONG
from models.compositions.matgan import MatGANConfig
from models.compositions.sequence import SequenceConfig
from models.fitting.cards import DataSource, ModelCard

COMMAND = "agd train --data DIR --only {name}"

Row = Sequence[str]


@dataclass(frozen=True)
class CardFacts:
    """Where the training compositions came from.

    Attributes
    ----------
    sources : sequence of DataSource
    data_sha256 : str
    training, held_out : int
        Unique formulas on either side of the split.
    used, held_out_used : int
        Those of them that the model can hold and its rules allow.
    """

    sources: Sequence[DataSource]
    data_sha256: str
    training: int
    used: int
    held_out: int
    held_out_used: int

    def note(self, rules: str) -> str:
        """Say how rows became training compositions."""
        total = self.training + self.held_out
        return (
            f"{total:,} unique reduced formulas; {self.held_out:,} of them, drawn at random, were "
            f"held out. The model uses those {rules}: {self.used:,} to learn from and "
            f"{self.held_out_used:,} to be judged on."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _generation_tables(m: Mapping[str, float]) -> dict[str, tuple[Row, list[Row]]]:
    drawn = f"{m['drawn']:,.0f}"
    names = (
        ("neutral", "charge neutral"),
        ("strict", "charge neutral and electronegativity balanced (strict)"),
        ("pymatgen_sp", "the same with the shorter list `pymatgen_sp`"),
    )
    validity: list[Row] = [
        (words, _percent(m[k]), _percent(m[f"baseline_{k}"]), _percent(m[f"training_{k}"]))
        for k, words in names
    ]
    others: list[Row] = [
        ("no element drawn", _percent(m["empty"])),
        *(
            (f"distinct among the first {n:,}", _percent(m[f"unique_{n}"]))
            for n in UNIQUE_AMONG
            if n <= m["drawn"]
        ),
        ("novel (in neither set) among distinct", _percent(m["novel"])),
        ("strictly valid among novel", _percent(m["novel_strict"])),
        ("training formulas drawn", _percent(m["recovered_training"])),
        ("held-out formulas drawn", _percent(m["recovered_held_out"])),
    ]
    sizes: list[Row] = [
        (
            f"{k}" if k < 8 else "8 or more",
            _percent(m[f"elements_{k}"]),
            _percent(m[f"training_elements_{k}"]),
        )
        for k in range(1, 9)
    ]
    return {
        f"Validity of {drawn} draws as drawn. The baseline is random compositions with the "
        "training set's frequencies of elements and counts, so only what lies above it was "
        "learnt:": (("rule", "drawn", "random baseline", "training set"), validity),
        "The same draws:": (("share", "value"), others),
        "Number of elements:": (("elements", "drawn", "training set"), sizes),
    }


def _fit_words(m: Mapping[str, float]) -> str:
    return (
        f"The fit took {m['fit_steps']:,.0f} steps in {m['fit_cpu_seconds'] / 60:.1f} CPU-minutes "
        f"on one thread; the weights of step {m['kept_step']:,.0f} were kept. Weights are stored "
        "with 16 bits, and every number below was measured on the stored ones. One seed."
    )


_GENERATION_LIMITS = (
    "Validity means that oxidation states and electronegativities can balance; it says nothing "
    "about stability.",
    "Compounds that break the rules (mixed valence such as Fe3O4, intermetallics) are not in the "
    "training set and are seldom drawn.",
    "Compositions only: no structure, no property. The screen stage filters what is drawn.",
)


def matgan_card(m: Mapping[str, float], facts: CardFacts, config: MatGANConfig) -> ModelCard:
    """Describe a MatGAN, measured by `generation_metrics`."""
    rules = f"with 2 or more elements out of {len(config.elements)} and at most {config.maximum}"
    rules += " atoms of each"
    if config.valid_only:
        rules += " that are strictly valid"
    if config.variant == "slot":
        method = (
            "MatGAN with the slot generator of this product: the critic sees the paper's one-hot "
            f"{len(config.elements)} x {config.maximum} matrix and the game is Wasserstein's with "
            "a gradient penalty, as in the published code; the generator draws up to "
            f"{config.slots} slots of one element and its number of atoms instead of a whole "
            f"matrix by transposed convolutions. It learns {config.likelihood_steps:,} steps by "
            "maximum likelihood before the game begins. The paper's convolutional networks need "
            "60 to 150 CPU-hours; they are `variant: small` and `variant: oqmd`. "
        )
    else:
        method = (
            f"MatGAN's published convolutional network (`{config.variant}`), loss `{config.loss}`. "
        )
    return ModelCard(
        title="MatGAN",
        purpose="Draws inorganic compositions for the sample stage.",
        sources=facts.sources,
        data_note=facts.note(rules),
        data_sha256=facts.data_sha256,
        method=method + _fit_words(m),
        tables=_generation_tables(m),
        limits=(
            *_GENERATION_LIMITS,
            "The weights kept are those of the probe with most distinct valid draws less the "
            "departure of the number of elements from the data's, so validity is slightly "
            "optimistic; the held-out recovery is not.",
            "The paper's 92.1 % and 84.5 % are for its ICSD set and an older list of oxidation "
            "states; they are not comparable with these.",
        ),
        command=COMMAND.format(name="matgan"),
    )


def sequence_card(m: Mapping[str, float], facts: CardFacts, config: SequenceConfig) -> ModelCard:
    """Describe a sequence model, measured by `generation_metrics`."""
    rules = f"with 2 to {config.longest} elements out of {len(config.elements)} and at most "
    rules += f"{config.maximum} atoms of each"
    if config.valid_only:
        rules += " that are strictly valid"
    return ModelCard(
        title="Sequence generator",
        purpose="Draws inorganic compositions for the sample stage, beside MatGAN.",
        sources=facts.sources,
        data_note=facts.note(rules),
        data_sha256=facts.data_sha256,
        method=(
            "A gated recurrent unit names elements by rising electronegativity, each with its "
            "number of atoms. It is fitted by maximum likelihood with dropout; "
            f"{_percent(config.validation_share)} of the training compositions decide which "
            "weights are kept. Not from the papers. " + _fit_words(m)
        ),
        tables=_generation_tables(m),
        limits=(
            *_GENERATION_LIMITS,
            "It draws training formulas more often than held-out ones (see above): part of its "
            "validity is memory. The validity among novel draws is the fair figure.",
        ),
        command=COMMAND.format(name="sequence"),
    )


def autoencoder_card(
    m: Mapping[str, float], facts: CardFacts, config: AutoencoderConfig
) -> ModelCard:
    """Describe an autoencoder, measured by `autoencoder_metrics`."""
    rules = f"with 2 or more elements out of {len(config.elements)} and at most {config.maximum}"
    where = (
        ("box", "uniform in the box of encoded training compositions (as in AGD)"),
        ("around", "an encoded training composition, moved by up to 10 % of the box's width"),
        ("between", "half way between two encoded training compositions"),
    )
    kinds = ("not_empty", "decodable", "valid", "distinct")
    return ModelCard(
        title="Autoencoder of compositions",
        purpose=(
            "Maps compositions to 128 numbers and back; the explore stage searches among them."
        ),
        sources=facts.sources,
        data_note=facts.note(rules + " atoms of each"),
        data_sha256=facts.data_sha256,
        method=(
            "AGD's autoencoder (sec. 2.2: one-hot matrix "
            f"{len(config.elements)} x {config.maximum}, 128 latent numbers, cross-entropy, Adam), "
            + (
                "with its convolutions. "
                if config.variant == "conv"
                else f"with one dense layer of {config.hidden} on either side in place of its "
                "convolutions, noise on the latents, and "
                f"{_percent(config.random_share)} of every batch random compositions, which the "
                "network need only copy. "
            )
            + _fit_words(m)
        ),
        tables={
            "Compositions that come back with every element and number right:": (
                ("set", "share"),
                [
                    ("training", _percent(m["exact_training"])),
                    ("held out", _percent(m["exact_held_out"])),
                ],
            ),
            "What random latent vectors decode to. Decodable means two or more elements; valid "
            "means charge neutral and electronegativity balanced:": (
                ("latent vectors", "not empty", "decodable", "valid", "distinct"),
                [
                    (words, *(_percent(m[f"{name}_{kind}"]) for kind in kinds))
                    for name, words in where
                ],
            ),
        },
        limits=(
            "Random points of the box decode to little that is chemistry; search near encoded "
            "compositions.",
            "MatGAN's autoencoder reports 96.3 % and 95.5 % on 291,840 OQMD compositions with at "
            "most 8 atoms of an element: another task.",
        ),
        command=COMMAND.format(name="autoencoder"),
    )
