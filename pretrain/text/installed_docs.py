"""The embedded corpus: the English prose that every installation of this project carries.

Documentation topics, docstrings and text files of the standard library and of a pinned list of
distributions (`distributions.py`), read without running any of their code. One file is one
document; a paragraph that was seen before is dropped. Only what a distribution's RECORD vouches for
is read, hence equal versions mean equal text. Whole packages are held out, because the pages of one
package repeat each other's phrases.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import logging
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import Distribution
from inspect import cleandoc
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from configs.errors import InputError
from configs.system.notes import PROGRESS
from pretrain.text.distributions import (
    LIBRARY_MODULES,
    RecordedFile,
    find_distributions,
    read_recorded,
    recorded_files,
)
from pretrain.text.prose import paragraphs
from pretrain.text.sentences import word_set

logger = logging.getLogger(__name__)

HARVESTER_VERSION = 2
"""raise it with every change to what is harvested: it makes other corpora of old ones"""

TEXT_SUFFIXES = (".md", ".rst", ".txt")
LARGEST_FILE = 1_000_000
SHORTEST_DOCUMENT = 200
LARGEST_LOSS = 0.01
"""share of the files that may be missing or changed"""
LARGEST_HELDOUT = 0.25
"""share of the held-out text that may be one package's"""
STANDARD_LIBRARY = "python"
DROPPED_FOLDERS = word_set(
    """
    test tests testing _testing idle_test _vendor _vendored vendor vendored third_party externals
    extern site-packages dist-packages licenses node_modules __pycache__ lib2to3
    """
)
DROPPED_STEMS = ("test_", "conftest", "license", "copying", "notice", "authors", "requirements")


def installed_documents(heldout_fraction: float) -> Iterator[tuple[str, bool]]:
    """The documents of this installation, in the order of distribution and path.

    Args:
        heldout_fraction: about this share of the text is held out, in whole packages.
    Yields:
        a document's text, one paragraph a line, and whether it is held out.
    """
    packages = harvest()
    sizes = {name: sum(map(len, texts)) for name, texts in packages.items()}
    heldout = heldout_packages(sizes, heldout_fraction)
    for name, texts in packages.items():
        for text in texts:
            yield text, name in heldout


def heldout_packages(sizes: dict[str, int], fraction: float) -> set[str]:
    """Packages in the order of their names' hashes, but those that would overshoot `fraction`.

    Large ones stay in training, so that the held-out text is of several packages, and a new version
    of one, with a page more, does not exchange them all. Where even the smallest package is too
    large, it is taken.
    """
    room = fraction * sum(sizes.values())
    largest = LARGEST_HELDOUT * room
    names = sorted(
        filter(sizes.get, sizes), key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    chosen = set()
    for name in names:
        if sizes[name] <= min(room, largest):
            chosen.add(name)
            room -= sizes[name]
    return chosen or set(sorted(names, key=sizes.__getitem__)[:1])


def installation() -> dict[str, Any]:
    """What the embedded corpus depends on: Python, the distributions, and this module's rules."""
    installed = find_distributions()
    return {
        "python": platform.python_version(),
        "distributions": [f"{name}=={d.version}" for name, d in installed.items() if d],
        "missing": [name for name, d in installed.items() if not d],
        "harvester_version": HARVESTER_VERSION,
    }


@lru_cache(maxsize=1)
def harvest() -> dict[str, list[str]]:
    """Package name -> its documents; some tens of MB, kept because training reads it twice; raises
    `InputError`: too many files are not as they were installed."""
    installed = find_distributions()
    files = {STANDARD_LIBRARY: _standard_library_files()}
    for name, distribution in installed.items():
        if distribution is not None:
            files[name] = [f for f in recorded_files(distribution) if _is_wanted(f.name)]
    seen: set[bytes] = set()
    lost: dict[str, list[Path]] = {name: [] for name in files}
    with _no_garbage_collection():
        packages = {name: _texts(rows, seen, lost[name]) for name, rows in files.items()}
    _tell_losses(installed, sum(map(len, files.values())), lost)
    return packages


def _tell_losses(
    installed: dict[str, Distribution | None], wanted: int, lost: dict[str, list[Path]]
) -> None:
    """One note on listed distributions that are missing and on the `lost` of all `wanted` files."""
    absent = [name for name, distribution in installed.items() if not distribution]
    lost = {name: paths for name, paths in lost.items() if paths}
    count = sum(map(len, lost.values()))
    changed = f"{count} of {wanted:,} files are missing or were changed since they were installed"
    if count > LARGEST_LOSS * wanted:
        first = next(iter(lost.values()))[0]
        cure = f"pip install --force-reinstall {' '.join(lost)}"
        raise InputError(f"data.sources: installed-docs: {changed}, the first {first}: {cure}")
    notes = []
    if absent:
        notes.append(
            f"{len(absent)} of {len(installed)} distributions are missing: {', '.join(absent)}"
        )
    if count:
        notes.append(f"{changed}, of {', '.join(lost)}")
    if notes:
        logger.log(
            PROGRESS, f"installed-docs: {'; '.join(notes)}: without their text it is another corpus"
        )


def _texts(files: list[RecordedFile], seen: set[bytes], lost: list[Path]) -> list[str]:
    """The documents of a package; adds to `seen` its paragraphs, to `lost` what is not whole."""
    texts: list[str] = []
    for file in files:
        content = read_recorded(file)
        if content is None:
            lost.append(file.path)
        else:
            texts += filter(None, (_join(raw, seen) for raw in _raw_documents(file.path, content)))
    return texts


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees hold no cycles, and walking them in search of some takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _join(raw_texts: list[str], seen: set[bytes]) -> str:
    """One document of the paragraphs that are new; empty where too little is left."""
    lines = []
    for raw in raw_texts:
        for paragraph in paragraphs(raw):
            key = hashlib.blake2b(paragraph.lower().encode(), digest_size=8).digest()
            if key not in seen:
                seen.add(key)
                lines.append(paragraph)
    text = "\n".join(lines)
    return text if len(text) >= SHORTEST_DOCUMENT else ""


def _standard_library_files() -> list[RecordedFile]:
    """Nothing records them; what others put beside the modules, such as sitecustomize, is left."""
    root = Path(sysconfig.get_path("stdlib"))
    names = sorted(PurePosixPath(path.relative_to(root)) for path in root.rglob("*.py"))
    modules = (name for name in names if name.parts[0].removesuffix(".py") in LIBRARY_MODULES)
    return [RecordedFile(name, root / name, "") for name in modules if _is_wanted(name)]


def _is_wanted(path: PurePath) -> bool:
    name = path.name.lower()
    if not (name.endswith((".py", *TEXT_SUFFIXES)) or name == "metadata"):
        return False
    folders = {part.lower() for part in path.parts[:-1]}
    return not (folders & DROPPED_FOLDERS or ".." in folders or name.startswith(DROPPED_STEMS))


def _raw_documents(path: Path, content: bytes) -> Iterator[list[str]]:
    """The texts of each document of a file; very large and broken files have none."""
    if len(content) > LARGEST_FILE:
        return
    if path.suffix == ".py":
        tree = _parse(content)
        if path.parts[-2:] == ("pydoc_data", "topics.py"):
            yield from ([topic] for topic in _topics(tree))
        else:
            yield list(_docstrings(tree))
    else:
        text = content.decode("utf-8", errors="ignore")
        # The fields of METADATA end at the first blank line; the description follows.
        yield [text.partition("\n\n")[2] if path.name == "METADATA" else text]


def _parse(source: bytes) -> ast.Module:
    """The syntax tree; an empty one for broken code and for code without long strings."""
    if b'"""' not in source and b"'''" not in source:
        return ast.Module(body=[], type_ignores=[])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.Module(body=[], type_ignores=[])


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Docstrings of a module and of the classes and functions in it, in their order.

    Those that a call attaches to compiled code, as in `add_docstr(torch.abs, "...")`, count too.
    """
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield ast.get_docstring(node) or ""
    elif _attaches_docstring(node):
        constants = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
        yield from (cleandoc(value) for value in constants if isinstance(value, str))
    for child in getattr(node, "body", ()):
        if isinstance(child, ast.stmt):
            yield from _docstrings(child)


def _attaches_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    return "doc" in ast.unparse(node.value.func)


def _topics(tree: ast.Module) -> list[str]:
    """The values of the one dictionary literal of pydoc's topics, by topic."""
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    topics = ast.literal_eval(values[0]) if values else {}
    return [text for _, text in sorted(topics.items())]
