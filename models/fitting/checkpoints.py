"""Folders of trained weights: serves the train stage and everything that loads a model.

In: named arrays, a `ModelConfig` and the text of a model card. Out: one folder with
``weights.safetensors``, ``config.json`` (with the hash of the weights) and ``CARD.md``; loading
refuses weights that are missing, damaged, changed or made for something else. The hash of
``config.json`` stands for the whole model: calibration, settings and, through it, the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from structure.errors import ModelError
from structure.files import sha256_of, write_bytes, write_json, write_text
from structure.records import Record

if TYPE_CHECKING:
    import torch

WEIGHTS_NAME, CONFIG_NAME, CARD_NAME = "weights.safetensors", "config.json", "CARD.md"
SCHEMA_VERSION = 1
_RETRAIN = "Restore the folder, or train the model again with `agd train`."


class ModelConfig(Record):
    """What ``config.json`` says about weights.

    Attributes
    ----------
    kind : str
        What loads them: ``matgan``, ``sequence``, ``autoencoder``, ``boosting`` ...
    settings : dict
        The model's own configuration as JSON-ready data.
    elements : tuple of str
        Elements the model knows, in its order.
    trained_on : str
        Data sets in words, with counts.
    data_sha256 : str
        `data_hash` of the compositions it was fitted on.
    seed : int
    metrics : dict of str to float
        Units in the names.
    sha256 : str
        Of the weights file; set when the folder is written.
    schema_version : int
    """

    kind: str
    settings: dict[str, Any]
    elements: tuple[str, ...]
    trained_on: str
    data_sha256: str
    seed: int
    metrics: dict[str, float]
    sha256: str = ""
    schema_version: int = SCHEMA_VERSION


def data_hash(*arrays: np.ndarray) -> str:
    """Return the SHA-256 of arrays: their types, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_model_folder(
    folder: Path, arrays: Mapping[str, np.ndarray], config: ModelConfig, card: str
) -> ModelConfig:
    """Write a folder of weights.

    Parameters
    ----------
    folder : Path
        Made when missing. ``config.json`` comes last, so a write that is cut short leaves a
        folder that does not load, never one that loads wrong weights.
    arrays : mapping of str to ndarray
    config : ModelConfig
    card : str
        Markdown text of the model card.

    Returns
    -------
    ModelConfig
        With the hash of the weights.
    """
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())})
    written = config.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    write_bytes(folder / WEIGHTS_NAME, content)
    write_text(folder / CARD_NAME, card if card.endswith("\n") else card + "\n")
    write_json(folder / CONFIG_NAME, written.model_dump(mode="json"))
    return written


def read_config(folder: Path, kind: str | None = None) -> ModelConfig:
    """Read ``config.json`` alone.

    Raises
    ------
    ModelError
        If it is missing, damaged, of another version or of another kind.
    """
    path = folder / CONFIG_NAME
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ModelError("the folder holds no model", where=path, fix=_RETRAIN) from error
    except (OSError, ValueError) as error:
        raise ModelError("the model's config.json is damaged", where=path, fix=_RETRAIN) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise ModelError(
            f"the model has schema version {version}, this release reads {SCHEMA_VERSION}",
            where=path,
            fix="Train it again with this release.",
        )
    try:
        config = ModelConfig.model_validate(content)
    except ValidationError as error:
        raise ModelError("the model's config.json is damaged", where=path, fix=_RETRAIN) from error
    if kind is not None and config.kind != kind:
        raise ModelError(
            f"the folder holds a model of kind {config.kind!r}, not {kind!r}",
            where=folder,
            fix=f"Name a folder of a {kind!r} model.",
        )
    return config


def model_hash(folder: Path) -> str:
    """Return the SHA-256 of ``config.json``, which changes with all that decides a prediction.

    Raises
    ------
    ModelError
        If the folder holds no model.
    """
    try:
        return sha256_of(folder / CONFIG_NAME)
    except OSError as error:
        raise ModelError(
            "the folder holds no model", where=folder / CONFIG_NAME, fix=_RETRAIN
        ) from error


def load_model_folder(folder: Path, kind: str) -> tuple[dict[str, np.ndarray], ModelConfig]:
    """Read a folder of weights after checking that they are the ones its config describes.

    Raises
    ------
    ModelError
        If anything is missing, damaged or changed, or the folder holds another kind of model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    config = read_config(folder, kind)
    path = folder / WEIGHTS_NAME
    if not path.exists():
        raise ModelError("the model has no weights file", where=path, fix=_RETRAIN)
    if sha256_of(path) != config.sha256:
        raise ModelError(
            "the weights are not the ones that config.json describes", where=path, fix=_RETRAIN
        )
    try:
        return load_file(path), config
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError("the weights file is damaged", where=path, fix=_RETRAIN) from error


_SEAL = b"agd-sha256:"


def sealed(content: bytes) -> bytes:
    """Return the content of a checkpoint followed by its hash, which `unsealed` takes off."""
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def unsealed(content: bytes) -> bytes:
    """Return what was sealed; content without a seal, as older releases wrote it, as it is.

    Raises
    ------
    ValueError
        If the content is not the one that was sealed.
    """
    body, seal, digest = content.rpartition(_SEAL)
    if not seal or len(digest) != hashlib.sha256().digest_size * 2:
        return content
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("the hash at its end is another file's")
    return body


def arrays_of(state: Mapping[str, torch.Tensor], *, half: bool = False) -> dict[str, np.ndarray]:
    """Return a torch state as arrays; with `half`, floating values in 16 bits to save space."""
    import torch

    out = {}
    for name, tensor in state.items():
        narrow = half and tensor.dtype == torch.float32
        out[name] = (tensor.half() if narrow else tensor).detach().cpu().numpy()
    return out


def load_into(module: torch.nn.Module, arrays: Mapping[str, np.ndarray], where: Path) -> None:
    """Put arrays into a module; 16-bit values become 32-bit.

    Raises
    ------
    ModelError
        If names or shapes are not the module's.
    """
    import torch

    state = {
        name: torch.from_numpy(a.astype(np.float32) if a.dtype == np.float16 else a)
        for name, a in arrays.items()
    }
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the network: {str(error).splitlines()[-1].strip()}",
            where=where,
            fix=_RETRAIN,
        ) from error
