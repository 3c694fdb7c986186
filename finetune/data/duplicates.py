"""Texts of one split that stand, alike or nearly, in another: MinHash finds them (Broder, 1997)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

PERMUTATIONS = 64
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
    known, found = [list(map(_normal, part)) for part in (reference, texts)]
    first = {text: number for number, text in reversed(list(enumerate(known)))}
    exact = [(number, first[text]) for number, text in enumerate(found) if text in first]
    is_exact = {number for number, _ in exact}
    rest = {n: shingles(text) for n, text in enumerate(found) if n not in is_exact}
    return Duplicates(exact, _near(list(map(shingles, known)), rest))


def shingles(text: str) -> frozenset[str]:
    """Runs of `SHINGLE` words; a shorter text is one itself."""
    words = text.split()
    runs = range(max(1, len(words) - SHINGLE + 1))
    return frozenset(" ".join(words[start : start + SHINGLE]) for start in runs)


def _near(
    known: list[frozenset[str]], found: dict[int, frozenset[str]]
) -> list[tuple[int, int, float]]:
    """The most similar known set of each found one, where it is similar enough."""
    from datasketch import MinHash, MinHashLSH

    # Only sets that share a shingle at all need to be hashed: most tweets share none.
    holders = defaultdict(list)
    for number, runs in known_shared(known, found):
        for run in runs:
            holders[run].append(number)
    candidates = sorted({number for numbers in holders.values() for number in numbers})
    index = MinHashLSH(threshold=SIMILAR - 0.1, num_perm=PERMUTATIONS)
    hashes = MinHash.bulk([_bytes(known[n]) for n in candidates], num_perm=PERMUTATIONS)
    for number, value in zip(candidates, hashes):
        index.insert(number, value)
    asked = [n for n, runs in found.items() if any(run in holders for run in runs)]
    pairs = []
    for number, value in zip(
        asked, MinHash.bulk([_bytes(found[n]) for n in asked], num_perm=PERMUTATIONS)
    ):
        scored = [(jaccard(found[number], known[other]), other) for other in index.query(value)]
        similarity, other = max(scored, default=(0.0, 0))
        if similarity >= SIMILAR:
            pairs.append((number, other, similarity))
    return pairs


def known_shared(
    known: list[frozenset[str]], found: dict[int, frozenset[str]]
) -> list[tuple[int, frozenset[str]]]:
    """(number, shared shingles) of the known sets that share any with the found ones."""
    wanted = frozenset().union(*found.values())
    shared = ((number, runs & wanted) for number, runs in enumerate(known))
    return [(number, runs) for number, runs in shared if runs]


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """|a and b| / |a or b|."""
    return len(a & b) / len(a | b)


def _bytes(runs: frozenset[str]) -> list[bytes]:
    return [run.encode() for run in runs]


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
