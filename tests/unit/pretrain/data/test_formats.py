"""The four input formats, against slow loops and against what the papers promise."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs.errors import InputError
from configs.schema import ModelConfig, PretrainConfig
from pretrain.data.formats import build_index, few_pairs, require_pairs
from pretrain.data.sample_index import IS_NEXT, IS_RANDOM, NO_PAIR, Samples
from pretrain.data.store import TokenStore
from tests.helpers import (
    assert_binomial,
    assert_uniform,
    numbered_documents,
    open_store,
    random_shape,
)
from tests.unit.pretrain.data.slow_formats import Sample, slow_samples

PACKED = ("full-sentences", "doc-sentences")
PAIRS = ("segment-pair", "sentence-pair")
FORMATS = PACKED + PAIRS

sentence_lengths = st.one_of(st.integers(1, 6), st.just(1), st.integers(1, 300))
shapes = st.lists(st.lists(sentence_lengths, min_size=1, max_size=6), min_size=2, max_size=7)


def samples_of(store: TokenStore, index: Samples) -> list[Sample]:
    spans = [store.tokens(a, b).tolist() for a, b in zip(index.starts, index.ends)]
    return [
        (spans[a:b], int(label))
        for a, b, label in zip(index.offsets, index.offsets[1:], index.next_sentence)
    ]


@pytest.mark.parametrize("input_format", FORMATS)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    shape=shapes,
    max_length=st.sampled_from([8, 9, 13, 32, 64]),
    seed=st.integers(0, 2**32 - 1),
    cut=st.integers(0, 9),
    shard_tokens=st.sampled_from([1, 20, 2**28]),
    short=st.sampled_from([0.0, 0.5, 1.0]),
)
@example([[1], [1]], 8, 0, 0, 1, 0.5)
@example([[300], [1, 300, 1], [900, 900]], 8, 1, 0, 1, 0.0)
def test_same_samples_as_the_slow_loops(
    input_format, shape, max_length, seed, cut, shard_tokens, short
):
    documents = numbered_documents(shape)
    config = PretrainConfig(
        seed=seed,
        input_format=input_format,
        max_length=max_length,
        short_sequence_probability=short,
    )
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store", documents, shard_tokens)
        index = build_index(store, config, cut).all
        found = samples_of(store, index)
    assert found == slow_samples(documents, config, cut)
    assert index.lengths.tolist() == [1 + sum(len(s) + 1 for s in spans) for spans, _ in found]
    assert index.lengths.max() <= max_length


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> TokenStore:
    """2,000 documents of up to 8 sentences of up to 40 tokens, in several shards."""
    documents = numbered_documents(random_shape(1, 2000, tokens=40))
    return open_store(tmp_path_factory.mktemp("formats") / "store", documents, 50_000)


def document_of(store: TokenStore, tokens: np.ndarray) -> np.ndarray:
    token_ends = store.sentence_ends[store.document_ends - 1]
    return np.searchsorted(token_ends, tokens, side="right")


@pytest.mark.parametrize("input_format", FORMATS)
@pytest.mark.parametrize("max_length", [8, 24, 128])
def test_no_sample_is_too_long_or_empty(store, input_format, max_length):
    index = build_index(store, PretrainConfig(input_format=input_format, max_length=max_length)).all
    assert len(store.shards) > 1
    assert index.lengths.max() <= max_length
    assert (index.ends > index.starts).all()
    assert (document_of(store, index.starts) == document_of(store, index.ends - 1)).all()


@pytest.mark.parametrize("input_format", PACKED)
@pytest.mark.parametrize("max_length", [8, 24, 128])
def test_packed_formats_use_every_token_once(store, input_format, max_length):
    index = build_index(store, PretrainConfig(input_format=input_format, max_length=max_length)).all
    order = np.argsort(index.starts)
    starts, ends = index.starts[order], index.ends[order]
    assert starts[0] == 0 and ends[-1] == store.token_count
    assert (starts[1:] == ends[:-1]).all()
    assert (index.next_sentence == NO_PAIR).all()


def test_doc_sentences_never_cross_documents(store):
    index = build_index(store, PretrainConfig(input_format="doc-sentences")).all
    assert (np.diff(index.offsets) == 1).all()


def test_full_sentences_cross_documents_and_fill_the_samples(store):
    index = build_index(store, PretrainConfig(input_format="full-sentences")).all
    assert (np.diff(index.offsets) > 1).any()
    # Each but the last lacks less than the longest sentence, 40 tokens, and its separator.
    assert index.lengths[:-1].min() > 128 - 41


def test_full_sentences_separate_documents_only_and_cut_long_sentences(tmp_path):
    store = open_store(tmp_path / "store", numbered_documents([[3, 2], [11]]))
    index = build_index(store, PretrainConfig(input_format="full-sentences", max_length=8)).all
    spans = sorted(zip(index.starts.tolist(), index.ends.tolist()))
    assert spans == [(0, 5), (5, 11), (11, 16)]


def test_the_example_of_the_packages_docstring(tmp_path):
    example = open_store(tmp_path / "store", [[[12, 40, 77, 5], [14, 9, 61, 5]], [[83, 70, 5]]])
    assert [example.sentence_ends.tolist(), example.document_ends.tolist()] == [[4, 8, 11], [2, 3]]
    index = build_index(example, PretrainConfig(input_format="full-sentences", max_length=16)).all
    arrays = [index.offsets.tolist(), index.starts.tolist(), index.ends.tolist()]
    assert arrays == [[0, 2], [0, 8], [8, 11]]


def test_an_epoch_has_its_own_document_order(store):
    config = PretrainConfig(input_format="full-sentences")
    starts = [build_index(store, config, cut).all.starts[:50].tolist() for cut in (0, 0, 1)]
    assert starts[0] == starts[1] != starts[2]


@pytest.mark.parametrize("input_format", PAIRS)
def test_second_segment_is_what_its_label_says(store, input_format):
    index = build_index(store, PretrainConfig(input_format=input_format)).all
    a_start, b_start, a_end = index.starts[::2], index.starts[1::2], index.ends[::2]
    same_document = document_of(store, a_start) == document_of(store, b_start)
    is_next = index.next_sentence == IS_NEXT
    assert (same_document == is_next).all()
    assert (b_start >= a_end)[is_next].all()
    whole = index.lengths < 128
    assert (whole & is_next).any()
    assert (b_start == a_end)[is_next & whole].all()
    assert np.isin(index.next_sentence, (IS_NEXT, IS_RANDOM)).all()


def test_half_of_the_sentence_pairs_are_random_where_there_is_a_choice(store):
    config = PretrainConfig(input_format="sentence-pair", max_length=128)
    index = build_index(store, config).all
    sentence = np.searchsorted(store.sentence_ends, index.starts[::2], side="right")
    is_last = np.isin(sentence + 1, store.document_ends)
    is_random = index.next_sentence == IS_RANDOM
    assert is_random[is_last].all()
    assert_binomial(is_random[~is_last].sum(), (~is_last).sum(), 0.5)


def test_half_of_the_segment_pairs_are_random_where_there_is_a_choice(tmp_path):
    # Sentences of 5 tokens fill the room of 60 exactly, so nothing is truncated.
    store = open_store(tmp_path / "store", numbered_documents([[5] * 40] * 300))
    config = PretrainConfig(
        input_format="segment-pair", max_length=63, short_sequence_probability=0.0
    )
    index = build_index(store, config).all
    is_last = (index.starts[::2] + 5) % 200 == 0
    is_random = index.next_sentence == IS_RANDOM
    assert is_random[is_last].all()
    assert_binomial(is_random[~is_last].sum(), (~is_last).sum(), 0.5)


def test_random_segments_come_from_all_other_documents(tmp_path):
    store = open_store(tmp_path / "store", numbered_documents([[3] * 400] * 4))
    index = build_index(store, PretrainConfig(input_format="sentence-pair")).all
    is_random = index.next_sentence == IS_RANDOM
    from_, to = document_of(store, index.starts.reshape(-1, 2)[is_random]).T
    counts = np.bincount(4 * from_ + to, minlength=16).reshape(4, 4)
    assert (np.diag(counts) == 0).all()
    for number, row in enumerate(counts):
        assert_uniform(np.delete(row, number))


def test_share_of_short_documents(tmp_path):
    # With sentences of one token, a pair that follows itself has exactly the aimed-at length.
    store = open_store(tmp_path / "store", numbered_documents([[1] * 90] * 1500))
    config = PretrainConfig(input_format="segment-pair", max_length=23)
    index = build_index(store, config).all
    is_next = index.next_sentence == IS_NEXT
    inside = index.ends[1::2] % 90 != 0
    chosen = np.flatnonzero(is_next & inside)
    document, first = np.unique(index.starts[::2][chosen] // 90, return_index=True)
    target = index.lengths[chosen[first]] - 3
    assert len(document) > 1400
    # A short length is uniform over 2 to 20; one in 19 of them is full all the same.
    assert_binomial((target < 20).sum(), len(target), 0.1 * 18 / 19)
    assert target.min() == 2


def test_one_document_has_no_random_partner(tmp_path):
    store = open_store(tmp_path / "store", [[[1, 2], [3]]])
    for input_format in PAIRS:
        with pytest.raises(InputError, match="holds one"):
            build_index(store, PretrainConfig(input_format=input_format))
    for input_format in PACKED:
        assert len(build_index(store, PretrainConfig(input_format=input_format))) == 1


@pytest.mark.parametrize("input_format", FORMATS)
def test_an_empty_corpus_is_refused(tmp_path, input_format):
    store = open_store(tmp_path / "store", [])
    with pytest.raises(InputError, match="no document"):
        build_index(store, PretrainConfig(input_format=input_format))


@pytest.mark.parametrize("input_format", PAIRS)
def test_pairs_that_never_follow_one_another_are_told(tmp_path, input_format):
    """Documents of one sentence; then every tenth has two; then all have several."""
    config = PretrainConfig(
        input_format=input_format,
        next_sentence_prediction=True,
        model=ModelConfig(architecture="bert", segment_types=2),
    )
    one, few, several = [[5]] * 200, [[5]] * 180 + [[5, 5]] * 20, [[5] * 20] * 100
    off = replace(config, next_sentence_prediction=False)
    for name, shape, said in (("one", one, True), ("few", few, True), ("several", several, False)):
        store = open_store(tmp_path / name, numbered_documents(shape))
        index = build_index(store, config)
        assert bool(few_pairs(index, store, config)) is said, name
        require_pairs(index, store, off)
        if name == "one":
            with pytest.raises(InputError, match=r"only 0.0% of the pairs .* 1.0 sentences on av"):
                require_pairs(index, store, config)
        elif name == "several":
            require_pairs(index, store, config)
    packed = replace(off, input_format="full-sentences")
    assert few_pairs(build_index(store, packed), store, packed) is None
