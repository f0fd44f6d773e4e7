from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.compositions.matgan import MatGAN, MatGANConfig
from models.compositions.sequence import SequenceConfig, SequenceGenerator
from models.fitting.checkpoints import save_model_folder
from models.fitting.loop import seeded
from structure.errors import ConfigError, ModelError
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import ModelHandle, read_table
from tasks.campaign.outputs import Trained
from tasks.sample import SampleConfig, sample_shard


def two_generators(root: Path) -> Trained:
    with seeded(0):
        models = (
            MatGAN(MatGANConfig(hidden=8)),
            SequenceGenerator(SequenceConfig(hidden=8, embedding=4)),
        )
    handles = {}
    for model in models:
        about = save_model_folder(
            root / "models" / model.name,
            model.arrays(),
            model.about("nothing", "0" * 64, 0, {}),
            "# An untrained model",
        )
        handles[model.name] = ModelHandle(
            name=model.name, place="campaign", path=f"models/{model.name}", sha256=about.sha256
        )
    return Trained(models=handles)


def test_shards_alternate_and_hold_what_the_generator_drew(tmp_path: Path) -> None:
    config = SampleConfig(shards=4, shard_size=200)
    trained = two_generators(tmp_path)
    with Campaign(tmp_path, {}, seed=5) as campaign:
        shards = [campaign.run(sample_shard, config, trained, i) for i in range(4)]
        assert [s.generator for s in shards] == ["matgan", "sequence", "matgan", "sequence"]
        for i, sampled in enumerate(shards):
            columns, counts = read_table(tmp_path, sampled.table)
            assert columns == {}
            assert counts is not None
            assert counts.shape == (200, 103)
            assert sampled.table.rows == 200
            kind = MatGAN if sampled.generator == "matgan" else SequenceGenerator
            model = kind.load(tmp_path / "models" / sampled.generator)
            np.testing.assert_array_equal(counts, model.sample(200, campaign.seed_of("sample", i)))


def test_a_finished_shard_is_not_drawn_again(tmp_path: Path) -> None:
    config = SampleConfig(shards=1, shard_size=50)
    trained = two_generators(tmp_path)
    with Campaign(tmp_path, {}, seed=5) as campaign:
        first = campaign.run(sample_shard, config, trained, 0)
        (tmp_path / "models" / "matgan" / "weights.safetensors").unlink()
        assert campaign.run(sample_shard, config, trained, 0) == first


def test_weights_that_changed_since_the_campaign_began_are_refused(tmp_path: Path) -> None:
    trained = two_generators(tmp_path)
    with seeded(1):
        other = MatGAN(MatGANConfig(hidden=8))
    save_model_folder(
        tmp_path / "models" / "matgan", other.arrays(), other.about("x", "0" * 64, 0, {}), "# x"
    )
    with Campaign(tmp_path, {}, seed=5) as campaign, pytest.raises(ModelError, match="began with"):
        campaign.run(sample_shard, SampleConfig(shard_size=10), trained, 0)


def test_an_unknown_generator_is_named_with_those_there_are(tmp_path: Path) -> None:
    trained = two_generators(tmp_path)
    config = SampleConfig(generators={"diffusion": 1.0})
    with Campaign(tmp_path, {}, seed=5) as campaign, pytest.raises(ConfigError) as caught:
        campaign.run(sample_shard, config, trained, 0)
    assert "matgan, sequence" in str(caught.value)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 10), min_size=1),
    st.integers(1, 60),
)
def test_every_generator_gets_its_share_within_one_shard(
    shares: dict[str, float], shards: int
) -> None:
    config = SampleConfig(shards=shards, generators=shares)
    drawn = Counter(config.generator_of(i) for i in range(shards))
    for name, share in shares.items():
        assert abs(drawn[name] - shards * share / sum(shares.values())) < len(shares)


def test_a_share_of_zero_draws_nothing() -> None:
    config = SampleConfig(generators={"matgan": 0.0, "sequence": 2.0})
    assert {config.generator_of(i) for i in range(7)} == {"sequence"}


@pytest.mark.parametrize("shares", [{}, {"matgan": 0.0}, {"matgan": -1.0, "sequence": 2.0}])
def test_shares_that_leave_nobody_to_draw_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SampleConfig(generators=shares)
