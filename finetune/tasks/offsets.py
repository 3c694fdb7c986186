"""Which characters of a text each of its tokens stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class Located:
    """A text's ids, and each one's characters: [starts, ends), without the space before a word."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Locator:
    """Encodes texts with offsets, by the `tokenizers` library's version of any tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.backend = tokenizer.new_backend()

    def __call__(self, texts: Sequence[str]) -> list[Located]:
        """Of each text its tokens and where they stand."""
        encodings = self.backend.encode_batch(list(texts))
        return [self._located(text, e.ids, e.offsets) for text, e in zip(texts, encodings)]

    @staticmethod
    def _located(text: str, ids: list[int], spans: list[tuple[int, int]]) -> Located:
        offsets = np.array(spans, np.int64).reshape(-1, 2)
        starts, ends = offsets[:, 0].copy(), offsets[:, 1]
        for place, (start, end) in enumerate(zip(starts, ends)):
            # Pieces of byte-level BPE and SentencePiece begin with the space before their word.
            while start < end - 1 and text[start].isspace():
                start += 1
            starts[place] = start
        return Located(np.array(ids, np.int64), starts, ends)
