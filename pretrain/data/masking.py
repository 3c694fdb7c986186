"""Masked language modelling: which tokens are predicted, and what stands in their place.

BERT (section 3.1): 15 % of the tokens are predicted; of these 80 % are shown as the mask token,
10 % as a random token, 10 % as they are. Everything is a function of (seed, epoch, sample,
position): static masking (BERT) is dynamic masking (RoBERTa, section 4.1) with the epoch taken
modulo `mask_epochs`.

A sequence predicts as many tokens, its budget, with whole words as without. Whole words are chosen
as by BERT's script: in a random order, each that still fits; one that would go beyond the budget is
passed over, and later ones are tried. What that leaves of the budget once no word fits (nothing
with most texts; all of it where the text has no spaces) is taken from the first word that was
passed over: single tokens of it, chosen as they are without whole words. BERT's script leaves it
unused: it would predict 11 instead of 15 % of short Korean reviews. Such a token may be less than a
character, as any of a byte-level tokenizer's may.

Spans of whole words are chosen as in SpanBERT (`spans.py`).

All three compare scores that do not depend on the rate, so that a rate which moves along a run only
moves a threshold: the tokens of 15 % are among those of 30 %, and shown alike. With whole words
that has exceptions: a long word that fits into the larger budget only takes the room of shorter
ones after it, and the part of a word that completes a budget is of another word in another budget.

Axes: T tokens, B sequences, M predicted tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from configs.schema import MaskingConfig
from pretrain.arrays import Flags, Ints, Words, ranges
from pretrain.data.spans import choose_spans, span_lengths
from pretrain.randomness import Purpose, below, draw, to_unit
from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """What the data path has to know of a tokenizer."""

    cls_id: int
    sep_id: int
    mask_id: int
    ordinary: Ints
    """every id that is no special token; random replacements come from here"""
    continues_word: Flags
    """of each id, whether it continues the word of the token before"""


def make_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """What the data path has to know of this tokenizer."""
    special = tokenizer.special
    ordinary = np.setdiff1d(np.arange(tokenizer.vocabulary_size), special.ids)
    return Vocabulary(special.cls, special.sep, special.mask, ordinary, tokenizer.continues_word)


@dataclass(frozen=True)
class Sequences:
    """B sequences end to end, not masked yet."""

    tokens_T: Ints
    lengths_B: Ints
    maskable_T: Flags
    """False at special tokens, which are never predicted"""
    samples_B: Ints
    """each sequence's number in the epoch, which keys its masks"""

    @property
    def starts_B(self) -> Ints:
        """Place of each sequence's first token."""
        return np.cumsum(self.lengths_B) - self.lengths_B


@dataclass(frozen=True)
class Masked:
    """T tokens with masks in place, M of them to predict."""

    tokens_T: Ints
    predicted_M: Ints
    """places in the flat batch, ascending"""
    labels_M: Ints
    """the tokens that stood there"""


@dataclass(frozen=True)
class Masker:
    """Masks sequences by a recipe; the same sample in the same epoch always gets the same masks."""

    config: MaskingConfig
    vocabulary: Vocabulary
    seed: int

    def mask(self, sequences: Sequences, epoch: int, probability: float | None = None) -> Masked:
        """The sequences with masks; each that has a maskable token gets at least one prediction.

        Args:
            epoch: of the masks, already modulo `mask_epochs` where masking is static.
            probability: share of tokens to predict; None: the configuration's.
        """
        rate = self.config.probability if probability is None else probability
        places_M, first_M = self._choose(sequences, epoch, rate)
        # A mask must not depend on who else is in the batch: draws are keyed by the sample's number
        # and the place inside it, never by the place in the flat batch.
        row_M = np.searchsorted(sequences.starts_B, places_M, side="right") - 1
        inside_M = places_M - sequences.starts_B[row_M]
        labels_M = sequences.tokens_T[places_M]
        tokens_T = sequences.tokens_T.copy()
        samples_M, first_M = sequences.samples_B[row_M], first_M - sequences.starts_B[row_M]
        tokens_T[places_M] = self._shown(labels_M, samples_M, inside_M, first_M, epoch)
        return Masked(tokens_T, places_M, labels_M)

    def _choose(self, sequences: Sequences, epoch: int, rate: float) -> tuple[Ints, Ints]:
        """(which tokens are predicted: places (M,), ascending; the first of each one's span)."""
        lengths_B, samples_B = sequences.lengths_B, sequences.samples_B
        score_T = _scores((self.seed, Purpose.MASK_POSITIONS), lengths_B, samples_B, epoch)
        maskable_B = np.add.reduceat(sequences.maskable_T, sequences.starts_B, dtype=np.int64)
        budget_B = np.minimum(self._budgets(maskable_B, samples_B, epoch, rate), maskable_B)
        if self.config.unit == "token":
            places = _choose_tokens(score_T, sequences, maskable_B, budget_B)
            return places, places
        words = _words(sequences, self.vocabulary)
        if self.config.unit == "span":
            bits_T = _scores((self.seed, Purpose.MASK_SPANS), lengths_B, samples_B, epoch)
            lengths = span_lengths(to_unit(bits_T[words.starts]))
            score = score_T[words.starts]
            return choose_spans(words.starts, words.sizes, words.rows, score, lengths, budget_B)
        whole, parts, taken = _choose_words(words, score_T, budget_B)
        key = (self.seed, Purpose.MASK_PARTS)
        part_score = _scores(key, parts.sizes, samples_B[parts.rows], epoch)
        places = np.sort(np.concatenate([whole.tokens, _choose_parts(parts, part_score, taken)]))
        return places, places

    def _budgets(self, maskable_B: Ints, samples_B: Ints, epoch: int, rate: float) -> Ints:
        """How many tokens each sequence predicts: rounded at random, so that the rate is exact."""
        # floor(x + u) with u uniform in [0, 1) has the mean x. Rounding to the nearest would mask
        # 2 of 12 tokens, 17 %, in every sequence of that length.
        chance_B = to_unit(draw(self.seed, Purpose.MASK_COUNT, epoch, samples_B)[0])
        rounded_B = np.floor(rate * maskable_B + chance_B).astype(np.int64)
        return np.maximum(1, rounded_B)

    def _shown(
        self, tokens_M: Ints, samples_M: Ints, places_M: Ints, first_M: Ints, epoch: int
    ) -> Ints:
        """What stands at the predicted places: the mask, a random token, or the token itself.

        Which of the three decides the draw of the span's first token, `first_M`.
        """
        key = (self.seed, Purpose.MASK_TOKENS, epoch, samples_M)
        words = draw(*key, places_M)
        is_alone = self.config.unit != "span"
        action = to_unit(words[0] if is_alone else draw(*key, first_M)[0])
        ordinary = self.vocabulary.ordinary
        # Random tokens come from a list without special tokens: one that drew [SEP] or the mask
        # itself would teach the model that these are words.
        random_M = ordinary[below(words[1], len(ordinary))]
        is_mask = action < self.config.mask_share
        is_random = action < self.config.mask_share + self.config.random_share
        return np.where(is_mask, self.vocabulary.mask_id, np.where(is_random, random_M, tokens_M))


def _scores(key: tuple[int, Purpose], lengths: Ints, samples: Ints, epoch: int) -> Words:
    """32 random bits for every token of rows of these lengths, each keyed by its sample; (T,)."""
    # A Philox block has four words, so that four tokens share one: block k of a sample is for its
    # tokens 4k to 4k + 3. What the last block has too much is left out.
    blocks = -(-lengths // 4)
    first = np.cumsum(blocks) - blocks
    block = ranges(np.zeros_like(blocks), blocks)
    bits = draw(*key, epoch, np.repeat(samples, blocks), block)
    scores: Words = bits.T.ravel()[ranges(4 * first, 4 * first + lengths)]
    return scores


def _choose_tokens(score_T: Words, sequences: Sequences, maskable_B: Ints, taken_B: Ints) -> Ints:
    """The `taken_B` maskable tokens of each sequence with the lowest scores; places, ascending.

    Args:
        maskable_B: how many maskable tokens each sequence has.
    """
    starts_B = sequences.starts_B
    maskable = np.flatnonzero(sequences.maskable_T)
    score = score_T[maskable]
    # 15 of 100 are wanted, and sorting takes the time: only scores below a limit are looked at,
    # which is set so high that a row hardly ever has too few. If one has, all are sorted; the
    # choice is the same either way.
    low = np.flatnonzero(score < np.repeat(_limits(taken_B, maskable_B), maskable_B))
    low_B = np.diff(np.searchsorted(low, np.cumsum(maskable_B)), prepend=0)
    if (low_B < taken_B).any():
        low, low_B = np.arange(len(maskable)), maskable_B
    places, score = maskable[low].astype(np.uint64), score[low].astype(np.uint64)
    # One number holds row, score and place inside the row, from the highest bits to the lowest:
    # sorting these is several times as fast as sorting by two keys (lexsort). The place breaks
    # ties, so that the order does not depend on how numpy sorts. The score takes half of the bits;
    # rows and places share 32, enough for 4 million rows of 512 tokens.
    bits = np.uint64(int(sequences.lengths_B.max()).bit_length())
    row = np.repeat(np.arange(len(starts_B), dtype=np.uint64), low_B)
    inside = places - np.repeat(starts_B.astype(np.uint64), low_B)
    key = np.sort(row << (bits + np.uint64(32)) | score << bits | inside)
    # Each row's numbers lie together now, the lowest scores first: its first `taken` are chosen.
    first_B = np.cumsum(low_B) - low_B
    chosen = key[ranges(first_B, first_B + taken_B)] & ((np.uint64(1) << bits) - np.uint64(1))
    return np.sort(chosen.astype(np.int64) + np.repeat(starts_B, taken_B))


def _limits(taken_B: Ints, maskable_B: Ints) -> Words:
    """Scores of which each row has `taken_B` below, but for one row in a million; (B,)."""
    # The number below a share p of all scores is binomial: n p on average, with a deviation of less
    # than the root of n p. Five deviations more than is wanted, and 5 for rows of a few tokens.
    share = (taken_B + 5 * np.sqrt(taken_B) + 5) / np.maximum(1, maskable_B)
    limits: Words = (np.minimum(share, 1) * (2**32 - 1)).astype(np.uint32)
    return limits


@dataclass(frozen=True)
class TextWords:
    """W words of a flat batch."""

    starts: Ints
    """(W,): place of the first token"""
    sizes: Ints
    """(W,): tokens"""
    rows: Ints
    """(W,): the sequence, in ascending order"""

    def __getitem__(self, chosen: Ints | Flags) -> TextWords:
        return TextWords(self.starts[chosen], self.sizes[chosen], self.rows[chosen])

    @property
    def tokens(self) -> Ints:
        """Places of all tokens."""
        return ranges(self.starts, self.starts + self.sizes)


def _words(sequences: Sequences, vocabulary: Vocabulary) -> TextWords:
    """The maskable words, in the order of the text; none crosses a special token."""
    tokens_T, maskable_T = sequences.tokens_T, sequences.maskable_T
    row_T = np.repeat(np.arange(len(sequences.lengths_B)), sequences.lengths_B)
    # A token continues a word if its id says so, and the token before it is one of the same row
    # that a word can contain.
    continues = vocabulary.continues_word[tokens_T] & maskable_T
    continues[1:] &= maskable_T[:-1] & (row_T[1:] == row_T[:-1])
    continues[:1] = False
    starts = np.flatnonzero(~continues)
    words = TextWords(starts, np.diff(np.append(starts, len(tokens_T))), row_T[starts])
    return words[maskable_T[starts]]


def _choose_words(
    words: TextWords, score_T: Words, budget_B: Ints
) -> tuple[TextWords, TextWords, Ints]:
    """BERT's choice of whole words: (those, words to take a part of, tokens of each such part).

    A word's score is that of its first token.
    """
    words = words[np.lexsort((score_T[words.starts], words.rows))]
    left_B, taken = budget_B.copy(), np.zeros(len(words.rows), bool)
    # One by one, each word that fits into what is left of its row's budget would be taken. What
    # does not fit now never will, as budgets only shrink; so the words up to the next that does not
    # fit are taken at once, and two or three turns of the loop do for most batches.
    open_ = np.arange(len(words.rows))
    while len(open_ := open_[words.sizes[open_] <= left_B[words.rows[open_]]]):
        row, size = words.rows[open_], words.sizes[open_]
        # Tokens spent in the own row up to each word: a running sum, less that before the row.
        spent = np.cumsum(size)
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        spent -= np.repeat((spent - size)[begins], np.diff(np.append(begins, len(row))))
        fits = spent <= left_B[row]
        taken[open_[fits]] = True
        left_B -= np.bincount(row[fits], size[fits], len(left_B)).astype(np.int64)
        open_ = open_[~fits]
    # Of the words that were passed over the first of each row gives what its budget still lacks.
    passed = words[~taken]
    parts = passed[np.diff(passed.rows, prepend=-1) != 0]
    parts = parts[left_B[parts.rows] > 0]
    return words[taken], parts, left_B[parts.rows]


def _choose_parts(words: TextWords, score: Words, taken: Ints) -> Ints:
    """The `taken` tokens of each word with the lowest scores; places, ascending in each word.

    Args:
        score: of the words' tokens, end to end.
    """
    if not len(taken):
        return taken
    # Here each word is a row of its own, all of it maskable.
    tokens = words.tokens
    rows = Sequences(tokens, words.sizes, np.ones(len(tokens), bool), words.rows)
    return tokens[_choose_tokens(score, rows, words.sizes, taken)]
