"""Encoding in lots and portions gives the ids of the whole."""

from __future__ import annotations

from pydoc_data.topics import topics

import pytest

from configs.schema import TokenizerConfig
from pretrain.data import tokenise
from tokenizer.base import portions
from tokenizer.training import train_tokenizer

PROSE = [" ".join(text.split()) for _, text in sorted(topics.items())][:12]


@pytest.mark.parametrize("kind", ["byte-bpe", "wordpiece", "sentencepiece"])
def test_portions_give_the_ids_of_the_sentence(kind: str, monkeypatch) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind, vocabulary_size=400), PROSE)
    documents = [PROSE[:3], [], ["short", *PROSE[3:6]], PROSE[6:]]
    whole = tokenise.encode(tokenizer, documents)
    assert [list(map(len, document)) for document in whole][1:2] == [[]]
    first, second = tokenizer.encode_batch([PROSE[0], tokenizer.sentence_prefix + PROSE[1]])
    assert whole[0][:2] == [first, second]
    monkeypatch.setattr(tokenise, "portions", lambda text: portions(text, 40))
    monkeypatch.setattr(tokenise, "ENCODE_CHARACTERS", 300)
    assert tokenise.encode(tokenizer, documents) == whole
