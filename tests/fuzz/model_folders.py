"""Hugging Face folders that are malformed, or odd but legal, and the fine-tuning that reads them.

What is legal must be read as what it says: the weights and ids of the whole folder that it was
made from, or the ids that transformers gives.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from tests.fuzz.bad_models import BERT_TOKENIZER, CONFIGS, ROBERTA_TOKENIZER, WEIGHT_CASES
from tests.fuzz.case import Case, Outcome
from tests.fuzz.materials import Materials
from tests.fuzz.model_changes import (
    CONFIG,
    EMBEDDINGS,
    TOKENIZER,
    WEIGHTS,
    Change,
    field,
    make_bert,
    make_roberta,
    pickled,
    shards,
    tensors,
    text,
)
from tests.fuzz.mutations import damage_file, damage_header, junk, nothing, truncate

TEXTS = ["the file of zero", "A É é Ü a\u0301 한국 漢", "", "open\tthe  loop\x00"]
LETTERS = ("a", "é", "Ü", "##é")


def half(weights: dict) -> None:
    """Numbers that half precision holds exactly, in it."""
    for name, tensor in weights.items():
        weights[name] = tensor.half()


def renamed(old: str, new: str) -> Change:
    return tensors(lambda w: [w.update({n.replace(old, new): w.pop(n)}) for n in list(w)])


SAME: dict[str, Change] = {
    "shards": shards(lambda *_: None),
    "a .bin": pickled(),
    "old names of norms": renamed("LayerNorm.weight", "LayerNorm.gamma"),
    "no prefix": renamed("bert.", ""),
    "a tied decoder": tensors(
        lambda w: w.update({"cls.predictions.decoder.weight": w[EMBEDDINGS].clone()})
    ),
    "a buffer": tensors(
        lambda w: w.update({"bert.embeddings.position_ids": torch.arange(40)[None]})
    ),
    "another head": tensors(lambda w: w.update({"qa_outputs.weight": torch.zeros(2, 16)})),
    "a field of its makers": field(CONFIG, "author", value="somebody"),
    "a field that changes nothing": field(CONFIG, "chunk_size_feed_forward", value=3),
    "an unknown switch": field(TOKENIZER, "flavour", value="mint"),
    "the class of no kind": field(TOKENIZER, "tokenizer_class", value="PreTrainedTokenizerFast"),
    "a byte order mark": lambda folder: text(
        CONFIG, b"\xef\xbb\xbf" + (folder / CONFIG).read_bytes()
    )(folder),
    "a link inside": lambda folder: (
        (folder / WEIGHTS).rename(folder / "blob"),
        (folder / WEIGHTS).symlink_to("blob"),
    ),
    "a map of special tokens": text("special_tokens_map.json", '{"cls_token": "[CLS]"}'),
}
"""folders that are the same model"""
FLIPS: dict[str, dict[str, object]] = {
    f"{', '.join(f'{k}={v}' for k, v in flip.items())}": flip
    for flip in (
        {"do_lower_case": True},
        {"do_lower_case": True, "strip_accents": False},
        {"strip_accents": True},
        {"tokenize_chinese_chars": False},
        {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False},
    )
}
"""settings whose ids are transformers'"""


def model_config(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A config.json that no encoder of ours computes, or that is none."""
    place = make_bert(folder / "model")
    what = rng.choice(sorted(CONFIGS))
    CONFIGS[what](place)
    return Case(what, _words(place, folder, materials))


def model_weights(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """Weights that are damaged, foreign, elsewhere, or more than they are."""
    place = make_bert(folder / "model")
    if rng.random() < 0.1:
        damages = [lambda: damage_header(rng, place / WEIGHTS)]
        damages.append(lambda: damage_file(rng, place / WEIGHTS, [truncate, junk, nothing]))
        what = rng.choice(damages)()
    else:
        what = rng.choice(sorted(WEIGHT_CASES))
        WEIGHT_CASES[what](place)
    return Case(what, _words(place, folder, materials))


def model_tokenizer(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A model's tokenizer that is damaged, contradicts itself, or is not computed here."""
    is_bert = rng.random() < 0.5
    changes = BERT_TOKENIZER if is_bert else ROBERTA_TOKENIZER
    model = folder / "model"
    place = make_bert(model) if is_bert else make_roberta(model, materials)
    what = rng.choice(sorted(changes))
    changes[what](place)
    return Case(what, _words(place, folder, materials))


def model_folder(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A folder that is odd but legal: it trains, and is read as what it says."""
    place = make_bert(folder / "model")
    whole = shutil.copytree(place, folder / "whole")
    what = rng.choice(sorted({**SAME, **FLIPS}))
    if what in SAME:
        SAME[what](place)
    else:
        for name, value in FLIPS[what].items():
            field(TOKENIZER, name, value=value)(place)

    def right(outcome: Outcome) -> str | None:
        return _in_fork(lambda: difference(place, whole, same_ids=what in SAME))

    words = [*_words(place, folder, materials), "schedule.max_epochs=1"]
    return Case(what, words, right, refusable=False)


def _words(place: Path, folder: Path, materials: Materials) -> list[str]:
    overrides = [f"model={place}", f"run_dir={folder / 'out'}"]
    return ["finetune.py", "--config", str(materials.task), *overrides]


def difference(place: Path, whole: Path, same_ids: bool) -> str | None:
    """What of a model is not that of the whole one; its ids may be only transformers'."""
    from pretrain.run.pretrained import load_pretrained

    found, expected = load_pretrained(str(place)), load_pretrained(str(whole))
    if found.model != expected.model or found.weights.keys() != expected.weights.keys():
        return "another model"
    for name, tensor in expected.weights.items():
        if not torch.equal(tensor, found.weights[name]):
            return f"another {name}"
    ids = found.tokenizer.encode_batch(TEXTS)
    wanted = expected.tokenizer.encode_batch(TEXTS) if same_ids else their_ids(place)
    return None if ids == wanted else f"other ids: {ids}, not {wanted}"


def their_ids(place: Path) -> list[list[int]]:
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(place)
    return theirs(TEXTS, add_special_tokens=False)["input_ids"]


def _in_fork(check: Callable[[], str | None]) -> str | None:
    """`check()` in a process of its own: this one forks again, and must stay without threads."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fault = check() or ""
        except BaseException as error:
            fault = f"{type(error).__name__}: {error}"
        os.write(writing, fault.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        fault = stream.read().decode()
    os.waitpid(child, 0)
    return fault or None
