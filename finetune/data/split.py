"""A held-out part that is a function of the content: the same for every method, run and machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np


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
