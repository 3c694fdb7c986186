"""Masked language modelling: which tokens are predicted, and what stands in their place.

BERT (section 3.1): 15 % of the tokens are predicted; of these 80 % are shown as the mask token,
10 % as a random token, 10 % as they are. Everything is a function of (seed, epoch, sample,
position): static masking (BERT) is dynamic masking (RoBERTa, section 4.1) with the epoch taken
modulo `mask_epochs`.

Every sequence predicts the same number of tokens, its budget, with whole words and without. Whole
words are chosen as by BERT's script: in a random order, each that still fits; one that would go
beyond the budget is passed over, and later ones are tried. What that leaves of the budget once no
word fits (nothing with most texts; all of it where the text has no spaces) is taken from the first
word that was passed over: single tokens of it, chosen as they are without whole words. BERT's
script leaves it: it would predict 11 instead of 15 % of short Korean reviews. Such a token may be
less than a character, as any of a byte-level tokenizer's may.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from configs.schema import MaskingConfig
from pretrain.data.store import ranges
from pretrain.randomness import Purpose, draw, to_unit
from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """What the data path has to know of a tokenizer."""

    cls_id: int
    sep_id: int
    mask_id: int
    ordinary: np.ndarray
    """int64: every id that is no special token; random replacements come from here"""
    continues_word: np.ndarray
    """bool (vocabulary): ids that go on with the word of the token before"""


def make_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """What the data path has to know of this tokenizer."""
    special = tokenizer.special
    ordinary = np.setdiff1d(np.arange(tokenizer.vocabulary_size), special.ids)
    return Vocabulary(special.cls, special.sep, special.mask, ordinary, tokenizer.continues_word)


@dataclass(frozen=True)
class Masked:
    """T tokens with masks in place, M of them to predict."""

    tokens_T: np.ndarray
    predicted_M: np.ndarray
    """int64: positions in the flat batch, ascending"""
    labels_M: np.ndarray


def mask_tokens(
    tokens_T: np.ndarray,
    lengths_B: np.ndarray,
    maskable_T: np.ndarray,
    samples_B: np.ndarray,
    epoch: int,
    config: MaskingConfig,
    vocabulary: Vocabulary,
    seed: int,
) -> Masked:
    """Mask a flat batch of B sequences.

    Args:
        tokens_T: ids, the sequences end to end.
        lengths_B: tokens of each sequence.
        maskable_T: False at special tokens, which are never predicted.
        samples_B: each sequence's number, which keys its masks.
        epoch: epoch of the masks, already modulo `mask_epochs` where masking is static.
    Every sequence with a maskable token gets at least one prediction.
    """
    starts_B = np.cumsum(lengths_B) - lengths_B
    score_T = _scores(Purpose.MASK_POSITIONS, lengths_B, samples_B, epoch, seed)
    maskable_B = np.add.reduceat(maskable_T, starts_B, dtype=np.int64)
    budget_B = _prediction_counts(maskable_B, samples_B, epoch, config, seed)
    budget_B = np.minimum(budget_B, maskable_B)
    if config.whole_word:
        words = _words(tokens_T, maskable_T, lengths_B, vocabulary)
        whole, parts, taken = _choose_words(words, score_T, budget_B)
        samples = samples_B[parts.rows]
        score = _scores(Purpose.MASK_PARTS, parts.sizes, samples, epoch, seed)
        chosen = np.sort(np.concatenate([whole.tokens, _cut(parts, score, taken)]))
    else:
        chosen = _choose_tokens(score_T, maskable_T, lengths_B, maskable_B, budget_B)
    row_M = np.searchsorted(starts_B, chosen, side="right") - 1
    labels, places = tokens_T[chosen], chosen - starts_B[row_M]
    masked = tokens_T.copy()
    masked[chosen] = _shown(labels, samples_B[row_M], places, epoch, config, vocabulary, seed)
    return Masked(masked, chosen, labels)


def _scores(purpose: Purpose, lengths_B, samples_B, epoch: int, seed: int) -> np.ndarray:
    """32 random bits for every token; uint32 (T,). Four tokens share a Philox block."""
    blocks_B = -(-lengths_B // 4)
    first_B = np.cumsum(blocks_B) - blocks_B
    block = np.arange(blocks_B.sum()) - np.repeat(first_B, blocks_B)
    bits = draw(seed, purpose, epoch, np.repeat(samples_B, blocks_B), block)
    return bits.T.ravel()[ranges(4 * first_B, 4 * first_B + lengths_B)]


def _prediction_counts(
    maskable_B, samples_B, epoch: int, config: MaskingConfig, seed: int
) -> np.ndarray:
    """How many tokens each sequence predicts: rounded at random, so that the rate is exact."""
    chance_B = to_unit(draw(seed, Purpose.MASK_COUNT, epoch, samples_B)[0])
    return np.maximum(1, np.floor(config.probability * maskable_B + chance_B)).astype(np.int64)


def _choose_tokens(score_T, maskable_T, lengths_B, maskable_B, taken_B) -> np.ndarray:
    """The `taken_B` maskable tokens of each sequence with the lowest scores; int64 (M,), ascending.

    Sorted by one number that holds row, score and place: several times as fast as by two keys. The
    place breaks ties, so that the order does not depend on how numpy sorts. The score takes half of
    the bits; rows and places share 32, enough for 4 million rows of 512 tokens.
    """
    starts_B = np.cumsum(lengths_B) - lengths_B
    maskable = np.flatnonzero(maskable_T)
    score = score_T[maskable]
    bits = np.uint64(int(lengths_B.max()).bit_length())
    # Far fewer need sorting where a score alone rules most of them out.
    low = np.flatnonzero(score < np.repeat(_limits(taken_B, maskable_B), maskable_B))
    ends_B = np.cumsum(maskable_B)
    found_B = np.diff(np.searchsorted(low, ends_B), prepend=0)
    if (found_B < taken_B).any():
        low, found_B = np.arange(len(maskable)), maskable_B
    places, score = maskable[low].astype(np.uint64), score[low].astype(np.uint64)
    row = np.repeat(np.arange(len(lengths_B), dtype=np.uint64), found_B)
    key = row << (bits + np.uint64(32)) | score << bits
    key = np.sort(key | places - np.repeat(starts_B.astype(np.uint64), found_B))
    first_B = np.cumsum(found_B) - found_B
    place = key[ranges(first_B, first_B + taken_B)] & ((np.uint64(1) << bits) - np.uint64(1))
    return np.sort(place.astype(np.int64) + np.repeat(starts_B, taken_B))


def _limits(taken_B, maskable_B) -> np.ndarray:
    """Scores of which each row has `taken_B` below, but for one row in a million; uint32 (B,)."""
    share = (taken_B + 5 * np.sqrt(taken_B) + 5) / np.maximum(1, maskable_B)
    return (np.minimum(share, 1) * (2**32 - 1)).astype(np.uint32)


@dataclass(frozen=True)
class Words:
    """W words of a flat batch."""

    starts: np.ndarray
    """int64 (W,): place of the first token"""
    sizes: np.ndarray
    """int64 (W,): tokens"""
    rows: np.ndarray
    """int64 (W,): the sequence, in ascending order"""

    def __getitem__(self, chosen: np.ndarray) -> Words:
        return Words(self.starts[chosen], self.sizes[chosen], self.rows[chosen])

    @property
    def tokens(self) -> np.ndarray:
        """Places of all tokens."""
        return ranges(self.starts, self.starts + self.sizes)


def _words(tokens_T, maskable_T, lengths_B, vocabulary: Vocabulary) -> Words:
    """The maskable words, in the order of the text; none goes beyond a special token."""
    row_T = np.repeat(np.arange(len(lengths_B)), lengths_B)
    goes_on = vocabulary.continues_word[tokens_T] & maskable_T
    goes_on[1:] &= maskable_T[:-1] & (row_T[1:] == row_T[:-1])
    goes_on[:1] = False
    starts = np.flatnonzero(~goes_on)
    words = Words(starts, np.diff(np.append(starts, len(tokens_T))), row_T[starts])
    return words[maskable_T[starts]]


def _choose_words(words: Words, score_T, budget_B) -> tuple[Words, Words, np.ndarray]:
    """BERT's choice of whole words: (those, words to take a part of, tokens of each such part).

    A word's score is that of its first token. One by one, each word that fits is taken. What does
    not fit now never will, so that all words up to the next that does not are taken at once: two
    or three turns of the loop do for most batches.
    """
    words = words[np.lexsort((score_T[words.starts], words.rows))]
    left_B, taken = budget_B.copy(), np.zeros(len(words.rows), bool)
    open_ = np.arange(len(words.rows))
    while len(open_ := open_[words.sizes[open_] <= left_B[words.rows[open_]]]):
        row, size = words.rows[open_], words.sizes[open_]
        spent = np.cumsum(size)
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        spent -= np.repeat((spent - size)[begins], np.diff(np.append(begins, len(row))))
        fits = spent <= left_B[row]
        taken[open_[fits]] = True
        left_B -= np.bincount(row[fits], size[fits], len(left_B)).astype(np.int64)
        open_ = open_[~fits]
    passed = words[~taken]
    parts = passed[np.diff(passed.rows, prepend=-1) != 0]
    parts = parts[left_B[parts.rows] > 0]
    return words[taken], parts, left_B[parts.rows]


def _cut(words: Words, score_T, taken) -> np.ndarray:
    """The `taken` tokens of each word with the lowest scores; int64 places, ascending in each."""
    if not len(taken):
        return taken
    everything = np.ones(len(score_T), bool)
    places = _choose_tokens(score_T, everything, words.sizes, words.sizes, taken)
    return words.tokens[places]


def _shown(
    tokens_M,
    samples_M,
    positions_M,
    epoch: int,
    config: MaskingConfig,
    vocabulary: Vocabulary,
    seed,
) -> np.ndarray:
    """What stands at the predicted positions: the mask, a random token, or the token itself."""
    words = draw(seed, Purpose.MASK_TOKENS, epoch, samples_M, positions_M)
    action = to_unit(words[0])
    pick = (words[1].astype(np.uint64) * np.uint64(len(vocabulary.ordinary))) >> np.uint64(32)
    random_tokens = vocabulary.ordinary[pick.astype(np.int64)]
    is_mask = action < config.mask_share
    is_random = action < config.mask_share + config.random_share
    return np.where(is_mask, vocabulary.mask_id, np.where(is_random, random_tokens, tokens_M))
