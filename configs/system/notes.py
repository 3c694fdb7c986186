"""Remarks in one line, and what may fail without ending a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from configs.errors import RunError
from configs.system.safe_text import visible

LONGEST = 400
"""characters of a reason"""


def note(text: str) -> None:
    """One line on standard error, which itself may lie on a full disk."""
    with suppress(OSError, ValueError):
        print(f"note: {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)


@cache
def note_once(text: str) -> None:
    """The same, once in a process."""
    note(text)


@contextmanager
def optional(what: str) -> Iterator[None]:
    """Let a report fail, told in one line: none is worth the run that it is about.

    For plots, pages, TensorBoard and whatever else can be made again from what is kept.
    """
    try:
        yield
    except RunError:  # the run itself has failed: its folder is lost
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:LONGEST] or type(error).__name__
        note(f"{what} could not be made ({reason}); everything else goes on")


def say(text: str) -> None:
    """A line on standard output; once it cannot be written, none further is."""
    try:
        print(text, flush=True)
    except OSError as error:
        note(f"standard output cannot be written ({error.strerror}); everything else goes on")
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
