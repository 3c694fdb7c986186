"""Texts in the frame of special tokens, cut as BERT's released code cuts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetune.tasks.task import frame, shares, window_starts
from tokenizer.base import Framing, SpecialTokens

CLS, SEP = 101, 102
SPECIAL = SpecialTokens(cls=CLS, sep=SEP, pad=0, mask=103, unk=100)
TOKENIZER = SimpleNamespace(special=SPECIAL, framing=Framing())
LENGTHS = st.integers(0, 40)


def truncate_seq_pair(first: list[int], second: list[int], room: int) -> None:
    """BERT's released code: the longer list loses its last token, the second one in a tie."""
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()


@given(LENGTHS, LENGTHS, st.integers(5, 50))
def test_the_longer_text_loses_its_last_tokens_first(first, second, room):
    a, b = list(range(first)), list(range(second))
    truncate_seq_pair(a, b, room)
    assert shares(first, second, room) == (len(a), len(b))


@given(LENGTHS, LENGTHS, st.integers(8, 50))
def test_a_pair_has_two_segments_each_with_its_separator(first, second, max_length):
    a, b = list(range(first)), list(range(200, 200 + second))
    ids, segments, cut = frame(TOKENIZER, a, b, max_length)
    truncate_seq_pair(a, b, max_length - 3)
    assert ids.tolist() == [CLS, *a, SEP, *b, SEP] and len(ids) <= max_length
    assert segments.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1)
    assert cut == first + second - len(a) - len(b)
    assert ids.dtype == segments.dtype == np.int64


@given(LENGTHS, st.integers(8, 50))
def test_one_text_has_one_segment(length, max_length):
    tokens = list(range(length))
    ids, segments, cut = frame(TOKENIZER, tokens, None, max_length)
    assert cut == max(0, length - (max_length - 2))
    assert ids.tolist() == [CLS, *tokens[: max_length - 2], SEP]
    assert segments.tolist() == [0] * len(ids) and ids.dtype == segments.dtype == np.int64


def test_an_empty_second_text_is_still_a_pair():
    ids, segments, _ = frame(TOKENIZER, [7], [], 8)
    assert ids.tolist() == [CLS, 7, SEP, SEP] and segments.tolist() == [0, 0, 0, 1]


@given(st.integers(0, 200), st.integers(1, 30), st.integers(0, 30))
def test_windows_leave_no_gap_and_none_is_empty(tokens, room, stride):
    starts = list(window_starts(tokens, room, stride))
    covered = {place for start in starts for place in range(start, min(start + room, tokens))}
    assert covered == set(range(tokens)) and starts[-1] < max(tokens, 1)
    assert (np.diff(starts) == max(room - stride, (room + 1) // 2)).all()


@given(LENGTHS, LENGTHS, st.integers(8, 50), st.integers(0, 1))
def test_a_pair_may_have_two_separators_which_its_budget_counts(first, second, max_length, segment):
    a, b = list(range(first)), list(range(200, 200 + second))
    tokenizer = SimpleNamespace(special=SPECIAL, framing=Framing(2, segment))
    ids, segments, _ = frame(tokenizer, a, b, max_length)
    truncate_seq_pair(a, b, max_length - 4)
    assert ids.tolist() == [CLS, *a, SEP, SEP, *b, SEP] and len(ids) <= max_length
    assert segments.tolist() == [0] * (len(a) + 3) + [segment] * (len(b) + 1)
