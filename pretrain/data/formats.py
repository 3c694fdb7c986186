"""The four input formats of RoBERTa (section 4.2), as index builders over one token store.

A sample is `[CLS] span [SEP] span [SEP] ...`; a span is a run of whole sentences of one document.

    SEGMENT-PAIR    two segments of several sentences, as BERT's released data script cuts them
    SENTENCE-PAIR   two natural sentences
    FULL-SENTENCES  sentences packed up to `max_length`, across documents; a separator between them
    DOC-SENTENCES   the same, but never across documents

FULL-SENTENCES as the paper words it, with a separator where a document ends and none between its
sentences. The paper's own script (fairseq, `--sample-break-mode complete`) differs in two points:
it has the separator after every sentence, and one more between documents; and a sentence of more
than `max_length` tokens is a sample of its own there, beyond that length, while here it is cut into
pieces, all full but the last, and no token is lost.

All four work alike: for *every* sentence it is computed, vectorised, where a sample that starts
there would end; walking from the first sentence along these pointers gives the samples. No text and
no token is copied. Random decisions are keyed by the sentence at which the sample starts (law 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from configs.errors import InputError
from configs.schema import PretrainConfig
from pretrain.data.store import TokenStore, ranges
from pretrain.randomness import Purpose, draw, permutation, to_unit

NO_PAIR, IS_NEXT, IS_RANDOM = -100, 0, 1
LEAST_NEXT, FEW_NEXT = 0.05, 0.25
"""shares of pairs that follow one another: below the first there is nothing to learn, below the
second it is worth a word"""


@dataclass(frozen=True)
class SampleIndex:
    """All samples of one pass over a corpus: N samples, S spans."""

    offsets: np.ndarray
    """int64 (N + 1): sample i owns the spans offsets[i] to offsets[i + 1]"""
    starts: np.ndarray
    """int64 (S): first token of each span"""
    ends: np.ndarray
    """int64 (S): end of each span"""
    next_sentence: np.ndarray
    """int8 (N): IS_NEXT, IS_RANDOM, or NO_PAIR"""

    def __len__(self) -> int:
        return len(self.next_sentence)

    @property
    def lengths(self) -> np.ndarray:
        """int64 (N): tokens of each sample, special tokens included."""
        return self.lengths_of(np.arange(len(self)))

    def lengths_of(self, samples: np.ndarray) -> np.ndarray:
        """The same for some samples only."""
        first, last = self.offsets[samples], self.offsets[samples + 1]
        return 1 + self._framed_ends[last] - self._framed_ends[first]

    @cached_property
    def _framed_ends(self) -> np.ndarray:
        """int64 (S + 1): tokens of all spans up to each one, a separator after each counted."""
        return np.concatenate([[0], np.cumsum(self.ends - self.starts + 1)])

    @property
    def is_pair(self) -> bool:
        return bool(len(self)) and self.next_sentence[0] != NO_PAIR


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
    if config.input_format in ("full-sentences", "doc-sentences"):
        return _packed(store, config, cut)
    if len(store.document_ends) < 2:
        raise InputError(
            f"input_format={config.input_format} draws random segments from other documents, but "
            "the corpus holds one: give more documents in data.sources"
        )
    return _pairs(store, config, cut)


def few_pairs(index: SampleIndex, store: TokenStore, config: PretrainConfig) -> str | None:
    """What to say of a pair format in which too few second segments follow the first.

    Half of them do in BERT's data; a document of one sentence has only random ones.
    """
    share = float((index.next_sentence == IS_NEXT).mean())
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
    said = few_pairs(index, store, config)
    is_constant = said and (index.next_sentence == IS_NEXT).mean() < LEAST_NEXT
    if config.next_sentence_prediction and is_constant:
        raise InputError(said)


def follow(following: np.ndarray) -> np.ndarray:
    """0, following[0], following[following[0]], ... below its length; int64."""
    visited, i = [], 0
    while i < len(following):
        visited.append(i)
        i = following[i]
    return np.asarray(visited, np.int64)


# -- FULL-SENTENCES and DOC-SENTENCES ------------------------------------------------------------


def _packed(store: TokenStore, config: PretrainConfig, cut: int) -> SampleIndex:
    """Greedy packing of sentences in a random order of the documents."""
    order = permutation(config.seed, Purpose.DOCUMENT_ORDER, cut, len(store.document_ends))
    starts, ends, closes = _units(store, order, config.max_length - 2)
    if config.input_format == "full-sentences":
        following = _fill_across(ends - starts, closes, config.max_length)
    else:
        following = _fill_within(ends - starts, closes, config.max_length)
    sample_starts = follow(following)
    document_starts = np.flatnonzero(np.concatenate([[True], closes[:-1]]))
    spans = np.union1d(sample_starts, document_starts)
    last_units = np.append(spans[1:], len(starts)) - 1
    offsets = np.append(np.searchsorted(spans, sample_starts), len(spans))
    pairs = np.full(len(sample_starts), NO_PAIR, np.int8)
    return SampleIndex(offsets, starts[spans], ends[last_units], pairs)


def _units(store: TokenStore, order: np.ndarray, limit: int) -> tuple[np.ndarray, ...]:
    """Sentences in the given order of documents, those beyond `limit` tokens cut into pieces.

    Returns (starts, ends, closes): tokens of each unit, and whether it closes its document.
    """
    first = np.concatenate([[0], store.document_ends[:-1]])
    sentences = ranges(first[order], store.document_ends[order])
    closes = np.zeros(len(sentences), bool)
    closes[np.cumsum((store.document_ends - first)[order]) - 1] = True
    starts, ends = store.sentence_starts[sentences], store.sentence_ends[sentences]
    pieces = -(-(ends - starts) // limit)
    owner = np.repeat(np.arange(len(sentences)), pieces)
    piece = ranges(np.zeros_like(pieces), pieces)
    unit_starts = starts[owner] + piece * limit
    is_last = piece == pieces[owner] - 1
    return unit_starts, np.minimum(unit_starts + limit, ends[owner]), closes[owner] & is_last


def _fill_across(lengths: np.ndarray, closes: np.ndarray, max_length: int) -> np.ndarray:
    """Where a sample that starts at each unit ends, a separator after every document counted."""
    total = np.concatenate([[0], np.cumsum(lengths + closes)])
    here = total[:-1]
    # One place is [CLS]'s, one the closing separator's; a document that ends brings its own.
    following = np.searchsorted(total, here + max_length - 2, side="right") - 1
    beyond = np.minimum(following + 1, len(lengths))
    fits = closes[beyond - 1] & (total[beyond] - here <= max_length - 1)
    return np.where(fits, beyond, following)


def _fill_within(lengths: np.ndarray, closes: np.ndarray, max_length: int) -> np.ndarray:
    """The same without crossing documents."""
    total = np.concatenate([[0], np.cumsum(lengths)])
    following = np.searchsorted(total, total[:-1] + max_length - 2, side="right") - 1
    document_ends = np.flatnonzero(closes) + 1
    own_end = document_ends[np.searchsorted(document_ends, np.arange(len(lengths)), side="right")]
    return np.minimum(following, own_end)


# -- SEGMENT-PAIR and SENTENCE-PAIR --------------------------------------------------------------


def _pairs(store: TokenStore, config: PretrainConfig, cut: int) -> SampleIndex:
    """Pairs as BERT's create_pretraining_data.py makes them (BERT, appendix A.2).

    A chunk of sentences is cut in two at a random place; with probability 1/2 (always, where it is
    a single sentence) the second part is replaced by sentences of another random document and given
    back to the corpus. Pairs beyond `max_length` lose tokens at random from the front or the back
    of the longer segment.
    """
    sentences = np.arange(len(store.sentence_ends))
    document = np.searchsorted(store.document_ends, sentences, side="right")
    own_end = store.document_ends[document]
    room = config.max_length - 3
    words = draw(config.seed, Purpose.PAIRS, cut, sentences)
    if config.input_format == "segment-pair":
        target = _target_lengths(config, cut, len(store.document_ends), room)[document]
        chunk_end = np.minimum(_reach(store, sentences, target), own_end)
    else:
        target = np.zeros_like(sentences)
        chunk_end = np.minimum(sentences + 2, own_end)
    size = chunk_end - sentences
    a_end = sentences + 1 + _below(words[0], np.maximum(size - 1, 1))
    is_random = (size == 1) | (words[1] < 2**31)
    at = follow(np.where(is_random, a_end, chunk_end))

    a_end, chunk_end, is_random = a_end[at], chunk_end[at], is_random[at]
    starts = store.sentence_starts
    a_tokens = store.sentence_ends[a_end - 1] - starts[at]
    b_first, b_end = _random_segments(store, document[at], target[at] - a_tokens, words[2:, at])
    b_first = np.where(is_random, b_first, a_end)
    b_end = np.where(is_random, b_end, chunk_end)
    a = np.stack([starts[at], store.sentence_ends[a_end - 1]])
    b = np.stack([starts[b_first], store.sentence_ends[b_end - 1]])
    _truncate(a, b, room, config.seed, cut, at)
    return SampleIndex(
        offsets=np.arange(0, 2 * len(at) + 1, 2),
        starts=np.stack([a[0], b[0]], axis=1).ravel(),
        ends=np.stack([a[1], b[1]], axis=1).ravel(),
        next_sentence=np.where(is_random, IS_RANDOM, IS_NEXT).astype(np.int8),
    )


def _target_lengths(config: PretrainConfig, cut: int, documents: int, room: int) -> np.ndarray:
    """Tokens a chunk aims at: `room`, or for a share of the documents 2 to `room` at random."""
    words = draw(config.seed, Purpose.PAIRS, cut, np.arange(documents), block=1)
    is_short = to_unit(words[0]) < config.short_sequence_probability
    return np.where(is_short, 2 + _below(words[1], np.asarray(room - 1)), room)


def _reach(store: TokenStore, sentences: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The sentence before which `target` tokens, counted from each given one, are complete."""
    wanted = store.sentence_starts[sentences] + np.maximum(target, 1)
    reached = np.searchsorted(store.sentence_ends, wanted, side="left") + 1
    return np.minimum(reached, len(store.sentence_ends))


def _random_segments(
    store: TokenStore, document: np.ndarray, target: np.ndarray, words: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each sample, sentences of another document, from a random one on, `target` tokens long.

    BERT's script draws again up to ten times until the document is another; here it always is.
    """
    others = len(store.document_ends) - 1
    other = _below(words[0], np.asarray(others))
    other += other >= document
    first = np.concatenate([[0], store.document_ends[:-1]])[other]
    end = store.document_ends[other]
    b_first = first + _below(words[1], end - first)
    return b_first, np.minimum(_reach(store, b_first, target), end)


def _below(words: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """uint32 words -> uniform int64 in [0, bound)."""
    return ((words.astype(np.uint64) * bound.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def _truncate(a: np.ndarray, b: np.ndarray, room: int, seed: int, cut: int, at: np.ndarray) -> None:
    """Shorten the spans a and b, int64 (2, N) starts and ends, in place to `room` tokens together.

    The longer segment loses tokens one by one, each from its front or its back by a coin flip.
    """
    a_length, b_length = a[1] - a[0], b[1] - b[0]
    a_kept = np.minimum(a_length, np.maximum(room - b_length, (room + 1) // 2))
    b_kept = np.minimum(b_length, room - a_kept)
    for segment, (span, lost) in enumerate(((a, a_length - a_kept), (b, b_length - b_kept))):
        front = _coin_flips(lost, seed, cut, at, first_block=2 + segment)
        span[0] += front
        span[1] -= lost - front


def _coin_flips(
    count: np.ndarray, seed: int, cut: int, at: np.ndarray, first_block: int
) -> np.ndarray:
    """How many of `count` fair coins show heads, for each sample; int64 (N,)."""
    heads = np.zeros_like(count)
    for block in range(-(-int(count.max(initial=0)) // 128)):
        open_ = np.flatnonzero(count > 128 * block)
        words = draw(seed, Purpose.PAIRS, cut, at[open_], block=first_block + 2 * block)
        bits = np.unpackbits(np.ascontiguousarray(words.T).view(np.uint8), axis=1)
        tossed = np.arange(128) < (count[open_] - 128 * block)[:, None]
        heads[open_] += (bits & tossed).sum(axis=1, dtype=np.int64)
    return heads
