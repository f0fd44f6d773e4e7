"""Sample stage: draw a shard of compositions from one of the generators.

In: trained generators and a shard number. Out: a table of up to 100,000 compositions as drawn,
duplicates kept, and the name of the generator that drew them.
"""

from __future__ import annotations

import logging

from pydantic import Field, model_validator

from structure.errors import ConfigError, ModelError
from structure.records import Settings
from tasks.campaign.handles import ModelHandle, write_table
from tasks.campaign.outputs import Sampled, Trained
from tasks.campaign.place import Place
from tasks.campaign.stage import stage

logger = logging.getLogger(__name__)

SHARD_LIMIT = 100_000
"""Most compositions of one shard, so that a shard stays one task of bounded memory."""


class SampleConfig(Settings):
    """How many compositions are drawn, and by whom."""

    shards: int = Field(default=20, ge=1)
    """MatGAN draws 2 million compositions (sec. 2.4); the default is as many."""
    shard_size: int = Field(default=SHARD_LIMIT, ge=1, le=SHARD_LIMIT)
    """Compositions a shard."""
    generators: dict[str, float] = Field(default={"matgan": 0.5, "sequence": 0.5})
    """Share of the shards that each generator draws, by name; scaled to sum to one."""

    @model_validator(mode="after")
    def _shares(self) -> SampleConfig:
        if any(share < 0 for share in self.generators.values()):
            raise ValueError("a generator's share is below zero")
        if not sum(self.generators.values()) > 0:
            raise ValueError("no generator has a share above zero")
        return self

    def generator_of(self, shard: int) -> str:
        """Return who draws a shard: the generator that is furthest behind its share."""
        total = sum(self.generators.values())
        drawn = dict.fromkeys(self.generators, 0)
        chosen = ""
        for done in range(shard + 1):
            owed = {
                name: share / total * (done + 1) - drawn[name]
                for name, share in self.generators.items()
            }
            chosen = max(sorted(owed), key=lambda name: owed[name])
            drawn[chosen] += 1
        return chosen


@stage(
    "sample",
    part="{shard:05d}",
    takes="a generator and a shard number",
    gives="a shard of drawn compositions",
)
def sample_shard(place: Place, config: SampleConfig, trained: Trained, shard: int) -> Sampled:
    """Draw one shard.

    Parameters
    ----------
    place : Place
    config : SampleConfig
    trained : Trained
        Must have the generators that `config` names.
    shard : int
        From 0; the compositions depend on the campaign's seed and this number alone.

    Returns
    -------
    Sampled

    Raises
    ------
    ConfigError
        If the configuration names a generator that was not trained.
    ModelError
        If its weights are missing or changed.
    """
    name = config.generator_of(shard)
    handle = trained.models.get(name)
    if handle is None:
        raise ConfigError(
            f"there is no generator {name!r}; the campaign has {', '.join(sorted(trained.models))}",
            where="sample.generators",
            fix="Name a trained generator, or train this one.",
        )
    return _draw(place, config, name, handle, shard)


def _draw(
    place: Place, config: SampleConfig, name: str, handle: ModelHandle, shard: int
) -> Sampled:
    from models.compositions.generator import draw, load_generator
    from models.fitting.checkpoints import read_config

    folder = handle.folder(place.root)
    if read_config(folder).sha256 != handle.sha256:
        raise ModelError(
            "the generator's weights are not the ones this campaign began with",
            where=folder,
            fix="Restore them, or start a new campaign directory.",
        )
    generator = load_generator(folder)
    drawn = draw(generator, config.shard_size, place.seed_of("sample", shard))
    path = place.folder("sample") / f"{shard:05d}.parquet"
    table = write_table(place.root, path, {}, "sampled", counts=drawn)
    logger.info("shard %d: %d compositions from %s", shard, table.rows, name)
    return Sampled(table=table, generator=name)
