"""Every token knows its characters, whatever the tokenizer."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.tasks.task import locate

TEXTS = ["", " ", "one", "The  cat\tsat,\non 3.5 mats. ", " Zoë’s naïve 한국어 😀!"]


def test_ids_are_those_of_the_tokenizer(tokenizer, words):
    texts = [*TEXTS, " ".join(words)]
    found = locate(tokenizer, texts)
    assert [part.ids.tolist() for part in found] == tokenizer.encode_batch(texts)
    assert all(len(part) == len(part.starts) == len(part.ends) for part in found)


@pytest.mark.parametrize("text", TEXTS[2:])
def test_the_tokens_cover_every_character_in_order(tokenizer, text):
    (found,) = locate(tokenizer, [text])
    covered = {place for a, b in zip(found.starts, found.ends) for place in range(a, b)}
    assert {place for place, c in enumerate(text) if not c.isspace()} <= covered
    assert (np.diff(found.starts) >= 0).all() and (found.ends > found.starts).all()


def test_the_space_before_a_word_is_not_its_own(tokenizer):
    text = "the  name \n of"
    (found,) = locate(tokenizer, [text])
    shown = [text[a:b] for a, b in zip(found.starts, found.ends)]
    assert all(piece == piece.strip() or not piece.strip() for piece in shown)
    assert "".join("".join(shown).split()) == "thenameof"


def test_no_text_gives_nothing(tokenizer):
    assert locate(tokenizer, []) == []
