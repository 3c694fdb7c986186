"""word2vec: equal seeds give equal vectors, and words of like contexts are near."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from configs.errors import InputError
from configs.schema import DataConfig, EmbeddingsConfig, PretrainConfig
from pretrain.data.store import TokenStore
from pretrain.data.word2vec import LONGEST, Sentences, train_word2vec, word_vectors
from tests.conftest import ROOT
from tests.helpers import flatten, open_store, random_documents, write_store

COMPANY = {"fruit": ["apple", "pear", "plum", "fig"], "metal": ["iron", "tin", "zinc", "lead"]}


def sentences() -> list[list[str]]:
    """Fruits among fruits, metals among metals, each with verbs of its own."""
    rng = random.Random(0)
    verbs = {"fruit": ["eat", "peel"], "metal": ["melt", "forge"]}
    kinds = [rng.choice(list(COMPANY)) for _ in range(600)]
    return [[rng.choice(COMPANY[kind] + verbs[kind]) for _ in range(8)] for kind in kinds]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("skip_gram", [False, True])
def test_words_of_the_same_company_are_near(skip_gram):
    choice = EmbeddingsConfig(skip_gram=skip_gram, epochs=10)
    vectors = train_word2vec(sentences(), 20, choice, seed=0)
    for fruit in COMPANY["fruit"]:
        near = min(cosine(vectors[fruit], vectors[other]) for other in COMPANY["fruit"])
        far = max(cosine(vectors[fruit], vectors[other]) for other in COMPANY["metal"])
        assert near > far + 0.2


def test_cbow_and_skip_gram_differ():
    ways = (EmbeddingsConfig(skip_gram=flag) for flag in (False, True))
    cbow, skip_gram = (train_word2vec(sentences(), 8, way, 0)["fig"] for way in ways)
    assert not np.allclose(cbow, skip_gram)


def test_equal_seeds_give_equal_vectors_and_others_do_not():
    first, again, other = (
        train_word2vec(sentences(), 8, EmbeddingsConfig(), seed) for seed in (0, 0, 1)
    )
    assert first["fig"].dtype == np.float32 and first["fig"].shape == (8,)
    assert all(np.array_equal(first[word], again[word]) for word in first)
    assert not np.allclose(first["fig"], other["fig"])


def test_vectors_do_not_depend_on_how_python_hashes():
    """gensim numbers words by a dictionary, and Python's hashes change from process to process."""
    code = (
        "from pretrain.data.word2vec import EmbeddingsConfig, train_word2vec\n"
        f"vectors = train_word2vec({sentences()}, 8, EmbeddingsConfig(), 0)\n"
        "print(vectors['fig'].tolist())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, check=True)
    own = train_word2vec(sentences(), 8, EmbeddingsConfig(), 0)["fig"].tolist()
    assert json.loads(done.stdout) == own


def test_documents_of_a_store_are_its_sentences_in_pieces_of_bounded_length(tmp_path):
    documents = [[[1, 2], [3]], [[4] * 700, [5] * 700], [[6]]]
    store = open_store(tmp_path / "store", documents)
    found = list(Sentences(store))
    assert [len(sentence) for sentence in found] == [3, LONGEST, 400, 1]
    assert found[0] == ["1", "2", "3"]
    assert [int(token) for token in flatten(found)] == flatten(flatten(documents))
    assert list(Sentences(store)) == found


def test_vectors_are_made_of_whole_data_and_kept_whole(tmp_path):
    folder = write_store(tmp_path / "store", 203, train=random_documents(0, 100))
    corpus = SimpleNamespace(
        folder=folder,
        tokenizer=SimpleNamespace(vocabulary_size=203),
        train=TokenStore.open(folder, "train"),
        fingerprint="corpus",
    )
    config = PretrainConfig(data=DataConfig(cache=str(tmp_path / "cache")))
    tokens = folder / "train/00000.tokens"
    whole = tokens.read_bytes()
    tokens.write_bytes(whole[::-1])
    with pytest.raises(InputError, match=r"00000.tokens: content is damaged"):
        word_vectors(config, corpus)
    tokens.write_bytes(whole)
    vectors = word_vectors(config, corpus)
    assert np.array_equal(word_vectors(config, corpus), vectors)
    (kept,) = Path(config.data.cache).glob("word2vec/*/vectors.npy")
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{kept}: content is damaged: delete {kept.parent}"):
        word_vectors(config, corpus)
