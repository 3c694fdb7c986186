"""Documents: what they are, how often each is used, and what makes two corpora the same.

`pieces.py` reads them; `source_identity` is why a token store can be reused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from configs.schema import SourceConfig
from configs.system.file_hashes import hash_files
from configs.system.secrets import hashed, hide
from pretrain.text.find_files import find_files, source_files
from pretrain.text.installed_docs import installation

IDENTIFYING_FIELDS: dict[str, tuple[str, ...]] = {
    "installed-docs": (),
    "text": ("documents", "encoding"),
    "jsonl": ("column", "encoding"),
    "csv": ("column", "encoding"),
    "parquet": ("column", "encoding"),
    "hub": ("path", "subset", "split", "column", "encoding"),
}


@dataclass(frozen=True)
class Document:
    """A piece of text whose sentences belong together; a line of it is a paragraph or sentence."""

    text: str
    heldout: bool | None = None
    """whether its source holds it out; None: the token store decides by the hash of the text"""


def weighted(documents: Iterable[Document], weight: float) -> Iterator[Document]:
    """Each document as often as `weight` says."""
    for document in documents:
        yield from repeat(document, copies(document.text, weight))


def copies(text: str, weight: float) -> int:
    """How often a document is used: the whole part of `weight`, the rest by the hash of its text.

    The hash is keyed, hence independent of the one that chooses the held-out documents: a weight
    below 1 must not move the held-out share.
    """
    whole, rest = divmod(weight, 1)
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=b"weight").digest()
    return int(whole) + (int.from_bytes(digest, "big") < rest * 2**64)


def source_names(sources: Sequence[SourceConfig]) -> tuple[str, ...]:
    """What each source is called in figures, no two alike: its own name, else that of its file,
    folder or data set, with a number behind one that is taken."""
    taken = {source.name for source in sources if source.name}
    names = []
    for source in sources:
        plain = name = source.name or _plain_name(source)
        number = 2
        while not source.name and name in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name)
        names.append(name)
    return tuple(names)


def _plain_name(source: SourceConfig) -> str:
    """The last part of its path that is no pattern, without endings."""
    parts = [part for part in (source.path or "").split("/") if part not in ("", ".", "..")]
    for part in reversed(parts):
        if not any(sign in part for sign in "*?["):
            name = part.split("@")[0] if source.kind == "hub" else part.split(".")[0]
            return hide(name or part)[:60]
    return source.kind


def source_identity(
    source: SourceConfig, hashes: Path | None = None, keeps_hashes: bool = True
) -> dict[str, Any]:
    """What decides a source's documents, as JSON: equal identities mean equal text.

    Files count by name and sha256, the installation by its versions, a hub data set by its name
    alone (pin it as `owner/name@revision`).

    Args:
        hashes: folder that keeps the hashes of large files; see `hash_files`.
        keeps_hashes: add to it; else it is only read.
    Raises:
        InputError: there is no such file.
    """
    identity = {field: getattr(source, field) for field in IDENTIFYING_FIELDS[source.kind]}
    identity = {f: hashed(v) if isinstance(v, str) else v for f, v in identity.items()}
    identity |= {"kind": source.kind, "weight": source.weight}
    if source.kind == "installed-docs":
        return {**identity, **installation()}
    if source.kind == "hub":
        return identity
    files = find_files(source)
    top = os.path.commonpath([path.parent for path in files])
    names = (path.relative_to(top).as_posix() for path in files)
    return {**identity, "files": dict(zip(names, hash_files(files, hashes, keeps_hashes)))}


def notes(sources: Sequence[SourceConfig]) -> list[str]:
    """What a person should know of the files of some sources, a line each: what is left out, and
    what counts twice; raises as `source_files` does."""
    lines: list[str] = []
    owners: dict[tuple[int, int], int] = {}
    for number, source in enumerate(sources):
        if source.kind in ("installed-docs", "hub"):
            continue
        own = source_files(source)
        if left_out := own.left_out():
            lines.append(f"data.sources.{number} ({source.path}): {left_out}")
        # The identity of a file, whatever its name: two sources may reach it by two links.
        identities = [(s.st_dev, s.st_ino) for s in (path.stat() for path in own.files)]
        lines += _shared(number, own.files, [owners.get(identity) for identity in identities])
        owners = {**dict.fromkeys(identities, number), **owners}
    return lines


def _shared(number: int, files: list[Path], owners: list[int | None]) -> Iterator[str]:
    """A line on those of a source's files that an earlier source has as well."""
    for other in sorted({owner for owner in owners if owner is not None}):
        first, *more = (path for path, owner in zip(files, owners) if owner == other)
        also = f" and {len(more):,} files more" if more else ""
        yield (
            f"data.sources.{other} and data.sources.{number} both hold {first}{also}: each "
            "document of theirs counts twice"
        )
