"""A held-out part that is a function of the content: the same for every method, run and machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.example import are_labelled

Item = TypeVar("Item")


def read_parts(
    config: TaskConfig,
    read: Callable[[Path], list[Item]],
    heldout: Callable[[list[Item]], Iterable[bool]],
) -> dict[str, list[Item]]:
    """train, dev, test and further parts of a task, those there are.

    Without a dev file, dev is what `heldout` marks of train.

    Raises:
        InputError: nothing is left for train or dev.
    """
    folder = Path(config.folder).expanduser()
    files = {"train": config.train, **config.evaluated}
    parts = {name: read(folder / file) for name, file in files.items()}
    if not config.dev:
        items = list(zip(parts["train"], heldout(parts["train"])))
        parts["train"] = [item for item, is_dev in items if not is_dev]
        parts["dev"] = [item for item, is_dev in items if is_dev]
    for name in ("train", "dev"):
        if not parts[name]:
            raise InputError(
                f"{folder / config.train}: nothing is left for {name}: give a longer file, or "
                "task.dev a file of its own"
            )
    return parts


def require_labels(examples: Sequence[Any]) -> None:
    """Raise `InputError` for examples to learn from or to choose by that have no answers."""
    if not are_labelled(examples):
        raise InputError(
            f"{examples[0].where}: it has no answer, and nothing can be learnt from the file or "
            "chosen by it: name one with answers, or this one as task.test"
        )


def answered_notes(parts: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Which parts are answered but not scored."""
    for name, examples in parts.items():
        if not are_labelled(examples):
            yield f"{name}: no answers in the file, so its {len(examples):,} are not scored"


def heldout_mask(texts: Sequence[str], strata: Sequence[str], fraction: float) -> np.ndarray:
    """Which of the texts are held out, bool (N).

    Of each stratum (a label, say) those with the smallest hashes, `fraction` of them. Equal texts
    of a stratum fall on the same side, so the share may differ by a few.
    """
    members = defaultdict(list)
    for number, stratum in enumerate(strata):
        members[stratum].append(number)
    digests = [digest(text) for text in texts]
    mask = np.zeros(len(texts), bool)
    for numbers in members.values():
        limit = threshold([digests[number] for number in numbers], fraction)
        mask[[number for number in numbers if digests[number] < limit]] = True
    return mask


def heldout_groups(names: Sequence[str], fraction: float) -> set[str]:
    """Which groups (articles, say) are held out as a whole: those with the smallest hashes."""
    groups = {name: digest(name) for name in names}
    limit = threshold(list(groups.values()), fraction)
    return {name for name, value in groups.items() if value < limit}


def digest(text: str) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def threshold(digests: list[int], fraction: float) -> int:
    """Digests below this number are held out: round(fraction x n) of them if all differ."""
    ordered = sorted(digests)
    count = round(fraction * len(ordered))
    return ordered[count] if count < len(ordered) else 2**64
