"""The labels of a task: which of them its splits hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def absent_notes(labels: Sequence[str], splits: dict[str, Iterable[int | None]]) -> Iterator[str]:
    """What cannot be learnt, or not be measured.

    Args:
        splits: by name, the places of its examples' labels; None where one is not known.
    """
    for name, targets in splits.items():
        held = set(targets) - {None}
        absent = [label for place, label in enumerate(labels) if place not in held]
        if held and absent:
            found = f"{name}: no example has the label {', '.join(absent)}"
            yield (
                f"{found}: it cannot be learnt"
                if name == "train"
                else f"{found}: macro_f1 averages over {len(held)} of {len(labels)} classes (and "
                "any other that is predicted)"
            )


def constant_notes(splits: dict[str, Iterable[float | None]]) -> Iterator[str]:
    """Splits whose numbers are all the same."""
    for name, numbers in splits.items():
        if len(set(numbers) - {None}) == 1:
            yield f"{name}: all numbers are equal: correlations are undefined, and shown as 0"
