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

A corpus of more than a million sentences is cut portion by portion (`layout.py`): documents are
shuffled, packed and paired with others of their portion only, and its last sample may be short.

A format of one's own is a function (layout, config, cut) -> Samples: name it in BUILDERS and in
`InputFormat` of the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from configs.errors import InputError
from configs.schema import InputFormat, PretrainConfig
from pretrain.arrays import Flags, Ints, ranges
from pretrain.data.layout import Layout
from pretrain.data.pair_formats import require_pairable, segment_pairs, sentence_pairs
from pretrain.data.sample_index import NO_PAIR, SampleIndex, Samples, follow
from pretrain.data.store import TokenStore
from pretrain.randomness import Purpose, permutation

LEAST_NEXT, FEW_NEXT = 0.05, 0.25
"""shares of pairs that follow one another: below the first there is nothing to learn, below the
second the user is warned"""


def build_index(store: TokenStore, config: PretrainConfig, cut: int = 0) -> SampleIndex:
    """Cut the corpus into samples.

    Args:
        store: one split of the corpus.
        config: `input_format`, `max_length`, `short_sequence_probability` and `seed` decide.
        cut: which of the corpus's random cuts to make (see `sample_epochs`).
    Raises:
        InputError: empty corpus, or a pair format over fewer than two documents.
    """
    if not store.document_count:
        raise InputError("the corpus holds no document: give more text in data.sources")
    require_pairable(store, config)
    layouts = (store.layouts.part(part.start, part.stop) for part in store.layouts.portions)
    build = BUILDERS[config.input_format]
    return SampleIndex((layout.first_token, build(layout, config, cut)) for layout in layouts)


def few_pairs(index: SampleIndex, store: TokenStore, config: PretrainConfig) -> str | None:
    """A warning about a pair format in which too few second segments follow the first.

    Half of them do in BERT's data; a document of one sentence has only random ones.
    """
    share = index.next_share
    if not index.is_pair or share >= FEW_NEXT:
        return None
    sentences = len(store.layouts.sentences) / store.document_count
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


def _packed(layout: Layout, config: PretrainConfig, cut: int, fill: Fill) -> Samples:
    """Greedy packing of sentences in a random order of the documents."""
    documents = len(layout.document_ends)
    order = permutation(config.seed, Purpose.DOCUMENT_ORDER, cut, documents, layout.first_document)
    units = _units(layout, order, config.max_length - 2)  # beside [CLS] and [SEP]
    sample_starts = follow(fill(units, config.max_length))
    # A span begins with each sample, and wherever another document begins inside one.
    document_starts = np.flatnonzero(np.concatenate([[True], units.closes[:-1]]))
    spans = np.union1d(sample_starts, document_starts)
    last_units = np.append(spans[1:], len(units.starts)) - 1
    return Samples(
        offsets=np.append(np.searchsorted(spans, sample_starts), len(spans)),
        starts=units.starts[spans],
        ends=units.ends[last_units],
        next_sentence=np.full(len(sample_starts), NO_PAIR, np.int8),
    )


def _units(layout: Layout, order: Ints, limit: int) -> Units:
    """Sentences in the given order of documents, those beyond `limit` tokens cut into parts."""
    first, last = layout.document_starts[order], layout.document_ends[order]
    sentences = ranges(first, last)
    closes = np.zeros(len(sentences), bool)
    closes[np.cumsum(last - first) - 1] = True
    starts, ends = layout.sentence_starts[sentences], layout.sentence_ends[sentences]
    parts = -(-(ends - starts) // limit)
    # One row for each part: its sentence, and which of the sentence's parts it is.
    owner = np.repeat(np.arange(len(sentences)), parts)
    part = ranges(np.zeros_like(parts), parts)
    unit_starts = starts[owner] + part * limit
    unit_ends = np.minimum(unit_starts + limit, ends[owner])
    return Units(unit_starts, unit_ends, closes[owner] & (part == parts[owner] - 1))


def _fill_across(units: Units, max_length: int) -> Ints:
    """Samples continue into the next document, with a separator after every document."""
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


BUILDERS: dict[InputFormat, Callable[[Layout, PretrainConfig, int], Samples]] = {
    "segment-pair": segment_pairs,
    "sentence-pair": sentence_pairs,
    "full-sentences": partial(_packed, fill=_fill_across),
    "doc-sentences": partial(_packed, fill=_fill_within),
}
"""what cuts the corpus, by `input_format`"""
