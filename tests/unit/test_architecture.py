"""Law 6: imports go one way, and each heavy library has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = ("configs", "tokenizer", "pretrain", "finetune", "launch")
FOLDERS = {
    "pretrain": ("", "optim", "text", "ranks", "model", "data", "run", "engine"),
    "finetune": ("scoring", "data", "tasks", "model", "report", "baselines", "explore", "training"),
    "launch": (
        *("slurm", "benchmarks", "diagnosis", "selfchecks"),
        *("ablation", "ablation/report", ""),
    ),
}
"""folders of a package, each of which imports only from those before it; "" is the package's own"""
DOORS = {
    "deepspeed": {"pretrain/engine/engine.py"},
    "tokenizers": {"tokenizer"},
    "gensim": {"pretrain/data/word2vec.py"},
    "sklearn": {
        "finetune/scoring/metrics.py",
        "finetune/data/preprocess.py",
        "finetune/baselines/",
    },
    "scipy": {
        "finetune/scoring/metrics.py",
        "finetune/baselines/",
        "launch/ablation/report/",
    },
    "jinja2": {"launch/ablation/report/templates.py"},
    "seqeval": {"finetune/scoring/metrics.py"},
    "emoji": {"finetune/data/preprocess.py"},
    "onnxruntime": {"pretrain/run/onnx.py"},
    "huggingface_hub": {"pretrain/run/pretrained.py"},
    "sentencepiece": {"tokenizer/unigram.py"},
    "datasets": {"pretrain/text/hub.py"},
    "pyarrow": {"pretrain/text/parquet.py"},
    "zstandard": {"pretrain/text/compression.py"},
    "matplotlib": {"pretrain/run/figures.py"},
    "omegaconf": {"configs/loader.py", "configs/known_keys.py"},
    "transformers": {
        "launch/benchmarks/huggingface_contenders.py",
        "launch/selfchecks/finetuning.py",
    },
}


def sources() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def module_name(path: Path) -> str:
    """`finetune.data.split` for finetune/data/split.py; a package's name for its __init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def import_graph() -> dict[str, set[str]]:
    """Of each of our modules those that it imports, wherever in it, also for type checking."""
    known = {module_name(path): path for path in sources()}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= inside & known.keys() or {node.module}
        graph[name] = wanted & known.keys() - {name}
    return graph


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


@pytest.mark.parametrize("package", FOLDERS)
def test_folders_of_a_package_import_one_way(package):
    folders = sorted({folder_of(name) for name in import_graph() if name.startswith(f"{package}.")})
    assert folders == sorted(FOLDERS[package]), "give every folder its place in FOLDERS"
    place = {folder: number for number, folder in enumerate(FOLDERS[package])}
    back = [
        f"{name} imports {other}"
        for name, others in import_graph().items()
        for other in others
        if name.startswith(f"{package}.")
        and other.startswith(f"{package}.")
        and place[folder_of(name)] < place[folder_of(other)]
    ]
    assert not back


def folder_of(module: str) -> str:
    """`data` for finetune.data.split, or for finetune.data itself; "" for launch.predict."""
    path = ROOT.joinpath(*module.split("."))
    own = path if path.is_dir() else path.parent
    return "/".join(own.relative_to(ROOT).parts[1:])


def test_no_file_imports_itself_by_way_of_others():
    assert not circles(import_graph())


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, each once."""
    reached = {name: reachable(name, graph) for name in graph}
    groups = {
        frozenset(other for other in others if name in reached[other])
        for name, others in reached.items()
        if name in others
    }
    return sorted(map(sorted, groups))


def test_circles_are_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": {"f"}, "f": {"g"}, "g": {"e"}}
    assert circles(graph) == [["b", "c"], ["e", "f", "g"]]


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules on the ways from one, itself only where a way leads back."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return found


@pytest.mark.parametrize("library", DOORS)
def test_heavy_libraries_have_one_door(library):
    users = {path.relative_to(ROOT).as_posix() for path in sources() if library in imports(path)}
    strangers = {user for user in users if not user.startswith(tuple(DOORS[library]))}
    assert not strangers
    assert bool(users) == bool(DOORS[library]), f"nobody uses {library}: name its door anew"


def test_no_file_or_function_outgrows_its_reader():
    for path in (*sources(), *(ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


@pytest.mark.parametrize("folder", ["faults", "fuzz", "slurm", "distributed"])
def test_what_only_long_runs_import_can_be_imported(folder):
    """A rename that forgets them would be noticed hours later."""
    for path in sorted((ROOT / "tests" / folder).rglob("*.py")):
        import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
