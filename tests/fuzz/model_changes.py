"""Small Hugging Face folders, and changes to make in them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from configs.schema import ModelConfig
from pretrain.model.convert import huggingface_config, to_huggingface
from pretrain.model.pretraining import PretrainingModel
from tests.fuzz.materials import Materials
from tokenizer.huggingface import write_huggingface
from tokenizer.load import load_tokenizer
from tokenizer.wordpiece import WordPiece

WORDS = ["the", "of", "in", "file", "open", "read", "loop", "next", "sum", "zero"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdeéÜ", "##a", "##é", "한"]
SIZES = {"layers": 2, "hidden_size": 16, "heads": 2, "feed_forward_size": 32, "max_positions": 40}
BERT = ModelConfig(architecture="bert", segment_types=2, **SIZES)
ROBERTA = ModelConfig(architecture="roberta", segment_types=1, **SIZES)
Change = Callable[[Path], None]


def make_bert(folder: Path) -> Path:
    """vocab.txt and its configuration beside random weights with an MLM head."""
    tokenizer = WordPiece(PIECES, lowercase=False)
    _make_model(folder, BERT, tokenizer)
    tokenizer.write_model(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"} | CASED)
    return folder


CASED = {"do_lower_case": False}


def make_roberta(folder: Path, materials: Materials) -> Path:
    """tokenizer.json alone, as newer versions of transformers save, beside random weights."""
    tokenizer = load_tokenizer(materials.run / "tokenizer")
    _make_model(folder, ROBERTA, tokenizer)
    write_huggingface(tokenizer, folder, max_length=40, segment_types=1)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        (folder / name).unlink()
    return folder


def _make_model(folder: Path, config: ModelConfig, tokenizer: Any) -> None:
    folder.mkdir()
    torch.manual_seed(0)
    size, special = tokenizer.vocabulary_size, tokenizer.special
    model = PretrainingModel(config, size, special.pad, next_sentence=False)
    save_file({n: w.clone() for n, w in to_huggingface(model).items()}, folder / WEIGHTS)
    write_json(folder / "config.json", huggingface_config(config, size, special, False))


WEIGHTS = "model.safetensors"


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def field(name: str, *fields: str | int, value: object) -> Change:
    """Set a field of a JSON file."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text("utf-8"))
        place = content
        for key in fields[:-1]:
            place = place[key]
        place[fields[-1]] = value
        write_json(folder / name, content)

    return change


def no_field(name: str, *fields: str) -> Change:
    """Delete a field of a JSON file."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text("utf-8"))
        place = content
        for key in fields[:-1]:
            place = place[key]
        del place[fields[-1]]
        write_json(folder / name, content)

    return change


def text(name: str, content: str | bytes) -> Change:
    """Another content."""
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(raw)


def tensors(change: Callable[[dict], object]) -> Change:
    """Change the table of weights in place."""

    def write(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS)

    return write


def pickled(change: Callable[[dict], object] = lambda weights: None) -> Change:
    """Change the weights, and keep them as a .bin."""

    def write(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        change(weights)
        torch.save(weights, folder / "pytorch_model.bin")

    return write


def special_file(name: str, kind: str) -> Change:
    """A pipe, a folder or a link in place of a file."""

    def change(folder: Path) -> None:
        path = folder / name
        if kind == "link":
            shutil.move(path, folder.parent / f"outside-{name}")
            path.symlink_to(folder.parent / f"outside-{name}")
            return
        path.unlink()
        makers = {"folder": Path.mkdir, "pipe": os.mkfifo}
        if kind in makers:
            makers[kind](path)
        else:
            path.symlink_to(kind)

    return change


def shards(change: Callable[[Path, dict[str, str]], object]) -> Change:
    """Cut the weights into two shards with an index, and change those."""

    def write(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        names = sorted(weights)
        files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
        places = {name: files[number % 2] for number, name in enumerate(names)}
        for file in files:
            save_file({n: weights[n] for n in names if places[n] == file}, folder / file)
        changed = change(folder, places)
        places = places if changed is None else changed
        write_json(folder / f"{WEIGHTS}.index.json", {"metadata": {}, "weight_map": places})

    return write


def moved_tensor(folder: Path, places: dict[str, str], keep: bool) -> None:
    """Copy a shard's first tensor into the other shard, and drop it from its own or not."""
    first, second = (folder / file for file in sorted(set(places.values())))
    name = min(name for name, file in places.items() if file == first.name)
    weights = load_file(first)
    if keep:
        save_file({**load_file(second), name: weights[name]}, second)
    else:
        save_file({n: w for n, w in weights.items() if n != name}, first)


def shard_as(make: Callable[[Path], object]) -> Change:
    """Another thing under a shard's name."""

    def change(folder: Path, places: dict[str, str]) -> None:
        path = folder / min(places.values())
        path.unlink()
        make(path)

    return shards(change)


def named(name: object) -> Change:
    """Another name of one tensor's shard in the index."""
    return shards(lambda folder, places: {**places, min(places): name})


CONFIG, TOKENIZER, BACKEND = "config.json", "tokenizer_config.json", "tokenizer.json"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
