"""A store of any size without text: real lengths of sentences and documents, and tokens that are
holes in a file. As a program, it deals the first step of one and tells what that took."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from configs.schema import BatchConfig, PretrainConfig
from pretrain.data.batches import Batches
from pretrain.data.collate import Collator
from pretrain.data.manifest import COUNTS, ENDS, write_manifest
from pretrain.data.store import TokenStore
from tests.helpers import simple_vocabulary

SHARD_SENTENCES = 12_000_000
SENTENCE_TOKENS, DOCUMENT_SENTENCES = 23, 18
"""on average, of English Wikipedia under a byte-level vocabulary of 50,000"""
DTYPE = np.dtype("<u2")


def make_store(folder: Path, sentences: int) -> None:
    """The store in `folder`, one split `train`; its hashes are none: open it unverified."""
    (folder / "train").mkdir(parents=True)
    np.save(folder / "train" / COUNTS, np.ones(50_000, np.int64))
    shards = [
        _write_shard(folder, number, min(SHARD_SENTENCES, sentences - first))
        for number, first in enumerate(range(0, sentences, SHARD_SENTENCES))
    ]
    totals = {key: sum(s[key] for s in shards) for key in ("documents", "sentences", "tokens")}
    counts = _entry((folder / "train" / COUNTS).stat().st_size)
    split = {**totals, "text_bytes": 4, "shards": shards, "unigram_counts": counts}
    write_manifest(folder, {"train": split}, DTYPE, identity={"made": "by a test"})


def _write_shard(folder: Path, number: int, sentences: int) -> dict[str, object]:
    name = f"train/{number:05d}"
    rng = np.random.default_rng(number)
    sentence_ends = np.cumsum(np.minimum(rng.geometric(1 / SENTENCE_TOKENS, sentences), 500))
    sizes = rng.geometric(1 / DOCUMENT_SENTENCES, 2 * sentences // DOCUMENT_SENTENCES + 9)
    document_ends = np.cumsum(sizes)
    document_ends = np.append(document_ends[document_ends < sentences], sentences)
    tokens = int(sentence_ends[-1])
    with (folder / f"{name}.tokens").open("wb") as file:
        file.truncate(tokens * DTYPE.itemsize)
    for part, ends in (("sentence_ends", sentence_ends), ("document_ends", document_ends)):
        ends.astype(ENDS).tofile(folder / f"{name}.{part}")
    parts = ("tokens", "sentence_ends", "document_ends")
    files = {part: _entry((folder / f"{name}.{part}").stat().st_size) for part in parts}
    counts = {"documents": len(document_ends), "sentences": sentences, "tokens": tokens}
    return {"name": name, **counts, "files": files}


def _entry(size: int) -> dict[str, object]:
    return {"bytes": size, "sha256": "0" * 64}


def first_step(folder: Path) -> tuple[int, int]:
    """(samples of an epoch, tokens of the first step)."""
    batch = BatchConfig(sequences=256, micro_sequences=32)
    fields = {"input_format": "full-sentences", "next_sentence_prediction": False}
    config = PretrainConfig(max_length=512, batch=batch, **fields).resolved()
    batches = Batches(Collator(TokenStore.open(folder, "train"), config, simple_vocabulary()))
    micro_batches = batches.step(0)
    return len(batches.collate.index(0)), sum(len(own.tokens_T) for own in micro_batches)


if __name__ == "__main__":
    started = time.monotonic()
    samples, tokens = first_step(Path(sys.argv[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{samples:,} samples, {tokens:,} tokens in the first step; MB at the peak, seconds:")
    print(peak, round(time.monotonic() - started, 1))
