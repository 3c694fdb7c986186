"""Which files a source names: one file, those of a folder, or those of a pattern.

A folder and a pattern walk the same way: every real file counts once, however many links lead to
it and however they loop, and nothing is read that is hidden or that an editor left behind. What is
left out is listed in `SourceFiles.left_out`; what was meant and cannot be read is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from configs.errors import InputError
from configs.schema import SourceConfig
from configs.system.files import check_regular, check_stored
from pretrain.text.compression import COMPRESSIONS, NOT_READ, check_name

EXTENSIONS = {
    "text": (".txt",),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
}
LEFTOVER = re.compile(
    r"\.|~|#.*#$|__MACOSX$|__pycache__$|.*(~|\.(swp|swo|part|partial|crdownload|tmp|bak|orig))$",
    re.IGNORECASE | re.DOTALL,
)
"""hidden, or left by an editor, a notebook, a download or an archive of a Mac; the pattern that
names such a thing by itself (`*.part`) is taken at its word"""
NAMED = 3
"""of what is left out, so many are named"""


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source in sorted order, and what was left out."""

    files: list[Path]
    hidden: list[Path]
    """hidden, or left by an editor"""
    other: list[Path]
    """of a folder: files whose ending is none of the kind's"""
    repeated: list[Path]
    """files and folders that were reached a second time, by a link"""

    def left_out(self) -> str:
        """What was left out, in words; "" where nothing was."""
        parts = [
            f"{len(paths):,} {what} ({_some(paths)})"
            for paths, what in (
                (self.other, "of other kinds"),
                (self.hidden, "hidden or an editor's"),
                (self.repeated, "reached twice, by links"),
            )
            if paths
        ]
        return f"left out: {'; '.join(parts)}" if parts else ""


def find_files(source: SourceConfig) -> list[Path]:
    """The files of a source in sorted order; raises as `source_files` does."""
    return source_files(source).files


def source_files(source: SourceConfig) -> SourceFiles:
    """The files of a source, and what lies beside them.

    A folder counts, at any depth, the files whose ending fits the kind (EXTENSIONS), whatever the
    case of its letters; a pattern counts what it names.

    Raises:
        InputError: there is no such file; or a link without a target, something else than a file,
            or an archive.
    """
    assert source.path is not None, "the schema asks for one"
    path = Path(source.path).expanduser()
    check_stored(path)
    if not path.is_dir() and (path.is_file() or os.path.lexists(path)):
        return SourceFiles([_checked(path)], [], [], [])
    walk = _Walk()
    if path.is_dir():
        walk.expand(path, ("**", "*"))
        files, other = _by_ending(walk.matched, EXTENSIONS[source.kind])
        cure = f"files must end in {' or '.join(EXTENSIONS[source.kind])}; name others by a glob"
    else:
        anchor = path.anchor or "."
        parts = path.parts[1:] if path.anchor else path.parts
        walk.expand(Path(anchor), _single_stars(parts))
        files, other, cure = walk.matched, [], "check the path"
    once, repeated = _once([_checked(entry) for entry in sorted(files)])
    result = SourceFiles(once, walk.hidden, other, repeated + walk.repeated)
    if not once:
        left_out = result.left_out()
        beside = f" ({left_out})" if left_out else ""
        raise InputError(f"data.sources: no {source.kind} file at {path}{beside}: {cure}")
    return result


class _Walk:
    """Follows the parts of a pattern; of each folder and each rest of the pattern once."""

    def __init__(self) -> None:
        self.matched: list[Path] = []
        self.hidden: list[Path] = []
        self.repeated: list[Path] = []
        self._walked: set[tuple[int, int, tuple[str, ...]]] = set()

    def expand(self, folder: Path, parts: tuple[str, ...]) -> None:
        """Add what `parts` match in `folder`."""
        head, rest = parts[0], parts[1:]
        if not has_magic(head):
            self._take(folder / head, rest)
            return
        # By what the folder is and not by its name, which differs on every turn of a loop of links;
        # with the rest of the pattern, as another rest asks for other files of the same folder.
        status = folder.stat()
        key = (status.st_dev, status.st_ino, parts)
        if key in self._walked:
            self.repeated.append(folder)
            return
        self._walked.add(key)
        deep = head == "**"
        if deep:
            self.expand(folder, rest)
        for entry in _entries(folder):
            is_folder = Path(entry.path).is_dir()  # unlike its own method, takes a loop for none
            if not (is_folder if deep or rest else not is_folder):
                continue
            if not deep and not fnmatchcase(entry.name, head):
                continue
            if LEFTOVER.match(entry.name) and (deep or not LEFTOVER.match(head)):
                self.hidden.append(Path(entry.path))
            else:
                self._take(folder / entry.name, parts if deep else rest)

    def _take(self, path: Path, rest: tuple[str, ...]) -> None:
        """Add a path, or what the rest of the pattern matches in it."""
        if rest and path.is_dir():
            self.expand(path, rest)
        elif not rest and os.path.lexists(path) and not path.is_dir():
            self.matched.append(path)


def _single_stars(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The pattern with one `**` for a row of them, and with files after a closing one."""
    row = [part for part, before in zip(parts, ("", *parts)) if (part, before) != ("**", "**")]
    return (*row, "*") if row[-1:] == ["**"] else tuple(row)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, in the order of names, links after the rest."""
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror}): give yourself the right to read it"
        ) from error


def _by_ending(files: list[Path], endings: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """(files of the kind, others); a file of the kind in an unknown compression is of the kind."""
    packed = tuple(e + c for e in endings for c in ("", *COMPRESSIONS, *NOT_READ))
    fitting = [path for path in files if path.name.lower().endswith(packed)]
    return fitting, sorted(set(files) - set(fitting))


def _checked(path: Path) -> Path:
    """The path, if what lies there is a file that can be read."""
    check_name(path)
    check_stored(path)
    if not os.path.exists(path):
        raise InputError(
            f"{path}: a link to {os.readlink(path)}, where nothing is: repair or remove it"
        )
    check_regular(path)
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: cannot be read (permission denied): give yourself the right")
    return path


def _once(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """(the first name of each real file, the further names)."""
    seen: set[tuple[int, int]] = set()
    once: list[Path] = []
    repeated: list[Path] = []
    for path in files:
        status = path.stat()
        key = (status.st_dev, status.st_ino)
        (repeated if key in seen else once).append(path)
        seen.add(key)
    return once, repeated


def _some(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in sorted(paths)[:NAMED])
    return names + (", ..." if len(paths) > NAMED else "")
