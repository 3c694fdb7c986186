"""Held-out words that every tokenizer is asked for alike (law 8), on a text of its own choice.

The usual measure draws 15 % of a tokenizer's tokens: tokenizers then predict other bytes, and one
with short tokens has an easier task, as it sees the beginning of a word whose end it predicts. Here
passages of the held-out documents are drawn by the numbers of their sentences, and in these each
word (`tokenizer/words.py`) by (seed, document, sentence, word): none of it depends on tokens. All
tokens of a word are predicted, and all are shown as the mask token. A word is counted once. One
that is cut by the end of a sample, or that the tokenizer cannot spell, is left out, and told.

Axes: N tokens of the passages as the samples have them, T tokens of the passages, W words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from configs.schema import PAIR_FORMATS, MaskingConfig, ResolvedPretrainConfig
from pretrain.arrays import Flags, Ints, TokenIds, ranges
from pretrain.batch import MicroBatch
from pretrain.data.batches import micro_batches_of
from pretrain.data.collate import Collator
from pretrain.data.layout import Layouts
from pretrain.data.masking import Masked, Sequences, Vocabulary, make_vocabulary
from pretrain.data.store import TokenStore
from pretrain.randomness import Purpose, draw, permutation, to_unit
from tokenizer.base import Tokenizer
from tokenizer.words import words_of

TOKENS_PER_SENTENCE = 16
"""a passage has as many sentences as fill a sample if they are so long"""
TOKENS_PER_WORD = 2
"""by which a number of tokens becomes one of words: the same words for every tokenizer"""


def measured(config: ResolvedPretrainConfig) -> ResolvedPretrainConfig:
    """The configuration with the format, length and masks of its evaluation."""
    evaluation = config.evaluation
    input_format = evaluation.input_format or config.input_format
    length = evaluation.max_length or config.max_length
    is_pair = input_format in PAIR_FORMATS
    micro = max(1, config.batch.micro_sequences * config.max_length // length)
    return replace(
        config.of_length(length),
        input_format=input_format,
        next_sentence_prediction=config.next_sentence_prediction and is_pair,
        document_attention=config.document_attention and not is_pair,
        masking=MaskingConfig(probability=evaluation.mask_probability),
        batch=replace(config.batch, micro_sequences=micro),
    )


@dataclass(frozen=True)
class Passages(TokenStore):
    """A store in memory, whose documents are passages of another store's."""

    ids: TokenIds
    sources_D: Ints | None = None
    """(documents): number of the source of each, where `sources` are told apart"""

    def sources_of(self, places: Ints) -> Ints | None:
        """As of a store on the disk."""
        if self.sources_D is None:
            return None
        ends = self.sentence_ends[self.document_ends - 1]
        return self.sources_D[np.searchsorted(ends, places, side="right")]

    def gather(self, starts: Ints, ends: Ints) -> TokenIds:
        """As of a store on the disk."""
        return self.ids[ranges(starts, ends)]

    def tokens(self, start: int, end: int) -> TokenIds:
        """As of a store on the disk."""
        return self.ids[start:end]


@dataclass(frozen=True)
class PassageWords:
    """The W words of passages in their order, T tokens long."""

    word_T: Ints
    """number of the word that a token belongs to; -1: none, white space only"""
    tokens_W: Ints
    """how many tokens each has"""
    bytes_W: Ints
    """UTF-8 bytes, white space not counted"""
    is_whole_W: Flags
    """False where a word is not told by its tokens"""
    drawn_W: Flags
    """whether it is to be predicted"""
    passage_W: Ints
    """number of its passage"""


class Place(NamedTuple):
    """A word's place in the text."""

    document: int
    sentence: int
    """in its document"""
    word: int
    """in its sentence: a difference between tokenizers does not reach the next one"""


def choose_passages(
    store: TokenStore, config: ResolvedPretrainConfig, tokenizer: Tokenizer
) -> tuple[Passages, PassageWords]:
    """Passages in a random order, until they have the words that are wanted.

    Args:
        store: the held-out split.
        config: as `measured` makes it.
    """
    size = max(1, config.max_length // TOKENS_PER_SENTENCE)
    wanted = config.evaluation.sequences * config.max_length // TOKENS_PER_WORD
    layout = store.layouts.whole
    documents, firsts, lasts = _passages(layout.document_ends, size)
    document_starts, sentence_starts = layout.document_starts, layout.sentence_starts
    gathered = _Gathered(tokenizer.token_bytes)
    for number in permutation(config.seed, Purpose.HELDOUT_PASSAGES, 0, len(firsts)):
        # A pair format takes its second segments from another document.
        if len(gathered.sizes) >= wanted and len(gathered.document_ends) > 1:
            break
        document, first, last = (int(row[number]) for row in (documents, firsts, lasts))
        ids = store.tokens(int(sentence_starts[first]), int(layout.sentence_ends[last - 1]))
        cuts = (layout.sentence_ends[first : last - 1] - sentence_starts[first]).tolist()
        gathered.add(ids, cuts, document, first - int(document_starts[document]))
        gathered.places_in_store.append(int(sentence_starts[first]))
    return gathered.passages(store), gathered.words(config)


def _passages(document_ends: Ints, size: int) -> tuple[Ints, Ints, Ints]:
    """(document, first sentence, end) of every passage of up to `size` sentences."""
    counts = np.diff(document_ends, prepend=0)
    parts = -(-counts // size)
    owner = np.repeat(np.arange(len(counts)), parts)
    firsts = (document_ends - counts)[owner] + size * ranges(np.zeros_like(parts), parts)
    return owner, firsts, np.minimum(firsts + size, document_ends[owner])


class _Gathered:
    """Passages as they are found."""

    def __init__(self, token_bytes: list[bytes]) -> None:
        self.token_bytes = token_bytes
        self.ids: list[TokenIds] = []
        self.words_of_tokens: list[Ints] = []
        self.document_ends: list[int] = []
        self.places_in_store: list[int] = []
        """of each passage its first token"""
        self.passages_of_words: list[int] = []
        self.places: list[Place] = []
        self.sizes: list[tuple[int, int, bool]] = []
        """of each word its tokens, its bytes, and whether it is whole"""

    def add(self, passage: TokenIds, cuts: list[int], document: int, first: int) -> None:
        """A passage, between whose sentences `cuts` lie; its first is number `first` of its
        document."""
        bounds = zip([0, *cuts], [*cuts, len(passage)])
        for number, (a, b) in enumerate(bounds, first):
            ids: TokenIds = passage[a:b]
            numbers = np.full(len(ids), -1)
            words = words_of([self.token_bytes[token] for token in ids.tolist()])
            for place, word in enumerate(words):
                numbers[word.first : word.end] = len(self.sizes)
                self.places.append(Place(document, number, place))
                self.passages_of_words.append(len(self.document_ends))
                self.sizes.append((word.end - word.first, word.size, word.is_whole))
            self.ids.append(ids)
            self.words_of_tokens.append(numbers)
        self.document_ends.append(len(self.ids))

    def passages(self, store: TokenStore) -> Passages:
        """Their tokens as a store."""
        ends = np.cumsum([len(sentence) for sentence in self.ids])
        ids: TokenIds = np.empty(int(ends[-1]), self.ids[0].dtype)
        np.concatenate(self.ids, out=ids)
        text_bytes = sum(size for _, size, _ in self.sizes)
        return Passages(
            shards=(),
            shard_starts=np.asarray([0, len(ids)]),
            layouts=Layouts.in_memory(ends, np.asarray(self.document_ends)),
            unigram_counts=store.unigram_counts,
            text_bytes=text_bytes,
            sources=store.sources,
            ids=ids,
            sources_D=store.sources_of(np.asarray(self.places_in_store)),
        )

    def words(self, config: ResolvedPretrainConfig) -> PassageWords:
        """Their words, and which of them are drawn."""
        places = np.asarray(self.places, np.int64).reshape(-1, 3)
        document_W, sentence_W, word_W = places.T
        bits_W = draw(config.seed, Purpose.HELDOUT_WORDS, sentence_W, document_W, word_W)[0]
        sizes = np.asarray(self.sizes, np.int64).reshape(-1, 3)
        return PassageWords(
            word_T=np.concatenate(self.words_of_tokens),
            tokens_W=sizes[:, 0],
            bytes_W=sizes[:, 1],
            is_whole_W=sizes[:, 2] > 0,
            drawn_W=to_unit(bits_W) < config.evaluation.mask_probability,
            passage_W=np.asarray(self.passages_of_words, np.int64),
        )


class WordCollator(Collator):
    """Samples of passages in which the drawn words are masked, each in the first that has it."""

    def __init__(
        self,
        passages: Passages,
        words: PassageWords,
        config: ResolvedPretrainConfig,
        vocabulary: Vocabulary,
    ) -> None:
        super().__init__(passages, config, vocabulary)
        self.words = words

    @cached_property
    def _lengths(self) -> tuple[Ints, Ints]:
        """Of all samples, where their tokens (without special ones) begin and end; in N."""
        samples = self.index(0).all
        ends = np.concatenate([[0], np.cumsum(samples.ends - samples.starts)])
        return ends[samples.offsets[:-1]], ends[samples.offsets[1:]]

    @cached_property
    def _predicted(self) -> tuple[Flags, Ints]:
        """(which tokens of all samples are predicted; (N,), which words)."""
        samples, words = self.index(0).all, self.words
        begins, ends = self._lengths
        sample_N = np.repeat(np.arange(len(samples)), ends - begins)
        word_N = words.word_T[ranges(samples.starts, samples.ends)]
        wanted = np.flatnonzero(word_N >= 0)
        wanted = wanted[(words.drawn_W & words.is_whole_W)[word_N[wanted]]]
        # One number for word and sample: a sample has a word whole if it has all of its tokens.
        key, count = np.unique(word_N[wanted] * len(samples) + sample_N[wanted], return_counts=True)
        key = key[count == words.tokens_W[key // len(samples)]]
        # They are sorted by word, then by sample: the first of each word is where it is predicted.
        found, first = np.unique(key // len(samples), return_index=True)
        predicted_N = np.zeros(len(word_N), bool)
        chosen = np.isin(word_N[wanted] * len(samples) + sample_N[wanted], key[first])
        predicted_N[wanted[chosen]] = True
        return predicted_N, found

    @property
    def found(self) -> Ints:
        """The words that are predicted."""
        return self._predicted[1]

    def batches(self, rank: int = 0, world_size: int = 1) -> list[MicroBatch]:
        """`rank`'s share of the samples in which a word is predicted."""
        begins, _ = self._lengths
        counts = np.add.reduceat(self._predicted[0], begins, dtype=np.int64)
        chosen = np.flatnonzero(counts)
        if not len(chosen):
            return []
        parts = micro_batches_of(self, chosen)[rank::world_size]
        return [self.with_sources(self(samples, 0, 0)) for samples in parts]

    def _mask(self, sequences: Sequences, _epoch: int, _probability: float | None) -> Masked:
        begins, ends = self._lengths
        rows = ranges(begins[sequences.samples_B], ends[sequences.samples_B])
        places_M = np.flatnonzero(sequences.maskable_T)[self._predicted[0][rows]]
        labels_M = sequences.tokens_T[places_M]
        tokens_T = sequences.tokens_T.copy()
        tokens_T[places_M] = self.vocabulary.mask_id
        return Masked(tokens_T, places_M, labels_M)


class WordMeasure:
    """The masked words of a held-out split."""

    def __init__(
        self, store: TokenStore, config: ResolvedPretrainConfig, tokenizer: Tokenizer
    ) -> None:
        """`config` as `measured` makes it."""
        self.passages, self.words = choose_passages(store, config, tokenizer)
        vocabulary = make_vocabulary(tokenizer)
        self.collate = WordCollator(self.passages, self.words, config, vocabulary)

    @property
    def drawn(self) -> int:
        """Words that were to be predicted."""
        return int(self.words.drawn_W.sum())

    @property
    def predicted(self) -> int:
        """Those that are; the others were cut, or cannot be spelled."""
        return len(self.collate.found)

    @property
    def predicted_bytes(self) -> int:
        """UTF-8 bytes of those."""
        return int(self.words.bytes_W[self.collate.found].sum())

    @property
    def by_source(self) -> dict[str, tuple[int, int]]:
        """`predicted` and `predicted_bytes` by the source's name, where they are told apart."""
        sources, sources_D = self.passages.sources, self.passages.sources_D
        if sources is None or sources_D is None:
            return {}
        found = self.collate.found
        owners, sizes = sources_D[self.words.passage_W[found]], self.words.bytes_W[found]
        return {
            name: (int((owners == number).sum()), int(sizes[owners == number].sum()))
            for number, name in enumerate(sources.names)
        }
