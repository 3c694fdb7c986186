"""Masking: the paper's shares, and the same choices as a slow loop over samples."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from configs.schema import MaskingConfig
from pretrain.data import masking
from pretrain.data.masking import Masked, Vocabulary, make_vocabulary
from tests.helpers import assert_binomial, assert_uniform, simple_vocabulary
from tests.unit.pretrain.data.slow_masking import (
    Batch,
    random_batch,
    slowly_masked,
    words_of,
)
from tokenizer.base import SpecialTokens

SINGLE, WHOLE_WORD, SPAN = (MaskingConfig(unit=unit) for unit in ("token", "word", "span"))


def assert_same(a: Masked, b: Masked) -> None:
    assert a.predicted_M.tolist() == b.predicted_M.tolist()
    assert a.tokens_T.tolist() == b.tokens_T.tolist()
    assert a.labels_M.tolist() == b.labels_M.tolist()


@pytest.mark.parametrize("unit", ["token", "word", "span"])
@pytest.mark.parametrize("seed", range(5))
def test_same_masks_as_the_slow_loop(unit, seed):
    vocabulary = simple_vocabulary(100, continues_every=2 + seed)
    config = MaskingConfig(
        probability=(0.15, 0.4, 0.9)[seed % 3],
        mask_share=0.5,
        random_share=0.3,
        unit=unit,
    )
    lengths = np.random.default_rng(seed).integers(3, 70, 40).tolist()
    batch = random_batch([3, 4, *lengths], vocabulary, seed)
    assert_same(batch.mask(config, vocabulary), slowly_masked(batch, config, vocabulary))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("probability", [0.02, 0.15, 0.6])
def test_same_masks_as_the_slow_loop_where_words_are_long(share, probability):
    """Words of 2 to 100 tokens: most are beyond what is left of the budget."""
    vocabulary = simple_vocabulary(100)
    vocabulary.continues_word[: int(100 * share)] = True
    config = MaskingConfig(probability=probability, unit="word")
    lengths = np.random.default_rng(3).integers(3, 120, 60).tolist()
    batch = random_batch([3, 4, 5, *lengths], vocabulary)
    assert_same(batch.mask(config, vocabulary), slowly_masked(batch, config, vocabulary))


def test_masks_of_single_tokens_are_those_of_ever():
    """They are part of every curve: a resumed run must not see others."""
    other = MaskingConfig(probability=0.4, mask_share=0.5, random_share=0.3)
    assert digest(SINGLE, 3) == "cf7595f98c6ad6250fa1a663f870857ffa8acb2ac265624d90a0986e2895c57f"
    assert digest(other, 0) == "02fbfd676c36a77d33612649b83605f5468b24a734eeca049bb578e08fa9d048"


def digest(config: MaskingConfig, continues_every: int) -> str:
    """sha256 of everything that is masked in 480 sequences."""
    vocabulary, hasher = simple_vocabulary(1000, continues_every), hashlib.sha256()
    for seed in range(4):
        lengths = np.random.default_rng(seed).integers(3, 300, 60).tolist()
        batch = random_batch(lengths, vocabulary, seed)
        for masked in (batch.mask(config, vocabulary, epoch) for epoch in (0, 7)):
            for array in (masked.tokens_T, masked.predicted_M, masked.labels_M):
                hasher.update(np.ascontiguousarray(array, "<i8").tobytes())
    return hasher.hexdigest()


@pytest.fixture(scope="module")
def million():
    """A million tokens in sequences of 128, and their masks."""
    vocabulary = simple_vocabulary(100)
    batch = random_batch([128] * 7813, vocabulary)
    return vocabulary, batch, batch.mask(SINGLE, vocabulary)


def test_fifteen_percent_are_predicted(million):
    _, batch, masked = million
    assert_binomial(len(masked.predicted_M), int(batch.maskable_T.sum()), 0.15)


def test_special_tokens_are_never_predicted(million):
    vocabulary, batch, masked = million
    assert batch.maskable_T[masked.predicted_M].all()
    assert (masked.labels_M < vocabulary.cls_id).all()
    assert (np.diff(masked.predicted_M) > 0).all()


def test_eighty_ten_ten(million):
    vocabulary, _, masked = million
    shown, labels = masked.tokens_T[masked.predicted_M], masked.labels_M
    assert_binomial(int((shown == vocabulary.mask_id).sum()), len(shown), 0.8)
    # One in a hundred random tokens is the token itself.
    assert_binomial(int((shown == labels).sum()), len(shown), 0.1 + 0.1 / 100)


def test_random_tokens_are_ordinary_and_uniform(million):
    vocabulary, _, masked = million
    shown, labels = masked.tokens_T[masked.predicted_M], masked.labels_M
    random = shown[(shown != vocabulary.mask_id) & (shown != labels)]
    assert random.max() < vocabulary.cls_id
    assert_uniform(np.bincount(random, minlength=100))


def test_random_tokens_skip_special_ids_wherever_they_stand():
    vocabulary = Vocabulary(0, 50, 7, np.setdiff1d(np.arange(60), [0, 7, 50]), np.zeros(60, bool))
    batch = Batch(np.full(3000, 5), np.asarray([3000]), np.ones(3000, bool), np.asarray([0]))
    config = MaskingConfig(probability=0.9, mask_share=0.0, random_share=1.0)
    shown = np.unique(batch.mask(config, vocabulary).tokens_T)
    assert shown.tolist() == vocabulary.ordinary.tolist()


def test_no_special_token_of_a_tokenizer_is_ordinary():
    """Random replacement must draw none, wherever they stand; [UNK] is special as well."""
    special = SpecialTokens(cls=0, sep=7, pad=2, mask=9, unk=4)
    continues = np.arange(10) % 2 == 1
    tokenizer = SimpleNamespace(special=special, vocabulary_size=10, continues_word=continues)
    vocabulary = make_vocabulary(tokenizer)
    assert (vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id) == (0, 7, 9)
    assert vocabulary.ordinary.tolist() == [1, 3, 5, 6, 8]
    assert vocabulary.continues_word is continues


def test_labels_are_the_tokens_that_stood_there_and_id_0_counts(million):
    _, batch, masked = million
    assert (masked.labels_M == batch.tokens_T[masked.predicted_M]).all()
    assert_binomial(int((masked.labels_M == 0).sum()), len(masked.labels_M), 1 / 100)
    untouched = np.delete(masked.tokens_T, masked.predicted_M)
    assert (untouched == np.delete(batch.tokens_T, masked.predicted_M)).all()


def test_no_place_is_favoured(million):
    _, batch, masked = million
    framed_in_the_middle = np.bincount(np.flatnonzero(~batch.maskable_T) % 128, minlength=128)
    counts = np.bincount(masked.predicted_M % 128, minlength=128)[1:127]
    assert_uniform(counts / (7813 - framed_in_the_middle[1:127]) * 7813)


def test_the_input_is_left_alone():
    vocabulary = simple_vocabulary()
    batch = random_batch([50], vocabulary)
    before = batch.tokens_T.copy()
    batch.mask(SINGLE, vocabulary)
    assert (batch.tokens_T == before).all()


@pytest.mark.parametrize("config", [SINGLE, WHOLE_WORD, SPAN])
def test_every_sequence_predicts_something(config):
    vocabulary = simple_vocabulary(100, continues_every=2)
    lengths = list(range(3, 60)) * 10
    batch = random_batch(lengths, vocabulary)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    assert len(np.unique(rows[batch.mask(config, vocabulary).predicted_M])) == len(lengths)


def test_masks_do_not_depend_on_which_scores_are_sorted(monkeypatch):
    """Where too few scores lie below the limit, all are sorted."""
    vocabulary = simple_vocabulary()
    batch = random_batch([128, 7, 40, 300], vocabulary)
    expected = batch.mask(SINGLE, vocabulary).predicted_M
    for limit in (0, 2**31, 2**32 - 1):
        limits = lambda taken, maskable, n=limit: np.full(len(taken), n, np.uint32)  # noqa: E731
        monkeypatch.setattr(masking, "_limits", limits)
        assert np.array_equal(batch.mask(SINGLE, vocabulary).predicted_M, expected)


@pytest.mark.parametrize("config", [SINGLE, WHOLE_WORD, SPAN])
def test_neighbours_in_the_batch_do_not_matter(config):
    vocabulary = simple_vocabulary(100, continues_every=3)
    batch = random_batch([30, 7, 128, 3, 61], vocabulary)
    together = batch.mask(config, vocabulary)
    for row, start in enumerate(batch.starts_B):
        alone = batch.only(row).mask(config, vocabulary)
        part = slice(start, start + batch.lengths_B[row])
        assert (alone.tokens_T == together.tokens_T[part]).all()


def test_epochs_differ_and_one_epoch_is_itself():
    vocabulary = simple_vocabulary()
    batch = random_batch([128] * 4, vocabulary)
    epochs = [batch.mask(SINGLE, vocabulary, epoch).predicted_M.tolist() for epoch in (3, 4, 3)]
    assert epochs[0] == epochs[2] != epochs[1]


@pytest.fixture(scope="module")
def words():
    """Half a million tokens under whole-word masking; every third token continues a word."""
    vocabulary = simple_vocabulary(100, continues_every=3)
    batch = random_batch([128] * 4000, vocabulary)
    return vocabulary, batch, batch.mask(WHOLE_WORD, vocabulary)


def test_whole_words_are_chosen_whole(words):
    vocabulary, batch, masked = words
    chosen = np.zeros(len(batch.tokens_T), bool)
    chosen[masked.predicted_M] = True
    sizes = set()
    for row, start in enumerate(batch.starts_B[:200]):
        for word in words_of(batch, row, vocabulary, "word"):
            assert len(set(chosen[[start + place for place in word]])) == 1
            sizes.add(len(word))
    assert {1, 2, 3} <= sizes


def test_whole_words_keep_the_rate(words):
    _, batch, masked = words
    assert batch.maskable_T[masked.predicted_M].all()
    assert_binomial(len(masked.predicted_M), int(batch.maskable_T.sum()), 0.15)


def one_word_each(rows: int, length: int) -> tuple[Vocabulary, Batch]:
    """Sequences whose ordinary tokens all continue a word, as in text without spaces."""
    vocabulary = simple_vocabulary(100)
    vocabulary.continues_word[:100] = True
    tokens = np.full((rows, length), 5)
    tokens[:, 0], tokens[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    tokens = tokens.ravel()
    return vocabulary, Batch(
        tokens, np.full(rows, length), tokens < vocabulary.cls_id, np.arange(rows)
    )


def test_words_do_not_cross_special_tokens():
    vocabulary, batch = one_word_each(2, 20)
    batch.tokens_T[9] = vocabulary.sep_id
    batch.maskable_T[9] = False
    words = masking._words(batch, vocabulary)
    assert words.starts.tolist() == [1, 10, 21]
    assert words.sizes.tolist() == [8, 9, 18]
    assert words.rows.tolist() == [0, 0, 1]


def test_text_that_is_one_word_is_masked_as_tokens_are():
    vocabulary, batch = one_word_each(4000, 62)
    predicted = batch.mask(WHOLE_WORD, vocabulary).predicted_M
    assert_binomial(len(predicted), 4000 * 60, 0.15)
    counts = np.bincount(predicted // 62, minlength=4000)
    assert counts.min() == counts.max() == 9
    assert_uniform(np.bincount(predicted % 62, minlength=62)[1:61])
    # Neighbours are chosen together as often as any two: the part is not a span.
    neighbours = int((np.diff(predicted) == 1).sum())
    assert_binomial(neighbours, 4000 * 59, 9 / 60 * 8 / 59)
