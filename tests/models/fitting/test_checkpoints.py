from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.fitting.checkpoints import (
    ModelConfig,
    arrays_of,
    data_hash,
    load_into,
    load_model_folder,
    model_hash,
    read_config,
    save_model_folder,
    sealed,
    unsealed,
)
from structure.errors import ModelError

CONFIG = ModelConfig(
    kind="matgan",
    settings={"variant": "slot"},
    elements=("Na", "Cl"),
    trained_on="two salts",
    data_sha256="0" * 64,
    seed=5,
    metrics={"valid_share": 0.7},
)


def written(folder: Path) -> dict[str, np.ndarray]:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([7], dtype=np.int64)}
    save_model_folder(folder, arrays, CONFIG, "# A card")
    return arrays


def test_weights_come_back_as_they_were_written(tmp_path: Path) -> None:
    arrays = written(tmp_path / "model")
    found, config = load_model_folder(tmp_path / "model", "matgan")
    assert found.keys() == arrays.keys()
    for name in arrays:
        np.testing.assert_array_equal(found[name], arrays[name])
    assert config == CONFIG.model_copy(update={"sha256": config.sha256})
    assert (tmp_path / "model" / "CARD.md").read_text() == "# A card\n"


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "b")
    for name in ("weights.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="not the ones") as caught:
        load_model_folder(tmp_path, "matgan")
    assert "agd train" in str(caught.value)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(ModelError, match="'matgan', not 'autoencoder'"):
        load_model_folder(tmp_path, "autoencoder")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no model"),
        (lambda f: (f / "config.json").write_text("{"), "damaged"),
        (lambda f: (f / "config.json").write_text("[1]"), "schema version None"),
        (lambda f: (f / "weights.safetensors").unlink(), "no weights"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(tmp_path: Path, damage, message: str) -> None:
    written(tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError, match=message):
        load_model_folder(tmp_path, "matgan")


def test_another_version_or_an_unknown_key_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema_version": 99}))
    with pytest.raises(ModelError, match="schema version 99"):
        read_config(tmp_path)
    path.write_text(json.dumps(content | {"surprise": 1}))
    with pytest.raises(ModelError, match="damaged"):
        read_config(tmp_path)


def test_half_precision_weights_load_into_a_full_network(tmp_path: Path) -> None:
    net, other = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    torch.nn.init.normal_(net.weight, generator=torch.Generator().manual_seed(1))
    arrays = arrays_of(net.state_dict(), half=True)
    assert arrays["weight"].dtype == np.float16
    assert arrays["num_batches_tracked"].dtype == np.int64
    load_into(other, arrays, tmp_path)
    assert other.weight.dtype == torch.float32
    torch.testing.assert_close(other.weight, net.weight, atol=2e-3, rtol=1e-3)
    with pytest.raises(ModelError, match="do not fit the network"):
        load_into(torch.nn.BatchNorm1d(4), arrays, tmp_path)


def test_the_data_hash_sees_values_types_and_shapes() -> None:
    a = np.arange(6, dtype=np.int16)
    hashes = {data_hash(x) for x in (a, a + 1, a.reshape(2, 3), a.astype(np.int32))}
    assert len(hashes) == 4
    assert data_hash(a) == data_hash(a.copy())


def test_the_hash_of_a_model_changes_with_every_byte_of_its_configuration(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "config.json"
    content = path.read_bytes()
    hashes = {model_hash(tmp_path)}
    for place in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(bytes(flipped))
        hashes.add(model_hash(tmp_path))
    assert len(hashes) == 1 + len(range(0, len(content), 7))


def test_the_hash_of_a_model_changes_with_its_weights(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        save_model_folder(tmp_path / name, {"x": np.array([value])}, CONFIG, "card")
    assert model_hash(tmp_path / "a") != model_hash(tmp_path / "b")


@given(st.binary())
def test_what_is_sealed_comes_back(content: bytes) -> None:
    assert unsealed(sealed(content)) == content


@given(st.binary(min_size=1), st.data())
def test_a_flipped_bit_of_sealed_content_is_seen_or_changes_nothing(content, data) -> None:
    whole = sealed(content)
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unsealed(bytes(flipped))
    except ValueError:
        return
    assert found.startswith(content)
    assert place >= len(content)
