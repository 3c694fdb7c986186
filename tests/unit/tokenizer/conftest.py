"""Text and tokenizers that these tests share."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from configs.schema import TokenizerConfig
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer
from tokenizer.training import train_tokenizer

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
LINES = 1000
VOCABULARY_SIZE = 800


def first_lines(name: str) -> list[str]:
    """The first 1,000 lines of text of a set of JSON lines; skips where it is missing."""
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"needs the data set {name}")
    lines: list[str] = []
    with lzma.open(path, "rt", encoding="utf-8") as stream:
        while len(lines) < LINES:
            lines += filter(None, json.loads(next(stream))["text"].split("\n"))
    return lines[:LINES]


def fixture_file(name: str) -> Path:
    """A published vocabulary; skips where it is missing."""
    path = SHARED_DATA / "fixtures" / name
    if not path.is_file():
        pytest.skip(f"needs the published file {name}")
    return path


@pytest.fixture(scope="session")
def english() -> list[str]:
    """Lines of Wikipedia, 0.4 MB."""
    return first_lines("enwiki2014/heldout.jsonl.xz")


@pytest.fixture(scope="session")
def korean() -> list[str]:
    """Lines of Wikipedia, 0.4 MB."""
    return first_lines("kowiki2020/heldout.jsonl.xz")


@pytest.fixture(scope="session")
def prose() -> list[str]:
    """English paragraphs that every Python has: its help topics."""
    text = "\n\n".join(topics[name] for name in sorted(topics))
    return text.split("\n\n")[:1500]


@pytest.fixture(scope="session")
def syllables() -> list[str]:
    """Made-up Korean: 2,000 lines of words of 1 to 3 out of 200 syllables."""
    rng = random.Random(0)
    alphabet = [chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(200)]
    words = ["".join(rng.choices(alphabet, k=rng.randint(1, 3))) for _ in range(800)]
    return [" ".join(rng.choices(words, k=8)) + "." for _ in range(2000)]


@pytest.fixture(scope="session")
def trained(prose: list[str], syllables: list[str]) -> dict[str, Tokenizer]:
    """One small tokenizer of each kind."""
    texts = {"wordpiece": prose, "byte-bpe": prose, "sentencepiece": syllables}
    return {
        kind: train_tokenizer(TokenizerConfig(kind=kind, vocabulary_size=VOCABULARY_SIZE), text)
        for kind, text in texts.items()
    }


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """GPT-2's published merges, under the names OpenAI gave them."""
    folder = tmp_path_factory.mktemp("gpt2")
    for ours, published in (("encoder.json", "gpt2-encoder.json"), ("vocab.bpe", "gpt2-vocab.bpe")):
        (folder / ours).write_bytes(fixture_file(published).read_bytes())
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def kobert() -> Tokenizer:
    return load_tokenizer(fixture_file("kobert-spiece.model"))


@pytest.fixture(scope="session", params=["cased", "uncased"])
def bert(request: pytest.FixtureRequest) -> Tokenizer:
    path = fixture_file(f"bert-base-{request.param}-vocab.txt")
    return load_tokenizer(path, lowercase=request.param == "uncased")
