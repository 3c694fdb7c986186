"""Texts of one split that stand, alike or nearly, in another.

Two sets that are similar enough share one of the few rarest shingles of either, so only those are
looked up; the result is exact (all-pairs search: Bayardo et al., 2007).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

SHINGLE = 3
SIMILAR = 0.7


@dataclass(frozen=True)
class Duplicates:
    """Pairs of (index among the texts, index in the reference)."""

    exact: list[tuple[int, int]]
    near: list[tuple[int, int, float]]
    """with the Jaccard similarity of their word 3-shingles, `SIMILAR` or more, and below 1 for all
    but reordered repetitions"""


def find_duplicates(reference: Sequence[str], texts: Sequence[str]) -> Duplicates:
    """The texts that `reference` holds too; case and spacing do not count."""
    known, asked = [list(map(_normal, part)) for part in (reference, texts)]
    # Backwards, so that of equal texts the first one stays.
    first = {text: number for number, text in reversed(list(enumerate(known)))}
    exact = [(number, first[text]) for number, text in enumerate(asked) if text in first]
    is_exact = {number for number, _ in exact}
    rest = {n: shingles(text) for n, text in enumerate(asked) if n not in is_exact}
    return Duplicates(exact, _near(list(map(shingles, known)), rest))


def shingles(text: str) -> frozenset[str]:
    """Runs of `SHINGLE` words; a shorter text is one itself."""
    words = text.split()
    runs = range(max(1, len(words) - SHINGLE + 1))
    return frozenset(" ".join(words[start : start + SHINGLE]) for start in runs)


def _near(
    known: list[frozenset[str]], asked: dict[int, frozenset[str]]
) -> list[tuple[int, int, float]]:
    """The first of the most similar known sets of each asked one, where it is similar enough."""
    wanted = frozenset[str]().union(*asked.values())
    holders: dict[str, list[int]] = defaultdict(list)
    for number, runs in enumerate(known):
        for run in runs & wanted:
            holders[run].append(number)
    pairs = []
    for number, runs in asked.items():
        # Of a set's n shingles a similar one lacks at most (1 - SIMILAR) n, so among one more than
        # that, whichever they are, it has at least one. The rarest ones have the fewest holders.
        rarest = sorted(runs, key=lambda run: len(holders[run]))
        rare = rarest[: 1 + int((1 - SIMILAR) * len(runs))]
        candidates = {other for run in rare for other in holders[run]}
        # The minus makes the first of equally similar sets the largest pair.
        scored = ((jaccard(runs, known[other]), -other) for other in candidates)
        similarity, minus_other = max(scored, default=(0.0, 0))
        if similarity >= SIMILAR:
            pairs.append((number, -minus_other, similarity))
    return pairs


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """|a and b| / |a or b|."""
    return len(a & b) / len(a | b)


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
