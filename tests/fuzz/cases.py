"""Malformed inputs, by kind: each function writes one into a folder and says how to run it.

Everything here is malformed for certain: a change that leaves legal input (a renamed run, another
seed) is no case.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

from tests.fuzz.case import Case
from tests.fuzz.materials import Materials, copied
from tests.fuzz.mutations import (
    NO_LIST,
    NO_NUMBER,
    NO_TABLE,
    NO_TEXT,
    damage_file,
    damage_header,
    damage_tensors,
    edit_json,
    insert_junk,
    junk,
    nothing,
    sign,
    truncate,
)
from tests.fuzz.settings import CONFIGS, OVERRIDES, bad_field


def config_file(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A YAML that cannot be read, or that says what no run can do."""
    path = folder / "mine.yaml"
    base = f"base: {materials.config}\n"
    if rng.random() < 0.5:
        what, (field, value) = "a field", bad_field(rng)
        lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(field.split("."))]
        path.write_text(base + "\n".join(lines) + f" {value}\n", encoding="utf-8")
        what = f"{field}: {value}"
    else:
        what = rng.choice(sorted(CONFIGS))
        content = CONFIGS[what]
        content = content(path) if callable(content) else content
        path.write_bytes(content.replace(b"BASE", base.encode()))
    return Case(what, [rng.choice(["pretrain.py", "prepare.py"]), "--config", str(path)])


def override(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A word on the command line that fits no field."""
    if rng.random() < 0.4:
        field, value = bad_field(rng)
        what = f"{field}={value}"
    else:
        what = rng.choice(OVERRIDES)
    script = rng.choice(["pretrain.py", "prepare.py"]) if "run_dir" not in what else "pretrain.py"
    if what.startswith(("batch.", "checkpoint.resume", "initial_model", "model.")):
        script = "pretrain.py"
    return Case(what[:200], [script, "--config", str(materials.config), what])


def store(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A token store whose manifest or files are not what they should be."""
    place = copied(materials.store, folder)
    manifest = place / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    split = rng.choice(["train", "heldout"])
    shard = ["splits", split, "shards", 0]
    file = [*shard, "files", rng.choice(["tokens", "sentence_ends", "document_ends"])]
    changes = [
        (["dtype"], ["<u8", "|O", "<f4", "nonsense", ">u2", 5, None, "<u4", ["<u2"]]),
        (["splits"], NO_TABLE),
        (["splits", split], NO_TABLE),
        (["splits", split, "shards"], [*NO_LIST, [], [5], [None]]),
        (["splits", split, rng.choice(["tokens", "documents"])], [*NO_NUMBER, -1, 10**30]),
        (["splits", split, "text_bytes"], [*NO_NUMBER, -1]),
        (["splits", split, "unigram_counts"], [*NO_TABLE, {"bytes": 1}]),
        ([*shard, "name"], [*NO_TEXT, "../../secret", "/etc/passwd", "", "a\0b", "x" * 3000]),
        ([*shard, "files"], [*NO_TABLE, {}]),
        (file, NO_TABLE),
        ([*file, "bytes"], [*NO_NUMBER, -2, 0, 10**30]),
        ([*shard, rng.choice(["tokens", "sentences", "documents"])], [*NO_NUMBER, -1, 3]),
        (["format_version"], [0, 1, 999, "2", None, [2]]),
    ]
    roll = rng.random()
    if roll < 0.5:
        keys, values = rng.choice(changes)
        value = rng.choice(values)
        edit_json(manifest, keys, value)
        what = f"{'.'.join(map(str, keys))} = {str(value)[:40]!r}"
    elif roll < 0.65:
        keys = rng.choice([["splits"], shard[:2], shard[:3], [*shard, "name"], file, ["dtype"]])
        edit_json(manifest, keys, delete=True)
        what = f"no {'.'.join(map(str, keys))}"
    elif roll < 0.8:
        what = damage_file(rng, manifest)
    else:
        what = _damage_arrays(rng, place, content, split)
    overrides = [f"data.store={place}", f"run_dir={folder / 'run'}"]
    return Case(what, ["pretrain.py", "--config", str(materials.config), *overrides])


def _damage_arrays(rng: random.Random, place: Path, manifest: dict, split: str) -> str:
    """Change a file of a store: its size, numbers that make no sense, or some that do."""
    shard = manifest["splits"][split]["shards"][0]
    part, what = rng.choice(
        [
            ("tokens", "ids beyond the vocabulary"),
            ("sentence_ends", "ends that fall"),
            ("sentence_ends", "ends beyond the tokens"),
            ("document_ends", "ends that fall"),
            ("document_ends", "ends beyond the tokens"),
            ("tokens", "cut"),
            ("document_ends", "longer"),
            ("sentence_ends", "gone"),
            ("tokens", "a bit"),
            ("document_ends", "a bit"),
            ("tokens", "random ids"),
            ("tokens", "swapped blocks"),
            ("blocks", "a bit"),
        ]
    )
    path = place / f"{shard['name']}.{part}"
    values = np.fromfile(path, {"tokens": "<u2", "blocks": "u1"}.get(part, "<u8"))
    if what == "cut":
        values = values[:-1]
    elif what == "longer":
        values = np.append(values, values[-1])
    elif what == "ids beyond the vocabulary":
        values[: len(values) // 2] = 60_000
    elif what == "ends that fall":
        values[:-1] = values[:-1][::-1].copy()
    elif what == "a bit":
        values[rng.randrange(len(values))] ^= 1
    elif what == "random ids":
        values[:] = np.random.default_rng(rng.getrandbits(32)).permutation(values)
    elif what == "swapped blocks":
        size = rng.randint(1, len(values) // 2)
        values[:size], values[-size:] = values[-size:].copy(), values[:size].copy()
    else:
        values[-1] += 1000
    path.unlink() if what == "gone" else values.tofile(path)
    return f"{split} {part}: {what}"


def checkpoint(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A checkpoint that is damaged, or whole but senseless."""
    run = copied(materials.run, folder)
    (place,) = (run / "checkpoints").iterdir()
    script = "pretrain.py"
    roll = rng.random()
    if roll < 0.25:
        name = rng.choice(["model.safetensors", "optimizer.safetensors", "state.json"])
        what = damage_file(rng, place / rng.choice([name, "manifest.json"]))
        script = rng.choice(["pretrain.py", "export.py", "finetune.py"])
    elif roll < 0.45:
        what = _damage_state(rng, place / "state.json")
        sign(place)
    elif roll < 0.8:
        name = rng.choice(["model.safetensors", "optimizer.safetensors"])
        what = rng.choice([damage_header, damage_tensors])(rng, place / name)
        sign(place)
        if name == "model.safetensors":
            script = rng.choice(["pretrain.py", "export.py", "finetune.py"])
    else:
        what, script = _damage_run(rng, run), rng.choice(["export.py", "finetune.py"])
    return Case(f"{script} {what}", _on_run(script, run, folder, materials))


def _on_run(script: str, run: Path, folder: Path, materials: Materials) -> list[str]:
    if script == "export.py":
        return [script, "--model", str(run), "--output", str(folder / "export")]
    if script == "finetune.py":
        out = f"run_dir={folder / 'out'}"
        return [script, "--config", str(materials.task), f"model={run}", out]
    return [script, "--config", str(materials.config), f"run_dir={run}"]


def _damage_state(rng: random.Random, path: Path) -> str:
    numbers = [*NO_NUMBER, -1, -(10**30), "8"]
    changes = [
        (["step"], numbers),
        (["elapsed_minutes"], ["long", [1], {"a": 1}, None, float("nan"), -1.0, float("inf")]),
        (["fingerprints"], [5, "text", [1], None]),
        (["precision"], [5, [1], {"a": 1}, "fp7"]),
        (["extra"], ["key"]),
    ]
    if rng.random() < 0.2:
        key = rng.choice(["step", "fingerprints"])
        edit_json(path, [key], delete=True)
        return f"state.json: no {key}"
    if rng.random() < 0.2:
        return damage_file(rng, path)
    keys, values = rng.choice(changes)
    value = rng.choice(values)
    edit_json(path, keys, value)
    return f"state.json: {keys[0]} = {value!r}"


def _damage_run(rng: random.Random, run: Path) -> str:
    """Damage what lies beside the checkpoints of a run."""
    if rng.random() < 0.5:
        return damage_file(rng, run / "config.yaml", [junk, nothing, insert_junk])
    return "tokenizer/" + _damage_tokenizer(rng, run / "tokenizer")


def tokenizer(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A tokenizer's folder that is damaged, or no tokenizer."""
    place = copied(materials.run / "tokenizer", folder)
    what = _damage_tokenizer(rng, place)
    overrides = [f"tokenizer.path={place}", f"data.cache={folder / 'cache'}"]
    return Case(what, ["prepare.py", "--config", str(materials.config), *overrides])


def _damage_tokenizer(rng: random.Random, place: Path) -> str:
    files = sorted(place.iterdir())
    manifest = place / "tokenizer.manifest.json"
    roll = rng.random()
    if roll < 0.4:
        path = rng.choice(files)
        return damage_file(rng, path, [truncate, junk, nothing, insert_junk])
    if roll < 0.7:
        key, values = rng.choice(
            [("kind", [*NO_TEXT, "bpe"]), ("fingerprint", [*NO_TEXT, "0" * 64])]
        )
        value = rng.choice(values)
        edit_json(manifest, [key], value)
        return f"manifest: {key} = {value!r}"
    if roll < 0.85:
        vocabulary = place / "vocab.json"
        content = json.loads(vocabulary.read_text(encoding="utf-8"))
        name = rng.choice(sorted(content))
        content[name] = rng.choice([-1, 10**12, "one", None, 1.5, [1], content["a"]])
        if name == "a":
            content[name] = -1
        vocabulary.write_text(json.dumps(content), encoding="utf-8")
        return f"vocab.json: {name!r} = {content[name]!r}"
    path = rng.choice([file for file in files if file.name != "tokenizer.manifest.json"])
    path.unlink()
    return f"no {path.name}"


def finetuned(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A fine-tuned model's folder, asked for predictions."""
    place = copied(materials.finetuned / "checkpoints" / "best", folder)
    (place / "SHA256SUMS").unlink()  # which would refuse all of these at once
    card = place / "finetuned.json"
    changes = [
        (["task"], NO_TABLE),
        (["task", "kind"], [5, "guessing", None]),
        (["model"], NO_TABLE),
        (["model", "layers"], [*NO_NUMBER[:3], 0, -1, 99]),
        (["model", "hidden_size"], [*NO_NUMBER[:3], 63, 128]),
        (["head"], NO_TABLE),
        (["head", "pooling"], ["sum", 5]),
        (["labels"], [5, None, [], ["one"], [1, 2, 3], "abc"]),
        (["max_length"], [*NO_NUMBER, 0, -1, 10**9]),
        (["settings"], [5, "text", [1]]),
        (["stowaway"], [1]),
    ]
    roll = rng.random()
    if roll < 0.5:
        keys, values = rng.choice(changes)
        value = rng.choice(values)
        edit_json(card, keys, value)
        what = f"{'.'.join(keys)} = {value!r}"
    elif roll < 0.65:
        what = damage_file(rng, card)
    elif roll < 0.9:
        what = rng.choice([damage_header, damage_tensors])(rng, place / "model.safetensors")
    else:
        what = "tokenizer/" + _damage_tokenizer(rng, place / "tokenizer")
    texts = folder / "texts.txt"
    texts.write_text("open the file and read\n", encoding="utf-8")
    output = ["--output", str(folder / "out.csv")]
    return Case(what, ["predict.py", "--model", str(place), "--input", str(texts), *output])
