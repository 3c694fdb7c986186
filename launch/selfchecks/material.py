"""What there is to learn where no text is at hand: a store of made-up sentences, and real prose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pretrain.data.manifest import write_manifest
from pretrain.data.masking import Vocabulary
from pretrain.data.store import SplitWriter, token_dtype

WORDS, SPECIAL = 1000, 3
VOCABULARY = WORDS + SPECIAL
DOCUMENTS, SENTENCE = 400, 16
MOST_CHARACTERS = 2_000_000
"""of a text: more would take longer to prepare than to learn from"""
FOLLOWS = 0.8
"""how often a word is followed by the one that always follows it"""


def write_store(folder: Path) -> Path:
    """A token store of documents in which most words follow from the one before."""
    generator = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, WORDS + 1)
    writer = SplitWriter(folder / "train", VOCABULARY)
    for _ in range(DOCUMENTS):
        length = int(generator.integers(10, 20)) * SENTENCE
        words = generator.choice(WORDS, length, p=weights / weights.sum())
        follows = generator.random(length) < FOLLOWS
        for place in range(1, length):
            if follows[place]:
                words[place] = (7 * words[place - 1] + 3) % WORDS
        writer.add(words.reshape(-1, SENTENCE).tolist(), text_bytes=length)
    content = {"train": writer.finish()}
    write_manifest(folder, content, token_dtype(VOCABULARY), identity={"made": "by a self-check"})
    return folder


def vocabulary() -> Vocabulary:
    """Of that store: words, and behind them the special tokens."""
    continues = np.zeros(VOCABULARY, bool)
    cls_id, sep_id, mask_id = range(WORDS, VOCABULARY)
    return Vocabulary(cls_id, sep_id, mask_id, np.arange(WORDS), continues)


def write_prose(path: Path, text: Path | None = None) -> Path:
    """Documents with blank lines between them: the beginning of a `text`, or Python's own help
    topics, which are 0.7 MB."""
    if text:
        with text.open(encoding="utf-8", errors="replace") as file:
            path.write_text(file.read(MOST_CHARACTERS), encoding="utf-8")
        return path
    from pydoc_data.topics import topics

    documents = ("\n".join(filter(None, topic.split("\n"))) for topic in topics.values())
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path
