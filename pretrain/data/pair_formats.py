"""SEGMENT-PAIR and SENTENCE-PAIR: two segments, the second of which follows the first or is random.

As BERT's released create_pretraining_data.py makes them; `formats.py` compares all formats.
"""

from __future__ import annotations

import numpy as np

from configs.errors import InputError
from configs.schema import PAIR_FORMATS, PretrainConfig
from pretrain.arrays import Ints, Words
from pretrain.data.layout import Layout
from pretrain.data.sample_index import IS_NEXT, IS_RANDOM, Samples, follow
from pretrain.data.store import TokenStore
from pretrain.randomness import Purpose, below, draw, to_unit


def segment_pairs(layout: Layout, config: PretrainConfig, cut: int) -> Samples:
    """A chunk is as many sentences as reach the length that its document's samples aim at."""
    target = _for_each_sentence(layout, _target_lengths(layout, config, cut))
    return _pairs(layout, config, cut, target, _reach(layout, np.arange(len(target)), target))


def sentence_pairs(layout: Layout, config: PretrainConfig, cut: int) -> Samples:
    """A chunk is two sentences; a random one is a sentence too, as no length is aimed at."""
    sentences = np.arange(len(layout.sentence_ends))
    return _pairs(layout, config, cut, np.zeros_like(sentences), sentences + 2)


def require_pairable(store: TokenStore, config: PretrainConfig) -> None:
    """Raise `InputError` where a pair format has no other document to draw from."""
    if config.input_format in PAIR_FORMATS and store.document_count < 2:
        raise InputError(
            f"input_format={config.input_format} draws random segments from other documents, but "
            "the corpus holds one: give more documents in data.sources"
        )


def _for_each_sentence(layout: Layout, values: Ints) -> Ints:
    """A value of each document, for each of its sentences."""
    return np.repeat(values, np.diff(layout.document_ends, prepend=0))


def _pairs(
    layout: Layout, config: PretrainConfig, cut: int, target: Ints, chunk_end: Ints
) -> Samples:
    """Pairs as BERT's create_pretraining_data.py makes them (BERT, appendix A.2).

    A chunk of sentences is cut in two at a random place; with probability 1/2 (always, where it is
    a single sentence) the second part is replaced by sentences of another random document and given
    back to the corpus. Pairs beyond `max_length` lose tokens at random from the front or the back
    of the longer segment.

    Args:
        target: of each sentence, the tokens that a pair which starts there aims at.
        chunk_end: of each sentence, the end of a chunk that starts there, in sentences; it is the
            end of the document at the latest.
    """
    sentences = np.arange(len(layout.sentence_ends))
    chunk_end = np.minimum(chunk_end, _for_each_sentence(layout, layout.document_ends))
    # For every sentence as if a sample began there. Words 0 and 1 of its draw are for where to cut
    # and for random or not; words 2 and 3 are for the random segment, below.
    words = draw(config.seed, Purpose.PAIRS, cut, layout.first_sentence + sentences)
    size = chunk_end - sentences
    a_end = sentences + 1 + below(words[0], np.maximum(size - 1, 1))
    is_random = (size == 1) | (words[1] < 2**31)
    # Where the second part is random, that of the chunk was not used: the next sample begins there.
    at = follow(np.where(is_random, a_end, chunk_end))

    # From here on for the sentences only at which samples do begin.
    a_end, chunk_end, is_random = a_end[at], chunk_end[at], is_random[at]
    starts = layout.sentence_starts
    a = np.stack([starts[at], layout.sentence_ends[a_end - 1]])
    # As in BERT's script a random segment is as long as what segment A leaves of the target.
    b_first, b_end = _random_segments(layout, at, target[at] - (a[1] - a[0]), words[2:, at])
    b_first = np.where(is_random, b_first, a_end)
    b_end = np.where(is_random, b_end, chunk_end)
    b = np.stack([starts[b_first], layout.sentence_ends[b_end - 1]])
    _truncate(a, b, config, cut, layout.first_sentence + at)
    return Samples(
        offsets=np.arange(0, 2 * len(at) + 1, 2),
        starts=np.stack([a[0], b[0]], axis=1).ravel(),
        ends=np.stack([a[1], b[1]], axis=1).ravel(),
        next_sentence=np.where(is_random, IS_RANDOM, IS_NEXT).astype(np.int8),
    )


def _room(config: PretrainConfig) -> int:
    """Tokens of both segments together, beside [CLS] and two separators."""
    return config.max_length - 3


def _target_lengths(layout: Layout, config: PretrainConfig, cut: int) -> Ints:
    """Tokens a chunk aims at, for each document: `_room`, or for a share of them 2 to `_room`."""
    room = _room(config)
    documents = layout.first_document + np.arange(len(layout.document_ends))
    words = draw(config.seed, Purpose.PAIRS, cut, documents, block=1)
    is_short = to_unit(words[0]) < config.short_sequence_probability
    return np.where(is_short, 2 + below(words[1], room - 1), room)


def _reach(layout: Layout, sentences: Ints, target: Ints) -> Ints:
    """The sentence before which `target` tokens, counted from each given one, are complete."""
    wanted = layout.sentence_starts[sentences] + np.maximum(target, 1)
    reached = np.searchsorted(layout.sentence_ends, wanted, side="left") + 1
    return np.minimum(reached, len(layout.sentence_ends))


def _random_segments(
    layout: Layout, sentences: Ints, target: Ints, words: Words
) -> tuple[Ints, Ints]:
    """For the sample at each sentence, sentences of another document: (first, end).

    They begin with a random one and are `target` tokens long, or up to the document's end. BERT's
    script draws again up to ten times until the document is another; here it always is.
    """
    own = np.searchsorted(layout.document_ends, sentences, side="right")
    # One of the others: a number among one fewer, moved on by one from the own document on.
    other = below(words[0], len(layout.document_ends) - 1)
    other += other >= own
    first, end = layout.document_starts[other], layout.document_ends[other]
    b_first = first + below(words[1], end - first)
    return b_first, np.minimum(_reach(layout, b_first, target), end)


def _truncate(a: Ints, b: Ints, config: PretrainConfig, cut: int, at: Ints) -> None:
    """Shorten the spans a and b, (2, N) starts and ends, in place to `_room` tokens together.

    The longer segment loses tokens one by one, each from its front or its back by a coin flip.
    """
    room = _room(config)
    a_length, b_length = a[1] - a[0], b[1] - b[0]
    # What that leads to, at once: a segment of less than half of the room keeps all, and the other
    # one the rest; else each keeps half, and A the odd token.
    a_kept = np.minimum(a_length, np.maximum(room - b_length, (room + 1) // 2))
    b_kept = np.minimum(b_length, room - a_kept)
    for segment, (span, lost) in enumerate(((a, a_length - a_kept), (b, b_length - b_kept))):
        front = _heads(lost, config.seed, cut, at, first_block=2 + segment)
        span[0] += front
        span[1] -= lost - front


def _heads(count: Ints, seed: int, cut: int, at: Ints, first_block: int) -> Ints:
    """How many of `count` fair coins show heads, for each sample; (N,)."""
    heads = np.zeros_like(count)
    # A block of four words has 128 bits, a coin each. Few samples lose more tokens than that: each
    # turn draws for those only that need another block. Segment A has the even blocks, B the odd.
    for block in range(-(-int(count.max(initial=0)) // 128)):
        open_ = np.flatnonzero(count > 128 * block)
        words = draw(seed, Purpose.PAIRS, cut, at[open_], block=first_block + 2 * block)
        bits = np.unpackbits(np.ascontiguousarray(words.T).view(np.uint8), axis=1)
        tossed = np.arange(128) < (count[open_] - 128 * block)[:, None]
        heads[open_] += (bits & tossed).sum(axis=1, dtype=np.int64)
    return heads
