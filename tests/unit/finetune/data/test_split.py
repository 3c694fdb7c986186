"""What is held out depends on the content alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.example import digest, heldout_groups, heldout_mask, threshold

FRACTIONS = st.floats(0.01, 0.49)
LABELLED = st.lists(st.tuples(st.text(max_size=3), st.sampled_from("abc")), max_size=60)


def heldout(rows: list[tuple[str, str]], fraction: float) -> list[tuple[str, str]]:
    """The rows held out, in order."""
    texts, labels = zip(*rows) if rows else ((), ())
    mask = heldout_mask(texts, labels, fraction)
    assert mask.dtype == bool and len(mask) == len(rows)
    return [row for row, is_heldout in zip(rows, mask) if is_heldout]


@given(LABELLED, FRACTIONS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows, fraction, random):
    shuffled = random.sample(rows, len(rows))
    assert Counter(heldout(shuffled, fraction)) == Counter(heldout(rows, fraction))


@given(LABELLED, FRACTIONS)
def test_equal_rows_fall_on_the_same_side(rows, fraction):
    chosen = Counter(heldout(rows, fraction))
    assert all(number == rows.count(row) for row, number in chosen.items())


@given(st.lists(st.tuples(st.text(), st.sampled_from("abc")), unique=True), FRACTIONS)
def test_each_label_gives_its_share_within_rounding(rows, fraction):
    sizes = Counter(label for _, label in rows)
    chosen = Counter(label for _, label in heldout(rows, fraction))
    assert chosen == +Counter({label: round(fraction * n) for label, n in sizes.items()})


@given(LABELLED, FRACTIONS)
def test_a_label_is_never_held_out_whole_and_duplicates_only_lessen_a_share(rows, fraction):
    sizes = Counter(label for _, label in rows)
    chosen = Counter(label for _, label in heldout(rows, fraction))
    assert all(chosen[label] <= round(fraction * n) < n for label, n in sizes.items())


def test_other_labels_do_not_matter():
    rows = [(f"text {number}", "a") for number in range(50)]
    more = [(f"other {number}", "b") for number in range(50)]
    assert heldout(rows + more, 0.2) == heldout(rows, 0.2) + heldout(more, 0.2)


def test_a_larger_share_holds_out_more_of_the_same():
    texts = [f"text {number}" for number in range(200)]
    small, large = (heldout_mask(texts, [""] * 200, share) for share in (0.1, 0.3))
    assert small.sum() == 20 and large.sum() == 60 and not (small & ~large).any()


def test_the_choice_is_the_same_for_ever():
    texts = [f"text {number}" for number in range(20)]
    assert np.flatnonzero(heldout_mask(texts, [""] * 20, 0.2)).tolist() == [2, 3, 6, 18]
    assert digest("한국어") == 0x9CC311B24111FDF9


@given(st.lists(st.text(), max_size=30), FRACTIONS, st.randoms())
def test_groups_are_held_out_whole_whatever_their_size(names, fraction, random):
    held = heldout_groups(names, fraction)
    assert held <= set(names) and len(held) == round(fraction * len(set(names)))
    repeated = [name for name in names for _ in range(random.randint(1, 4))]
    assert heldout_groups(random.sample(repeated, len(repeated)), fraction) == held


@pytest.mark.parametrize(("fraction", "below"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_threshold(fraction, below):
    digests = [2**64 - 1, 7, 0, 9]
    assert sum(value < threshold(digests, fraction) for value in digests) == below
