"""Masking as a loop over sequences, words and tokens, and sequences to mask."""

from __future__ import annotations

from math import floor

import numpy as np

from configs.schema import MaskingConfig
from pretrain.data.masking import Masked, Masker, Sequences, Vocabulary
from pretrain.randomness import Purpose, draw

EPOCH, SEED = 3, 11


class Batch(Sequences):
    """Sequences that are masked by any recipe, all together or one alone."""

    def mask(self, config: MaskingConfig, vocabulary: Vocabulary, epoch: int = EPOCH) -> Masked:
        return Masker(config, vocabulary, SEED).mask(self, epoch)

    def only(self, row: int) -> Batch:
        part = slice(self.starts_B[row], self.starts_B[row] + self.lengths_B[row])
        return Batch(
            self.tokens_T[part],
            self.lengths_B[row : row + 1],
            self.maskable_T[part],
            self.samples_B[row : row + 1],
        )


def random_batch(lengths: list[int], vocabulary: Vocabulary, seed: int = 0) -> Batch:
    """Sequences `[CLS] a [SEP] b [SEP]` (b where there is room) of the given lengths."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        row = rng.choice(vocabulary.ordinary, length)
        row[0], row[-1] = vocabulary.cls_id, vocabulary.sep_id
        if length > 5:
            row[rng.integers(2, length - 2)] = vocabulary.sep_id
        rows.append(row)
    tokens = np.concatenate(rows)
    samples = rng.permutation(10 * len(lengths))[: len(lengths)]
    return Batch(tokens, np.asarray(lengths), tokens < vocabulary.cls_id, samples)


def words_of(batch: Batch, row: int, vocabulary: Vocabulary, unit: str) -> list[list[int]]:
    """The places of each word (or token) of a sequence, counted inside it."""
    one, words, open_ = batch.only(row), [], False
    for place, (token, maskable) in enumerate(zip(one.tokens_T, one.maskable_T)):
        if maskable and open_ and unit != "token" and vocabulary.continues_word[token]:
            words[-1].append(place)
        elif maskable:
            words.append([place])
        open_ = maskable
    return words


def slowly_masked(batch: Batch, config: MaskingConfig, vocabulary: Vocabulary) -> Masked:
    """`Masker.mask` as a loop over sequences, words and tokens."""
    shown, predicted = batch.tokens_T.tolist(), []
    for row, (start, sample) in enumerate(zip(batch.starts_B, batch.samples_B)):
        words = words_of(batch, row, vocabulary, config.unit)
        chance = draw(SEED, Purpose.MASK_COUNT, EPOCH, sample)[0, 0] / 2**32
        budget = max(1, floor(config.probability * sum(map(len, words)) + chance))
        choose = slowly_drawn_spans if config.unit == "span" else slowly_chosen
        for first, place in choose(words, budget, sample):
            predicted.append(start + place)
            token = shown[start + place]
            shown[start + place] = shown_token(token, sample, place, first, config, vocabulary)
    predicted = np.sort(np.asarray(predicted, np.int64))
    return Masked(np.asarray(shown), predicted, batch.tokens_T[predicted])


def slowly_drawn_spans(words: list[list[int]], budget: int, sample: int) -> list[tuple[int, int]]:
    """SpanBERT, section 3.1: (first token of the span, token), until the budget is spent."""
    shares = [0.8 ** (n - 1) * 0.2 for n in range(1, 11)]
    spent: dict[int, int] = {}
    by_score = sorted(words, key=lambda word: score(Purpose.MASK_POSITIONS, sample, word[0]))
    for first in by_score:
        unit, length = score(Purpose.MASK_SPANS, sample, first[0]) / 2**32, 1
        while length < 10 and unit * sum(shares) >= sum(shares[:length]):
            length += 1
        if first[0] in spent:
            continue
        number = words.index(first)
        span = [first]
        while len(span) < length and words[number + 1 : number + 2]:
            number += 1
            if words[number][0] != span[-1][-1] + 1:
                break  # a special token
            span.append(words[number])
        for place in (place for word in span for place in word if place not in spent):
            if len(spent) < budget:
                spent[place] = first[0]
    return [(first, place) for place, first in spent.items()]


def slowly_chosen(words: list[list[int]], budget: int, sample: int) -> list[tuple[int, int]]:
    """BERT's choice of words, then a part of the first that it passed over."""
    places, passed = [], []
    for word in sorted(words, key=lambda word: score(Purpose.MASK_POSITIONS, sample, word[0])):
        if len(places) + len(word) <= budget:
            places += word
        else:
            passed.append(word)
    if passed:
        first = passed[0]
        order = sorted(range(len(first)), key=lambda n: score(Purpose.MASK_PARTS, sample, n))
        places += [first[n] for n in order[: budget - len(places)]]
    return [(place, place) for place in places]


def score(purpose: Purpose, sample: int, place: int) -> int:
    block, word = divmod(place, 4)
    return int(draw(SEED, purpose, EPOCH, sample, block)[word, 0])


def shown_token(
    token: int, sample: int, place: int, first: int, config: MaskingConfig, vocabulary: Vocabulary
) -> int:
    pick = int(draw(SEED, Purpose.MASK_TOKENS, EPOCH, sample, place)[1, 0])
    action = int(draw(SEED, Purpose.MASK_TOKENS, EPOCH, sample, first)[0, 0])
    if action / 2**32 < config.mask_share:
        return vocabulary.mask_id
    if action / 2**32 < config.mask_share + config.random_share:
        return int(vocabulary.ordinary[pick * len(vocabulary.ordinary) >> 32])
    return token
