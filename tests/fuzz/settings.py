"""Configurations and overrides that no run can follow."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from configs.described import describe
from configs.schema import PretrainConfig

FIELDS = [(field.name, field.kind) for field in describe(PretrainConfig) if ".0." not in field.name]
WHOLE = ["three", "1.5", "[1]", "{a: 1}", ".nan", "1.0e+30", "-5", "0x", "2020-01-01"]
FRACTION = ["three", "[1]", "{a: 1}", ".nan", "-0.5", "-.inf", "1e", "2020-01-01"]
SWITCH = ["maybe", "[true]", "{a: 1}", "1.5", "null"]
CHOICE = ["nonsense", "5", "[a]", "{a: 1}", "null", ".nan"]
TEXT = ["[1]", "{a: 1}"]


def bad_field(rng: random.Random) -> tuple[str, str]:
    """A field's name and a value, as YAML, of another type or that is no sensible number."""
    name, kind = rng.choice(FIELDS)
    optional, kind = "null" in kind, kind.removesuffix(" | null")
    known = {"int": WHOLE, "int | auto": WHOLE, "float": FRACTION, "bool": SWITCH, "str": TEXT}
    values = known.get(kind, CHOICE)
    return name, rng.choice([value for value in values if not (optional and value == "null")])


def _circle(path: Path) -> bytes:
    (path.parent / "other.yaml").write_text(f"base: {path.name}\n")
    return b"base: other.yaml\nseed: 1\n"


def _bomb(path: Path) -> bytes:
    """Nine lines that stand for a billion words."""
    lines = ["a0: &a0 [lol]"]
    for level in range(1, 10):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines).encode()


def _folder(path: Path) -> bytes:
    (path.parent / "folder.yaml").mkdir()
    return b"base: folder.yaml\n"


CONFIGS: dict[str, bytes | Callable[[Path], bytes]] = {
    "an empty file": b"",
    "only a comment": b"# later\n",
    "binary": bytes(range(256)) * 4,
    "zeros": bytes(100),
    "Latin-1": "BASErun_dir: caf\u00e9\n".encode("latin-1"),
    "UTF-16 cut": "seed: 1\n".encode("utf-16")[:-1],
    "tabs": b"BASEmodel:\n\tlayers: 2\n",
    "a list": b"- seed: 1\n- layers: 2\n",
    "a word": b"roberta\n",
    "a number": b"5\n",
    "null": b"null\n",
    "two documents": b"BASEseed: 1\n---\nseed: 2\n",
    "a key twice": b"BASEseed: 1\nseed: 2\n",
    "an unknown key": b"BASEsede: 1\n",
    "an unknown key below": b"BASEmodel: {depth: 3}\n",
    "a number as key": b"BASE1: 2\n",
    "null as key": b"BASEnull: 2\n",
    "a list as key": b"BASE? [a, b]\n: 2\n",
    "an empty key": b"BASE'': 2\n",
    "an open bracket": b"BASEmodel: {layers: 2\n",
    "an open quote": b"BASErun_dir: 'here\n",
    "bad indentation": b"BASEmodel:\n    layers: 2\n  heads: 2\n",
    "code": b"BASErun_dir: !!python/object/apply:os.system ['touch pwned']\n",
    "an unknown tag": b"BASErun_dir: !secret here\n",
    "an unknown anchor": b"BASErun_dir: *nowhere\n",
    "a circle of anchors": b"BASErun_dir: &a [*a]\n",
    "a circle of anchors in a mapping": b"BASEmodel: &a {layers: *a}\n",
    "a bomb of anchors": _bomb,
    "a circle of bases": _circle,
    "itself as base": b"base: mine.yaml\n",
    "a base that is missing": b"base: nowhere.yaml\n",
    "a base that is a list": b"base: [a, b]\n",
    "a base that is a number": b"base: 5\n",
    "a base that is a mapping": b"base: {a: 1}\n",
    "a base that is a folder": _folder,
    "a base with a long name": b"base: " + b"x" * 5000 + b"\n",
    "a base with a zero byte": b'base: "a\\0b"\n',
    "an interpolation of nothing": b"BASErun_dir: ${nowhere}\n",
    "an interpolation of itself": b"BASErun_dir: ${run_dir}\n",
    "a circle of interpolations": b"BASErun_dir: ${data.cache}\ndata: {cache: '${run_dir}'}\n",
    "an open interpolation": b"BASErun_dir: ${oops\n",
    "an unknown resolver": b"BASErun_dir: ${magic:1}\n",
    "a missing variable": b"BASErun_dir: ${oc.env:NO_SUCH_VARIABLE_AT_ALL}\n",
    "deep brackets": b"[" * 20_000,
    "deep mappings": b"a: " + b"{a: " * 3_000 + b"1" + b"}" * 3_000,
    "a mapping for a list": b"BASEdata: {sources: {kind: text}}\n",
    "a number for a section": b"BASEmodel: 5\n",
    "null for a section": b"BASEmodel: null\n",
    "a list for a section": b"BASEmodel: [1, 2]\n",
    "null for a source": b"BASEdata: {sources: [null]}\n",
    "no source": b"BASEdata: {sources: []}\n",
    "a source without a path": b"BASEdata: {sources: [{kind: text}]}\n",
    "a digit too many": b"BASEseed: " + b"9" * 5000 + b"\n",
    "a long key": b"BASE" + b"k" * 50_000 + b": 1\n",
}
"""by what is wrong; BASE stands for a line that inherits a configuration which is fine"""

OVERRIDES = [
    "",
    "=",
    "=x",
    "seed",
    "--seed=1"[2:] + "=",
    "a.b=",
    "a..b=1",
    ".seed=1",
    "seed.=1",
    "model.=1",
    "model..layers=1",
    "model.layers.deep=1",
    "seed=1=2",
    "s\u00e9ed=1",
    "\u2603=1",
    "seed=\u0663\u2603",
    "x" * 100_000 + "=1",
    "a." * 5_000 + "b=1",
    "seed=" + "9" * 5_000,
    "run_dir=" + "x" * 5_000,
    "run_dir=" + "y/" * 3_000,
    "data.store=" + "x" * 5_000,
    "data.cache=" + "x" * 5_000,
    "tokenizer.path=" + "x" * 5_000,
    "data.sources.0.path=" + "x" * 5_000,
    "data.sources.0.path=[",
    "schedule=null",
    "schedule=5",
    "schedule.max_steps=null",
    "schedule.max_epochs=1",
    "schedule.max_steps=0",
    "data=null",
    "data=",
    "data.sources=[]",
    "data.sources=",
    "data.sources=null",
    "data.sources=text",
    "data.sources.0=",
    "data.sources.0=null",
    "data.sources.0={}x",
    "data.sources.7.path=x",
    "data.sources.-9.path=x",
    "data.sources.0.kind=novel",
    "data.sources.0.weight=0",
    "data.sources.0.weight=.nan",
    "data.sources.0.path=/nowhere/at/all.txt",
    "data.sources.0.path=null",
    "data.heldout_fraction=1",
    "data.heldout_fraction=.nan",
    "data.piece_megabytes=0",
    "data.piece_megabytes=.inf",
    "data.cache=/dev/null",
    "data.cache=/proc/masklab",
    "data.store=/nowhere",
    "data.store=/dev/null",
    "tokenizer.path=/nowhere",
    "tokenizer.path=/dev/null",
    "tokenizer.path=/proc",
    "tokenizer.vocabulary_size=3",
    "run_dir=/dev/null",
    "run_dir=/dev/null/run",
    "run_dir=/proc/run",
    "checkpoint.resume=/nowhere",
    "checkpoint.resume=/dev/null",
    "initial_model=/nowhere",
    "batch.sequences=1e9",
    "batch.sequences=1000000000",
    "batch.sequences=0",
    "batch.micro_sequences=-1",
    "model.layers=1e",
    "model.heads=3",
    "model.hidden_size=1000000000000",
    "model.feed_forward_size=1000000000000",
    "model.max_positions=1000000000000",
    "model.layers=1000000000000",
    "model=[]",
    "model={layers: 2, depth: 3}",
    "max_length=7",
    "max_length=1000000",
    "seed=-1",
    "seed=4294967296",
    "mask_epochs=0",
    "masking.probability=0",
    "masking={probability: 2}",
    "optimizer.learning_rate=.inf",
    "optimizer.learning_rate=.nan",
    "optimizer.name=sgd",
    "run_dir=${nowhere}",
    "run_dir=${run_dir}",
    "run_dir=${",
    "seed=${oc.env:NO_SUCH_VARIABLE_AT_ALL}",
    "seed=!!python/object/apply:os.getpid []",
    "seed=&a [*a]",
    "seed={",
    "seed=[1",
    "seed='1",
    "seed=\t1\n\t2",
    "base=roberta_small.yaml",
]
