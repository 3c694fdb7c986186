"""Long texts are cut at spaces."""

from __future__ import annotations

from tokenizer.base import portions


def test_a_portion_ends_at_a_space() -> None:
    text = "a bcd efghijk lm nopqrstuvwxyzabcdef gh"
    assert portions(text, 10) == ["a bcd efghijk", "lm nopqrstuvwxyzabcdef", "gh"]
    assert portions("x" * 100, 10) == ["x" * 100]
    assert portions("", 10) == [""]
