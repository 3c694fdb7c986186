"""What a person at the terminal sees of the packages' logs."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

from configs.system.notes import PROGRESS
from configs.system.safe_text import visible
from configs.system.version import PACKAGES


class Console(logging.Handler):
    """The course of a run on standard output, told by rank 0; all else on standard error.

    A record's `begin` and `end` stand around its text in place of nothing and a line's end. The
    streams are looked up for each line, as tests and libraries replace them. A full disk under
    them ends no run.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        text = record.getMessage()
        if record.levelno < PROGRESS:
            if os.environ.get("RANK", "0") == "0" or hasattr(record, "of_every_rank"):
                self._print(text)
            return
        if record.levelno >= logging.WARNING:
            text = f"note: {' '.join(text.split())}"
        begin, end = getattr(record, "begin", ""), getattr(record, "end", "\n")
        with suppress(OSError, ValueError):
            print(f"{begin}{visible(text)}", end=end, file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        """A line on standard output; once it cannot be written, none further is."""
        try:
            print(text, flush=True)
        except OSError as error:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            reason = f"standard output cannot be written ({error.strerror})"
            logging.getLogger(__name__).warning(f"{reason}; everything else continues")


CONSOLE = Console()


def show_logs() -> None:
    """From now on, people see what the packages log; libraries' handlers do not show it again."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.addHandler(CONSOLE)
        logger.setLevel(logging.INFO)
        logger.propagate = False
