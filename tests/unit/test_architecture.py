"""Law 6: imports go one way, and each heavy library has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = ("configs", "tokenizer", "pretrain", "finetune", "launch")
DOORS = {
    "deepspeed": {"pretrain/engine/engine.py"},
    "tokenizers": {"tokenizer"},
    "gensim": {"pretrain/data/word2vec.py"},
    "sklearn": {"finetune/metrics.py", "finetune/data/preprocess.py", "finetune/baselines/"},
    "scipy": {
        "finetune/metrics.py",
        "finetune/baselines/",
        "launch/ablation/report/statistics.py",
    },
    "jinja2": {"launch/ablation/report/page.py"},
    "seqeval": {"finetune/metrics.py"},
    "emoji": {"finetune/data/preprocess.py"},
    "onnxruntime": {"pretrain/run/onnx.py"},
    "huggingface_hub": {"pretrain/run/pretrained.py"},
    "sentencepiece": {"tokenizer/unigram.py"},
    "datasets": {"pretrain/text/hub.py"},
    "pyarrow": {"pretrain/text/rows.py"},
    "zstandard": {"pretrain/text/compression.py"},
    "matplotlib": {"pretrain/run/plots.py"},
    "omegaconf": {"configs/loader.py"},
    "transformers": {"launch/benchmarks/huggingface.py"},
}


def sources() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Top-level names of everything a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    above = {name for name in imports(path) if name in LAYERS[own + 1 :]}
    assert not above, f"{path.name} imports {above}"


@pytest.mark.parametrize("library", DOORS)
def test_heavy_libraries_have_one_door(library):
    users = {path.relative_to(ROOT).as_posix() for path in sources() if library in imports(path)}
    strangers = {user for user in users if not user.startswith(tuple(DOORS[library]))}
    assert not strangers
    assert bool(users) == bool(DOORS[library]), f"nobody uses {library}: name its door anew"


def test_no_file_or_function_outgrows_its_reader():
    for path in sources():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 480, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
