"""A covering array: few configurations in which every pair of choices meets.

Most faults of combinations need two choices only (Kuhn et al. 2004), and all pairs fit into little
more rows than the two longest axes have pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

Row = dict[str, object]
Pair = tuple[tuple[str, object], tuple[str, object]]


def covering_array(axes: Mapping[str, Sequence[object]]) -> list[Row]:
    """Rows of one value an axis, the same at every call, that hold each pair at least once.

    Greedy: a row begins with a pair that is still missing, and each further axis takes the value
    that meets most of the others; of equal ones that which was used least.
    """
    missing = set(pairs(axes))
    order = sorted(axes, key=lambda name: -len(axes[name]))
    used = {(name, value): 0 for name in axes for value in axes[name]}
    rows: list[Row] = []
    while missing:
        row = dict(min(missing, key=lambda pair: [_rank(axes, order, choice) for choice in pair]))
        for name in order:
            if name not in row:
                row[name] = max(
                    axes[name],
                    key=lambda value: (_met(row, name, value, missing), -used[name, value]),
                )
        missing -= set(pairs({name: [value] for name, value in row.items()}))
        for choice in row.items():
            used[choice] += 1
        rows.append({name: row[name] for name in axes})
    return rows


def pairs(axes: Mapping[str, Sequence[object]]) -> Iterator[Pair]:
    """All pairs of values of two axes, the axes in alphabetical order."""
    for one, two in combinations(sorted(axes), 2):
        for first, second in product(axes[one], axes[two]):
            yield (one, first), (two, second)


def _rank(
    axes: Mapping[str, Sequence[object]], order: Sequence[str], choice: tuple[str, object]
) -> tuple[int, int]:
    name, value = choice
    return order.index(name), axes[name].index(value)


def _met(row: Row, name: str, value: object, missing: set[Pair]) -> int:
    """How many missing pairs a value makes with those that a row has."""
    choice = (name, value)
    return sum(
        tuple(sorted((choice, other), key=lambda c: c[0])) in missing for other in row.items()
    )
