"""What may fail does so in one line."""

from __future__ import annotations

import errno
import io
import sys

import pytest

from configs.system.notes import LONGEST, note, note_once, optional, say


def test_a_report_that_fails_is_told_in_one_line(capsys):
    with optional("plots/curves.png"):
        raise ValueError("first line\n\x1b[31msecond")
    assert capsys.readouterr().err == (
        "note: plots/curves.png could not be made (first line \\x1b[31msecond); everything else "
        "goes on\n"
    )
    with optional("report.md"):
        raise ValueError("endless" * 1000)
    with optional("page.html"):
        raise ValueError
    long, nameless = capsys.readouterr().err.splitlines()
    assert len(long) < LONGEST + 100
    assert "(ValueError)" in nameless


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_leave_is_no_failure_of_a_report(end):
    with pytest.raises(end), optional("report.md"):
        raise end


def test_once_is_once(capsys):
    for _ in range(3):
        note_once("it stays")
    note("again")
    note("again")
    assert capsys.readouterr().err == "note: it stays\nnote: again\nnote: again\n"


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_console_on_a_full_disk_ends_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    say("one")
    say("two")
    assert capsys.readouterr().err.count("standard output cannot be written") == 1
