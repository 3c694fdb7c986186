"""The embedded corpus: the English prose that every Python installation carries.

Documentation topics, docstrings and text files of the standard library and of the installed
distributions, read without running any of their code. One file is one document; a paragraph that
was seen before is dropped. Whole packages are held out, because the pages of one package repeat
each other's phrases.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import Distribution, distributions
from inspect import cleandoc
from pathlib import Path, PurePath
from typing import Any

from pretrain.data.prose import paragraphs
from pretrain.data.sentences import word_set

HARVESTER_VERSION = 1
"""raise it with every change to what is harvested: it makes other corpora of old ones"""

TEXT_SUFFIXES = (".md", ".rst", ".txt")
LARGEST_FILE = 1_000_000
SHORTEST_DOCUMENT = 200
STANDARD_LIBRARY = "python"
OWN_DISTRIBUTION = "masklab"
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

    Where even the smallest package is too large, it is taken.
    """
    room = fraction * sum(sizes.values())
    names = sorted(
        filter(sizes.get, sizes), key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    chosen = set()
    for name in names:
        if sizes[name] <= room:
            chosen.add(name)
            room -= sizes[name]
    return chosen or {min(names, key=sizes.__getitem__)}


def installation() -> dict[str, Any]:
    """What the embedded corpus depends on: Python, the distributions, and this module's rules."""
    return {
        "python": platform.python_version(),
        "distributions": [f"{name}=={d.version}" for name, d in _distributions().items()],
        "harvester_version": HARVESTER_VERSION,
    }


@lru_cache(maxsize=1)
def harvest() -> dict[str, list[str]]:
    """Package name -> its documents; some tens of MB, kept because training reads it twice."""
    files = {STANDARD_LIBRARY: _standard_library_files()}
    files |= {name: _files(distribution) for name, distribution in _distributions().items()}
    seen: set[bytes] = set()
    with _no_garbage_collection():
        return {
            name: [text for p in paths for raw in _raw_documents(p) if (text := _join(raw, seen))]
            for name, paths in files.items()
        }


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


def _distributions() -> dict[str, Distribution]:
    """Name -> distribution, sorted; of two with one name, the one that Python would import."""
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name and name != OWN_DISTRIBUTION:
            found.setdefault(name, distribution)
    return dict(sorted(found.items()))


def _files(distribution: Distribution) -> list[Path]:
    wanted = (path for path in distribution.files or () if _is_wanted(path))
    return sorted(Path(str(path.locate())) for path in wanted)


def _standard_library_files() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(path for path in root.rglob("*.py") if _is_wanted(path.relative_to(root)))


def _is_wanted(path: PurePath) -> bool:
    name = path.name.lower()
    if not (name.endswith((".py", *TEXT_SUFFIXES)) or name == "metadata"):
        return False
    folders = {part.lower() for part in path.parts[:-1]}
    return not (folders & DROPPED_FOLDERS or ".." in folders or name.startswith(DROPPED_STEMS))


def _raw_documents(path: Path) -> Iterator[list[str]]:
    """The texts of each document of a file; unreadable, very large and broken files have none."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            return
        content = path.read_bytes()
    except OSError:
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
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return is_call and "doc" in ast.unparse(node.value.func)


def _topics(tree: ast.Module) -> list[str]:
    """The values of the one dictionary literal of pydoc's topics, by topic."""
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    topics = ast.literal_eval(values[0]) if values else {}
    return [text for _, text in sorted(topics.items())]
