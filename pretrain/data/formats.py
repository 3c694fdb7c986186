"""The four input formats of RoBERTa (section 4.2), as index builders over one token store.

A sample is `[CLS] span [SEP] span [SEP] ...`; a span is a run of whole sentences of one document.

    SEGMENT-PAIR    two segments of several sentences, as BERT's released data script cuts them
    SENTENCE-PAIR   two natural sentences
    FULL-SENTENCES  sentences packed up to `max_length`, across documents; a separator between them
    DOC-SENTENCES   the same, but never across documents

FULL-SENTENCES is as the paper words it, with a separator where a document ends and none between its
sentences. The paper's own script (fairseq, `--sample-break-mode complete`) differs in two points:
it has the separator after every sentence, and one more between documents; and a sentence of more
than `max_length` tokens is a sample of its own there, beyond that length, while here it is cut into
pieces, all full but the last, and no token is lost.

All four work alike: for *every* sentence it is computed, vectorised, where a sample that starts
there would end; following these pointers from the first sentence on gives the samples. No text and
no token is copied. Random decisions are keyed by the sentence at which the sample starts (law 1).

A format of one's own is a function (store, config, cut) -> SampleIndex: name it in BUILDERS and in
`InputFormat` of the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError
from configs.schema import InputFormat, PretrainConfig
from pretrain.arrays import Flags, Ints, Words, ranges
from pretrain.data.store import TokenStore
from pretrain.randomness import Purpose, below, draw, permutation, to_unit

NO_PAIR, IS_NEXT, IS_RANDOM = -100, 0, 1
LEAST_NEXT, FEW_NEXT = 0.05, 0.25
"""shares of pairs that follow one another: below the first there is nothing to learn, below the
second the user is told"""


@dataclass(frozen=True)
class SampleIndex:
    """All samples of one pass over a corpus: N samples, S spans."""

    offsets: Ints
    """(N + 1): sample i owns the spans offsets[i] to offsets[i + 1]"""
    starts: Ints
    """(S): first token of each span"""
    ends: Ints
    """(S): end of each span"""
    next_sentence: NDArray[np.int8]
    """(N): IS_NEXT, IS_RANDOM, or NO_PAIR"""

    def __len__(self) -> int:
        return len(self.next_sentence)

    @property
    def lengths(self) -> Ints:
        """(N): tokens of each sample, special tokens included."""
        return self.lengths_of(np.arange(len(self)))

    def lengths_of(self, samples: Ints) -> Ints:
        """The same for some samples only."""
        first, last = self.offsets[samples], self.offsets[samples + 1]
        lengths: Ints = 1 + self._framed_ends[last] - self._framed_ends[first]
        return lengths

    @cached_property
    def _framed_ends(self) -> Ints:
        """(S + 1): tokens of all spans up to each one, a separator after each counted."""
        return np.concatenate([[0], np.cumsum(self.ends - self.starts + 1)])

    @property
    def is_pair(self) -> bool:
        """Whether a sample is two segments."""
        return bool(len(self)) and bool(self.next_sentence[0] != NO_PAIR)

    @property
    def next_share(self) -> float:
        """Share of the samples whose second segment follows the first."""
        return float((self.next_sentence == IS_NEXT).mean())


def build_index(store: TokenStore, config: PretrainConfig, cut: int = 0) -> SampleIndex:
    """Cut the corpus into samples.

    Args:
        store: one split of the corpus.
        config: `input_format`, `max_length`, `short_sequence_probability` and `seed` decide.
        cut: which of the corpus's random cuts to make (see `sample_epochs`).
    Raises:
        InputError: empty corpus, or a pair format over fewer than two documents.
    """
    if not len(store.document_ends):
        raise InputError("the corpus holds no document: give more text in data.sources")
    return BUILDERS[config.input_format](store, config, cut)


def few_pairs(index: SampleIndex, store: TokenStore, config: PretrainConfig) -> str | None:
    """A warning about a pair format in which too few second segments follow the first.

    Half of them do in BERT's data; a document of one sentence has only random ones.
    """
    share = index.next_share
    if not index.is_pair or share >= FEW_NEXT:
        return None
    sentences = len(store.sentence_ends) / len(store.document_ends)
    return (
        f"input_format={config.input_format}: only {share:.1%} of the pairs follow one another, as "
        f"a document holds {sentences:.1f} sentences on average: join what belongs together into "
        "one document (data.sources.N.documents), or set next_sentence_prediction=false and "
        "input_format=full-sentences"
    )


def require_pairs(index: SampleIndex, store: TokenStore, config: PretrainConfig) -> None:
    """Raise `InputError` where next-sentence prediction would learn to give one answer."""
    warning = few_pairs(index, store, config)
    if config.next_sentence_prediction and warning and index.next_share < LEAST_NEXT:
        raise InputError(warning)


def follow(following: Ints) -> Ints:
    """0, following[0], following[following[0]], ... below its length."""
    visited, i = [], 0
    while i < len(following):
        visited.append(i)
        i = following[i]
    return np.asarray(visited, np.int64)


# -- FULL-SENTENCES and DOC-SENTENCES ------------------------------------------------------------


class Units(NamedTuple):
    """What is packed: sentences, in the order of the pass; too long ones in parts."""

    starts: Ints
    """first token"""
    ends: Ints
    """token after the last"""
    closes: Flags
    """whether a document ends with it"""

    @property
    def lengths(self) -> Ints:
        """Tokens of each."""
        return self.ends - self.starts


Fill = Callable[[Units, int], Ints]
"""(units, max_length) -> of each unit, where a sample that starts there ends"""


def _packed(store: TokenStore, config: PretrainConfig, cut: int, fill: Fill) -> SampleIndex:
    """Greedy packing of sentences in a random order of the documents."""
    order = permutation(config.seed, Purpose.DOCUMENT_ORDER, cut, len(store.document_ends))
    units = _units(store, order, config.max_length - 2)  # beside [CLS] and [SEP]
    sample_starts = follow(fill(units, config.max_length))
    # A span begins with each sample, and wherever another document begins inside one.
    document_starts = np.flatnonzero(np.concatenate([[True], units.closes[:-1]]))
    spans = np.union1d(sample_starts, document_starts)
    last_units = np.append(spans[1:], len(units.starts)) - 1
    return SampleIndex(
        offsets=np.append(np.searchsorted(spans, sample_starts), len(spans)),
        starts=units.starts[spans],
        ends=units.ends[last_units],
        next_sentence=np.full(len(sample_starts), NO_PAIR, np.int8),
    )


def _units(store: TokenStore, order: Ints, limit: int) -> Units:
    """Sentences in the given order of documents, those beyond `limit` tokens cut into parts."""
    first = np.concatenate([[0], store.document_ends[:-1]])
    sentences = ranges(first[order], store.document_ends[order])
    closes = np.zeros(len(sentences), bool)
    closes[np.cumsum((store.document_ends - first)[order]) - 1] = True
    starts, ends = store.sentence_starts[sentences], store.sentence_ends[sentences]
    parts = -(-(ends - starts) // limit)
    # One row for each part: its sentence, and which of the sentence's parts it is.
    owner = np.repeat(np.arange(len(sentences)), parts)
    part = ranges(np.zeros_like(parts), parts)
    unit_starts = starts[owner] + part * limit
    unit_ends = np.minimum(unit_starts + limit, ends[owner])
    return Units(unit_starts, unit_ends, closes[owner] & (part == parts[owner] - 1))


def _fill_across(units: Units, max_length: int) -> Ints:
    """Samples go on into the next document, with a separator after every document."""
    closes = units.closes
    # Tokens up to each unit, the separators of the documents that end before it included; what
    # stands between two units is then the difference of two of these, and the last unit that fits
    # is found by bisection.
    total = np.concatenate([[0], np.cumsum(units.lengths + closes)])
    here = total[:-1]
    # Two places are not for units: that of [CLS] and that of the separator which ends the sample.
    following = np.searchsorted(total, here + max_length - 2, side="right") - 1
    # That separator is counted twice where the sample ends with its document: one unit more may
    # fit there.
    beyond = np.minimum(following + 1, len(closes))
    fits = closes[beyond - 1] & (total[beyond] - here <= max_length - 1)
    return np.where(fits, beyond, following)


def _fill_within(units: Units, max_length: int) -> Ints:
    """Samples end with their document at the latest."""
    total = np.concatenate([[0], np.cumsum(units.lengths)])
    following = np.searchsorted(total, total[:-1] + max_length - 2, side="right") - 1
    document_ends = np.flatnonzero(units.closes) + 1
    numbers = np.arange(len(units.closes))
    own_end = document_ends[np.searchsorted(document_ends, numbers, side="right")]
    return np.minimum(following, own_end)


# -- SEGMENT-PAIR and SENTENCE-PAIR --------------------------------------------------------------


def _segment_pairs(store: TokenStore, config: PretrainConfig, cut: int) -> SampleIndex:
    """A chunk is as many sentences as reach the length that its document's samples aim at."""
    _require_pairable(store, config)
    aims = _target_lengths(config, cut, len(store.document_ends))
    target = _for_each_sentence(store, aims)
    return _pairs(store, config, cut, target, _reach(store, np.arange(len(target)), target))


def _sentence_pairs(store: TokenStore, config: PretrainConfig, cut: int) -> SampleIndex:
    """A chunk is two sentences; a random one is a sentence too, as no length is aimed at."""
    _require_pairable(store, config)
    sentences = np.arange(len(store.sentence_ends))
    return _pairs(store, config, cut, np.zeros_like(sentences), sentences + 2)


def _require_pairable(store: TokenStore, config: PretrainConfig) -> None:
    """Raise `InputError` where there is no other document."""
    if len(store.document_ends) < 2:
        raise InputError(
            f"input_format={config.input_format} draws random segments from other documents, but "
            "the corpus holds one: give more documents in data.sources"
        )


def _for_each_sentence(store: TokenStore, values: Ints) -> Ints:
    """A value of each document, for each of its sentences."""
    return np.repeat(values, np.diff(store.document_ends, prepend=0))


def _pairs(
    store: TokenStore, config: PretrainConfig, cut: int, target: Ints, chunk_end: Ints
) -> SampleIndex:
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
    sentences = np.arange(len(store.sentence_ends))
    chunk_end = np.minimum(chunk_end, _for_each_sentence(store, store.document_ends))
    # For every sentence as if a sample began there. Words 0 and 1 of its draw are for where to cut
    # and for random or not; words 2 and 3 are for the random segment, below.
    words = draw(config.seed, Purpose.PAIRS, cut, sentences)
    size = chunk_end - sentences
    a_end = sentences + 1 + below(words[0], np.maximum(size - 1, 1))
    is_random = (size == 1) | (words[1] < 2**31)
    # Where the second part is random, that of the chunk was not used: the next sample begins there.
    at = follow(np.where(is_random, a_end, chunk_end))

    # From here on for the sentences only at which samples do begin.
    a_end, chunk_end, is_random = a_end[at], chunk_end[at], is_random[at]
    starts = store.sentence_starts
    a = np.stack([starts[at], store.sentence_ends[a_end - 1]])
    # As in BERT's script a random segment is as long as what segment A leaves of the target.
    b_first, b_end = _random_segments(store, at, target[at] - (a[1] - a[0]), words[2:, at])
    b_first = np.where(is_random, b_first, a_end)
    b_end = np.where(is_random, b_end, chunk_end)
    b = np.stack([starts[b_first], store.sentence_ends[b_end - 1]])
    _truncate(a, b, config, cut, at)
    return SampleIndex(
        offsets=np.arange(0, 2 * len(at) + 1, 2),
        starts=np.stack([a[0], b[0]], axis=1).ravel(),
        ends=np.stack([a[1], b[1]], axis=1).ravel(),
        next_sentence=np.where(is_random, IS_RANDOM, IS_NEXT).astype(np.int8),
    )


def _room(config: PretrainConfig) -> int:
    """Tokens of both segments together, beside [CLS] and two separators."""
    return config.max_length - 3


def _target_lengths(config: PretrainConfig, cut: int, documents: int) -> Ints:
    """Tokens a chunk aims at, for each document: `_room`, or for a share of them 2 to `_room`."""
    room = _room(config)
    words = draw(config.seed, Purpose.PAIRS, cut, np.arange(documents), block=1)
    is_short = to_unit(words[0]) < config.short_sequence_probability
    return np.where(is_short, 2 + below(words[1], room - 1), room)


def _reach(store: TokenStore, sentences: Ints, target: Ints) -> Ints:
    """The sentence before which `target` tokens, counted from each given one, are complete."""
    wanted = store.sentence_starts[sentences] + np.maximum(target, 1)
    reached = np.searchsorted(store.sentence_ends, wanted, side="left") + 1
    return np.minimum(reached, len(store.sentence_ends))


def _random_segments(
    store: TokenStore, sentences: Ints, target: Ints, words: Words
) -> tuple[Ints, Ints]:
    """For the sample at each sentence, sentences of another document: (first, end).

    They begin with a random one and are `target` tokens long, or up to the document's end. BERT's
    script draws again up to ten times until the document is another; here it always is.
    """
    own = np.searchsorted(store.document_ends, sentences, side="right")
    # One of the others: a number among one fewer, moved on by one from the own document on.
    other = below(words[0], len(store.document_ends) - 1)
    other += other >= own
    first = np.concatenate([[0], store.document_ends[:-1]])[other]
    end = store.document_ends[other]
    b_first = first + below(words[1], end - first)
    return b_first, np.minimum(_reach(store, b_first, target), end)


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


BUILDERS: dict[InputFormat, Callable[[TokenStore, PretrainConfig, int], SampleIndex]] = {
    "segment-pair": _segment_pairs,
    "sentence-pair": _sentence_pairs,
    "full-sentences": partial(_packed, fill=_fill_across),
    "doc-sentences": partial(_packed, fill=_fill_within),
}
"""what cuts the corpus, by `input_format`"""
