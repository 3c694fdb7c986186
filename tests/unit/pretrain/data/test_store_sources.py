"""A store of several sources knows which tokens are of which; an old one does not, and loads."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.errors import InputError
from configs.schema import (
    BatchConfig,
    DataConfig,
    EvaluationConfig,
    PretrainConfig,
    SourceConfig,
    TokenizerConfig,
)
from pretrain.data.batches import heldout_batches
from pretrain.data.collate import Collator
from pretrain.data.corpus import Corpus, open_corpus, prepare
from pretrain.data.manifest import SEAL, read_manifest, sealed
from pretrain.data.store import TokenStore
from pretrain.data.store_sources import StoreSources
from tests.helpers import flatten, numbered_documents, open_store, random_shape, simple_vocabulary
from tokenizer.training import train_tokenizer

WORDS = ["the", "of", "and", "to", "in", "is", "was", "for", "as", "with", "on", "by", "that"]


def text(number: int) -> str:
    rng = random.Random(number)
    sentences = (" ".join(rng.choices(WORDS, k=rng.randint(3, 12))) for _ in range(6))
    return ". ".join(sentence.capitalize() for sentence in sentences) + "."


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PretrainConfig:
    """Three sources of several pieces, of which the last holds out nothing."""
    folder = tmp_path_factory.mktemp("sources")
    texts = [text(number) for number in range(300)]
    tokenizer = TokenizerConfig("wordpiece", 160, allow_smaller_vocabulary=True)
    train_tokenizer(tokenizer, texts).save(folder / "tokenizer")
    rows = [json.dumps({"text": text}) for text in texts[:200]]
    (folder / "wiki.jsonl").write_text("\n".join(rows))
    (folder / "books.txt").write_text("\n".join(texts[200:]))
    (folder / "rest.txt").write_text(text(300))
    sources = [
        SourceConfig("jsonl", str(folder / "wiki.jsonl"), weight=1.5),
        SourceConfig("text", str(folder / "books.txt"), documents="line"),
        SourceConfig("text", str(folder / "rest.txt"), documents="line", name="the rest"),
    ]
    data = DataConfig(
        sources, heldout_fraction=0.1, piece_megabytes=0.008, cache=str(folder / "cache")
    )
    return PretrainConfig(data=data, tokenizer=TokenizerConfig(path=str(folder / "tokenizer")))


@pytest.fixture(scope="module")
def corpus(config) -> Corpus:
    return prepare(config)


def rewrite(folder: Path, sources: object) -> None:
    """The manifest with this in place of what it says of sources; None: nothing."""
    manifest = read_manifest(folder)
    del manifest[SEAL], manifest["sources"]
    told = {} if sources is None else {"sources": sources}
    (folder / "manifest.json").write_text(json.dumps(sealed({**manifest, **told})))


@pytest.fixture
def copy(corpus, tmp_path) -> Path:
    """The folder of a store of one's own; its files are those of the other."""
    folder = tmp_path / "store"
    for path in corpus.folder.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(corpus.folder)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(corpus.folder)).write_bytes(path.read_bytes())
    return folder


def test_each_source_has_the_tokens_and_bytes_that_it_has_alone(config, corpus):
    assert corpus.heldout.sources.names == ("wiki", "books", "the rest")
    for number in (0, 1):
        source = config.data.sources[number]
        alone = prepare(replace(config, data=replace(config.data, sources=[source])))
        assert "sources" not in read_manifest(alone.folder)
        assert alone.heldout.sources is None and alone.note == ""
        for split in ("train", "heldout"):
            own, whole = getattr(alone, split), getattr(corpus, split)
            assert whole.sources.tokens[number] == own.token_count > 0
            assert whole.sources.text_bytes[number] == own.text_bytes
            begin = int(whole.sources.ends[number] - own.token_count)
            first = slice(0, int(own.sentence_ends[0]))
            assert np.array_equal(
                whole.tokens(begin, begin + first.stop), own.tokens(first.start, first.stop)
            )
            assert whole.sources_of(np.asarray([begin])) == [number]
            assert whole.sources_of(np.asarray([begin + own.token_count - 1])) == [number]
    assert corpus.heldout.sources.tokens[2] == 0
    assert corpus.note == "nothing is held out of the rest: no figures for it"


def test_names_are_those_of_the_run_and_of_a_named_store_those_it_was_made_with(config, corpus):
    sources = [replace(source, name=f"n{n}") for n, source in enumerate(config.data.sources)]
    renamed = prepare(replace(config, data=replace(config.data, sources=sources)))
    assert renamed.folder == corpus.folder and renamed.fingerprint == corpus.fingerprint
    assert renamed.heldout.sources.names == ("n0", "n1", "n2")
    data = DataConfig(store=str(corpus.folder), cache=config.data.cache)
    named = prepare(PretrainConfig(data=data))
    assert named.heldout.sources.names == ("wiki", "books", "the rest")


def test_a_store_of_an_earlier_version_loads_and_says_what_it_lacks(config, corpus, copy):
    rewrite(copy, None)
    old = open_corpus(copy, config)
    assert old.heldout.sources is None and old.fingerprint == corpus.fingerprint
    assert old.note.startswith("the store does not tell its 3 sources apart")
    assert f"delete {copy}" in old.note and "\n" not in old.note


def told(corpus: Corpus) -> list[dict]:
    return read_manifest(corpus.folder)["sources"]


@pytest.mark.parametrize(
    "change",
    [
        lambda sources: sources[:2],
        lambda sources: [{**source, "pieces": 1} for source in sources],
        lambda sources: [{**sources[0], "text_bytes": {"train": 1, "heldout": 1}}, *sources[1:]],
        lambda sources: [{**source, "pieces": "many"} for source in sources],
        lambda sources: "wiki",
        lambda sources: [{"name": "wiki"}],
    ],
)
def test_sources_that_contradict_the_store_are_damage(corpus, copy, change):
    rewrite(copy, change(told(corpus)))
    with pytest.raises(InputError, match=r"manifest\.json") as error:
        for split in ("train", "heldout"):
            TokenStore.open(copy, split)
    assert "\n" not in str(error.value)


SPLIT = 700
"""tokens below it are of the first source"""


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> TokenStore:
    """Documents whose tokens are 0, 1, 2, ... so that a token tells its source."""
    documents = numbered_documents(random_shape(3, 60))
    store = open_store(tmp_path_factory.mktemp("numbered") / "store", documents)
    ends = store.sentence_ends[store.document_ends - 1]
    first = ends[np.searchsorted(ends, SPLIT)]
    sources = StoreSources(("a", "none", "b"), np.asarray([first, first, ends[-1]]), ends[:3])
    return replace(store, sources=sources)


@pytest.mark.parametrize("input_format", ["full-sentences", "doc-sentences", "segment-pair"])
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("within", [False, True])
def test_predicted_tokens_know_their_source(numbered, input_format, ranks, within):
    if within and input_format == "segment-pair":
        pytest.skip("pairs see both documents")
    config = PretrainConfig(
        input_format=input_format,
        max_length=40,
        document_attention=within,
        batch=BatchConfig(sequences=8, micro_sequences=4),
        evaluation=EvaluationConfig(sequences=1000),
    ).resolved()
    vocabulary = simple_vocabulary(len(numbered.unigram_counts) - 3)
    collate = Collator(numbered, config, vocabulary)
    batches = flatten([heldout_batches(collate, rank, ranks) for rank in range(ranks)])
    labels = np.concatenate([batch.labels_M.numpy() for batch in batches])
    sources = np.concatenate([batch.sources_M.numpy() for batch in batches])
    assert np.array_equal(sources, np.where(labels < numbered.sources.ends[0], 0, 2))
    assert {batch.source_count for batch in batches} == {3}
    assert min(np.bincount(sources)[[0, 2]]) > 20
    assert collate(np.arange(3), 0, 0).sources_M is None, "training asks for none"
