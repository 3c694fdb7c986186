"""Held-out words: the same for every tokenizer and every way of training."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from configs.errors import InputError
from configs.schema import (
    BatchConfig,
    EvaluationConfig,
    MaskingConfig,
    PhaseConfig,
    PretrainConfig,
    ResolvedPretrainConfig,
    TokenizerConfig,
)
from pretrain.data.batches import heldout_batches
from pretrain.data.collate import Collator
from pretrain.data.heldout import WordMeasure, measured
from pretrain.data.masking import make_vocabulary
from pretrain.data.store import TokenStore
from pretrain.data.tokenise import encode
from tests.helpers import assert_binomial, flatten, open_store
from tokenizer.base import Tokenizer
from tokenizer.training import train_tokenizer

KINDS = ("byte-bpe", "wordpiece", "sentencepiece")
WORDS = ["the", "reader's", "U.S.", "f(x)", "3.14", "학교에서는", "먹었습니다.", "long-winded", "—"]


def document(seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 20))) for _ in range(rng.randint(1, 30))]


DOCUMENTS = [document(seed) for seed in range(60)]


@pytest.fixture(scope="module")
def splits(tmp_path_factory) -> dict[str, tuple[TokenStore, Tokenizer]]:
    """The same documents by three tokenizers."""
    found = {}
    for kind in KINDS:
        config = TokenizerConfig(kind=kind, vocabulary_size=330, allow_smaller_vocabulary=True)
        tokenizer = train_tokenizer(config, flatten(DOCUMENTS))
        folder = tmp_path_factory.mktemp(kind) / "store"
        store = open_store(folder, encode(tokenizer, DOCUMENTS))
        found[kind] = store, tokenizer
    return found


def configuration(**changes) -> ResolvedPretrainConfig:
    fields = {
        "max_length": 48,
        "batch": BatchConfig(sequences=16, micro_sequences=4),
        "evaluation": EvaluationConfig(sequences=64),
    }
    return PretrainConfig(**fields | changes).resolved()


def measure_of(split: tuple[TokenStore, Tokenizer], **changes) -> WordMeasure:
    return WordMeasure(split[0], measured(configuration(**changes)), split[1])


def asked(measure: WordMeasure, tokenizer: Tokenizer) -> list[str]:
    """What each micro-batch's samples predict, sample by sample, as text without white space."""
    texts = []
    for batch in measure.collate.batches():
        for a, b, sample in zip(batch.boundaries, batch.boundaries[1:], batch.sample_ids):
            here = (batch.predicted_M >= a) & (batch.predicted_M < b)
            content = b"".join(tokenizer.token_bytes[i] for i in batch.labels_M[here].tolist())
            texts.append((sample, "".join(content.decode().split())))
    return [text for _, text in sorted(texts)]


def test_tokenizers_predict_the_same_text_and_bytes(splits):
    measures = {kind: measure_of(split, max_length=128) for kind, split in splits.items()}
    drawn = {kind: measure.words.drawn_W.tolist() for kind, measure in measures.items()}
    assert drawn["byte-bpe"] == drawn["wordpiece"] == drawn["sentencepiece"]
    # Sentences are shorter than a sample: none is cut, and every word can be spelled.
    assert all(measure.predicted == measure.drawn > 100 for measure in measures.values())
    texts = {
        kind: "".join(sorted("".join(asked(measures[kind], splits[kind][1])))) for kind in KINDS
    }
    assert texts["byte-bpe"] == texts["wordpiece"] == texts["sentencepiece"]
    assert len({measure.predicted_bytes for measure in measures.values()}) == 1
    assert measures["wordpiece"].predicted_bytes == len(texts["wordpiece"].encode())


@pytest.mark.parametrize("input_format", ["full-sentences", "doc-sentences", "segment-pair"])
@pytest.mark.parametrize("kind", KINDS)
def test_drawn_words_are_predicted_once_and_whole_or_lost(splits, kind, input_format):
    """Against a loop over every sample's tokens; short samples cut words."""
    measure = measure_of(splits[kind], max_length=12, input_format=input_format)
    index, words = measure.collate.index(0).all, measure.words
    found: dict[int, int] = {}
    for sample in range(len(index)):
        own = [
            int(words.word_T[token])
            for span in range(index.offsets[sample], index.offsets[sample + 1])
            for token in range(index.starts[span], index.ends[span])
        ]
        for word in set(own) - {-1}:
            if words.drawn_W[word] and own.count(word) == words.tokens_W[word]:
                found.setdefault(word, sample)
    assert measure.collate.found.tolist() == sorted(found)
    assert 0 < measure.predicted < measure.drawn
    tokens = {}
    for batch in measure.collate.batches():
        rows = np.searchsorted(batch.boundaries.numpy(), batch.predicted_M.numpy(), "right") - 1
        for row in rows:
            tokens[batch.sample_ids[row]] = tokens.get(batch.sample_ids[row], 0) + 1
        assert (batch.tokens_T[batch.predicted_M] == measure.collate.vocabulary.mask_id).all()
    expected: dict[int, int] = {}
    for word, sample in found.items():
        expected[sample] = expected.get(sample, 0) + int(words.tokens_W[word])
    assert tokens == expected


def test_words_are_drawn_at_the_rate_and_lower_rates_draw_fewer_of_the_same(splits):
    low, high = (
        measure_of(splits["byte-bpe"], evaluation=EvaluationConfig(10, 64, rate)).words.drawn_W
        for rate in (0.15, 0.3)
    )
    assert_binomial(int(low.sum()), len(low), 0.15)
    assert_binomial(int(high.sum()), len(high), 0.3)
    assert not (low & ~high).any()


def test_ranks_share_the_batches(splits):
    collate = measure_of(splits["byte-bpe"]).collate
    shares = [collate.batches(rank, 3) for rank in range(3)]
    samples = [sample for share in shares for batch in share for sample in batch.sample_ids]
    alone = [sample for batch in collate.batches() for sample in batch.sample_ids]
    assert sorted(samples) == sorted(alone) and len(set(alone)) == len(alone)


@pytest.mark.parametrize(
    "trained",
    [
        {"masking": MaskingConfig(probability=0.4, mask_share=0.5)},
        {"input_format": "segment-pair"},
        {"max_length": 24},
        {"batch": BatchConfig(sequences=2, micro_sequences=2)},
        {"phases": [PhaseConfig(sequences=4, max_length=16), PhaseConfig(9, max_length=48)]},
    ],
    ids=str,
)
def test_the_measure_does_not_depend_on_what_is_trained(splits, trained):
    """Both measures: the same samples, masks and words, whatever the run does beside it."""
    store, tokenizer = splits["byte-bpe"]
    own = EvaluationConfig(10, 64, input_format="doc-sentences", max_length=24)
    found = []
    for changes in ({"evaluation": own}, {"evaluation": own, **trained}):
        config = measured(configuration(**changes))
        usual = heldout_batches(Collator(store, config, make_vocabulary(tokenizer)))
        words = WordMeasure(store, config, tokenizer).collate.batches()
        found.append([_content(batches) for batches in (usual, words)])
    assert found[0] == found[1]


def _content(batches) -> list:
    """Samples with their tokens, apart from how they are put together."""
    rows = []
    for batch in batches:
        for a, b, sample in zip(batch.boundaries, batch.boundaries[1:], batch.sample_ids):
            here = (batch.predicted_M >= a) & (batch.predicted_M < b)
            rows.append((sample, batch.tokens_T[a:b].tolist(), batch.labels_M[here].tolist()))
    return sorted(rows)


def test_the_usual_measure_is_what_it_was(splits):
    """By default held-out text is masked as training text is."""
    store, tokenizer = splits["byte-bpe"]
    config, vocabulary = configuration(), make_vocabulary(tokenizer)
    alike = [
        _content(heldout_batches(Collator(store, c, vocabulary)))
        for c in (config, measured(config))
    ]
    assert alike[0] == alike[1]


def test_a_length_that_no_phase_trains_is_refused():
    phases = [PhaseConfig(max_length=16), PhaseConfig(9, max_length=32)]
    evaluation = EvaluationConfig(max_length=33)
    with pytest.raises(InputError, match=r"evaluation\.max_length=33 is beyond the longest"):
        configuration(evaluation=evaluation, phases=phases)
    config = configuration(evaluation=replace(evaluation, max_length=32), phases=phases)
    assert measured(config).max_length == 32


def test_text_without_a_drawn_word_makes_no_batches(splits):
    store, tokenizer = splits["byte-bpe"]
    config = measured(configuration(evaluation=EvaluationConfig(10, 1, 1e-9)))
    measure = WordMeasure(store, config, tokenizer)
    assert (measure.drawn, measure.predicted, measure.predicted_bytes) == (0, 0, 0)
    assert measure.collate.batches() == []
