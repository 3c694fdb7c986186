"""Which tokens of a store are of which source, where it is made of several.

A piece of a store is of one source (`pieces.py`), and pieces follow one another source by source:
each source is a run of tokens in every split. The manifest names the sources and their pieces;
one that was written by an earlier version, or of a single source, does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrain.arrays import Ints
from pretrain.data.blocks import Entry


@dataclass(frozen=True)
class StoreSources:
    """The S sources of one split, in order."""

    names: tuple[str, ...]
    ends: Ints
    """(S): where each ends, in tokens"""
    text_bytes: Ints
    """(S): UTF-8 bytes of text of each"""

    def of_tokens(self, places: Ints) -> Ints:
        """Number of the source that each of some tokens is of."""
        return np.searchsorted(self.ends, places, side="right")

    @property
    def tokens(self) -> Ints:
        """(S): how many each has."""
        return np.diff(self.ends, prepend=0)


def describe_sources(names: Sequence[str], pieces: Sequence[Sequence[dict[str, Entry]]]) -> Entry:
    """The part of a manifest that tells sources apart; empty where there is one alone.

    Args:
        pieces: of each source, the splits of its pieces.
    """
    if len(names) < 2:
        return {}
    found = [
        {
            "name": name,
            "pieces": len(own),
            "text_bytes": {
                split: sum(piece[split]["text_bytes"] for piece in own) for split in pieces[0][0]
            },
        }
        for name, own in zip(names, pieces)
    ]
    return {"sources": found}


def read_sources(manifest: Entry, split: str, shards: list[Entry]) -> StoreSources | None:
    """The sources of some shards of a split; None where the manifest does not tell them apart.

    Raises:
        ValueError: what it says of them contradicts the rest of it.
    """
    entries = manifest.get("sources")
    if entries is None:
        return None
    try:
        piece_ends = np.cumsum([entry["pieces"] for entry in entries], dtype=np.int64)
        tokens = np.zeros(len(entries), np.int64)
        for shard in shards:
            piece = int(shard["name"].split("/")[0])
            tokens[np.searchsorted(piece_ends, piece, side="right")] += shard["tokens"]
        text_bytes = np.asarray([entry["text_bytes"][split] for entry in entries], np.int64)
        names = tuple(str(entry["name"]) for entry in entries)
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise ValueError("sources are not as they are written") from error
    if text_bytes.sum() != manifest["splits"][split]["text_bytes"]:
        raise ValueError("text_bytes of its sources are not those of the splits")
    return StoreSources(names, np.cumsum(tokens), text_bytes)


def sources_note(manifest: Entry, folder: Path, heldout: StoreSources | None) -> str:
    """What a run should say of held-out figures that a source does not get; empty: all get them.

    `folder` is the store's.
    """
    if heldout is None:
        several = len((manifest.get("identity") or {}).get("sources", []))
        if several < 2:
            return ""
        return (
            f"the store does not tell its {several} sources apart, as an earlier version made it: "
            f"no held-out figures for each; delete {folder} to have it made anew"
        )
    silent = [name for name, tokens in zip(heldout.names, heldout.tokens) if not tokens]
    return f"nothing is held out of {', '.join(silent)}: no figures for it" if silent else ""
