"""Encoders to go on with: a run of ours, a Hugging Face folder, or a name on its hub.

No code is executed: weights are safetensors, or a .bin that torch unpickles in its weights-only
mode.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from configs.errors import InputError
from configs.loader import load_config
from configs.schema import ModelConfig, PretrainConfig
from pretrain.engine import checkpoint
from pretrain.engine.assemble import make_model
from pretrain.engine.tensors import check_tensors, read_tensors, shapes_of
from pretrain.model.convert import ROBERTA_PAD, from_huggingface, model_config
from pretrain.model.pretraining import PretrainingModel
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HUB_FILES = ["*.json", "*.txt", "*.model", *WEIGHTS, "model-*.safetensors", "pytorch_model-*.bin"]
WORDS = "encoder.embeddings.word.weight"


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its tokenizer."""

    model: ModelConfig
    tokenizer: Tokenizer
    weights: dict[str, Tensor]
    """float32 under our names: encoder.*, and where it has them mlm_head.*, nsp_head.*"""

    @property
    def vocabulary_size(self) -> int:
        """Rows of the embedding table: the tokenizer's entries, or more where it was padded."""
        return len(self.weights[WORDS])


def load_pretrained(name: str) -> Pretrained:
    """The encoder called `name`.

    Args:
        name: a folder of ours (with config.yaml), of Hugging Face's (with config.json), or
            `owner/name`, `owner/name@revision` on the hub.
    Raises:
        InputError: nothing there, damage, another architecture, weights that execute code, or a
            tokenizer that does not fit.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = fetch(name)
    if (folder / "config.yaml").is_file():
        pretrained = _read_run(folder)
    elif (folder / "config.json").is_file():
        pretrained = _read_huggingface(folder)
    else:
        raise InputError(
            f"model={name}: neither a run folder (config.yaml) nor a Hugging Face folder "
            "(config.json): check the path"
        )
    _check_tokenizer(folder, pretrained)
    return pretrained


def load_initial(model: PretrainingModel, name: str, tokenizer: Tokenizer) -> None:
    """Give a model the weights called `name`, heads too where there are any.

    Raises:
        InputError: they are of another shape, or belong to another tokenizer.
    """
    found = load_pretrained(name)
    if found.tokenizer.fingerprint != tokenizer.fingerprint:
        raise InputError(
            f"initial_model={name} was made with another tokenizer than this run's: set "
            "tokenizer.path to its own"
        )
    own = model.state_dict()
    size = tokenizer.vocabulary_size
    weights = {
        key: w[:size] if len(w) == found.vocabulary_size else w for key, w in found.weights.items()
    }
    weights = {key: w for key, w in weights.items() if key in own}
    for key in own:
        fits = key in weights and weights[key].shape == own[key].shape
        if not fits and (key in weights or key.startswith("encoder.")):
            raise InputError(
                f"initial_model={name} has another shape than `model` at {key}: copy the fields of "
                f"`model` from it: {found.model}"
            )
    model.load_state_dict(weights, strict=False)


def fetch(name: str) -> Path:
    """The folder of a hub model, downloaded or found in the hub's own cache."""
    if name.count("/") > 1 or name.startswith((".", "~", "/")):
        raise InputError(f"model={name}: no such folder: check the path")
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=HUB_FILES)
        )
    except Exception as error:  # the library and its network stack each raise their own family
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"model={name}: no such folder here, and not to be had from the hub ({reason}): check "
            "the name and the network"
        ) from error


def _read_run(folder: Path) -> Pretrained:
    found = checkpoint.find_last(folder / "checkpoints")
    if found is None:
        raise InputError(f"model={folder}: no whole checkpoint yet: let its run finish first")
    config = load_config(PretrainConfig, str(folder / "config.yaml"))
    tokenizer = load_tokenizer(folder / "tokenizer")
    state = checkpoint.read_state(found, {})
    if state.fingerprints.get("tokenizer") != tokenizer.fingerprint:
        raise InputError(
            f"{folder / 'tokenizer'} is not the tokenizer that {found} was trained with: restore it"
        )
    weights = read_tensors(found / "model.safetensors")
    with torch.device("meta"):
        expected = make_model(config, tokenizer)
    check_tensors(found / "model.safetensors", weights, shapes_of(expected))
    return Pretrained(config.model, tokenizer, weights)


def _read_huggingface(folder: Path) -> Pretrained:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = model_config(content)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / 'config.json'}: {error}") from error
    raw = read_weights(folder)
    try:
        weights = from_huggingface(raw)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    tokenizer = load_tokenizer(folder)
    pad = content.get("pad_token_id", ROBERTA_PAD)
    if config.architecture == "roberta" and pad != tokenizer.special.pad:
        raise InputError(
            f"{folder}: config.json has pad_token_id={pad}, the tokenizer {tokenizer.special.pad}, "
            "and positions are counted from it: correct one of them"
        )
    pretrained = Pretrained(config, tokenizer, {k: w.float() for k, w in weights.items()})
    _check_shapes(folder, pretrained)
    return pretrained


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder, from one file or from shards."""
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return _read_tensors(folder / name)
        if index.is_file():
            shards = _read_shard_names(index)
            return {k: w for shard in shards for k, w in _read_tensors(folder / shard).items()}
    raise InputError(f"{folder}: no weights: it must hold {' or '.join(WEIGHTS)}")


def _read_shard_names(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: damaged ({error!r}): fetch it anew") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    read: Callable[[Path], Any] = load_file
    if path.suffix == ".bin":
        read = _unpickle
    try:
        tensors = read(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused, for it holds more than weights, which may execute code when it is "
            "read, or is damaged: take a safetensors version of the model"
        ) from error
    except Exception as error:  # whatever a library meets in bytes that are no weights
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: damaged ({reason}): fetch it anew") from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise InputError(f"{path}: no table of tensors by name: take a saved state_dict")
    return tensors


def _unpickle(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_shapes(folder: Path, pretrained: Pretrained) -> None:
    """Raise `InputError` where weights are missing or not as config.json says."""
    size, pad = pretrained.vocabulary_size, pretrained.tokenizer.special.pad
    with torch.device("meta"):
        expected: nn.Module = PretrainingModel(pretrained.model, size, pad, True)
    for name, tensor in expected.state_dict().items():
        found = pretrained.weights.get(name)
        if found is None and not name.startswith("encoder."):
            continue
        if found is None or found.shape != tensor.shape:
            shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise InputError(
                f"{folder}: {name} is {shape} where config.json asks for {tuple(tensor.shape)}: "
                "fetch the folder anew"
            )


def _check_tokenizer(folder: Path, pretrained: Pretrained) -> None:
    """Raise `InputError` where the tokenizer has ids that the encoder has no embedding for."""
    entries, rows = pretrained.tokenizer.vocabulary_size, pretrained.vocabulary_size
    if entries > rows:
        raise InputError(
            f"{folder}: the tokenizer has {entries:,} entries, the encoder {rows:,} embeddings: "
            "they do not belong together"
        )
