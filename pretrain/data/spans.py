"""Spans of whole words to predict: SpanBERT (Joshi et al. 2020, section 3.1).

Span after span is drawn until a sequence's budget is spent: a number of words from a geometric
distribution with p = 0.2, of which only 1 to 10 count (3.8 on average), and a word to begin with,
uniformly among those that no span has yet. A span ends with the text before a special token at the
latest, and the last one where the budget is spent, within a word if need be. A smaller budget stops
earlier on the same way: its tokens are among those of a larger one.

Axes: W words of B sequences, M predicted tokens.
"""

from __future__ import annotations

import numpy as np

from pretrain.arrays import Floats, Ints, Words, ranges

GEOMETRIC, LONGEST = 0.2, 10


def span_lengths(unit: Floats) -> Ints:
    """Numbers in [0, 1) to lengths in words: geometric, given that it is at most `LONGEST`."""
    # 1 - (1 - p)^n is the share of lengths up to n.
    shares = 1 - (1 - GEOMETRIC) ** np.arange(1, LONGEST + 1)
    lengths: Ints = 1 + np.searchsorted(shares[:-1] / shares[-1], unit, side="right")
    return lengths


def choose_spans(
    starts_W: Ints, sizes_W: Ints, rows_W: Ints, score_W: Words, lengths_W: Ints, budget_B: Ints
) -> tuple[Ints, Ints]:
    """Which tokens are predicted, and where their spans begin.

    Args:
        starts_W, sizes_W, rows_W: place of each word's first token, its tokens, and its sequence.
        score_W: words begin spans in the order of these.
        lengths_W: words of the span that begins with a word.
        budget_B: tokens to predict in each sequence, which has that many.
    Returns:
        places (M,), ascending, and for each the place of the first token of its span.
    """
    ends_W = _ends_of_runs(starts_W, sizes_W, rows_W)
    order = np.lexsort((score_W, rows_W))
    first_B = np.searchsorted(rows_W, np.arange(len(budget_B)))
    turn_B, left_B = first_B.copy(), budget_B.copy()
    taken_W, places, anchors = np.zeros(len(starts_W), bool), [], []
    # In each turn all sequences that have budget left draw one span, or find that the word which
    # would begin it is in a span already. Words are more than the budget's tokens: none runs out.
    while len(row := np.flatnonzero(left_B > 0)):
        anchor = order[turn_B[row]]
        turn_B[row] += 1
        row, anchor = row[~taken_W[anchor]], anchor[~taken_W[anchor]]
        end = np.minimum(anchor + lengths_W[anchor], ends_W[anchor])
        word, owner = ranges(anchor, end), np.repeat(np.arange(len(row)), end - anchor)
        word, owner = word[~taken_W[word]], owner[~taken_W[word]]
        taken_W[word] = True
        place = ranges(starts_W[word], starts_W[word] + sizes_W[word])
        owner = np.repeat(owner, sizes_W[word])
        # The number of each token in its span: a running one, less that of the span's first.
        number = np.arange(len(owner)) - np.searchsorted(owner, owner)
        fits = number < left_B[row][owner]
        places.append(place[fits])
        anchors.append(starts_W[anchor][owner[fits]])
        left_B[row] -= np.bincount(owner[fits], minlength=len(row))
    if not places:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    all_places = np.concatenate(places)
    sorted_ = np.argsort(all_places)
    return all_places[sorted_], np.concatenate(anchors)[sorted_]


def _ends_of_runs(starts_W: Ints, sizes_W: Ints, rows_W: Ints) -> Ints:
    """Of each word the number after the last that follows it without a special token between."""
    breaks = (starts_W[1:] != (starts_W + sizes_W)[:-1]) | (np.diff(rows_W) != 0)
    ends = np.append(np.flatnonzero(breaks) + 1, len(starts_W))
    return ends[np.searchsorted(ends, np.arange(len(starts_W)), side="right")]
