"""Texts to sequences: CLS a SEP, or what the checkpoint's tokenizer makes of a pair; windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tokenizer.base import Tokenizer


def frame(
    tokenizer: Tokenizer, first: Sequence[int], second: Sequence[int] | None, max_length: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """(ids, segments, tokens cut off) of one or two texts, int64, at most `max_length` tokens.

    The longer of the two loses its last tokens first, as in BERT's released code.
    """
    special, framing = tokenizer.special, tokenizer.framing
    if second is None:
        ids = [special.cls, *first[: max_length - 2], special.sep]
        return np.array(ids), np.zeros(len(ids), np.int64), len(first) - (len(ids) - 2)
    keep_first, keep_second = shares(len(first), len(second), max_length - framing.special_tokens)
    head = pair_head(tokenizer, first[:keep_first])
    tail = [*second[:keep_second], special.sep]
    cut = len(first) - keep_first + len(second) - keep_second
    return np.array(head + tail), pair_segments(tokenizer, len(head), len(tail)), cut


def pair_head(tokenizer: Tokenizer, first: Sequence[int]) -> list[int]:
    """All of a pair that stands before its second text."""
    special = tokenizer.special
    return [special.cls, *first, *[special.sep] * tokenizer.framing.separators]


def pair_segments(tokenizer: Tokenizer, head: int, tail: int) -> np.ndarray:
    """The segments of `head` tokens, up to the second text, and of the `tail` that follows."""
    return np.repeat([0, tokenizer.framing.second_segment], [head, tail])


def shares(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts fit into `room` if the longer one gives way first."""
    if first + second <= room:
        return first, second
    keep_first = min(first, max(room - second, (room + 1) // 2))
    return keep_first, room - keep_first


def window_starts(tokens: int, room: int, stride: int) -> Iterator[int]:
    """Where windows of `room` tokens begin so that each of `tokens` is in one.

    They overlap by `stride`, but by half of a window at most: more would make them many.
    """
    step = max(room - stride, (room + 1) // 2)
    start = 0
    yield start
    while start + room < tokens:
        start += step
        yield start
