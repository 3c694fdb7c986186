"""All duplicates are found, and nothing else: compared with trying every pair."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune.data.example import SIMILAR, find_duplicates, jaccard, shingles

WORDS = st.lists(st.sampled_from("abcdE"), max_size=12)
CORPORA = st.lists(WORDS.map(" ".join), max_size=20)


def slow_duplicates(known: list[str], found: list[str]):
    """By the definition."""
    exact, near = [], []
    for number, text in enumerate(found):
        words = text.lower().split()
        same = [place for place, other in enumerate(known) if other.lower().split() == words]
        if same:
            exact.append((number, same[0], 1.0))
            continue
        scored = [(slow_similarity(words, other.lower().split()), other) for other in known]
        best = max((similarity for similarity, _ in scored), default=0)
        if best >= SIMILAR:
            near.append((number, [s for s, _ in scored].index(best), best))
    return exact, near


def slow_similarity(a: list[str], b: list[str]) -> float:
    """Jaccard similarity of runs of three words."""
    a_runs, b_runs = (
        {tuple(words[i : i + 3]) for i in range(len(words)) if i == 0 or i + 3 <= len(words)}
        or {()}
        for words in (a, b)
    )
    return len(a_runs & b_runs) / len(a_runs | b_runs)


@given(CORPORA, CORPORA, st.data())
def test_duplicates_are_those_that_trying_every_pair_finds(known, found, data):
    changed = [
        " ".join(word for place, word in enumerate(text.split()) if place != dropped)
        for text in known
        if (dropped := data.draw(st.integers(0, 12))) is not None
    ]
    assert find_duplicates(known, found + changed) == slow_duplicates(known, found + changed)


def test_none_of_many_near_duplicates_is_missed():
    known = [" ".join(f"w{(7 * n + k) % 997}" for k in range(14)) for n in range(300)]
    found = [f"{text} more" for text in known] + [f"b{n} c{n} d{n} e{n}" for n in range(300)]
    exact, near = find_duplicates(known, found)
    assert not exact
    assert [(number, other) for number, other, _ in near] == [(n, n) for n in range(300)]
    assert all(similarity == 12 / 13 for _, _, similarity in near)


def test_case_and_spacing_do_not_count():
    reference = ["other", "Stay  HOME now", "stay home now"]
    assert find_duplicates(reference, ["stay\nhome Now "]) == ([(0, 1, 1.0)], [])


def test_a_similarity_of_just_the_limit_counts():
    known = " ".join("abcdefghijkl")
    found = f"{' '.join('abcdefghi')} x y z"
    assert jaccard(shingles(known), shingles(found)) == 7 / 13
    assert not find_duplicates([known], [found])[1]
    found = " ".join("abcdefghi")
    assert jaccard(shingles(known), shingles(found)) == SIMILAR
    assert find_duplicates([known], [found])[1] == [(0, 0, SIMILAR)]


def test_short_texts_are_one_shingle():
    assert shingles("a b") == {"a b"} and shingles("") == {""}
    assert shingles("a b c d") == {"a b c", "b c d"}
    assert not find_duplicates(["a b"], ["a"])[1]


def test_nothing_against_nothing():
    for known, asked in ([], []), ([], ["a"]), (["a"], []):
        assert find_duplicates(known, asked) == ([], [])
