"""Documents: the text of every source, one source after the other, streamed.

`source_identity` says what makes two corpora the same, so that a token store can be reused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from configs.errors import InputError
from configs.files import sha256_file
from configs.schema import SourceConfig
from pretrain.data.installed_docs import installation, installed_documents
from pretrain.data.text_files import find_files, read_file, read_hub

IDENTIFYING_FIELDS = {
    "installed-docs": (),
    "text": ("documents",),
    "jsonl": ("column",),
    "csv": ("column",),
    "parquet": ("column",),
    "hub": ("path", "subset", "split", "column"),
}


@dataclass(frozen=True)
class Document:
    """A piece of text whose sentences belong together; a line of it is a paragraph or sentence."""

    text: str
    heldout: bool | None = None
    """whether its source holds it out; None: the token store decides by the hash of the text"""


def documents(sources: list[SourceConfig], heldout_fraction: float) -> Iterator[Document]:
    """All documents of all sources, always in the same order, each as often as its weight says.

    Args:
        sources: read one after the other, files in sorted order.
        heldout_fraction: share of `installed-docs` to hold out, by package.
    Raises:
        InputError: a source is missing, broken, or holds no text.
    """
    for source in sources:
        empty = True
        for document in _read(source, heldout_fraction):
            empty = False
            yield from repeat(document, copies(document.text, source.weight))
        if empty:
            raise InputError(
                f"data.sources: {source.path or source.kind} holds no text: "
                "name a source with at least one document that is not empty"
            )


def copies(text: str, weight: float) -> int:
    """How often a document is used: the whole part of `weight`, the rest by the hash of its text.

    The hash is keyed, hence independent of the one that chooses the held-out documents: a weight
    below 1 must not move the held-out share.
    """
    whole, rest = divmod(weight, 1)
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=b"weight").digest()
    return int(whole) + (int.from_bytes(digest, "big") < rest * 2**64)


def source_identity(source: SourceConfig) -> dict[str, Any]:
    """What decides a source's documents, as JSON: equal identities mean equal text.

    Files count by name and sha256, the installation by its versions, a hub data set by its name
    alone (pin it as `owner/name@revision`).

    Raises:
        InputError: there is no such file.
    """
    identity = {field: getattr(source, field) for field in IDENTIFYING_FIELDS[source.kind]}
    identity |= {"kind": source.kind, "weight": source.weight}
    if source.kind == "installed-docs":
        return {**identity, **installation()}
    return identity if source.kind == "hub" else {**identity, "files": _hashes(source)}


def _read(source: SourceConfig, heldout_fraction: float) -> Iterator[Document]:
    if source.kind == "installed-docs":
        for text, heldout in installed_documents(heldout_fraction):
            yield Document(text, heldout)
    elif source.kind == "hub":
        yield from _filled(read_hub(source))
    else:
        for path in find_files(source):
            yield from _filled(read_file(path, source))


def _filled(texts: Iterator[str]) -> Iterator[Document]:
    return (Document(text) for text in texts if text.strip())


def _hashes(source: SourceConfig) -> dict[str, str]:
    files = find_files(source)
    top = os.path.commonpath([path.parent for path in files])
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(sha256_file, files)
        return {path.relative_to(top).as_posix(): sha for path, sha in zip(files, hashes)}
