"""Spans of SpanBERT, and what a rate that moves does to the masks of all units."""

from __future__ import annotations

import numpy as np
import pytest

from configs.schema import MaskingConfig
from pretrain.data.masking import Masker
from pretrain.data.spans import LONGEST, choose_spans, span_lengths
from tests.helpers import assert_binomial, simple_vocabulary
from tests.unit.pretrain.data.slow_masking import SEED, Batch, random_batch

VOCABULARY = simple_vocabulary(100, continues_every=3)
LENGTHS = np.random.default_rng(1).integers(3, 130, 300).tolist()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return random_batch(LENGTHS, VOCABULARY)


def test_lengths_are_those_of_the_paper():
    """A geometric distribution of p = 0.2, cut off at 10: its mean is 3.8."""
    lengths = span_lengths(np.arange(1_000_000) / 1e6)
    assert (lengths.min(), lengths.max()) == (1, LONGEST)
    assert lengths.mean() == pytest.approx(3.8, abs=0.01)
    shares = np.bincount(lengths)[1:] / len(lengths)
    assert shares[1:] / shares[:-1] == pytest.approx(np.full(9, 0.8), abs=1e-3)


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.95])
def test_spans_keep_the_rate(batch, rate):
    masked = Masker(MaskingConfig(unit="span"), VOCABULARY, SEED).mask(batch, 0, rate)
    assert len(np.unique(masked.predicted_M)) == len(masked.predicted_M)
    assert batch.maskable_T[masked.predicted_M].all()
    assert_binomial(len(masked.predicted_M), int(batch.maskable_T.sum()), rate)


def test_the_last_span_is_cut_where_the_budget_is_spent():
    """Words of two tokens, the last drawn first: each span has one word that is not taken yet."""
    starts, sizes = np.arange(0, 200, 2), np.full(100, 2)
    rows, score = np.zeros(100, np.int64), np.arange(100, 0, -1).astype(np.uint32)
    places, first = choose_spans(starts, sizes, rows, score, np.full(100, 3), np.asarray([13]))
    assert places.tolist() == [186, *range(188, 200)]
    assert first.tolist() == [186, *np.repeat(range(188, 200, 2), 2)]


@pytest.mark.parametrize(("mask_share", "random_share"), [(0.5, 0.0), (0.0, 0.5)])
def test_tokens_of_a_span_are_shown_alike(mask_share, random_share):
    """In a text that is one word there is one span, which is masked, or replaced, or kept."""
    vocabulary = simple_vocabulary(1000)
    vocabulary.continues_word[:1000] = True
    batch = random_batch([5] * 300, vocabulary)
    config = MaskingConfig(0.9, None, mask_share, random_share, "span")
    result = Masker(config, vocabulary, SEED).mask(batch, 0)
    rows = result.predicted_M // 5
    changed = result.tokens_T[result.predicted_M] != result.labels_M
    shares = np.bincount(rows, changed, 300) / np.bincount(rows, minlength=300)
    # One in a thousand random tokens is the token itself.
    assert np.isin(shares, [0.0, 1.0]).mean() > 0.98
    assert_binomial(int((shares == 1).sum()), 300, 0.5)


def test_spans_end_before_special_tokens_and_pass_over_what_is_taken():
    starts, sizes = np.asarray([1, 2, 4, 6, 9]), np.asarray([1, 2, 1, 1, 1])
    rows, lengths = np.asarray([0, 0, 0, 0, 1]), np.asarray([9, 2, 9, 9, 9])
    score = np.asarray([2, 1, 3, 4, 0], np.uint32)
    places, first = choose_spans(starts, sizes, rows, score, lengths, np.asarray([4, 1]))
    # First words 1 and 2 (places 2 to 4); then word 0, whose span passes over them up to the gap.
    assert places.tolist() == [1, 2, 3, 4, 9]
    assert first.tolist() == [1, 2, 2, 2, 9]


def test_nothing_to_predict_is_nothing():
    none = np.zeros(0, np.int64)
    places, first = choose_spans(none, none, none, none.astype(np.uint32), none, np.asarray([0]))
    assert len(places) == len(first) == 0


def masked(batch: Batch, unit: str, rate: float) -> dict[int, int]:
    """Place -> what is shown there, of all predicted tokens."""
    result = Masker(MaskingConfig(unit=unit), VOCABULARY, SEED).mask(batch, 4, rate)
    return dict(zip(result.predicted_M.tolist(), result.tokens_T[result.predicted_M].tolist()))


@pytest.mark.parametrize("unit", ["token", "span"])
@pytest.mark.parametrize(("low", "high"), [(0.15, 0.3), (0.05, 0.15), (0.3, 0.31)])
def test_masks_of_a_lower_rate_are_among_those_of_a_higher_one(batch, unit, low, high):
    fewer, more = masked(batch, unit, low), masked(batch, unit, high)
    assert len(fewer) < len(more)
    assert fewer.items() <= more.items(), "and they are shown alike"


def test_whole_words_of_a_lower_rate_mostly_are(batch):
    """A long word that fits the larger budget alone takes the room of others."""
    fewer, more = masked(batch, "word", 0.15), masked(batch, "word", 0.3)
    shared = fewer.items() & more.items()
    assert 0.9 * len(fewer) < len(shared) < len(fewer)
