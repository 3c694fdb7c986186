"""The exceptions that end a command in one line, and how that line is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input: the message says in one line what is wrong, where, and the cure.

    Every launch script prints it as `error: ...` and exits with code 2.
    """

    is_of_all_ranks = False
    """every rank raises it alike: rank 0 says it, the others leave without a word"""

    def __init__(self, message: str) -> None:
        # What a user typed may hold line breaks; the message stays one line.
        super().__init__(" ".join(message.split()))


class DiskError(InputError):
    """A file could not be written: the disk is full, broken, or read-only."""


class RunError(RuntimeError):
    """The run failed on its way; the message says in one line why, and the cure.

    Every launch script prints it as `error: ...` and exits with code 1.
    """

    is_of_all_ranks = False
    """as in `InputError`"""


@contextmanager
def named(where: object) -> Iterator[None]:
    """Put the name of a file, or of whatever else is read, in front of what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line, or else its name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
