"""Changes after which a Hugging Face folder is malformed, or not what is computed here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch

from tests.fuzz.model_changes import (
    BACKEND,
    CONFIG,
    EMBEDDINGS,
    PIECES,
    TOKENIZER,
    WEIGHTS,
    Change,
    field,
    moved_tensor,
    named,
    no_field,
    pickled,
    shard_as,
    shards,
    special_file,
    tensors,
    text,
)

ROW = "bert.encoder.layer.1.attention.self"
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
