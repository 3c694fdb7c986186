"""Hugging Face folders that are malformed, or odd but legal, and the fine-tuning that reads them.

What is legal must be read as what it says: the weights and ids of the whole folder that it was
made from, or the ids that transformers gives.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from configs.schema import ModelConfig
from pretrain.model.convert import huggingface_config, to_huggingface
from pretrain.model.pretraining import PretrainingModel
from tests.fuzz.case import Case, Outcome
from tests.fuzz.materials import Materials
from tests.fuzz.mutations import damage_file, damage_header, junk, nothing, truncate
from tokenizer.huggingface import write_huggingface
from tokenizer.load import load_tokenizer
from tokenizer.wordpiece import WordPiece

WORDS = ["the", "of", "in", "file", "open", "read", "loop", "next", "sum", "zero"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdeéÜ", "##a", "##é", "한"]
TEXTS = ["the file of zero", "A É é Ü a\u0301 한국 漢", "", "open\tthe  loop\x00"]
LETTERS = ("a", "é", "Ü", "##é")
BERT = ModelConfig("bert", 2, 16, 2, 32, 40, 2)
ROBERTA = ModelConfig("roberta", 2, 16, 2, 32, 40, 1)

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


# -- changes ---------------------------------------------------------------------------------------


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


# -- cases -----------------------------------------------------------------------------------------

CONFIG, TOKENIZER, BACKEND = "config.json", "tokenizer_config.json", "tokenizer.json"
ROW = "bert.encoder.layer.1.attention.self"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"

BAD_FIELDS: dict[str, list[object]] = {
    "num_hidden_layers": [2.5, 2.0, -1, 0, True, None, "2", [2], {"a": 2}, 10**9, 10**40, 1, 3],
    "hidden_size": [16.0, -16, 0, False, "16", 10**12, 15, 32, [16]],
    "num_attention_heads": [0, 3, 2.0, "2", None, -2, True],
    "intermediate_size": [0, 31, 32.5, "32", None],
    "max_position_embeddings": [0, -40, 39, 41, 40.0, "40", 10**15],
    "type_vocab_size": [0, 1, 3, 2.0, True, "2"],
    "vocab_size": [0, 7, -1, "26", 26.0, None, 10**12],
    "hidden_act": ["relu", "gelu_new", 5, None, ["gelu"]],
    "position_embedding_type": ["relative_key", 5],
    "layer_norm_eps": [0, -1.0, "1e-12", True, [1e-12], 2],
    "hidden_dropout_prob": [1.5, -0.1, "0.1", None],
    "is_decoder": [True, "yes"],
    "add_cross_attention": [True],
    "pruned_heads": [{"0": [1]}],
    "quantization_config": [{"load_in_8bit": True}],
    "tie_word_embeddings": [False, "no", None, 1],
    "embedding_size": [8, "16"],
    "model_type": ["gpt2", None, 5, ["bert"], "roberta"],
    "auto_map": [{"AutoModel": "modeling.Mine"}],
}
BROKEN_JSON: dict[str, str | bytes] = {
    "nothing": b"",
    "a list": "[1]",
    "null": "null",
    "deep lists": '{"a": ' + "[" * 90_000,
    "deep tables": '{"a": ' * 3_000 + "1" + "}" * 3_000,
    "deeper than needed": '{"a": ' * 50 + "1" + "}" * 50,
    "not UTF-8": b'{"model_type": "b\xffert"}',
    "UTF-16": '{"model_type": "bert"}'.encode("utf-16"),
    "a name twice": '{"model_type": "bert", "model_type": "roberta"}',
    "NaN": '{"model_type": "bert", "layer_norm_eps": NaN}',
    "a number without end": '{"num_hidden_layers": ' + "9" * 5_000 + "}",
    "half a surrogate pair": '{"model_type": "\\ud800"}',
    "half": '{"model_type": "bert", ',
}
CONFIGS: dict[str, Change] = {
    **{
        f"config.json: {name} = {str(value)[:30]}": field(CONFIG, name, value=value)
        for name, values in BAD_FIELDS.items()
        for value in values
    },
    **{f"config.json: {what}": text(CONFIG, content) for what, content in BROKEN_JSON.items()},
    **{f"config.json: {k}": special_file(CONFIG, k) for k in ("pipe", "folder", "link")},
    "config.json: /dev/zero": special_file(CONFIG, "/dev/zero"),
    "config.json: gone": lambda folder: (folder / CONFIG).unlink(),
}
PLAIN = (16, 16)
BAD_TENSORS: dict[str, Callable[[dict], object]] = {
    "missing key": lambda w: w.pop(f"{ROW}.key.weight"),
    "missing bias": lambda w: w.pop("bert.encoder.layer.0.output.dense.bias"),
    "missing norm": lambda w: w.pop("bert.embeddings.LayerNorm.weight"),
    "missing embeddings": lambda w: w.pop(EMBEDDINGS),
    "a wrong shape": lambda w: w.update({f"{ROW}.key.weight": torch.zeros(16, 17)}),
    "a row too few": lambda w: w.update({EMBEDDINGS: torch.zeros(len(PIECES) - 1, 16)}),
    "no dimension": lambda w: w.update({f"{ROW}.key.bias": torch.tensor(1.0)}),
    "three dimensions": lambda w: w.update({f"{ROW}.key.weight": torch.zeros(16, 16, 1)}),
    "no row": lambda w: w.update({EMBEDDINGS: torch.zeros(0, 16)}),
    "integers": lambda w: w.update({f"{ROW}.key.weight": torch.ones(PLAIN).int()}),
    "booleans": lambda w: w.update({f"{ROW}.key.weight": torch.ones(PLAIN).bool()}),
    "complex numbers": lambda w: w.update({f"{ROW}.key.weight": torch.ones(PLAIN) * 1j}),
    "eight bits": lambda w: w.update({EMBEDDINGS: w[EMBEDDINGS].to(torch.float8_e5m2)}),
    "NaN": lambda w: w.update({f"{ROW}.key.bias": torch.full((16,), float("nan"))}),
    "infinity": lambda w: w.update({f"{ROW}.key.bias": torch.full((16,), float("inf"))}),
    "an adapter": lambda w: w.update({f"{ROW}.query.lora_A.weight": torch.zeros(2, 16)}),
    "a third layer": lambda w: w.update(
        {n.replace("layer.1", "layer.2"): t.clone() for n, t in list(w.items()) if "layer.1" in n}
    ),
    "one layer": lambda w: [w.pop(n) for n in list(w) if "layer.1" in n],
    "another decoder": lambda w: w.update({"cls.predictions.decoder.weight": w[EMBEDDINGS] + 1}),
    "another decoder's bias": lambda w: w.update(
        {"cls.predictions.decoder.bias": w["cls.predictions.bias"] + 1}
    ),
    "a name twice": lambda w: w.update({"embeddings.LayerNorm.bias": torch.zeros(16)}),
    "a head beyond the embeddings": lambda w: w.update(
        {"cls.predictions.bias": torch.zeros(len(PIECES) + 4)}
    ),
    "of another library": lambda w: [w.update({f"x.{n}": w.pop(n)}) for n in list(w)],
}
BAD_PICKLES: dict[str, Callable[[dict], object]] = {
    "expanded": lambda w: w.update({EMBEDDINGS: torch.zeros(1).expand(10**6, 10**6)}),
    "expanded, without a place": lambda w: w.update({"x": torch.zeros(1).expand(10**12)}),
    "sparse": lambda w: w.update({EMBEDDINGS: w[EMBEDDINGS].to_sparse()}),
    "quantised": lambda w: w.update(
        {EMBEDDINGS: torch.quantize_per_tensor(w[EMBEDDINGS], 0.1, 0, torch.qint8)}
    ),
    "on no device": lambda w: w.update({EMBEDDINGS: torch.empty(10**6, 10**6, device="meta")}),
    "a number": lambda w: w.update({EMBEDDINGS: 5}),
    "a number's name": lambda w: w.update({5: torch.zeros(1)}),
}
WEIGHT_CASES: dict[str, Change] = {
    **{f"{WEIGHTS}: {what}": tensors(change) for what, change in BAD_TENSORS.items()},
    **{f"pytorch_model.bin: {what}": pickled(change) for what, change in BAD_PICKLES.items()},
    **{f"{WEIGHTS}: {k}": special_file(WEIGHTS, k) for k in ("pipe", "folder", "link")},
    f"{WEIGHTS}: /dev/zero": special_file(WEIGHTS, "/dev/zero"),
    f"{WEIGHTS}: gone": lambda folder: (folder / WEIGHTS).unlink(),
    "pytorch_model.bin: a list": lambda folder: (
        (folder / WEIGHTS).unlink(),
        torch.save([1, 2], folder / "pytorch_model.bin"),
    ),
    **{
        f"index: {str(name)[:30]!r}": named(name)
        for name in (
            *(5, None, ["a"], {}, "", ".", "..", "nowhere.safetensors", "x"),
            *("../../x.safetensors", "/etc/passwd", "/dev/zero", "a/b.safetensors", CONFIG),
            "a\0b.safetensors",
        )
    },
    **{
        f"index: weight_map = {places!r}": shards(lambda folder, _, places=places: places)
        for places in (5, [], {}, "text", [["a", "b"]])
    },
    **{
        f"index: {what}": lambda folder, content=content: (
            shards(lambda *_: None)(folder),
            text(f"{WEIGHTS}.index.json", content)(folder),
        )
        for what, content in BROKEN_JSON.items()
    },
    "shard: a pipe": shard_as(os.mkfifo),
    "shard: a folder": shard_as(Path.mkdir),
    "shard: gone": shard_as(lambda path: None),
    "shard: /dev/zero": shard_as(lambda path: path.symlink_to("/dev/zero")),
    "shard: a link to nowhere": shard_as(lambda path: path.symlink_to("nowhere")),
    "shard: empty": shard_as(Path.touch),
    "shard: a tensor in two": shards(lambda f, p: moved_tensor(f, p, keep=True)),
    "shard: a tensor too few": shards(lambda f, p: moved_tensor(f, p, keep=False)),
}
BERT_TOKENIZER: dict[str, Change] = {
    **{
        f"tokenizer_config.json: {name} = {value!r}": field(TOKENIZER, name, value=value)
        for name, values in {
            "do_lower_case": ["yes", 1, None, []],
            "strip_accents": ["no", 0, []],
            "tokenize_chinese_chars": [None, "x"],
            "do_basic_tokenize": [False],
            "never_split": [["the"]],
            "tokenizer_class": [5, "BertJapaneseTokenizer", "RobertaTokenizer", "Mine", []],
            "cls_token": ["<nothing>", 5, ["[CLS]"], {"text": "[CLS]"}, {"content": 5}],
            "additional_special_tokens": [["@user"], 5, [5]],
            "added_tokens_decoder": [[1], {"x": {}}, {"2": {"content": "x"}}, {"99": "x"}],
            "auto_map": [{"AutoTokenizer": ["a.B", None]}],
            "model_input_names": [5, [5], "input_ids"],
        }.items()
        for value in values
    },
    **{f"tokenizer_config.json: {w}": text(TOKENIZER, c) for w, c in BROKEN_JSON.items()},
    **{f"vocab.txt: {k}": special_file("vocab.txt", k) for k in ("pipe", "folder", "link")},
    "vocab.txt: nothing": text("vocab.txt", b""),
    "vocab.txt: not UTF-8": text("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\xff\n"),
    "vocab.txt: a piece twice": text("vocab.txt", "\n".join([*PIECES, "the"])),
    "vocab.txt: no mask": text("vocab.txt", "\n".join(PIECES).replace("[MASK]", "mask")),
    "vocab.txt: too long": text("vocab.txt", "\n".join([*PIECES, *"xyz"])),
    "vocab.txt: gone": lambda folder: (folder / "vocab.txt").unlink(),
    "added_tokens.json: new": text("added_tokens.json", json.dumps({"@user": len(PIECES)})),
    "added_tokens.json: text": text("added_tokens.json", '{"[PAD]": "0"}'),
    "added_tokens.json: other ids": text("added_tokens.json", '{"[PAD]": 3}'),
    "special_tokens_map.json: null": text("special_tokens_map.json", "null"),
    "special_tokens_map.json: 5": text("special_tokens_map.json", '{"cls_token": 5}'),
    "x.model beside vocab.txt": text("x.model", b"x"),
    "tokenizer.json: {}": text(BACKEND, "{}"),
    "tokenizer.json: deep": text(BACKEND, BROKEN_JSON["deep lists"]),
}
ROBERTA_TOKENIZER: dict[str, Change] = {
    **{
        f"tokenizer.json: {'.'.join(map(str, keys))} = {str(value)[:30]!r}": field(
            BACKEND, *keys, value=value
        )
        for keys, values in {
            ("model",): [None, [], {}, 5, "BPE"],
            ("model", "type"): ["WordLevel", "Unigram", None, 5],
            ("model", "vocab"): [None, [], {}, 5, ["a"], {"a": 0}],
            ("model", "vocab", "a"): ["one", 1.5, -1, None, True, 2**40, [1]],
            ("model", "merges"): [None, {}, 5, ["a b c"], [[1, 2]], ["∞ ∞"], [["a"]]],
            ("model", "dropout"): [0.1, "x"],
            ("model", "ignore_merges"): [True],
            ("model", "byte_fallback"): [True],
            ("added_tokens",): [5, [5], [{}], [{"id": 0, "content": "x"}]],
            ("added_tokens", 0, "id"): [-1, 10**12, "0", 99999, None],
            ("added_tokens", 0, "content"): ["@user", 5],
            ("normalizer",): [5, [], {"type": "Lowercase"}, {"type": "Nothing"}],
            ("pre_tokenizer",): [None, 5, {"type": "Whitespace"}, []],
            ("post_processor",): [5, {"type": "Nothing"}, []],
            ("post_processor", "pair"): [[], 5, [{"Sequence": {"id": "B", "type_id": 0}}]],
            ("post_processor", "special_tokens"): [{}, 5],
        }.items()
        for value in values
    },
    **{
        f"tokenizer.json: no {'.'.join(keys)}": no_field(BACKEND, *keys)
        for keys in (("model",), ("model", "vocab"), ("model", "merges"))
    },
    **{f"tokenizer.json: {w}": text(BACKEND, c) for w, c in BROKEN_JSON.items()},
    **{f"tokenizer.json: {k}": special_file(BACKEND, k) for k in ("pipe", "folder", "link")},
    "config.json: pad_token_id = 7": field(CONFIG, "pad_token_id", value=7),
    "config.json: pad_token_id = null": field(CONFIG, "pad_token_id", value=None),
    "config.json: pad_token_id = -1": field(CONFIG, "pad_token_id", value=-1),
    "tokenizer_config.json: add_prefix_space": field(TOKENIZER, "add_prefix_space", value=True),
}


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
