"""Steps whose gradient was not finite: counted, explained, and too many of them refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from configs.errors import RunError
from configs.system.files import make_folder, write_text
from configs.system.notes import optional
from configs.system.run_lock import require_ours
from configs.system.run_names import STEP
from configs.system.safe_text import json_text
from pretrain.batch import MicroBatch
from tokenizer.base import Tokenizer

MOST_DUMPS = 20
"""of one run, at most, on each rank"""
TEXT = 2000
"""characters of a sample that a dump shows"""


class SkippedSteps:
    """How many steps were skipped, in all and in a row."""

    def __init__(self, limit: int, total: int, dumps: Path) -> None:
        """`total` were skipped before this start; `dumps` is where what they saw is written."""
        self.limit, self.total, self.in_a_row, self.dumps = limit, total, 0, dumps
        self._last = -1

    def add(self, skipped: tuple[int, ...], end: int) -> None:
        """The skipped ones of the steps up to, but without, `end`.

        Raises:
            RunError: too many in a row.
        """
        for step in skipped:
            self.total += 1
            self.in_a_row = self.in_a_row + 1 if step == self._last + 1 else 1
            self._last = step
            if self.in_a_row >= self.limit:
                raise RunError(
                    f"loss or gradient is not finite at step {step}, nor in {self.in_a_row} steps "
                    "in a row: lower optimizer.learning_rate or lengthen the warm-up; what "
                    f"they saw is in {self.dumps}"
                )
        if self._last != end - 1:
            self.in_a_row = 0


def write_dump(
    folder: Path,
    step: int,
    rank: int,
    batches: Sequence[MicroBatch],
    losses: Sequence[float],
    tokenizer: Tokenizer,
) -> Path | None:
    """What a rank saw in a skipped step: sample ids, losses and text, the culprits alone if known.

    Returns None where there are enough dumps.
    """
    require_ours(folder)
    path = folder / f"{STEP}{step:08d}-rank-{rank}.json"
    if len(list(folder.glob(f"{STEP}*-rank-{rank}.json"))) >= MOST_DUMPS:
        return None
    found = [
        {
            "micro_batch": number,
            "loss": str(loss),
            "sample_ids": list(batch.sample_ids),
            "texts": [text[:TEXT] for text in texts(batch, tokenizer)],
        }
        for number, (batch, loss) in enumerate(zip(batches, losses))
    ]
    culprits = [part for part, loss in zip(found, losses) if not math.isfinite(loss)]
    content = {"step": step, "rank": rank, "micro_batches": culprits or found}
    with optional(str(path)):
        make_folder(folder)
        write_text(path, json_text(content))
    return path


def texts(batch: MicroBatch, tokenizer: Tokenizer) -> list[str]:
    """Every sample of a micro-batch as the model saw it."""
    ends = batch.boundaries.tolist()
    tokens = batch.tokens_T.tolist()
    return [tokenizer.decode(tokens[a:b]) for a, b in zip(ends, ends[1:])]
