"""The names of a run folder's files are spelled in one module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from configs.system import run_names
from tests.conftest import ROOT

OWNER = "configs/system/run_names.py"
NAMES = {name for key, name in vars(run_names).items() if key.isupper()}
UNMISTAKABLE = {name for name in NAMES if "." in name or name.isupper()}
"""these mean the file wherever they stand; the others are words of English too"""
NOT_OURS = {
    "finetune/model/task_export.py": {"model.safetensors"},
    "launch/ablation/report/plots.py": {"curves.png"},
}
"""files in other folders that happen to have such a name"""


def docstrings(tree: ast.AST) -> set[int]:
    alone = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return {id(value) for value in alone if isinstance(value, ast.Constant)}


def spelled(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of every name that a literal in a file spells."""
    documented = docstrings(tree)
    joined = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        for part in ast.walk(node.right)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        text = node.value
        if id(node) in documented or text.startswith("/proc/"):
            continue
        for name in NAMES:
            if name in UNMISTAKABLE:
                is_spelled = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text)
            else:
                end = "" if name.endswith("-") else r"(?![\w.-])"
                place = "(?:^|/)" if id(node) in joined else "/"
                is_spelled = re.search(rf"{place}{re.escape(name)}{end}", text)
            if is_spelled:
                yield node.lineno, name


@pytest.mark.parametrize("layer", ["configs", "tokenizer", "pretrain", "finetune", "launch"])
def test_no_other_module_spells_a_name(layer):
    for path in sorted((ROOT / layer).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place == OWNER:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strangers = [s for s in spelled(tree) if s[1] not in NOT_OURS.get(place, ())]
        assert not strangers, f"{place}: take these from {OWNER}: {strangers}"


@pytest.mark.parametrize(
    "source",
    [
        'run_dir / "status"',
        'run_dir / f"step-{number}"',
        'run_dir / "trials" / name',
        'str(path) + "/checkpoints"',
        'f"{run_dir}/tokenizer is not there"',
        'name = "metrics.jsonl"',
        'f"see predictions.csv of {run}"',
        'run_dir / "trials/*/result.json"',
    ],
)
def test_a_spelled_name_is_found(source):
    assert list(spelled(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ['"status of a run"', 'facts["tokenizer"]', '"/proc/self/status"', '"""status.json"""'],
)
def test_a_word_is_no_name(source):
    assert not list(spelled(ast.parse(source)))


def test_the_documentation_names_every_file():
    layout = run_names.__doc__ or ""
    assert all(name in layout for name in NAMES)
