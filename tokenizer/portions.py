"""Long texts in portions: the libraries hold more than a hundred bytes a character at a time."""

from __future__ import annotations

PORTION = 50_000
"""characters, at least"""


def portions(text: str, size: int = PORTION) -> list[str]:
    """A text in one or more portions, each of which ends at a space that belongs to none.

    A tokenizer gives their ids as it gives the text's: no token goes across a space. Where there is
    no space there is no cut.
    """
    parts, start = [], 0
    while len(text) - start > size:
        end = text.find(" ", start + size)
        if end < 0:
            break
        parts.append(text[start:end])
        start = end + 1
    return [*parts, text[start:]]
