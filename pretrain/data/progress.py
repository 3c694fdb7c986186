"""How far a long job is, for a person at a terminal or a log file, on standard error."""

from __future__ import annotations

import logging
import sys
import time

from configs.system.notes import PROGRESS

logger = logging.getLogger(__name__)

LOG_SECONDS = 30
"""between two lines where nobody watches them being replaced"""


class Progress:
    """Tells bytes done, their rate, and the share and time left where the total is known."""

    def __init__(self, expected: list[int | None]) -> None:
        """`expected` holds the bytes of text of each piece to do, about; None: not known."""
        self.expected = expected
        self.started = self.told = time.monotonic()
        self.pieces = self.bytes = 0
        self._in_pieces = 0

    def add(self, count: int) -> None:
        """`count` bytes of text more are done."""
        self.bytes += count
        self._in_pieces += count
        watched, now = sys.stderr.isatty(), time.monotonic()
        if watched or now - self.told >= LOG_SECONDS:
            self.told = now
            place = {"begin": "\r", "end": "  "} if watched else {}
            logger.log(PROGRESS, self.line(now), extra=place)

    def end_piece(self) -> None:
        """The next piece begins."""
        self.pieces += 1
        self._in_pieces = 0

    def end(self) -> None:
        """Everything is done."""
        begin = "\r" if sys.stderr.isatty() else ""
        logger.log(PROGRESS, self.line(time.monotonic()), extra={"begin": begin})

    def line(self, now: float) -> str:
        """The state in words, at the time `now` of the monotonic clock."""
        elapsed = max(now - self.started, 1e-3)
        megabytes = self.bytes / 1e6
        count = len(self.expected)
        line = f"tokenised {megabytes:,.1f} MB, {megabytes / elapsed:.1f} MB/s"
        line += f", {self.pieces} of {count} pieces" if count > 1 else ""
        share = self._share()
        if share is None or self.pieces == count:
            return line
        left = f", {_minutes(elapsed * (1 - share) / share)} left" if share > 0.01 else ""
        return f"{line}, {share:.0%}{left}"

    def _share(self) -> float | None:
        expected = [size for size in self.expected if size is not None]
        if len(expected) < len(self.expected) or self.pieces == len(expected):
            return None
        # What a piece has beyond its estimate does not count: the share would pass 100 %.
        current = min(self._in_pieces, expected[self.pieces])
        return (sum(expected[: self.pieces]) + current) / max(1, sum(expected))


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
